"""Public and special-purpose IP addresses, in every notation."""

import ipaddress

import pytest

from crawler.core.addresses import special_purpose


@pytest.mark.parametrize(
    "ip",
    [
        "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
        "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255",
        "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0", "223.255.255.255",
        "2606:4700::1111", "2001:4860:4860::8888", "2a00:1450::1", "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8", "2002:808:808::1",
    ],
)  # fmt: skip
def test_a_public_address_has_no_special_purpose(ip: str) -> None:
    assert special_purpose(ip) is None


@pytest.mark.parametrize(
    ("ip", "what"),
    [
        ("0.0.0.0", "an unspecified address"),
        ("0.1.2.3", "an unspecified address"),
        ("10.0.0.0", "a private address"),
        ("10.255.255.255", "a private address"),
        ("100.64.0.0", "a shared (carrier NAT) address"),
        ("100.127.255.255", "a shared (carrier NAT) address"),
        ("127.0.0.1", "a loopback address"),
        ("127.255.255.255", "a loopback address"),
        ("169.254.0.1", "a link-local address"),
        ("172.16.0.0", "a private address"),
        ("172.31.255.255", "a private address"),
        ("192.0.0.8", "a reserved address"),
        ("192.0.2.1", "a documentation address"),
        ("192.168.0.1", "a private address"),
        ("198.19.255.255", "a benchmarking address"),
        ("224.0.0.1", "a multicast address"),
        ("239.255.255.255", "a multicast address"),
        ("240.0.0.1", "a reserved address"),
        ("255.255.255.255", "a reserved address"),
        ("::", "an unspecified address"),
        ("::1", "a loopback address"),
        ("0:0:0:0:0:0:0:1", "a loopback address"),
        ("fc00::1", "a unique-local address"),
        ("fdff::1", "a unique-local address"),
        ("fe80::1", "a link-local address"),
        ("fe80::1%eth0", "a link-local address"),
        ("febf::1", "a link-local address"),
        ("fec0::1", "a site-local address"),
        ("ff02::1", "a multicast address"),
        ("2001:db8::1", "a documentation address"),
        ("2001::1", "a reserved address"),
        ("3fff::1", "a documentation address"),
        ("4000::1", "a reserved address"),
        ("::127.0.0.1", "a reserved address"),
        ("64:ff9b:1::7f00:1", "a reserved address"),
        ("::ffff:127.0.0.1", "a loopback address"),
        ("::ffff:7f00:1", "a loopback address"),
        ("::ffff:0:10.0.0.1", "a private address"),
        ("64:ff9b::192.168.0.1", "a private address"),
        ("2002:7f00:1::1", "a loopback address"),
        ("2002:a9fe:1::", "a link-local address"),
    ],
)
def test_a_special_purpose_address_is_described(ip: str, what: str) -> None:
    assert special_purpose(ip) == what


@pytest.mark.parametrize(
    "ip",
    [
        "169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192",
        "fd00:ec2::254", "FD00:EC2:0:0::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
    ],
)  # fmt: skip
def test_a_cloud_metadata_address_is_described_as_one(ip: str) -> None:
    assert special_purpose(ip) == "a cloud metadata address"


def test_text_that_is_not_an_address_raises_value_error() -> None:
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        special_purpose("localhost")


def test_addresses_that_python_considers_private_are_not_public() -> None:
    step = 0x10001  # 65,535 addresses from all over the space
    for number in range(0, 1 << 32, step):
        address = ipaddress.IPv4Address(number)
        if not address.is_global or address.is_multicast:
            assert special_purpose(str(address)) is not None, address
