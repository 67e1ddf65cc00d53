"""The hidden folder `.NAME.parts` beside an output, which holds what is finished until all is.

Its process holds it locked, so that no two write the same output.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from stages.files import as_json, write
from trialtree.predicting.asked import PredictError

_LOCK = ".lock"
_RECORD = "record.json"
BROUGHT = ".brought"  # files from elsewhere


@contextmanager
def held(out: Path, shown: str) -> Iterator[Path]:
    """Yield the folder of an output's parts, locked; it stays when the block ends before it was removed.

    Raises:
        PredictError: another process writes the output.
    """
    folder = out.with_name(f".{out.name}.parts")
    with _locked(folder, shown):
        try:
            yield folder
        finally:
            shutil.rmtree(folder / BROUGHT, ignore_errors=True)
            if not (folder / _RECORD).exists():
                shutil.rmtree(folder, ignore_errors=True)


def _locked(folder: Path, shown: str) -> IO[str]:
    """Return the file that locks a folder as long as it is open."""
    while True:
        with suppress(FileNotFoundError):  # another process ended and removed it
            folder.mkdir(parents=True, exist_ok=True)
            file = (folder / _LOCK).open("a")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                raise PredictError(f"{shown}: another `trialtree predict` is writing it") from None
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), (folder / _LOCK).stat()):
                    return file
            file.close()


def begun(folder: Path, record: Mapping[str, Any], fresh: bool) -> str | None:
    """Make a folder that of a record, emptied unless it was so; return what was another then, None where nothing was.

    The record has to be as JSON gives it back. `fresh` empties it anyhow.
    """
    old = {} if fresh else _read(folder)
    if old == record:
        return None
    for left in folder.iterdir():
        if not left.name.startswith("."):
            left.unlink()
    write(folder / _RECORD, as_json(record))
    return _other(old, record) if old else None


def remove(folder: Path) -> None:
    """Remove a folder, whose lock this process has."""
    shutil.rmtree(folder)


def _read(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _other(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Say what differs between two records."""
    for key in ("format", "model"):
        if old.get(key) != new[key]:
            return {"format": "the version of trialtree", "model": "the model"}[key]
    for option, value in new["options"].items():
        if old["options"].get(option) != value:
            return f"--{option}"
    stamps = {each["name"]: each for each in old["inputs"]}
    for each in new["inputs"]:
        if stamps.get(each["name"]) != each:
            return str(each["name"])
    return "the list of inputs"
