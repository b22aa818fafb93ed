"""Lines of text -> targets, and results of outcome `invalid` for malformed entries."""

import codecs
import io
import re
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from crawler.core import url
from crawler.core.display import escape_surrogates, mask, mask_loosely, shorten
from crawler.models import Attempt, ErrorKind, Expectation, Failure, Outcome, Result, Target

if TYPE_CHECKING:
    import hashlib

MAX_LINE = 65_536
MAX_SHOWN = 2_000  # characters of an invalid line kept in its record
_BLANK = " \t\n\r\f\v"
_COMMENT = re.compile(r"(?:^|[ \t\f\v])#")
_WITH_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# A colon without an "@" after it: possibly a user name and the start of a password.
_UNFINISHED_USERINFO = r"(?:[A-Za-z][A-Za-z0-9+.-]*:/*)?[^/?#@:]*:[^@]*"
# A scheme other than http(s) without "//": "mailto:", "tel:"; but not "host:8080".
_OTHER_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*:(?![0-9]+(?:[/?#]|$))"


class ListError(Exception):
    """The list cannot be read, or is not a list of URLs; the text is one line for people."""


class LineSplitter:
    """UTF-8 bytes, in chunks of any size -> lines that ended with LF, CRLF or CR.

    A byte order mark at the start is dropped. Bytes that are not UTF-8 become lone
    surrogates (PEP 383), which the parser rejects. A line is cut after `MAX_LINE` + 1
    characters, so that memory stays flat.
    """

    def __init__(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._decoder = io.IncrementalNewlineDecoder(decoder, translate=True)
        self._rest = ""

    def feed(self, data: bytes, final: bool = False) -> list[str]:
        """Return the lines completed by `data`; if `final`, also an unterminated last one."""
        lines = self._decoder.decode(data, final=final).split("\n")
        lines[0] = self._rest + lines[0]
        self._rest = lines.pop()[: MAX_LINE + 1]
        if final and self._rest:
            lines.append(self._rest)
            self._rest = ""
        return [line[: MAX_LINE + 1] for line in lines]


class UrlList:
    """Parses the lines of all lists of a run into targets, numbered in one sequence.

    An entry equal to an earlier one after normalisation is dropped and counted in
    `duplicates`, unless `repeat` is true. To keep memory flat, only the first `memory`
    distinct URLs are remembered; a later one may be checked twice. `masked` are parameters
    to mask, as `display.parameter_key` returns them.
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
        self._seen = None if repeat else _Seen(memory)

    def parse(
        self, lines: Iterable[str], *, source: str | None = None, start: int = 1
    ) -> Iterator[Target | Result]:
        """Yield a target, or a result of outcome `invalid`, for each line with an entry.

        `start` is the number of the first line. Raises ListError for a line with a NUL
        character: the file is UTF-16 or binary.
        """
        for number, line in enumerate(lines, start):
            host = url.normal_host(line)
            entry = (
                self._parse_line(line, source, number)
                if host is None  # seldom: the line is more, or something else, than a normal URL
                else self._target(line, line, host, source, number)
            )
            if entry is not None:
                yield entry

    def parse_entry(
        self, text: str, *, source: str | None = None, line: int | None = None, comment: str = ""
    ) -> Target | Result | None:
        """Return the target of one entry, or an `invalid` result; None for a duplicate.

        `comment` is the text after it, which may also be the rest of a password with " #".
        """
        if len(text) > MAX_LINE:
            return self._too_long(text, source, line)
        try:
            address, host = url.parse(_with_scheme(text))
        except ValueError as exc:
            shown, written = text, text
            if "@" in comment:
                shown, written = self._mask_unfinished(text), text + comment
            return self._invalid(written, shown, str(exc), source, line)
        return self._target(text, address, host, source, line)

    def _parse_line(self, line: str, source: str | None, number: int) -> Target | Result | None:
        """Return the entry of any line; None if it has none, or a duplicate."""
        if "\0" in line:
            raise ListError(
                f"{source_name(source)}, line {number}: is binary or UTF-16, not UTF-8 text"
            )
        text = line.strip(_BLANK)
        found = _COMMENT.search(text) if "#" in text else None
        url_end = len(text[: found.start()].rstrip(_BLANK)) if found else len(text)
        text, comment = text[:url_end], text[url_end:]
        if len(line) > MAX_LINE and not found:
            return self._too_long(text, source, number)
        if not text:
            return None
        return self.parse_entry(text, source=source, line=number, comment=comment)

    def _too_long(self, text: str, source: str | None, line: int | None) -> Result:
        """Return the result of a line that was cut, and so cannot be parsed."""
        rule = f"is longer than {MAX_LINE:,} characters"
        return self._invalid(text, self._mask_unfinished(text), rule, source, line)

    def _target(
        self, text: str, address: str, host: str, source: str | None, line: int | None
    ) -> Target | None:
        if self._seen is not None and self._seen.has_or_adds(address):
            self.duplicates += 1
            return None
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
        self, written: str, text: str, rule: str, source: str | None, line: int | None
    ) -> Result:
        shown = shorten(escape_surrogates(mask_loosely(text, self._masked)), MAX_SHOWN)
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
        position = "" if source is None or line is None else f"{source_name(source)}, line {line}: "
        detail = f"{position}'{shorten(shown, 200)}' {escape_surrogates(rule)}"
        failure = Failure(kind=ErrorKind.INVALID_URL, phase=None, detail=detail)
        return Result(target=target, outcome=Outcome.INVALID, attempt=Attempt(error=failure))

    def _mask_unfinished(self, text: str) -> str:
        """Mask what may be a password whose "@" was cut off."""
        if not re.fullmatch(_UNFINISHED_USERINFO, text):
            return text
        return mask_loosely(f"{text}@", self._masked)[:-1]


class _Seen:
    """URLs that came before, at most `memory` of them: as text while they are few, then hashed.

    Hashes take less memory; but `hashlib` is slow to import, and a short list needs none.
    """

    _FEW = 1_000

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._keys: set[str | bytes] = set()
        self._hash: partial[hashlib.blake2b] | None = None

    def has_or_adds(self, address: str) -> bool:
        """Whether a URL came before; if not, it has come now."""
        key = address if self._hash is None else self._hash(address.encode()).digest()
        if key in self._keys:
            return True
        if len(self._keys) < self._memory:
            self._keys.add(key)
            if self._hash is None and len(self._keys) == self._FEW:
                self._hash_all()
        return False

    def _hash_all(self) -> None:
        import hashlib

        self._hash = of = partial(hashlib.blake2b, digest_size=16)
        self._keys = {of(str(key).encode()).digest() for key in self._keys}


def parse(lines: Iterable[str], *, source: str | None = None) -> Iterator[Target | Result]:
    """Yield the entries of a list, with the default expectation and method."""
    return UrlList().parse(lines, source=source)


def source_name(source: str | None) -> str:
    """Return the name of a source for people, unescaped; `-` is standard input."""
    return "standard input" if source == "-" else source or "the list"


def _with_scheme(text: str) -> str:
    """Prepend "https:" to a name without a scheme; raise ValueError for any other scheme."""
    if text.startswith(("http://", "https://")) or _WITH_SCHEME.match(text):
        return text
    if text.startswith("//"):
        return f"https:{text}"
    name = re.split(r"[/?#]", text, maxsplit=1)[0]
    if not name.strip(".") or "@" in name or text.startswith("://", len(name) - 1):
        raise ValueError("is not an http:// or https:// URL")
    if re.match(_OTHER_SCHEME, text):
        raise ValueError("is not an http:// or https:// URL")
    return f"https://{text}"
