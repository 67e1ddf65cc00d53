"""Find the files to predict, here or elsewhere, and what each of them is."""

import csv
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path, PurePath
from typing import Any, Literal

from stages import content, keeping, masking, remotes
from stages.content import File
from trialtree.predicting import sidefile
from trialtree.predicting.asked import PredictError
from trialtree.predicting.parts import BROUGHT

Kind = Literal["csv", "parquet", "arrow", "stream"]

_MAGIC: dict[bytes, Kind] = {b"PAR1": "parquet", b"ARROW1": "arrow", b"\xff\xff\xff\xff": "stream"}
_NAMED = {".parquet": "Parquet", ".pq": "Parquet", ".arrow": "Arrow", ".arrows": "Arrow", ".feather": "Arrow"}
_LONGEST = 1_000_000  # bytes of a header
_PACKED = (".gz", ".zip", ".zst", ".zstd")


@dataclass(frozen=True)
class Input:
    """A file of rows: its name for messages, where it is, what it is, and what tells whether it has changed."""

    shown: str
    path: Path
    kind: Kind
    stamp: dict[str, Any]

    @property
    def stem(self) -> str:
        """Its name without folders and suffixes."""
        name = PurePath(self.shown.rpartition("#")[2].partition("@")[0] if "#" in self.shown else self.shown)
        bare = name.with_suffix("") if name.suffix.lower() in _PACKED else name
        return bare.stem


def find(names: Sequence[str], here: Path, endpoint: str | None, folder: Path) -> list[Input]:
    """Return the files of paths, folders, globs and addresses, in their order; what is elsewhere is put into `folder`.

    Where that is in the folder of an output's parts, what an earlier prediction
    made there is none of the files of a folder or glob.

    Raises:
        UserError: there is no such file, it cannot be had, it is named twice, or it is empty or cut off.
    """
    away = _brought([name for name in names if remotes.is_remote(name)], endpoint, folder)
    made = _Made.beside(folder)
    found = []
    for name in names:
        if name in away:
            found += [_input(file, dict(file.facts)) for file in away[name]]
        else:
            found += [_input(file, _stamp(file.path)) for file in _here(name, here, made)]
    paths = [each.path.resolve() for each in found]
    if twice := next((each for each, path in zip(found, paths, strict=True) if paths.count(path) > 1), None):
        raise PredictError(f"{twice.shown}: is named twice")
    return found


def _here(name: str, here: Path, made: "_Made | None") -> list[File]:
    """Return the files that one path, folder or glob names."""
    path = here / name
    if path.is_dir():
        return _inside(name, path, made)
    if path.exists():
        return [File(name, path)]
    if has_magic(name):
        names = sorted(glob(name, root_dir=here, recursive=True))  # noqa: PTH207  # takes absolute ones too
        files = [File(each, here / each) for each in names if content.is_data(here / each)]
        if files := [file for file in files if made is None or not made.has(file.path, here / _fixed(name))]:
            return files
        raise PredictError(f"no file matches {name!r}")
    raise PredictError(f"there is no file {name!r}")


def _inside(name: str, folder: Path, made: "_Made | None") -> list[File]:
    """Return the tables in a folder."""
    if made is None:
        return content.inside(name, folder)
    inner = [each for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")]
    if [each.resolve() for each in inner] != [made.out.resolve()]:
        files = content.inside(name, folder)
    else:  # as there, but for the output
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
        files = [File(str(PurePath(name, entry.name)), entry) for entry in entries if content.is_data(entry)]
    if files := [file for file in files if not made.has(file.path, folder)]:
        return files
    raise PredictError(f"{name}: holds no file but what an earlier prediction made")


def _fixed(pattern: str) -> PurePath:
    """Return the folder of a glob that stands before its first wildcard."""
    parts = PurePath(pattern).parts
    return PurePath(*itertools.takewhile(lambda part: not has_magic(part), parts))


@dataclass(frozen=True)
class _Made:
    """What an earlier prediction into the same output left: a file or a folder, and the side file."""

    out: Path

    @classmethod
    def beside(cls, folder: Path) -> "_Made | None":
        """Return the output that a folder for files from elsewhere belongs to."""
        named = re.fullmatch(r"\.(.+)\.parts", folder.parent.name)
        return cls(folder.parent.with_name(named[1])) if named and folder.name == BROUGHT else None

    def has(self, path: Path, searched: Path) -> bool:
        """Whether a file that was found below the folder `searched` is of the output, and none to predict."""
        found, out = path.resolve(), self.out.resolve()
        if found == sidefile.of(self.out).resolve() or self.out.with_name(f".{self.out.name}.parts") in path.parents:
            return True
        if searched.resolve().is_relative_to(out):  # it was asked for
            return False
        return found.is_relative_to(out) and _is_prediction(path)


def _is_prediction(path: Path) -> bool:
    """Whether a file holds predictions: what was never predicted is not to be replaced by them unseen."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        line = file.readline(_LONGEST)
    try:
        if line.startswith(b"PAR1"):
            names = pq.read_schema(path).names
        elif line.startswith(b"ARROW1"):
            with pa.OSFile(str(path)) as source:
                names = pa.ipc.open_file(source).schema.names
        else:
            names = next(csv.reader([line.decode("utf-8", "replace")]), [])
    except (pa.ArrowException, csv.Error):
        return False
    return "predicted" in names


def _stamp(path: Path) -> dict[str, Any]:
    found = path.stat()
    return {"bytes": found.st_size, "mtime_ns": found.st_mtime_ns}


def _input(file: File, stamp: dict[str, Any]) -> Input:
    with file.path.open("rb") as opened:
        start = opened.read(8)
    if not start:
        raise PredictError(f"{file.shown}: is empty")
    kind: Kind = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), "csv")
    named = _NAMED.get(PurePath(file.shown).suffix.lower())
    if named and kind == "csv":
        raise PredictError(f"{file.shown}: is not {named}; cut off, damaged or misnamed")
    return Input(file.shown, file.path, kind, stamp)


def _brought(names: Iterable[str], endpoint: str | None, folder: Path) -> dict[str, list[File]]:
    """Return the files of each address, downloaded where they are not here as they are now."""
    keys = {name: remotes.key(name, endpoint) for name in names}
    for name in keys:
        if wrong := remotes.fault(name):
            raise PredictError(f"{masking.masked(name)}: {wrong}")
    if not keys:
        return {}
    found = {}
    # What fetch has pinned stays: whoever holds some keys forgets all others.
    with keeping.held([*keys.values(), *_pinned()]):
        for place, (name, key) in enumerate(keys.items()):
            newest = remotes.kept(name, endpoint)[-1:]
            files = remotes.refreshed(name, endpoint, newest[0] if newest else None)
            below = folder / f"{place}-{key}"
            below.mkdir(parents=True)
            found[name] = keeping.linked(files, below)
    return found


def _pinned() -> list[str]:
    """Return the keys of the downloads that fetch uses."""
    found = []
    for note in keeping.root().glob("*/source.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            if json.loads(note.read_text(encoding="utf-8"))["used"]:
                found.append(note.parent.name)
    return found
