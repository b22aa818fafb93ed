"""Untrusted text -> text that is safe to show, with its secrets removed."""

import re
from urllib.parse import unquote

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
# Parameters whose values are secrets, or stand for one while they last.
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
# Up to where a URL ends, but for the marks that a sentence puts behind one.
_VALUE = re.compile(r"[^&#\x00-\x20]*?(?=[',:]{1,2}[\x00-\x20])|[^&#\x00-\x20]*")
_UNCLEAR = re.compile(r"[%\]]")  # in a name: it may be called otherwise than it looks
_LOOSE_VALUE = re.compile(r"[^&]*")
_MASKED = re.compile(r"\*\*\*(?=[',:]{0,2}(?:[&#\x00-\x20]|$))")
_AUTHORITY = re.compile(r"(?<=//)[^/?#\x00-\x20]*+")


def escape(text: str) -> str:
    r"""Return `text` with every unsafe character as ``\xNN`` or ``\uNNNN``.

    A byte that was not UTF-8 (a lone surrogate U+DC80-DCFF) becomes the ``\xNN`` it was.
    The marks that steer CI runners are broken up in the same way.
    """
    return _COMMAND.sub(lambda m: m[0][:-1] + _code(m[0][-1]), _UNSAFE.sub(_escape, text))


def safe(text: str, names: frozenset[str] = frozenset()) -> str:
    """Return `text` masked, then escaped: for a terminal, a log or a list."""
    return escape(mask(text, names))


def safe_loosely(text: str, names: frozenset[str] = frozenset()) -> str:
    """Return text that is not a valid URL masked loosely, then escaped."""
    return escape(mask_loosely(text, names))


def escape_surrogates(text: str) -> str:
    r"""Return `text` without lone surrogates, which no strict UTF-8 or JSON reader takes."""
    return text if text.isascii() else re.sub("[\ud800-\udfff]", _escape, text)


def mask(text: str, names: frozenset[str] = frozenset()) -> str:
    """Return `text` with the secrets of every URL in it hidden.

    Userinfo becomes ``user:***@``; without a password it is hidden whole, as it may be a
    token. So is the value of a parameter that is called as a secret is, in a query, a
    fragment or behind a ";": ``?token=***``. `names` are further such parameters, in the
    form that `parameter` gives them.
    """
    if "@" in text:
        text = _AUTHORITY.sub(lambda match: _hidden(match[0]), text)
    return _mask_values(text, _VALUE, names) if "=" in text else text


def mask_loosely(text: str, names: frozenset[str] = frozenset()) -> str:
    """Mask what is no URL: all from the first ":" to the last "@" may be a password.

    The value of a parameter may go on after white space.
    """
    if "=" in text:
        text = _mask_values(text, _LOOSE_VALUE, names)
    before, at, after = text.rpartition("@")
    if not at:
        return text
    match = _FRONT.match(before)
    front = match[0] if match else ""
    name = re.split(r"[/?#:\s]", before[len(front) :], maxsplit=1)[0]
    has_colon = before[len(front) + len(name) :].startswith(":")
    return f"{front}{f'{name}:' if has_colon else ''}***@{after}"


def parameter_key(name: str) -> str:
    """Return the name of a parameter in the form in which names are compared.

    That is without case, "-" and "_", percent-decoded; of `user[token]` it is the last part.
    """
    if "%" in name:
        name = unquote(name)
    name = name.removesuffix("[]")
    if name.endswith("]"):
        name = name[name.rfind("[") + 1 : -1]
    return name.lower().replace("-", "").replace("_", "")


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


def _mask_values(text: str, value: re.Pattern[str], names: frozenset[str]) -> str:
    """Hide the values of all parameters that are called as secrets are."""
    called = _PARAMETER.findall(text.lower().replace("-", "").replace("_", ""))
    unclear = _UNCLEAR.search("".join(called)) is not None
    if not unclear and _SECRETS.isdisjoint(called) and names.isdisjoint(called):
        return text  # nearly always; a look at each of them takes three times as long
    parts: list[str] = []
    done = place = 0
    while found := _PARAMETER.search(text, place):
        start = place = found.end()
        name = parameter_key(found[1])
        if (name not in _SECRETS and name not in names) or _MASKED.match(text, start):
            continue
        match = value.match(text, start)
        if match is None or not match[0]:
            continue
        # A loose value may hold the "@" by which a password before it is known for one.
        at = "@" if value is _LOOSE_VALUE and "@" in match[0] else ""
        parts += (text[done:start], f"***{at}")
        done = place = match.end()
    return "".join((*parts, text[done:])) if parts else text
