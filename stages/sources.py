"""Find the files that fetch.source names, and see that DVC or a hash pins what they hold."""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path, PurePath
from typing import Any

from stages.params import ParamsError
from stages.tables import DataError

TRACKED = PurePath("data/source")  # what stands below is under DVC
DVC_YAML = Path("dvc.yaml")


@dataclass(frozen=True, slots=True)
class File:
    """A file of the source: its path as messages show it, and where it is."""

    shown: str
    path: Path


def find(source: str | Sequence[str], sha256: str | None) -> list[File]:
    """Return the files of a source: in the order of a list, by name within a folder or glob.

    Raises:
        DataError: there is no such file.
        ParamsError: neither dvc.yaml nor `sha256` pins what the files hold, or they hold something else.
    """
    named = [source] if isinstance(source, str) else source
    files = [file for name in named for file in _expanded(name)]
    shown = [file.shown for file in files]
    if repeated := next((name for name in shown if shown.count(name) > 1), None):
        raise ParamsError(f"params.yaml: fetch.source: names {repeated} twice")
    tracked = _dependencies() if any(is_tracked(name) for name in shown) else []
    for name in filter(is_tracked, shown):
        if not any(PurePath(name).is_relative_to(dependency) for dependency in tracked):
            raise ParamsError(
                f"dvc.yaml: stages.fetch.deps: lacks {name}, so an edit would go unseen; "
                f"run `trialtree data add {name}`"
            )
    if sha256 is not None or not all(is_tracked(name) for name in shown):
        _check_hash(files, sha256)
    return files


def is_tracked(name: str) -> bool:
    """Say whether a path stands under data/source/ of this repository."""
    return PurePath(relative(name)).is_relative_to(TRACKED)


def relative(name: str) -> str:
    """Return a path without detours, relative to this folder where it stands below it."""
    path = os.path.normpath(name)
    if Path(path).is_absolute():
        here = os.path.relpath(path)
        return path if here.startswith(os.pardir) else here
    return path


def digest(files: Sequence[File]) -> str:
    """Return the SHA-256 of a file; of several, that of the lines `HASH  NAME` that sha256sum would print of them."""
    hashes = []
    for file in files:
        with file.path.open("rb") as content:
            hashes.append(hashlib.file_digest(content, "sha256").hexdigest())
    if len(files) == 1:
        return hashes[0]
    lines = (f"{hash_}  {file.path.name}\n" for hash_, file in zip(hashes, files, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _check_hash(files: Sequence[File], expected: str | None) -> None:
    """Raise ParamsError where the files' hash is not the one expected, or none is given."""
    found = digest(files)
    shown = files[0].shown if len(files) == 1 else f"the {len(files)} files"
    if expected is None:
        raise ParamsError(
            "params.yaml: fetch.sha256: is required for a path outside data/source/, which DVC does not watch; "
            f"add: sha256: {found}"
        )
    if expected.lower() != found:
        raise ParamsError(f"params.yaml: fetch.sha256: is {expected}, but the hash of {shown} is {found}")


def _expanded(name: str) -> list[File]:
    """Return the files that one path, folder or glob names."""
    if re.match(r"\w+://", name):
        raise ParamsError(f"params.yaml: fetch.source: must be sklearn:NAME or a path, got {name!r}")
    for base in _bases(name):
        path = base / relative(name)
        if path.is_dir():
            return _inside(relative(name), path)
        if path.exists():
            return [File(relative(name), path)]
        if has_magic(name):
            found = sorted(glob(relative(name), root_dir=base, recursive=True))  # noqa: PTH207  # takes absolute ones too
            files = [File(each, base / each) for each in found if _is_data(base / each)]
            if files:
                return files
    raise _missing(name)


def _bases(name: str) -> list[Path]:
    """Return the folders that a path may be relative to.

    `dvc exp run --temp` runs in a copy of the repository, from which `../table.csv` leads elsewhere; DVC_ROOT
    is then the repository itself.
    """
    root = os.environ.get("DVC_ROOT")
    return [Path()] if root is None or is_tracked(name) else [Path(), Path(root)]


def _missing(name: str) -> DataError:
    """Return the line for a path at which nothing is."""
    path = Path(relative(name))
    above = [p for p in (path, *path.parents) if p.name]
    beside = next((p for p in above if p.with_name(f"{p.name}.dvc").is_file()), None)
    if beside is not None:
        return DataError(f"{name} is not here, but {beside}.dvc is: `dvc pull {beside}` brings it")
    if has_magic(name):
        return DataError(f"params.yaml: fetch.source: no file matches {name!r}")
    hint = "; `trialtree data add FILE` puts a table there" if is_tracked(name) else ""
    return DataError(f"params.yaml: fetch.source: there is no file {name!r}{hint}")


def _inside(name: str, folder: Path) -> list[File]:
    """Return the tables in a folder, by name."""
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    if inner := next((entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")), None):
        raise DataError(f"{name}: holds the folder {inner.name}; name the files by a glob, as {name}/**/*.csv")
    files = [File(str(PurePath(name, entry.name)), entry) for entry in entries if _is_data(entry)]
    if not files:
        raise DataError(f"{name}: holds no file")
    return files


def _is_data(path: Path) -> bool:
    """Say whether a file is a table: not hidden, no marker of DVC's or of those who write folders of parts."""
    return path.is_file() and not path.name.startswith((".", "_")) and path.suffix != ".dvc"


def _dependencies() -> list[str]:
    """Return what fetch depends on by dvc.yaml."""
    from ruamel.yaml import YAML

    try:
        content: Any = YAML(typ="safe", pure=True).load(DVC_YAML.read_text(encoding="utf-8"))
        deps = content["stages"]["fetch"].get("deps") or []
    except (FileNotFoundError, KeyError, TypeError, AttributeError):
        return []
    return [os.path.normpath(dep if isinstance(dep, str) else next(iter(dep))) for dep in deps]
