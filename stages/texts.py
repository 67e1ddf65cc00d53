"""Make a text file clean UTF-8: unpacked, decoded, with Unix line ends and without a byte-order mark.

Bytes are decoded here, by Python's codecs, because a message must name the
line and the byte; DuckDB reads the clean file.
"""

import codecs
import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from io import IncrementalNewlineDecoder
from itertools import chain
from pathlib import Path

from stages.archives import chunks, packing
from stages.tables import DataError


@dataclass(frozen=True, slots=True)
class Text:
    """A CSV file as clean UTF-8, with Unix line ends and no byte-order mark."""

    shown: str  # the path for messages
    path: Path
    quotes: int  # how many characters are quotes
    tabs: bool  # some character is a blank that is not the space


def clean(shown: str, path: Path, encoding: str, copy: Path) -> Text:
    """Return `path` itself where it is clean UTF-8 already, else a clean copy of it."""
    changed = packing(path) is not None or codecs.lookup(encoding).name != "utf-8" or _has_marks(path)
    quotes, tabs, empty = 0, False, True
    with copy.open("w", encoding="utf-8", newline="") if changed else nullcontext() as file:
        for part in _decoded(shown, path, encoding):
            quotes, tabs = quotes + part.count('"'), tabs or "\t" in part or "\u00a0" in part
            empty = empty and not part.strip()
            if file is not None:
                file.write(part)
    if empty:
        raise DataError(f"{shown}: is empty")
    return Text(shown, copy if changed else path, quotes, tabs)


def _has_marks(path: Path) -> bool:
    """Say whether a file begins with UTF-8's byte-order mark or has a carriage return."""
    with mapped(path) as content:
        return content[:3] == codecs.BOM_UTF8 or content.find(b"\r") >= 0


@contextmanager
def mapped(path: Path) -> "Iterator[mmap.mmap | bytes]":
    """Yield the bytes of a file without reading them."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield content


def _decoded(shown: str, path: Path, encoding: str) -> Iterator[str]:
    """Yield a file's text in parts, without byte-order mark; every line end, also inside quotes, is a line feed.

    Lone and mixed carriage returns stop DuckDB's parser.

    Raises:
        DataError: a byte is not of the encoding, or the text holds NUL characters.
    """
    decoder = IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)("strict"), translate=True)
    lines = read = 0
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
        yield part.removeprefix("\ufeff") if read == 0 else part
        lines += part.count("\n")
        read += len(chunk)
