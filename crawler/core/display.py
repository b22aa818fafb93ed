"""Untrusted text -> text that is safe to show, with its secrets removed."""

import re

# C0, DEL, C1, zero-width and bidirectional marks, byte order mark, surrogates: what
# moves a terminal's cursor, recolours it, hides text or cannot be encoded.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff\ufff9-\ufffb]"
)
# What a CI runner takes for a command: "::" where a line starts, "##[" and "##vso[" anywhere.
_COMMAND = re.compile(r"^\s*:(?=:)|#(?=#\[|#vso\[)")
_USERINFO = re.compile(r"(?<=//)([^/?#@\s:]*)(:?)[^/?#\s]*@")
_LOOSE_USERINFO = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*:/*)?([^/?#@:]*)(:?).*@", re.DOTALL)


def display(text: str) -> str:
    r"""Return `text` with every unsafe character as ``\xNN`` or ``\uNNNN``.

    A byte that was not UTF-8 (a lone surrogate U+DC80-DCFF) becomes the ``\xNN`` it was.
    The marks that steer CI runners are broken up in the same way.
    """
    return _COMMAND.sub(lambda m: m[0][:-1] + _code(m[0][-1]), _UNSAFE.sub(_escape, text))


def encodable(text: str) -> str:
    r"""Return `text` without lone surrogates, which no strict UTF-8 or JSON reader takes."""
    return text if text.isascii() else re.sub("[\ud800-\udfff]", _escape, text)


def mask(text: str) -> str:
    """Return `text` with the userinfo of every URL in it hidden: ``user:***@``.

    Userinfo without a password is hidden whole, as it may be a token.
    """
    return _USERINFO.sub(_hide, text) if "@" in text else text


def mask_loosely(text: str) -> str:
    """Mask a line that is not a URL: all from the first ":" to the last "@" may be a password."""
    if "@" not in text:
        return text
    return _LOOSE_USERINFO.sub(
        lambda m: f"{m[1] or ''}{m[2]}:***@" if m[3] else f"{m[1] or ''}***@", text
    )


def shorten(text: str, limit: int) -> str:
    """Return at most `limit` characters of `text`, and how many it had where it was cut."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text):,} characters)"


def _escape(match: re.Match[str]) -> str:
    return _code(match[0])


def _code(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _hide(match: re.Match[str]) -> str:
    return f"{match[1]}:***@" if match[2] else "***@"
