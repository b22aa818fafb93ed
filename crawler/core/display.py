"""Untrusted text -> text that is safe to show, with its secrets removed."""

import re

# C0, DEL, C1, zero-width and bidirectional marks, byte order mark, surrogates: what
# moves a terminal's cursor, recolours it, hides text or cannot be encoded.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f"
    "\ufeff\ud800-\udfff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
# What a CI runner takes for a command: "::" where a line starts, "##[" and "##vso[" anywhere.
_COMMAND = re.compile(r"^\s*:(?=:)|#(?=#\[|#vso\[)")
# Known schemes only: what looks like another one may be a user's name.
_FRONT = re.compile(r"(?:https?:/*|(?:htt?ps?|htp|ftps?|wss?|sftp|ssh)://+)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?<=//)[^/?#\x00-\x20]*+")


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
    return _AUTHORITY.sub(lambda match: _hidden(match[0]), text) if "@" in text else text


def mask_loosely(text: str) -> str:
    """Mask what is no URL: all from the first ":" to the last "@" may be a password."""
    before, at, after = text.rpartition("@")
    if not at:
        return text
    match = _FRONT.match(before)
    front = match[0] if match else ""
    name = re.split(r"[/?#:\s]", before[len(front) :], maxsplit=1)[0]
    has_colon = before[len(front) + len(name) :].startswith(":")
    return f"{front}{f'{name}:' if has_colon else ''}***@{after}"


def shorten(text: str, limit: int) -> str:
    """Return at most `limit` characters of `text`, and how many it had where it was cut."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text):,} characters)"


def _escape(match: re.Match[str]) -> str:
    return _code(match[0])


def _code(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return (
        f"\\x{code:02x}"
        if code < 0x100
        else f"\\u{code:04x}"
        if code < 0x10000
        else f"\\U{code:08x}"
    )


def _hidden(authority: str) -> str:
    userinfo, at, host = authority.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    return authority if not at else f"{user}:***@{host}" if colon else f"***@{host}"
