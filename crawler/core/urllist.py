"""Lines of text -> targets, or records that say why a line is none."""

import codecs
import io
import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import count

from crawler.core import url
from crawler.core.display import escape_surrogates, mask, mask_loosely, shorten
from crawler.models import Attempt, ErrorKind, Expectation, Failure, Outcome, Result, Target

MAX_LINE = 65_536
SHOWN = 2_000  # characters of a bad line that its record repeats
_BLANK = " \t\n\r\f\v"
_COMMENT = re.compile(r"(?:^|[ \t\f\v])#")
_WITH_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# The start of a line up to a colon, after which nothing says that the userinfo has ended.
_UNFINISHED = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:/*)?[^/?#@:]*:[^@]*", re.DOTALL)
# A scheme other than http(s) without "//": "mailto:", "tel:"; but not "host:8080".
_OTHER_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?![0-9]+(?:[/?#]|$))")


class ListError(Exception):
    """A list that cannot be read, or is no list of URLs; its text is one line for people."""


class Splitter:
    """Bytes, in pieces of any size, to lines: UTF-8, ended by LF, CRLF or CR alike.

    A byte order mark at the start is dropped. Bytes that are not UTF-8 become lone
    surrogates (PEP 383), for the parser to complain about. Of a line longer than
    `MAX_LINE` characters, that many and one more are kept, so memory stays flat.
    """

    def __init__(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._decoder = io.IncrementalNewlineDecoder(decoder, translate=True)
        self._rest = ""

    def feed(self, data: bytes, final: bool = False) -> list[str]:
        """Return the lines that `data` completes; with `final`, the last one too."""
        lines = self._decoder.decode(data, final=final).split("\n")
        lines[0] = self._rest + lines[0]
        self._rest = lines.pop()[: MAX_LINE + 1]
        if final and self._rest:
            lines.append(self._rest)
            self._rest = ""
        return [line[: MAX_LINE + 1] for line in lines]


class UrlList:
    """Turns the lines of one run's lists into targets, numbered in one sequence.

    An entry equal to an earlier one after normalisation is dropped and counted in
    `duplicates`, unless `repeat` is true. `masked` are parameters whose values are hidden,
    in the form that `display.parameter` gives them. To keep memory flat, the `memory` first
    different URLs are remembered; a later one may be asked twice.
    """

    def __init__(
        self,
        *,
        expectation: Expectation | None = None,
        method: str = "GET",
        repeat: bool = False,
        masked: frozenset[str] = frozenset(),
        memory: int = 250_000,
    ) -> None:
        self.duplicates = 0
        self._expectation = expectation or Expectation()
        self._method = method
        self._masked = masked
        self._numbers = count()
        self._seen: set[bytes] | None = None if repeat else set()
        self._memory = memory

    def parse(
        self, lines: Iterable[str], *, source: str | None = None, start: int = 1
    ) -> Iterator[Target | Result]:
        """Yield a target, or a record of outcome `invalid`, for each line that holds one.

        `start` is the number of the first line. Raises ListError on a line with a NUL
        character: then the file is UTF-16 or binary, not a list.
        """
        for number, line in enumerate(lines, start):
            if "\0" in line:
                raise ListError(
                    f"{_named(source)}, line {number}: is binary or UTF-16, not UTF-8 text"
                )
            text = line.strip(_BLANK)
            comment = _COMMENT.search(text) if "#" in text else None
            url_end = len(text[: comment.start()].rstrip(_BLANK)) if comment else len(text)
            text, more = text[:url_end], text[url_end:]
            if len(line) > MAX_LINE and not comment:
                yield self._too_long(text, source, number)
            elif text and (entry := self.entry(text, source=source, line=number, more=more)):
                yield entry

    def entry(
        self, text: str, *, source: str | None = None, line: int | None = None, more: str = ""
    ) -> Target | Result | None:
        """Return the target or the `invalid` record of one entry; None for a duplicate.

        `more` is what stood behind it: a comment, or the rest of a password with " #" in it.
        """
        if len(text) > MAX_LINE:
            return self._too_long(text, source, line)
        try:
            address, host = url.parse(_with_scheme(text))
        except ValueError as exc:
            hidden = "@" in more
            shown, written = (self._veiled(text), text + more) if hidden else (text, text)
            return self._invalid(written, shown, str(exc), source, line)
        return self._target(text, address, host, source, line)

    def _too_long(self, text: str, source: str | None, line: int | None) -> Result:
        """Return the record of a line whose end was cut off: no URL can be made of it."""
        complaint = f"is longer than {MAX_LINE:,} characters"
        return self._invalid(text, self._veiled(text), complaint, source, line)

    def _target(
        self, text: str, address: str, host: str, source: str | None, line: int | None
    ) -> Target | None:
        if self._seen is not None:
            key = blake2b(address.encode(), digest_size=16).digest()
            if key in self._seen:
                self.duplicates += 1
                return None
            if len(self._seen) < self._memory:
                self._seen.add(key)
        return Target(
            index=next(self._numbers),
            source=source,
            line=line,
            input=(shown := mask(text, self._masked)),
            url=address,
            host=host,
            expectation=self._expectation,
            method=self._method,
            written=None if shown == text else text,
            masked=self._masked,
        )

    def _invalid(
        self, written: str, text: str, complaint: str, source: str | None, line: int | None
    ) -> Result:
        shown = shorten(escape_surrogates(mask_loosely(text, self._masked)), SHOWN)
        target = Target(
            index=next(self._numbers),
            source=source,
            line=line,
            input=shown,
            url=shown,
            host="",
            expectation=self._expectation,
            method=self._method,
            written=None if shown == written else written,
            masked=self._masked,
        )
        place = "" if source is None or line is None else f"{_named(source)}, line {line}: "
        detail = f"{place}'{shorten(shown, 200)}' {escape_surrogates(complaint)}"
        failure = Failure(kind=ErrorKind.INVALID_URL, phase=None, detail=detail)
        return Result(target=target, outcome=Outcome.INVALID, attempt=Attempt(error=failure))

    def _veiled(self, text: str) -> str:
        """Hide what may be a password whose "@" was cut off."""
        if not _UNFINISHED.fullmatch(text):
            return text
        return mask_loosely(f"{text}@", self._masked)[:-1]


def parse(lines: Iterable[str], *, source: str | None = None) -> Iterator[Target | Result]:
    """Yield what a whole list holds, with the default expectation and method."""
    return UrlList().parse(lines, source=source)


def _named(source: str | None) -> str:
    return "standard input" if source == "-" else source or "the list"


def _with_scheme(text: str) -> str:
    """Put "https:" before a name without a scheme; raise ValueError where it has another."""
    if _WITH_SCHEME.match(text):
        return text
    if text.startswith("//"):
        return f"https:{text}"
    name = re.split(r"[/?#]", text, maxsplit=1)[0]
    if not name.strip(".") or "@" in name or text.startswith("://", len(name) - 1):
        raise ValueError("is not an http:// or https:// URL")
    if _OTHER_SCHEME.match(text):
        raise ValueError("is not an http:// or https:// URL")
    return f"https://{text}"
