"""Write files and folders whole or not at all: beside their place, then renamed."""

import csv
import errno
import fcntl
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

_LOCK = ".lock"  # in a scratch folder; its process holds it as long as it lives


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a file to write; it takes the place of `path` when the block ends well.

    A block that fails leaves `path` as it was and nothing beside it.
    """
    with scratch(path) as folder:
        partial = folder / path.name
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        # An output that DVC has linked to its cache is read-only, and replaced, never written into.
        partial.replace(path)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it takes the place of the folder `path` when the block ends well."""
    with scratch(path) as folder:
        partial = folder / path.name
        partial.mkdir()
        yield partial
        _swap(partial, path)


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """Yield an empty folder `.NAME.*.partial` beside `path`, which no other process has and which is gone afterwards.

    One that is killed leaves it to the next that writes to the same path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        # The lock of a process ends with it, so what can be locked is nobody's.
        with suppress(OSError), (left / _LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
    folder, held = _locked_folder(path)
    with held:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _locked_folder(path: Path) -> tuple[Path, IO[str]]:
    """Return a new folder beside `path`, and the open file in it that locks it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
        with suppress(FileNotFoundError):  # another one took it for left behind before it was locked
            lock = (folder / _LOCK).open("a")
            with suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            if (folder / _LOCK).exists():
                return folder, lock
            lock.close()


def _swap(partial: Path, path: Path) -> None:
    """Put a folder in the place of another, which goes into the scratch folder."""
    with suppress(FileNotFoundError):
        path.rename(Path(tempfile.mkdtemp(dir=partial.parent), path.name))
    try:
        partial.rename(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        _swap(partial, path)  # another writer was quicker


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with a line end.

    Raises:
        ValueError: a number is NaN or infinite, which JSON has no word for.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write `rows` under `header`, with Unix line ends."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
