"""Write files and folders whole or not at all: beside their place, then renamed.

A file is on the disk before it is renamed, so that no power cut leaves an
empty one in its place. Environment:

    TRIALTREE_SYNC=0    it need not be: for trees that are thrown away, as a sweep's are
"""

import csv
import errno
import fcntl
import io
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from stages.errors import UserError

_PARTIAL = ".partial"  # ending of what is not in its place yet; its process holds it locked as long as it lives
_LOCK = f".lock{_PARTIAL}"  # ending of the file that is locked for a folder
_SYNC = "TRIALTREE_SYNC"


class SyncError(UserError):
    """A setting that cannot be used."""


def sync(file: IO[Any]) -> None:
    """Wait until what was written to a file is on the disk, where the environment does not say that it need not be.

    Raises:
        SyncError: the environment says something else.
    """
    given = os.environ.get(_SYNC, "1")
    if given not in ("0", "1"):
        raise SyncError(f"{_SYNC}: must be 0 or 1, got {given!r}")
    file.flush()
    if given == "1":
        os.fsync(file.fileno())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a file to write; it takes the place of `path` when the block ends well.

    A block that fails leaves `path` as it was and nothing beside it.
    """
    with scratch(path) as folder:
        partial = folder / path.name
        yield partial
        with partial.open("rb") as written:
            sync(written)
        # An output that DVC has linked to its cache is read-only, and replaced, never written into.
        partial.replace(path)


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """Yield an open file to write; as with `replacing`, for who needs no path."""
    with _partial(path) as (partial, file):
        yield file
        sync(file)
        partial.replace(path)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it takes the place of the folder `path` when the block ends well."""
    with scratch(path) as partial:
        yield partial
        _swap(partial, path)


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """Yield an empty folder `.NAME.*.partial` beside `path`, which no other process has and which is gone afterwards.

    One that is killed leaves it to the next that writes to the same path.
    """
    with _partial(path, ".lock") as (lock, _):
        folder = lock.with_name(lock.name.removesuffix(_LOCK) + _PARTIAL)
        try:
            folder.mkdir()
            yield folder
        finally:
            if folder.exists():
                shutil.rmtree(folder, ignore_errors=True)
            lock.unlink()


@contextmanager
def _partial(path: Path, what: str = "") -> Iterator[tuple[Path, IO[bytes]]]:
    """Yield the path of a new file beside `path`, and the file, open and locked; it is removed if the block fails."""
    _clear(path)
    while True:
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{what}{_PARTIAL}")
        file = partial.open("xb")
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if partial.exists():  # else another one took it for left behind before it was locked
            break
        file.close()
    with file:
        try:
            yield partial, file
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def _clear(path: Path) -> None:
    """Make the folder that `path` is in, and remove what killed processes left there of the same path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.iterdir():
        if not (left.name.startswith(f".{path.name}.") and left.name.endswith(_PARTIAL)):
            continue
        lock = left.with_name(left.name.removesuffix(_PARTIAL) + _LOCK) if left.is_dir() else left
        # The lock of a process ends with it, so what can be locked is nobody's.
        with suppress(OSError), lock.open("a") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
            lock.unlink()


def _swap(partial: Path, path: Path) -> None:
    """Put a folder in the place of another."""
    if not path.exists():
        _rename(partial, path)
        return
    with scratch(path) as aside:
        with suppress(FileNotFoundError):
            path.rename(aside / path.name)
        _rename(partial, path)


def _rename(partial: Path, path: Path) -> None:
    try:
        partial.rename(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        _swap(partial, path)  # another writer was quicker


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with writing(path) as file:
        file.write(content)


def put(path: Path, content: bytes) -> None:
    """Write a file of a folder that nobody sees before it is complete."""
    with path.open("wb") as file:
        file.write(content)
        sync(file)


def as_json(value: Any) -> bytes:
    """Return `value` as indented JSON with a line end.

    Raises:
        ValueError: a number is NaN or infinite, which JSON has no word for.
    """
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def as_csv(rows: Iterable[Sequence[Any]]) -> bytes:
    """Return rows, the first of them the header, as lines with Unix line ends."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON; raises as `as_json`."""
    write(path, as_json(value))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write `rows` under `header`."""
    write(path, as_csv([header, *rows]))
