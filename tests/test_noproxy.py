"""The hosts covered by NO_PROXY, as in curl and Go."""

import pytest

from crawler.core import noproxy


@pytest.mark.parametrize(
    ("text", "host", "covered"),
    [
        pytest.param("", "a.test", False, id="empty"),
        pytest.param("*", "a.test", True, id="all"),
        pytest.param("b.test, *", "a.test", True, id="all among others"),
        pytest.param("a.test", "a.test", True, id="a name"),
        pytest.param("A.Test", "a.test", True, id="a name in capitals"),
        pytest.param("a.test", "www.a.test", True, id="a subdomain of a name"),
        pytest.param("a.test", "aa.test", False, id="a name that ends alike"),
        pytest.param("a.test", "test", False, id="the domain above"),
        pytest.param("a.test.", "a.test", True, id="an entry with a final dot"),
        pytest.param("a.test", "a.test.", True, id="a host with a final dot"),
        pytest.param(".a.test", "www.a.test", True, id="a leading dot"),
        pytest.param(".a.test", "a.test", True, id="a leading dot and the name itself"),
        pytest.param("*.a.test", "www.a.test", True, id="a star"),
        pytest.param("*.a.test", "x.www.a.test", True, id="a star, two levels down"),
        pytest.param("*.a.test", "a.test", False, id="a star and the name itself"),
        pytest.param("*.a.test", "aa.test", False, id="a star and a name that ends alike"),
        pytest.param("b.test,a.test", "a.test", True, id="the second of two"),
        pytest.param(" b.test , a.test ", "a.test", True, id="blanks about the comma"),
        pytest.param("b.test a.test", "a.test", True, id="blanks instead of commas"),
        pytest.param("b.test,,", "a.test", False, id="empty entries"),
        pytest.param("127.0.0.1", "127.0.0.1", True, id="an address"),
        pytest.param("127.0.0.1", "127.0.0.11", False, id="an address that begins alike"),
        pytest.param("0.0.1", "127.0.0.1", False, id="no subdomain of a number"),
        pytest.param("::1", "::1", True, id="a bare IPv6 address"),
        pytest.param("[::1]", "::1", True, id="an IPv6 address in brackets"),
        pytest.param("::1", "[::1]", True, id="a host in brackets"),
        pytest.param("0:0:0:0:0:0:0:1", "::1", True, id="an IPv6 address at length"),
        pytest.param("::1", "::2", False, id="another IPv6 address"),
        pytest.param("10.0.0.0/8", "10.1.2.3", True, id="a block"),
        pytest.param("10.0.0.0/8", "11.1.2.3", False, id="outside of a block"),
        pytest.param("10.1.2.3/8", "10.9.9.9", True, id="a block with host bits"),
        pytest.param("10.0.0.0/8", "10.test", False, id="a name is in no block"),
        pytest.param("10.0.0.0/8", "::1", False, id="IPv6 is in no block of IPv4"),
        pytest.param("fd00::/8", "fd12::1", True, id="a block of IPv6"),
        pytest.param("fd00::/8", "fe80::1", False, id="outside of a block of IPv6"),
        pytest.param("10.0.0.0/99", "10.0.0.1", False, id="not a block"),
        pytest.param("http://a.test", "a.test", False, id="a URL is not an entry"),
    ],
)
def test_no_proxy_covers_names_addresses_and_blocks(text: str, host: str, covered: bool) -> None:
    assert noproxy.parse(text)(host, 80) is covered


@pytest.mark.parametrize(
    ("text", "host", "port", "covered"),
    [
        pytest.param("a.test:80", "a.test", 80, True, id="a name"),
        pytest.param("a.test:80", "a.test", 443, False, id="a name on another port"),
        pytest.param("*.a.test:80", "www.a.test", 80, True, id="a star"),
        pytest.param("*:80", "a.test", 443, False, id="all on another port"),
        pytest.param("127.0.0.1:80", "127.0.0.1", 80, True, id="an address"),
        pytest.param("127.0.0.1:80", "127.0.0.1", 443, False, id="an address on another port"),
        pytest.param("[::1]:80", "::1", 80, True, id="IPv6"),
        pytest.param("[::1]:80", "::1", 443, False, id="IPv6 on another port"),
        pytest.param("10.0.0.0/8:80", "10.0.0.1", 443, False, id="a block on another port"),
    ],
)
def test_an_entry_with_a_port_covers_only_that_port(
    text: str, host: str, port: int, covered: bool
) -> None:
    assert noproxy.parse(text)(host, port) is covered
