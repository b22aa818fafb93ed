"""An IP address -> its special purpose, such as loopback; None for a public address.

After the IANA special-purpose address registries (RFC 6890), in a table of our own,
because the `ipaddress` module classifies some addresses differently in each Python version.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

# Clouds serve credentials here, to any process that connects; some addresses are public.
_METADATA = frozenset(
    {
        "169.254.169.254",  # most clouds
        "169.254.170.2",  # Amazon ECS
        "169.254.170.23",  # Amazon EKS
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure
        "192.0.0.192",  # Oracle
        "fd00:ec2::254",  # Amazon EC2
        "fd00:ec2::23",  # Amazon EKS
        "fd20:ce::254",  # Google
    }
)
_BY_NETWORK = (
    ("0.0.0.0/8", "an unspecified address"),
    ("10.0.0.0/8", "a private address"),
    ("100.64.0.0/10", "a shared (carrier NAT) address"),
    ("127.0.0.0/8", "a loopback address"),
    ("169.254.0.0/16", "a link-local address"),
    ("172.16.0.0/12", "a private address"),
    ("192.0.0.0/24", "a reserved address"),
    ("192.0.2.0/24", "a documentation address"),
    ("192.88.99.0/24", "a reserved address"),
    ("192.168.0.0/16", "a private address"),
    ("198.18.0.0/15", "a benchmarking address"),
    ("198.51.100.0/24", "a documentation address"),
    ("203.0.113.0/24", "a documentation address"),
    ("224.0.0.0/4", "a multicast address"),
    ("240.0.0.0/4", "a reserved address"),
    ("::/128", "an unspecified address"),
    ("::1/128", "a loopback address"),
    ("fc00::/7", "a unique-local address"),
    ("fe80::/10", "a link-local address"),
    ("fec0::/10", "a site-local address"),
    ("ff00::/8", "a multicast address"),
    ("2001::/23", "a reserved address"),  # Teredo, which embeds an IPv4 address, among others
    ("2001:db8::/32", "a documentation address"),
    ("3fff::/20", "a documentation address"),
)
_IPV4 = [(IPv4Network(net), what) for net, what in _BY_NETWORK if ":" not in net]
_IPV6 = [(IPv6Network(net), what) for net, what in _BY_NETWORK if ":" in net]
_PUBLIC_IPV6 = IPv6Network("2000::/3")
# Networks whose addresses embed an IPv4 address, and the number of bits after it.
_EMBEDDING = [
    (IPv6Network("::ffff:0:0/96"), 0),  # mapped (RFC 4291, section 2.5.5.2)
    (IPv6Network("::ffff:0:0:0/96"), 0),  # translated (RFC 7915)
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64 (RFC 6052)
    (IPv6Network("2002::/16"), 80),  # 6to4 (RFC 3056)
]


def special_purpose(ip: str) -> str | None:
    """Return the purpose of an address, such as "a loopback address"; None if it is public.

    An IPv6 address that embeds an IPv4 address has the purpose of that. A zone identifier
    is ignored. Raises ValueError if `ip` is not an IP address.
    """
    address = ip_address(ip.partition("%")[0])
    if isinstance(address, IPv6Address):
        for network, bits in _EMBEDDING:
            if address in network:
                address = IPv4Address(int(address) >> bits & 0xFFFFFFFF)
                break
    if str(address) in _METADATA:
        return "a cloud metadata address"
    if isinstance(address, IPv4Address):
        return next((what for network, what in _IPV4 if address in network), None)
    found = next((what for network, what in _IPV6 if address in network), None)
    if found is None and address not in _PUBLIC_IPV6:
        return "a reserved address"
    return found
