"""Untrusted text, escaped and masked for a terminal, a CI log or a report."""

import time
import unicodedata

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from crawler.core import url
from crawler.core.display import (
    escape,
    escape_surrogates,
    mask,
    mask_loosely,
    parameter_key,
    shorten,
)

PROPERTY = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

SPACES = " \t\n\x0b\x0c\x1c\x85\xa0\u1680\u2003\u2028\u205f\u3000"
MARKS = [
    *(chr(n) for n in range(0x20)),
    *(chr(n) for n in range(0x7F, 0xA0)),
    *"\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e",
    *(chr(n) for n in range(0x2060, 0x2070) if n != 0x2065),  # which is not assigned
    *"\ufeff\ufff9\ufffa\ufffb\ud800\udbff\udc00\udfff",
]
"""C0, DEL, C1, bidirectional and zero-width marks, line ends, byte order mark, surrogates."""

SECRET = "s3cr3t"
ANY = st.text(st.sampled_from(f"#[:/@?{SPACES}") | st.characters(), max_size=12)
NAMES = st.sampled_from(
    ["token", "ToKeN", "access_token", "api-key", "%74oken", "X-Amz-Signature", "user[password]"]
)
PARAMETERS = st.lists(
    st.sampled_from(
        [
            "?",
            "&",
            "#",
            ";",
            "=",
            "token",
            "a",
            "***",
            "'",
            ",",
            ":",
            " ",
            "@",
            "//",
            "u:p@h/",
            "%3D",
        ]
    ),
    max_size=12,
).map("".join)
HARD = st.text(st.sampled_from("#:/@? ab"), max_size=4) | ANY
STEERING = st.lists(
    st.sampled_from(
        ["#", "##", "[", "vso[", ":", "::", " ", "\t", "\u3000", "\ufeff", "\n", "error"]
    ),
    max_size=8,
).map("".join)


@pytest.mark.parametrize("char", MARKS, ids=lambda char: f"U+{ord(char):04X}")
def test_every_unsafe_character_is_escaped(char: str) -> None:
    shown = escape(f"a{char}b")
    assert shown.startswith("a\\")
    assert shown.endswith("b")
    assert shown.isascii()
    assert shown.isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("\x1b[31mred", "\\x1b[31mred", id="colour"),
        pytest.param("\x1b]8;;http://x\x07", "\\x1b]8;;http://x\\x07", id="link"),
        pytest.param("a\r\nb\tc", "a\\x0d\\x0ab\\x09c", id="line end and tab"),
        pytest.param("\x9b2J", "\\x9b2J", id="C1"),
        pytest.param("moc\u202eexe", "moc\\u202eexe", id="bidirectional override"),
        pytest.param("\ufeffa\u200bb", "\\ufeffa\\u200bb", id="invisible"),
        pytest.param("\ud83d", "\\ud83d", id="half a pair"),
        pytest.param("caf\udce9", "caf\\xe9", id="a byte that was not UTF-8"),
    ],
)
def test_an_unsafe_character_becomes_its_code(text: str, shown: str) -> None:
    assert escape(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "", "https://host.example/a?b#c", "Größe 25 µm", "日本語", "\U0001f600", "[/red][link=x]",
        "a\\b", "a: b", ":a", "# a ## b", "#[",
    ],
)  # fmt: skip
def test_safe_text_is_unchanged(text: str) -> None:
    assert escape(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "::error::x", "  ::error::x", "\u3000::warning::x", "\t::stop-commands::x", ":::x",
        "##[error]x", "a ##[group]b", "###[x", "##vso[task.setvariable]x", "a###vso[x", "##[##[",
        "::##[",
    ],
)  # fmt: skip
def test_commands_of_ci_runners_are_broken_up(text: str) -> None:
    shown = escape(text)
    assert shown != text
    assert not shown.lstrip().startswith("::")
    assert "##[" not in shown
    assert "##vso[" not in shown


def test_every_code_point_can_be_shown() -> None:
    shown = escape("".join(map(chr, range(0x110000))))
    assert shown.encode()
    assert {unicodedata.category(char) for char in shown} & {"Cc", "Cs", "Zl", "Zp"} == set()


@PROPERTY
@given(ANY | STEERING)
def test_escaped_text_is_one_safe_line(text: str) -> None:
    shown = escape(text)
    assert not set(shown) & set(MARKS)
    assert shown.encode().decode() == shown
    assert not shown.lstrip().startswith("::")
    assert "##[" not in shown
    assert "##vso[" not in shown


@PROPERTY
@given(ANY | STEERING)
def test_escaping_is_idempotent(text: str) -> None:
    assert escape(escape(text)) == escape(text)


@PROPERTY
@given(st.text(st.characters() | st.sampled_from("\ud800\udce9\udfff")))
def test_escape_surrogates_changes_only_lone_surrogates(text: str) -> None:
    made = escape_surrogates(text)
    assert made.encode().decode() == made
    kept = [char for char in text if not "\ud800" <= char <= "\udfff"]
    assert made.count("\\") - text.count("\\") == len(text) - len(kept)
    if kept == list(text):
        assert made == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        pytest.param("https://host/", "https://host/", id="nothing to mask"),
        pytest.param("https://user:pw@host/", "https://user:***@host/", id="password"),
        pytest.param("https://token@host/", "https://***@host/", id="token"),
        pytest.param("https://:pw@host/", "https://:***@host/", id="no user"),
        pytest.param("https://user:@host/", "https://user:***@host/", id="empty password"),
        pytest.param("https://user:p@ss@host/", "https://user:***@host/", id="@ in the password"),
        pytest.param("https://user:p:w@host/", "https://user:***@host/", id=": in the password"),
        pytest.param("https://u:p@[::1]:8/", "https://u:***@[::1]:8/", id="IPv6"),
        pytest.param("//user:pw@host/", "//user:***@host/", id="no scheme"),
        pytest.param("https://h/a@b:c?d=e@f#g@h", "https://h/a@b:c?d=e@f#g@h", id="no userinfo"),
        pytest.param("joe@host, see https://host", "joe@host, see https://host", id="mail"),
        pytest.param(
            "from https://a:b@c/ to http://d:e@f/ (x@y)",
            "from https://a:***@c/ to http://d:***@f/ (x@y)",
            id="two in a sentence",
        ),
        pytest.param(
            "https://host/?next=https://user:pw@other/",
            "https://host/?next=https://user:***@other/",
            id="a URL in a URL",
        ),
    ],
)  # fmt: skip
def test_userinfo_is_masked_in_every_url_of_a_text(text: str, masked: str) -> None:
    assert mask(text) == masked


@PROPERTY
@given(HARD, HARD)
def test_mask_leaves_no_password_of_a_url(before: str, after: str) -> None:
    text = f"https://user:{before}{SECRET}{after}@host.example/"
    try:
        normal, _ = url.parse(text)
    except ValueError:
        assume(False)
    assume(SECRET in (url.without_userinfo(normal)[1] or ""))
    assert SECRET not in mask(text)
    assert SECRET not in mask(normal)


@pytest.mark.parametrize("space", SPACES, ids=lambda char: f"U+{ord(char):04X}")
def test_a_password_with_white_space_is_masked(space: str) -> None:
    text = f"https://user:a{space}{SECRET}@host.example/"
    try:
        url.parse(text)
    except ValueError:
        text = mask_loosely(text)  # as in an invalid entry
    assert SECRET not in mask(text)


@pytest.mark.parametrize(
    "name",
    [
        "token", "key", "api_key", "apikey", "access_token", "refresh_token", "id_token", "sig",
        "signature", "X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token",
        "X-Goog-Signature", "password", "passwd", "pwd", "secret", "client_secret", "code", "auth",
        "authorization", "session", "sid", "jwt", "credential", "TOKEN", "Api-Key", "accessToken",
        "to%6Ben", "%74%6f%6b%65%6e", "user[password]", "user%5Bpassword%5D", "token[]",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "form",
    ["?{}=SECRET", "?a=b&{}=SECRET", "?a=b;{}=SECRET", "#{}=SECRET", "?a#/x?{}=SECRET",
     "?next=http://h/?{}=SECRET", ";{}=SECRET", "x?{}=SECRET&a=b"],
)  # fmt: skip
def test_the_value_of_a_secret_parameter_is_masked(name: str, form: str) -> None:
    text = f"https://host.example/{form.format(name)}"
    assert mask(text) == mask_loosely(text) == text.replace("SECRET", "***")


@pytest.mark.parametrize(
    "text",
    [
        "https://h/?a=b&c=d", "https://h/?tokens=5&keyword=x&monkey=y", "https://h/token=a",
        "https://h/?token", "https://h/?token=", "https://h/?token=&a=b", "token=a", "a=b; c=d",
        "https://h/?x[key]y=a",
    ],
)  # fmt: skip
def test_other_values_are_not_masked(text: str) -> None:
    assert mask(text) == text


def test_additional_parameters_are_masked_in_any_spelling() -> None:
    names = frozenset({parameter_key("My-Id")})
    text = "https://h/?my_id=1&MYID=2&my%2Did=3&your_id=4"
    assert mask(text, names) == "https://h/?my_id=***&MYID=***&my%2Did=***&your_id=4"
    assert mask(text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("leads to https://h/?key=a, which is", "leads to https://h/?key=***, which is"),
        ("leads to 'https://h/?key=a', which is", "leads to 'https://h/?key=***', which is"),
        ("https://h/?key=a: status 404", "https://h/?key=***: status 404"),
        ("'https://h/?key=***' is", "'https://h/?key=***' is"),
        ("https://h/?key=a,b:c'd", "https://h/?key=***"),
        ("https://h/?key=***'d", "https://h/?key=***"),
        ("https://u:p@h/?key=a@b", "https://u:***@h/?key=***"),
    ],
)
def test_punctuation_after_a_url_is_not_masked(text: str, masked: str) -> None:
    assert mask(text) == masked


@PROPERTY
@given(NAMES, HARD, HARD)
def test_mask_leaves_no_value_of_a_secret_parameter(name: str, before: str, after: str) -> None:
    value = f"{before}{SECRET}{after}".replace("&", "").replace("#", "")
    text = f"https://host.example/?{name}={value}"
    try:
        normal, _ = url.parse(text)
    except ValueError:
        text = normal = mask_loosely(text)  # as in an invalid entry
    assert SECRET not in mask(text)
    assert SECRET not in mask(normal)


@PROPERTY
@given(
    st.sampled_from(["https://host/", "see http://h/x?y#z for more", "", "https://h/?token="]),
    ANY | PARAMETERS,
)
def test_masking_is_idempotent(front: str, text: str) -> None:
    once = mask(f"{front}{text}")
    assert mask(once) == once


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        pytest.param("no url", "no url", id="nothing to mask"),
        pytest.param("user:pw@host", "user:***@host", id="no scheme"),
        pytest.param("ftp://user:pw@host/x", "ftp://user:***@host/x", id="another scheme"),
        pytest.param("http://user:p w@host/", "http://user:***@host/", id="space"),
        pytest.param("http://user:p/w@host/", "http://user:***@host/", id="slash"),
        pytest.param("http://user:p?w@host/", "http://user:***@host/", id="question mark"),
        pytest.param("http://user:p#w@host/", "http://user:***@host/", id="hash"),
        pytest.param("http://user:p@w@host/", "http://user:***@host/", id="at"),
        pytest.param("http://user:p:w@host/", "http://user:***@host/", id="colon"),
        pytest.param("user:p:w@host/", "user:***@host/", id="colon, no scheme"),
        pytest.param("token@host", "***@host", id="token"),
        pytest.param("ftp://h/?key=a b#c d&e=f", "ftp://h/?key=***&e=f", id="space in a value"),
        pytest.param("http://h/?key=a@b", "http://***@", id="at in a value"),
        pytest.param("http://u:p?key=a@h/", "http://u:***@", id="a parameter in a password"),
    ],
)
def test_userinfo_is_masked_in_text_that_is_not_a_valid_url(text: str, masked: str) -> None:
    assert mask_loosely(text) == masked


@PROPERTY
@given(
    st.sampled_from(["", "http://", "https:", "https:/", "//", "ftp://", "http:///", "x "]),
    HARD,
    HARD,
)
def test_mask_loosely_leaves_no_password(front: str, before: str, after: str) -> None:
    assume(front or not before.startswith("//"))  # "user://" is a scheme
    assert SECRET not in mask_loosely(f"{front}user:{before}{SECRET}{after}@host.example/")


@pytest.mark.parametrize("change", [escape, escape_surrogates, mask, mask_loosely])
@pytest.mark.parametrize(
    "unit",
    ["a", "/", "//", "//a", "//:", "@", "//@", "##[", ":", "::", " ", "\x1b", "\ud800", "a:", "=",
     "?a=", "?=", "&token=a", "?token=?token=", "token=", "?token=:", "?token=***"],
)  # fmt: skip
@pytest.mark.parametrize("end", ["", "@", "/@"])
def test_hostile_text_takes_linear_time(change: object, unit: str, end: str) -> None:
    assert callable(change)
    text = "//" + unit * (32_000 // len(unit)) + end
    before = time.process_time()
    change(text)
    assert time.process_time() - before < 0.8


def test_a_shortened_text_states_its_full_length() -> None:
    assert shorten("x" * 12_345, 5) == "xxxxx... (12,345 characters)"
    assert shorten("xxxxx", 5) == "xxxxx"
