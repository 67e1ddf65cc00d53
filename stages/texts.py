"""Make a text file clean UTF-8: unpacked, decoded, with Unix line ends and without a byte-order mark.

Bytes are decoded here, by Python's codecs, because a message must name the
line and the byte; DuckDB reads the clean file.
"""

import codecs
import re
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from io import IncrementalNewlineDecoder
from itertools import chain
from pathlib import Path

from stages.archives import CHUNK, chunks, packing
from stages.tables import DataError

_BLANK_LINES = re.compile(r"\A(?:[ \t\v\f]*\n)+")


@dataclass(frozen=True, slots=True)
class Text:
    """A CSV file as clean UTF-8, with Unix line ends and no byte-order mark, which begins with a record."""

    shown: str  # the path for messages
    path: Path
    lines: int
    quotes: int  # how many characters are quotes
    blanks: bool  # some character is a blank
    tabs: bool  # some blank is not the space
    skipped: int = 0  # blank lines before the first record, which are left out

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size


def clean(shown: str, path: Path, encoding: str, copy: Path) -> Text:
    """Return `path` itself where it is clean UTF-8 already, else a clean copy of it."""
    if packing(path) is None and codecs.lookup(encoding).name in ("utf-8", "ascii"):
        found = _plain(shown, path)
        if found is not None:
            return found
    changed = packing(path) is not None or codecs.lookup(encoding).name != "utf-8" or _has_marks(path)
    lines, skipped, quotes, blanks, tabs, empty, last = 0, 0, 0, False, False, True, ""
    with copy.open("w", encoding="utf-8", newline="") if changed else nullcontext() as file:
        for part, lines, skipped in _decoded(shown, path, encoding):  # noqa: B007  # the last are used
            quotes += part.count('"') if '"' in part else 0  # to count none takes longer than to find none
            blanks = blanks or " " in part
            tabs = tabs or "\t" in part or "\u00a0" in part
            empty = empty and not part.strip()
            last = part[-1:] or last
            if file is not None:
                file.write(part)
    if empty:
        raise DataError(f"{shown}: is empty")
    lines += (last != "\n") - skipped
    return Text(shown, copy if changed else path, lines, quotes, blanks or tabs, tabs, skipped)


def _plain(shown: str, path: Path) -> Text | None:
    """Return a file of plain ASCII with Unix line ends, as most are, in a fraction of the time; None for any other."""
    from stages.looks import Plain, looked

    if _begins_blank(next(chunks(shown, path), b"")):
        return None
    found = looked(path, Plain)
    if not all(look.plain for look in found) or all(look.empty for look in found):
        return None
    lines, quotes = sum(look.lines for look in found), sum(look.quotes for look in found)
    tabs = any(look.tabs for look in found)
    return Text(shown, path, lines, quotes, tabs or any(look.blanks for look in found), tabs)


def _has_marks(path: Path) -> bool:
    """Say whether a file begins with UTF-8's byte-order mark or a blank line, or has a carriage return."""
    with path.open("rb") as file:
        chunk = file.read(CHUNK)
        if chunk[:3] == codecs.BOM_UTF8 or _begins_blank(chunk):
            return True
        while chunk and b"\r" not in chunk:
            chunk = file.read(CHUNK)
    return bool(chunk)


def _begins_blank(chunk: bytes) -> bool:
    return not chunk.split(b"\n", 1)[0].strip()


def _decoded(shown: str, path: Path, encoding: str) -> Iterator[tuple[str, int, int]]:
    """Yield a file's text in parts, each with the line ends up to its end, and how many of these were left out.

    Without byte-order mark and blank lines at the beginning; every line end, also inside quotes, is a line feed.

    Lone and mixed carriage returns stop DuckDB's parser.

    Raises:
        DataError: a byte is not of the encoding, or the text holds NUL characters.
    """
    decoder = IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)("strict"), translate=True)
    lines = skipped = read = 0
    begun = False
    for chunk in chain(chunks(shown, path), [b""]):
        try:
            part: str = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            good = bytes(error.object[: error.start]).decode(encoding, "ignore")
            line = lines + 1 + len(re.findall(r"\r\n?|\n", good))
            at = read + len(chunk) - len(error.object) + error.start
            raise DataError(
                f"{shown}, line {line}: byte {at} ({error.object[error.start]:#04x}) is not {encoding}; "
                "name the file's encoding in params.yaml: fetch.encoding, for example cp1252 or utf-16"
            ) from None
        if "\0" in part:
            line = lines + 1 + part[: part.index("\0")].count("\n")
            raise DataError(f"{shown}, line {line}: holds a NUL character; damaged, or UTF-16 (fetch.encoding: utf-16)")
        lines += part.count("\n")
        part = part.removeprefix("\ufeff") if read == 0 else part
        if not begun:
            part = _BLANK_LINES.sub("", part)
            skipped, begun = lines - part.count("\n"), bool(part)
        yield part, lines, skipped
        read += len(chunk)
