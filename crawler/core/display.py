"""Untrusted text -> text that is safe to show, with its secrets masked."""

import re
from urllib.parse import unquote

# Characters that move a terminal's cursor, recolour it, hide text or cannot be encoded: C0,
# DEL, C1, zero-width and bidirectional marks, byte order mark, surrogates.
_UNSAFE = (
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f"
    "\ufeff\ud800-\udfff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
# CI runners execute "::" at the start of a line, and "##[" and "##vso[" anywhere.
_COMMAND = r"^\s*:(?=:)|#(?=#\[|#vso\[)"
# Known schemes only: any other may be a user name.
_SCHEME = r"(?i:https?:/*|(?:htt?ps?|htp|ftps?|wss?|sftp|ssh)://+)?"
# Parameters whose values are secrets, or as good as one until they expire.
_SECRETS = frozenset(
    """
    token accesstoken refreshtoken idtoken authtoken bearertoken sessiontoken securitytoken
    csrftoken xsrftoken apitoken usertoken resettoken oauthtoken privatetoken jobtoken
    key apikey accesskey accesskeyid awsaccesskeyid secretkey privatekey subscriptionkey sharedkey
    sig sign signature hmac xamzsignature xamzcredential xamzsecuritytoken
    xgoogsignature xgoogcredential xosssignature xosscredential xosssecuritytoken
    password passwd passphrase passcode pass pwd pw secret clientsecret appsecret
    code authcode codeverifier otp totp pin auth authorization bearer credential credentials cred
    session sessionid sessid sid phpsessid jsessionid jwt assertion clientassertion samlresponse
    ticket
    """.split()  # noqa: SIM905 - a table, not a list
)
_PARAMETER = re.compile(r"[?&#;]([^=&#;?\x00-\x20]++)=")
# Up to the end of a URL, without the punctuation of a sentence that follows it.
_VALUE = re.compile(r"[^&#\x00-\x20]*?(?=[',:]{1,2}[\x00-\x20])|[^&#\x00-\x20]*")
_NOT_PLAIN = re.compile(r"[%\]]")  # a name with these must be normalised before it is compared
_LOOSE_VALUE = re.compile(r"[^&]*")
_MASKED = re.compile(r"\*\*\*(?=[',:]{0,2}(?:[&#\x00-\x20]|$))")
_AUTHORITY = re.compile(r"(?<=//)[^/?#\x00-\x20]*+")


def escape(text: str) -> str:
    r"""Return `text` with every unsafe character as ``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN``.

    A lone surrogate that stands for a byte (PEP 383) becomes the ``\xNN`` of that byte.
    The commands of CI runners are broken up in the same way.
    """
    if not text.isprintable():  # no unsafe character is printable
        text = re.sub(_UNSAFE, _escape_match, text)
    if "::" in text or "##" in text:
        text = re.sub(_COMMAND, lambda match: match[0][:-1] + _escaped(match[0][-1]), text)
    return text


def safe(text: str, names: frozenset[str] = frozenset()) -> str:
    """Return `text` masked, then escaped: for a terminal, a log or a list."""
    return escape(mask(text, names))


def safe_loosely(text: str, names: frozenset[str] = frozenset()) -> str:
    """Return text that is not a valid URL masked loosely, then escaped."""
    return escape(mask_loosely(text, names))


def escape_surrogates(text: str) -> str:
    r"""Return `text` with only lone surrogates escaped, which strict JSON readers reject."""
    return text if text.isascii() else re.sub("[\ud800-\udfff]", _escape_match, text)


def mask(text: str, names: frozenset[str] = frozenset()) -> str:
    """Return `text` with the secrets of every URL in it masked.

    Userinfo becomes ``user:***@``; without a password it is masked whole, as it may be a
    token. The value of a parameter with the name of a secret is masked in a query, in a
    fragment and after a ";": ``?token=***``. `names` are further such parameters, as
    `parameter_key` returns them.
    """
    if "@" in text:
        text = _AUTHORITY.sub(lambda match: _mask_userinfo(match[0]), text)
    return _mask_values(text, _VALUE, names) if "=" in text else text


def mask_loosely(text: str, names: frozenset[str] = frozenset()) -> str:
    """Mask text that is not a valid URL: all from the first ":" to the last "@".

    That may be a password. The value of a parameter may continue after white space.
    """
    if "=" in text:
        text = _mask_values(text, _LOOSE_VALUE, names)
    before, at, after = text.rpartition("@")
    if not at:
        return text
    match = re.match(_SCHEME, before)
    scheme = match[0] if match else ""
    user = re.split(r"[/?#:\s]", before[len(scheme) :], maxsplit=1)[0]
    has_colon = before[len(scheme) + len(user) :].startswith(":")
    return f"{scheme}{f'{user}:' if has_colon else ''}***@{after}"


def parameter_key(name: str) -> str:
    """Return the name of a parameter in the form in which names are compared.

    It is percent-decoded, lower case, without "-" and "_"; of `user[token]`, the last part.
    """
    if "%" in name:
        name = unquote(name)
    name = name.removesuffix("[]")
    if name.endswith("]"):
        name = name[name.rfind("[") + 1 : -1]
    return name.lower().replace("-", "").replace("_", "")


def shorten(text: str, limit: int) -> str:
    """Return at most `limit` characters of `text`; if cut, followed by its full length."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text):,} characters)"


def _escape_match(match: re.Match[str]) -> str:
    return _escaped(match[0])


def _escaped(char: str) -> str:
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


def _mask_userinfo(authority: str) -> str:
    userinfo, at, host = authority.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    return authority if not at else f"{user}:***@{host}" if colon else f"***@{host}"


def _mask_values(text: str, value: re.Pattern[str], names: frozenset[str]) -> str:
    """Mask the values of all parameters that have the name of a secret."""
    found = _PARAMETER.findall(text.lower().replace("-", "").replace("_", ""))
    plain = _NOT_PLAIN.search("".join(found)) is None
    if plain and _SECRETS.isdisjoint(found) and names.isdisjoint(found):
        return text  # nearly always; examining each parameter takes three times as long
    parts: list[str] = []
    done = position = 0
    while parameter := _PARAMETER.search(text, position):
        start = position = parameter.end()
        name = parameter_key(parameter[1])
        if (name not in _SECRETS and name not in names) or _MASKED.match(text, start):
            continue
        match = value.match(text, start)
        if match is None or not match[0]:
            continue
        # Keep the "@" of a loose value: `mask_loosely` recognises a password before it by that.
        at = "@" if value is _LOOSE_VALUE and "@" in match[0] else ""
        parts += (text[done:start], f"***{at}")
        done = position = match.end()
    return "".join((*parts, text[done:])) if parts else text
