"""URLs as people and servers write them: the normalised URL, or the broken rule."""

import asyncio
import time
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

import httpx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from crawler.core import url
from crawler.engine.transports.request import LazyRequest, request_head
from crawler.engine.transports.requesthead import Fields
from crawler.engine.transports.wire import Wire

PROPERTY = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

USERINFO = ["", "user@", "user:pw@", "user:p@ss@", "u%zz:'[@", ":@", "@", "ü:é@", "u\u3000:p@"]
HOSTS = [
    "example.com", "EXAMPLE.com.", "a_b.example", "-", "127.0.0.1", "127.0.0.1.", "1.2.3",
    "[::1]", "[::ffff:1.2.3.4]", "[FE80::0:1]", "bücher.example", "faß.example", "a。example",
    "\uff11.2.3.4", "ex%61mple.com", "a%2fb", "h%b9",
    "xn--bcher-kva.example", "xn--a", "",
]  # fmt: skip
PORTS = ["", ":", ":80", ":443", ":00443", ":8080", ":65535", ":65536", ":0", ":x"]
PIECES = [
    "/", "//", ".", "..", "/.", "/..", "/./", "/../", "?", "#", "%", "%41", "%2e", "%zz", "@", ":",
    "a", "Z", "0", "é", "\u3000", "'", '"', "[", "]", "|", "^", "`", "{", "}", "\\", "<", ">", "&",
    "=", ";", "+", "~", "!", "*", "$", ",", "(", ")", "\u200b", "\ufeff", "\U0001f600",
]  # fmt: skip

HOSTILE = [
    "a", ".", "a.", "/", "/.", "/../", "%", "%41", "%2", "@", ":", "@:", "@[", "[", "]", "?", "#",
    "-", "xn--", "0", "1.", "é", "é.", "e\u0301", "\u0301\u0316", "\u3000", "'", "\x00",
]  # fmt: skip
"""Repeated, these make a careless pattern or loop take quadratic time."""

TAILS = st.lists(st.sampled_from(PIECES) | st.characters(), max_size=8).map("".join)
ADDRESSES = st.tuples(
    st.sampled_from(["http://", "https://", "HTTPS://"]),
    st.sampled_from(USERINFO),
    st.sampled_from(HOSTS) | st.text(st.sampled_from("aZ0-_.é%2e[]:"), max_size=6),
    st.sampled_from(PORTS),
    st.sampled_from(["", "/", "?", "#"]),
    TAILS,
).map("".join)
"""Texts that resemble URLs, about half of them valid."""

PLAIN = st.tuples(
    st.sampled_from(["http://", "https://"]),
    st.text(st.sampled_from("abz019-_."), min_size=1, max_size=12)
    | st.sampled_from(["1.2.3.4", "01.2.3.4", "1.2.3.256", "1.2.3", "a" * 64, "ab." * 90 + "c"]),
    st.sampled_from(["", ":80", ":443", ":1", ":8443", ":65535", ":65536", ":99999"]),
    st.lists(
        st.sampled_from(["/", "/.", "/..", "..", "?", "%41", "%zz", "'"])
        | st.characters(min_codepoint=0x21, max_codepoint=0x7E),
        max_size=10,
    ).map("".join),
).map(lambda parts: f"{parts[0]}{parts[1]}{parts[2]}/{parts[3]}")
"""Texts that are normalised, or almost."""


def complaint(text: str) -> str | None:
    """Return the rule that a text breaks; None for a URL."""
    try:
        url.parse(text)
    except ValueError as exc:
        return str(exc)
    return None


def parsed(text: str) -> tuple[str, str]:
    """Return the URL and host of a text; discard an example that is not a URL."""
    try:
        return url.parse(text)
    except ValueError:
        assume(False)
        raise


@pytest.mark.parametrize(
    ("text", "expected", "host"),
    [
        pytest.param(
            "https://example.com/a?b#c", "https://example.com/a?b#c", "example.com", id="unchanged"
        ),
        pytest.param("https://example.com", "https://example.com/", "example.com", id="no path"),
        pytest.param("http://h?q=1", "http://h/?q=1", "h", id="a query without a path"),
        pytest.param("http://h#top", "http://h/#top", "h", id="a fragment without a path"),
        pytest.param("HTTPS://Example.COM/A", "https://example.com/A", "example.com", id="case"),
        pytest.param("http://h:80/", "http://h/", "h", id="default port of http"),
        pytest.param("https://h:443/", "https://h/", "h", id="default port of https"),
        pytest.param("https://h:00443/", "https://h/", "h", id="leading zeros"),
        pytest.param(f"https://h:{'0' * 5_000}80/", "https://h:80/", "h", id="5,000 zeros"),
        pytest.param("https://h:/", "https://h/", "h", id="empty port"),
        pytest.param("https://h:80/", "https://h:80/", "h", id="default port of the other scheme"),
        pytest.param("http://h:1/", "http://h:1/", "h", id="least port"),
        pytest.param("http://h:65535/", "http://h:65535/", "h", id="greatest port"),
        pytest.param("http://127.0.0.1/", "http://127.0.0.1/", "127.0.0.1", id="IPv4"),
        pytest.param("http://[::1]:8080/x", "http://[::1]:8080/x", "::1", id="IPv6"),
        pytest.param("http://[0:0::0:1]/", "http://[::1]/", "::1", id="IPv6 shortened"),
        pytest.param("http://[2001:DB8::A]/", "http://[2001:db8::a]/", "2001:db8::a", id="hex"),
        pytest.param("http://a_b.de/", "http://a_b.de/", "a_b.de", id="underscore"),
        pytest.param("http://ex%61mple.com/", "http://example.com/", "example.com", id="%host"),
        pytest.param(
            "https://bücher.example/", "https://xn--bcher-kva.example/", "xn--bcher-kva.example",
            id="international name",
        ),
        pytest.param(
            "https://faß.example/", "https://xn--fa-hia.example/", "xn--fa-hia.example",
            id="IDNA 2008 keeps the sharp s",
        ),
        pytest.param(
            "https://BÜCHER。example/", "https://xn--bcher-kva.example/", "xn--bcher-kva.example",
            id="upper case and an ideographic full stop",
        ),
        pytest.param(
            "https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/",
            "xn--bcher-kva.example", id="A-label",
        ),
        pytest.param("http://\uff11.2.3.4/", "http://1.2.3.4/", "1.2.3.4", id="wide digits"),
        pytest.param("https://u:p@h/", "https://u:p@h/", "h", id="userinfo"),
        pytest.param("https://u:p@ss@h/", "https://u:p%40ss@h/", "h", id="@ in a password"),
        pytest.param("https://h/é", "https://h/%C3%A9", "h", id="UTF-8 in a path"),
        pytest.param("https://h/?é", "https://h/?%C3%A9", "h", id="UTF-8 in a query"),
        pytest.param("https://h/%C3%a9%7e", "https://h/%C3%a9%7e", "h", id="escapes stay"),
        pytest.param("https://h/100%", "https://h/100%", "h", id="a lone percent sign"),
        pytest.param("https://h/%zz?%4", "https://h/%zz?%4", "h", id="malformed escapes"),
        pytest.param("https://h/a%2fb%5Cc", "https://h/a%2fb%5Cc", "h", id="escaped slashes stay"),
        pytest.param("https://h/a\\b\\", "https://h/a/b/", "h", id="backslashes in a path"),
        pytest.param("https://h/a?b\\c#d\\e", "https://h/a?b\\c#d\\e", "h", id="backslashes stay"),
        pytest.param("https://h/?it's", "https://h/?it%27s", "h", id="apostrophe in a query"),
        pytest.param("https://h/^|'[]?^|`", "https://h/%5E|'[]?^|`", "h", id="other marks"),
        pytest.param("https://u'^:p:;@h/", "https://u'%5E:p%3A%3B@h/", "h", id="marks in userinfo"),
        pytest.param("https://0x7f.h/", "https://0x7f.h/", "0x7f.h", id="hex in front"),
        pytest.param('https://h/"<>', "https://h/%22%3C%3E", "h", id="quotes and brackets"),
        pytest.param("https://h/a?b=c&d=e+f/?", "https://h/a?b=c&d=e+f/?", "h", id="query"),
        pytest.param("https://h//a//", "https://h//a//", "h", id="double slashes stay"),
        pytest.param("https://h/a:b@c", "https://h/a:b@c", "h", id="@ in a path"),
        pytest.param("https://h/?u=https://x/", "https://h/?u=https://x/", "h", id="URL in URL"),
    ],
)  # fmt: skip
def test_a_url_is_normalised(text: str, expected: str, host: str) -> None:
    assert url.parse(text) == (expected, host)


@pytest.mark.parametrize("text", ["http://example.com./", "http://EXAMPLE.com.:8080/x"])
def test_the_host_has_no_trailing_dot(text: str) -> None:
    assert url.parse(text)[1] == "example.com"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/b/c/./../../g", "/a/g"),
        ("/mid/content=5/../6", "/mid/6"),
        ("/./a", "/a"),
        ("/../a", "/a"),
        ("/a/../../b", "/b"),
        ("/.", "/"),
        ("/..", "/"),
        ("/a/..", "/"),
        ("/a/../", "/"),
        ("/a/.", "/a/"),
        ("/a/./", "/a/"),
        ("/a/b/..", "/a/"),
        ("/a/b/../", "/a/"),
        ("/a/.?q/../r", "/a/?q/../r"),
        ("/.a/..b/c./d..", "/.a/..b/c./d.."),
        ("/...", "/..."),
        ("/a/%2e%2e/b", "/b"),
        ("/a/%2E./b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/a/%2e/b", "/a/b"),
        ("/a/%2E", "/a/"),
        ("/a/%2e%2E", "/"),
        ("/%2e%2e%2e", "/%2e%2e%2e"),
        ("/%2ea/a%2e", "/%2ea/a%2e"),
        ("/a?/%2e%2e/b", "/a?/%2e%2e/b"),
        ("/a\\..\\b", "/b"),
        ("/a/.\\b", "/a/b"),
    ],
)
def test_dot_segments_are_removed_as_in_browsers(path: str, expected: str) -> None:
    assert url.parse(f"https://h{path}")[0] == f"https://h{expected}"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("https://h:0/", "outside 1-65535"),
        ("https://h:65536/", "outside 1-65535"),
        ("https://h:99999999999999999999/", "outside 1-65535"),
        ("https://h:-1/", "not a number"),
        ("https://h:+80/", "not a number"),
        ("https://h:80a/", "not a number"),
        ("https://h:0x50/", "not a number"),
        ("https://h:\uff18\uff10/", "not a number"),
        ("https://h:\u0668\u0660/", "not a number"),
        ("https://h:²/", "not a number"),
        ("https://h:80:80/", "not a number"),
        ("https://", "no host"),
        ("https:///x", "no host"),
        ("https://:80/", "no host"),
        ("https://user:pw@/", "no host"),
        ("https://?q", "no host"),
        ("https://[::1/", "malformed host"),
        ("https://[::1]]/", "malformed host"),
        ("https://[::1]x/", "malformed host"),
        ("https://[:::1]/", "malformed IPv6"),
        ("https://[1.2.3.4]/", "malformed IPv6"),
        ("https://[v1.x]/", "malformed IPv6"),
        ("https://[fe80::1%25eth0]/", "IPv6 zone"),
        ("https://1.2.3/", "malformed IPv4"),
        ("https://1.2.3.256/", "malformed IPv4"),
        ("https://1.2.3.4.5/", "malformed IPv4"),
        ("https://4294967296/", "malformed IPv4"),
        ("https://2130706433/", "malformed IPv4"),
        ("https://0x7f000001/", "malformed IPv4"),
        ("https://0X7F.1/", "malformed IPv4"),
        ("https://127.0.0.0x1/", "malformed IPv4"),
        ("https://127.0x1./", "malformed IPv4"),
        ("https://a.0x/", "malformed IPv4"),
        ("https://127.1/", "malformed IPv4"),
        ("https://0177.0.0.1/", "malformed IPv4"),
        ("https://1%32%37.1/", "malformed IPv4"),
        ("https://a..b/", "malformed host"),
        ("https://.a/", "malformed host"),
        ("https://a../", "malformed host"),
        ("https://./", "malformed host"),
        ("https://a,b/", "malformed host"),
        ("https://a%2fb/", "malformed host"),
        ("https://a%00b/", "malformed host"),
        ("https://a%20b/", "malformed host"),
        ("https://a%b9b/", "^has "),
        ("https://evil.example\\@good.example/", "backslash"),
        ("https://h\\x", "backslash"),
        ("https:\\\\h/", "not an http:// or https:// URL"),
        ("https:/\\h/", "not an http:// or https:// URL"),
        ("https://☃.example/", "international name"),
        ("https://ⅷ℀.example/", "international name"),
        ("ftp://h/", "not an http:// or https:// URL"),
        ("file:///etc/passwd", "not an http:// or https:// URL"),
        ("httpss://h/", "not an http:// or https:// URL"),
        ("https:h", "not an http:// or https:// URL"),
        ("https:/h/", "not an http:// or https:// URL"),
        ("//h/", "not an http:// or https:// URL"),
        ("h", "not an http:// or https:// URL"),
        ("", "not an http:// or https:// URL"),
    ],
)
def test_an_invalid_url_is_rejected_with_the_broken_rule(text: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        url.parse(text)


@pytest.mark.parametrize(
    "label", [pytest.param("a" * 64, id="long label"), pytest.param("é" * 64, id="long encoded")]
)
def test_a_label_longer_than_63_characters_is_rejected(label: str) -> None:
    assert url.parse(f"https://{'a' * 63}.example/")[1] == f"{'a' * 63}.example"
    with pytest.raises(ValueError, match=r"^has a (malformed host|host that is not a valid)"):
        url.parse(f"https://{label}.example/")


def test_a_name_longer_than_253_characters_is_rejected() -> None:
    name = "abcdefg." * 31 + "abcde"
    assert url.parse(f"https://{name}/") == (f"https://{name}/", name)
    with pytest.raises(ValueError, match="malformed host"):
        url.parse(f"https://{name}f/")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("xn--a", id="no code points"),
        pytest.param("xn--", id="nothing encoded"),
    ],
)
def test_an_invalid_punycode_label_is_rejected(name: str) -> None:
    with pytest.raises(ValueError, match=r"^has "):
        url.parse(f"https://{name}/")


@pytest.mark.parametrize(
    "char", [chr(n) for n in range(0x21)] + list("\x7f\x80\x85\x9f\xa0\u2028\u2029")
)
@pytest.mark.parametrize(
    "form", ["https://h{}x/", "https://h/a{}b", "https://u{}:p@h/", "ht{}tp://h/"]
)
def test_white_space_and_control_characters_are_rejected_everywhere(char: str, form: str) -> None:
    with pytest.raises(
        ValueError, match=r"^contains (white space|a control character \(U\+00..\))$"
    ):
        url.parse(form.format(char))


def test_a_byte_that_is_not_utf_8_is_named() -> None:
    text = b"https://h/caf\xe9".decode("utf-8", "surrogateescape")
    with pytest.raises(ValueError, match=r"^contains a byte that is not UTF-8 \(0xe9\)$"):
        url.parse(text)


def test_a_url_of_the_maximum_length_is_accepted_and_a_longer_one_rejected() -> None:
    longest = "https://h/" + "x" * (url.MAX_LENGTH - len("https://h/"))
    assert url.parse(longest)[0] == longest
    with pytest.raises(ValueError, match="longer than"):
        url.parse(longest + "x")


def test_a_url_that_is_too_long_once_encoded_is_rejected() -> None:
    with pytest.raises(ValueError, match="longer than"):
        url.parse("https://h/" + "é" * (url.MAX_LENGTH // 6))


@PROPERTY
@given(st.text(st.characters(), max_size=30) | ADDRESSES)
def test_any_text_is_a_url_or_breaks_a_rule_that_reads_as_a_predicate(text: str) -> None:
    assert (complaint(text) or "is accepted").startswith(("is ", "has ", "contains "))


@PROPERTY
@given(ADDRESSES)
def test_normalisation_is_idempotent(text: str) -> None:
    normal, host = parsed(text)
    assert url.parse(normal) == (normal, host)


@PROPERTY
@given(ADDRESSES)
def test_the_url_shown_is_the_url_requested(text: str) -> None:
    normal, host = parsed(text)
    bare, _ = url.without_userinfo(normal)
    request = LazyRequest("GET", bare, Fields([]), Wire())
    target = request.url.raw_path.decode()
    assert str(request.url) == bare
    assert request.url.raw_host.decode().removesuffix(".") == host
    assert bare.partition("#")[0] == f"{url.origin(bare)}{target}"
    assert asyncio.run(request_head(request)).startswith(f"GET {target} HTTP/1.1\r\n".encode())


@PROPERTY
@given(TAILS)
def test_normalisation_changes_no_bytes_of_a_query(tail: str) -> None:
    normal, _ = parsed(f"https://h/?{tail}")
    assert unquote_to_bytes(normal) == unquote_to_bytes(f"https://h/?{tail}")
    assert normal.count("%") >= tail.count("%")


@PROPERTY
@given(ADDRESSES)
def test_a_normalised_url_is_printable_ascii_with_a_host_and_a_path(text: str) -> None:
    normal, host = parsed(text)
    assert normal.isascii()
    assert normal.isprintable()
    assert normal.startswith(("http://", "https://"))
    assert host == host.lower().strip("[].")
    assert httpx.URL(normal).raw_path.startswith(b"/")


@PROPERTY
@given(PLAIN | ADDRESSES, st.sampled_from(["http://a/b", "https://h:8080/?q", "https://h/a#top"]))
def test_the_short_way_of_a_location_leads_to_the_same_url(location: str, base: str) -> None:
    def joined() -> tuple[str, str] | str:
        try:
            return url.join(base, location)
        except ValueError as exc:
            return str(exc)

    short = joined()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(url, "normal_host", lambda _: None)
        assert joined() == short


@PROPERTY
@given(PLAIN | ADDRESSES)
def test_the_fast_path_and_the_slow_path_agree(text: str) -> None:
    def parsed_by(path: Callable[[str], tuple[str, str]]) -> tuple[str, str] | None:
        try:
            return path(text)
        except ValueError:
            return None

    assert parsed_by(url.parse) == parsed_by(url._normalise)


@pytest.mark.parametrize("unit", HOSTILE)
@pytest.mark.parametrize("start", ["", "https://", "https://h/", "https://h/?"])
def test_hostile_text_of_the_maximum_length_takes_linear_time(start: str, unit: str) -> None:
    text = f"{start}{unit * (url.MAX_LENGTH // len(unit))}"[: url.MAX_LENGTH - 2] + "/!"
    before = time.process_time()
    complaint(text)
    assert time.process_time() - before < 0.8


# RFC 3986, section 5.4: references relative to http://a/b/c/d;p?q
@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("g", "http://a/b/c/g"),
        ("./g", "http://a/b/c/g"),
        ("g/", "http://a/b/c/g/"),
        ("/g", "http://a/g"),
        ("//g", "http://g/"),
        ("?y", "http://a/b/c/d;p?y"),
        ("g?y", "http://a/b/c/g?y"),
        ("#s", "http://a/b/c/d;p?q#s"),
        ("g#s", "http://a/b/c/g#s"),
        ("g?y#s", "http://a/b/c/g?y#s"),
        (";x", "http://a/b/c/;x"),
        ("g;x", "http://a/b/c/g;x"),
        ("g;x?y#s", "http://a/b/c/g;x?y#s"),
        ("", "http://a/b/c/d;p?q"),
        (".", "http://a/b/c/"),
        ("./", "http://a/b/c/"),
        ("..", "http://a/b/"),
        ("../", "http://a/b/"),
        ("../g", "http://a/b/g"),
        ("../..", "http://a/"),
        ("../../", "http://a/"),
        ("../../g", "http://a/g"),
        ("../../../g", "http://a/g"),
        ("../../../../g", "http://a/g"),
        ("/./g", "http://a/g"),
        ("/../g", "http://a/g"),
        ("g.", "http://a/b/c/g."),
        (".g", "http://a/b/c/.g"),
        ("g..", "http://a/b/c/g.."),
        ("..g", "http://a/b/c/..g"),
        ("./../g", "http://a/b/g"),
        ("./g/.", "http://a/b/c/g/"),
        ("g/./h", "http://a/b/c/g/h"),
        ("g/../h", "http://a/b/c/h"),
        ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
        ("g;x=1/../y", "http://a/b/c/y"),
        ("g?y/./x", "http://a/b/c/g?y/./x"),
        ("g?y/../x", "http://a/b/c/g?y/../x"),
        ("g#s/./x", "http://a/b/c/g#s/./x"),
        ("g#s/../x", "http://a/b/c/g#s/../x"),
        ("http://a/b/c/d;p/..", "http://a/b/c/"),
        ("https://h/x", "https://h/x"),
        ("https://H:443", "https://h/"),
        ("g?", "http://a/b/c/g?"),
        ("?", "http://a/b/c/d;p?"),
    ],
)  # fmt: skip
def test_a_reference_is_resolved_by_rfc_3986(location: str, expected: str) -> None:
    assert url.join("http://a/b/c/d;p?q", location)[0] == expected


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        pytest.param("/b", "https://h/b#top", id="inherited"),
        pytest.param("/b#own", "https://h/b#own", id="its own"),
        pytest.param("https://other/", "https://other/#top", id="to another host"),
    ],
)
def test_a_location_without_a_fragment_inherits_that_of_the_base(
    location: str, expected: str
) -> None:
    assert url.join("https://h/a#top", location)[0] == expected


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (" \t/b \t", "https://h/b"),
        ("/a b", "https://h/a%20b"),
        ("/é?ü", "https://h/%C3%A9?%C3%BC"),
        ("//bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://user:pw@h/b", "https://h/b"),
        ("//user:p@w@h/b", "https://h/b"),
        ("HTTP://H:80/b", "http://h/b"),
        ("\\b", "https://h/b"),
        ("/a\\..\\b", "https://h/b"),
        ("a\\b?c\\d#e\\f", "https://h/a/b?c\\d#e\\f"),
        ("/%2e%2e/b", "https://h/b"),
        ("/50%?%zz", "https://h/50%?%zz"),
    ],
)
def test_locations_are_read_as_in_browsers(location: str, expected: str) -> None:
    assert url.join("https://h/", location)[0] == expected


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        pytest.param(b"/caf\xe9", "https://h/caf%E9", id="not UTF-8"),
        pytest.param(b"/caf\xc3\xa9", "https://h/caf%C3%A9", id="UTF-8"),
        pytest.param(b"/\xe9\xc3\xa9", "https://h/%E9%C3%A9", id="both"),
        pytest.param(b"/a\xc2\xa0b", "https://h/a%C2%A0b", id="no-break space"),
        pytest.param(b"/a\xa0b", "https://h/a%A0b", id="no-break space in ISO 8859-1"),
        pytest.param(b"/a\xc2\x85b", "https://h/a%C2%85b", id="next line"),
        pytest.param(b"/a\xe2\x80\xa8b", "https://h/a%E2%80%A8b", id="line separator"),
        pytest.param(b"/a\xed\xa0\x80b", "https://h/a%ED%A0%80b", id="half a pair"),
        pytest.param(b"?a=\xff#\xfe", "https://h/?a=%FF#%FE", id="query and fragment"),
        pytest.param(
            b"//b\xc3\xbccher.example/\xfc", "https://xn--bcher-kva.example/%FC", id="host"
        ),
        pytest.param(b"//u\xc3\xbc:\xc3\xbc@h.example/", "https://h.example/", id="userinfo"),
    ],
)
def test_the_bytes_of_a_location_are_percent_encoded_unchanged(
    location: bytes, expected: str
) -> None:
    assert url.join("https://h/", location.decode("ascii", "surrogateescape"))[0] == expected


@pytest.mark.parametrize("location", [b"//b\xfccher.example/", b"https://\xff\xfe/"])
def test_a_host_in_a_location_that_is_not_utf_8_is_rejected(location: bytes) -> None:
    with pytest.raises(ValueError, match=r"^has a host that is not UTF-8$"):
        url.join("https://h/", location.decode("ascii", "surrogateescape"))


@pytest.mark.parametrize(
    "location",
    [
        "/\\evil.example/",
        "\\/evil.example/",
        "\\\\evil.example\\",
        "HTTPS:\\\\evil.example/",
        "http:/\\e/",
    ],
)
def test_a_location_with_an_ambiguous_host_is_rejected(location: str) -> None:
    with pytest.raises(ValueError, match=r"^has a backslash before its host$"):
        url.join("https://h/", location)


@pytest.mark.parametrize(
    "location",
    [
        "//[",
        "//[::1",
        "//a[b]c/",
        "https://[v1.x]/",
        "//℀.example/",
        "//h:x/",
        "mailto:a@b",
        "\x01",
    ],
)
def test_an_invalid_location_breaks_a_rule_that_reads_as_a_predicate(location: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|has|contains) "):
        url.join("https://h/", location)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://h/", ("https://h/", None)),
        ("https://h/a@b?c@d#e@f", ("https://h/a@b?c@d#e@f", None)),
        ("https://user:pw@h:81/a@b", ("https://h:81/a@b", "user:pw")),
        ("https://user:p%40s%3As@[::1]/", ("https://[::1]/", "user:p@s:s")),
        ("https://user:p%C3%A9@h/", ("https://h/", "user:pé")),
        ("https://user:@h/", ("https://h/", "user:")),
        ("https://:pw@h/", ("https://h/", ":pw")),
        # RFC 7617: credentials contain a colon even if the password is empty.
        ("https://token@h/", ("https://h/", "token:")),
    ],
)
def test_credentials_are_removed_from_a_url_and_decoded(
    address: str, expected: tuple[str, str | None]
) -> None:
    assert url.without_userinfo(address) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://h/", "https://h"),
        ("https://h:81/a/b?c", "https://h:81"),
        ("http://[::1]:81/", "http://[::1]:81"),
        ("https://h/?u=http://x/", "https://h"),
    ],
)
def test_an_origin_is_scheme_host_and_port(address: str, expected: str) -> None:
    assert url.origin(address) == expected
