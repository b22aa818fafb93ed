"""Environment variables -> proxies and certificates, or a ValueError that names the variable."""

import os
from collections.abc import Callable, Mapping

from crawler.cli import values
from crawler.core.display import mask_loosely


def proxies(environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return (variable, proxy URL) for "http" and "https", as far as they are set.

    Lower-case names take precedence. `HTTP_PROXY` is ignored in a CGI script, where a
    request's header could have set it.
    """
    found = {}
    for scheme in ("http", "https"):
        names = [f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY"]
        if "REQUEST_METHOD" in environ:
            names = [name for name in names if name != "HTTP_PROXY"]
        name = next((name for name in names if environ.get(name)), None)
        if name is not None:
            found[scheme] = (name, _converted(environ, name, values.proxy))
    return found


def no_proxy(environ: Mapping[str, str]) -> str:
    """Return the hosts that are requested without a proxy."""
    return environ.get("no_proxy") or environ.get("NO_PROXY") or ""


def check_certificates(environ: Mapping[str, str]) -> None:
    """Raise ValueError if a variable that OpenSSL reads names nothing that it can use."""
    for name, convert in (("SSL_CERT_FILE", values.pem), ("SSL_CERT_DIR", _directories)):
        if name in environ:
            _converted(environ, name, convert)


def _directories(path: str) -> str:
    """Return a list of directories, separated as in PATH, of which one exists."""
    if any(os.path.isdir(part) for part in path.split(os.pathsep)):
        return path
    raise ValueError("is not a directory")


def _converted(environ: Mapping[str, str], name: str, convert: Callable[[str], str]) -> str:
    try:
        return convert(environ[name])
    except ValueError as exc:
        shown = mask_loosely(environ[name])
        raise ValueError(f"environment variable {name}: '{shown}' {exc}") from exc
