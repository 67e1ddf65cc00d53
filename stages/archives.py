"""Bytes of a file that may be packed by gzip, zip or zstd, told by its first bytes and not by its name."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

from stages.tables import DataError

CHUNK = 2**20  # bytes read at a time
_MAGIC: dict[bytes, Literal["gzip", "zip", "zstd"]] = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",  # without members
    b"\x28\xb5\x2f\xfd": "zstd",
}
_SUFFIXES = {".gz": "gzip", ".zip": "zip", ".zst": "zstd", ".zstd": "zstd"}


def packing(path: Path) -> Literal["gzip", "zip", "zstd"] | None:
    """Return how a file is packed."""
    with path.open("rb") as file:
        start = file.read(4)
    return next((how for magic, how in _MAGIC.items() if start.startswith(magic)), None)


def chunks(shown: str, path: Path) -> Iterator[bytes]:
    """Yield the unpacked bytes of a file, in parts that are not empty; `shown` is its path for messages.

    Raises:
        DataError: the file is cut off or damaged, or a zip that does not hold exactly one file.
    """
    how = packing(path)
    named = _SUFFIXES.get(path.suffix.lower())
    if named is not None and named != how:
        raise DataError(f"{shown}: is not a {named} file; cut off, damaged or misnamed")
    with _explained(shown, how), _opened(shown, path, how) as file:
        while chunk := file.read(CHUNK):
            yield bytes(chunk)


@contextmanager
def _explained(shown: str, how: str | None) -> Iterator[None]:
    """Turn what the unpackers raise into one line."""
    from zipfile import BadZipFile

    try:
        yield
    except (EOFError, zlib.error, BadZipFile) as error:
        raise DataError(f"{shown}: cannot be unpacked ({how}), it is cut off or damaged: {error}") from None
    except (RuntimeError, NotImplementedError) as error:  # encrypted, or a method that zipfile has not
        raise DataError(f"{shown}: cannot be unpacked: {error}") from None
    except OSError as error:
        if how is None or error.errno is not None:
            raise
        raise DataError(f"{shown}: cannot be unpacked ({how}), it is cut off or damaged: {error}") from None


@contextmanager
def _opened(shown: str, path: Path, how: str | None) -> Iterator[Any]:
    """Yield a file to read unpacked bytes from."""
    if how == "gzip":
        import gzip

        with gzip.open(path) as unpacked:
            yield unpacked
    elif how == "zip":
        with _member(shown, path) as member:
            yield member
    elif how == "zstd":
        import pyarrow as pa

        with pa.input_stream(str(path), compression="zstd") as stream:
            yield stream
    else:
        with path.open("rb") as plain:
            yield plain


@contextmanager
def _member(shown: str, path: Path) -> Iterator[IO[bytes]]:
    """Yield the one file of a zip."""
    from zipfile import ZipFile

    with ZipFile(path) as archive:
        # macOS adds a file about each file.
        found = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
        if any(m.filename == "[Content_Types].xml" for m in found):
            raise DataError(f"{shown}: is an Office document; save the sheet as CSV (UTF-8)")
        if len(found) != 1:
            names = ", ".join(m.filename for m in found[:5]) or "none"
            raise DataError(f"{shown}: a zip must hold exactly one file, this one holds {len(found)}: {names}")
        with archive.open(found[0]) as member:
            yield member
