"""The files that a source turned out to be, and the hash that pins what they hold."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

from stages import progress
from stages.tables import DataError

_CHUNK = 2**20  # bytes read at a time

Facts = Mapping[str, Any]  # what reports/data.json says of a file beside its name


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    found, done = hashlib.sha256(), 0
    with path.open("rb") as file, progress.step(f"hash {path.name}", path.stat().st_size, "bytes") as report:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
            done += len(chunk)
            report(done)
    return found.hexdigest()


@dataclass(frozen=True, slots=True)
class File:
    """A file of the source: its name as messages show it, where it is, and what is known of it."""

    shown: str
    path: Path
    facts: Facts = field(default_factory=dict)
    hash: Callable[[Path], str] = sha256

    @property
    def entry(self) -> dict[str, Any]:
        """What reports/data.json says of the file."""
        return {"source": self.shown, **self.facts}


def sized(files: Sequence[File]) -> list[File]:
    """Return the files with `bytes` among their facts."""
    return [replace(file, facts={**file.facts, "bytes": file.path.stat().st_size}) for file in files]


def hashed(files: Sequence[File]) -> list[File]:
    """Return the files with `bytes` and `sha256`, as they are now, among their facts."""
    found = []
    for file in files:
        size = {} if "rows" in file.facts else {"bytes": file.path.stat().st_size}
        found.append(replace(file, facts={**file.facts, **size, "sha256": file.hash(file.path)}))
    return found


def digest(files: Sequence[File]) -> str:
    """Return the SHA-256 of a hashed file; of several, that of the lines `HASH  NAME` that sha256sum prints of them."""
    return digest_of([file.entry for file in files])


def digest_of(entries: Sequence[Facts]) -> str:
    """Return what `digest` returns of files with these entries."""
    if len(entries) == 1:
        return str(entries[0]["sha256"])
    lines = (f"{entry['sha256']}  {PurePath(entry['source']).name}\n" for entry in entries)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def inside(name: str, folder: Path) -> list[File]:
    """Return the tables in a folder, by name; `name` is the folder's as messages show it.

    Raises:
        DataError: it holds a folder, or no file.
    """
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    if inner := next((entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")), None):
        raise DataError(f"{name}: holds the folder {inner.name}; name the files by a glob, as {name}/**/*.csv")
    files = [File(str(PurePath(name, entry.name)), entry) for entry in entries if is_data(entry)]
    if not files:
        raise DataError(f"{name}: holds no file")
    return files


def is_data(path: Path) -> bool:
    """Say whether a file is a table: not hidden, no marker of DVC's or of those who write folders of parts."""
    return path.is_file() and is_data_name(path.name)


def is_data_name(name: str) -> bool:
    """Say whether a file of this name is one; see `is_data`."""
    return not name.startswith((".", "_")) and PurePath(name).suffix != ".dvc"
