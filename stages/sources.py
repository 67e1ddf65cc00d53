"""Find the files of fetch.source, here or elsewhere, and see that DVC or a hash pins what they hold."""

import os
import re
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path, PurePath
from typing import Any

from stages import content, keeping, remotes
from stages.params import ParamsError
from stages.queries import Sql
from stages.tables import DataError

File = content.File
TRACKED = PurePath("data/source")  # what stands below is under DVC
DVC_YAML = Path("dvc.yaml")

Source = str | list[str] | Sql


def find(source: Source, sha256: str | None, folder: Path, endpoint: str | None = None) -> list[File]:
    """Return the files of a source: in the order of a list, by name within a folder, glob or prefix.

    Those from elsewhere are put into `folder`; the last download of them is
    taken where it is what `sha256` pins, and the network is not asked.

    Raises:
        DataError: there is no such file, or it cannot be had.
        ParamsError: neither dvc.yaml nor `sha256` pins what the files hold, or they hold something else.
    """
    items = items_of(source)
    away = [remotes.key(item, endpoint) for item in items if remotes.is_remote(item)]
    if sha256 is None and not away:
        here = [file for item in paths_of(items) for file in expanded(item)]
        if all(is_tracked(file.shown) for file in here):
            _check_names(here)
            return content.sized(here)  # DVC hashes them
    with keeping.held(away):
        files = _pinned(items, endpoint, sha256) if away else None
        if files is None:
            files = current(source, endpoint)
        _check_names(files)
        if sha256 is not None or not all(is_tracked(file.shown) for file in files):
            _check_hash(source, files, sha256)
        for key in away:
            keeping.use(key, files)
        return keeping.linked(files, folder) if away else files


def items_of(source: Source) -> list[remotes.Item]:
    """Return the sources that a list names, or the one."""
    return list(source) if isinstance(source, list) else [source]


def paths_of(items: Sequence[remotes.Item]) -> list[str]:
    """Return those of the sources that are paths."""
    return [item for item in items if isinstance(item, str) and not remotes.is_remote(item)]


def current(source: Source, endpoint: str | None) -> list[File]:
    """Return the files that a source has now, hashed, whatever is pinned; within `keeping.held` of its keys."""
    files = []
    for item in items_of(source):
        if isinstance(item, str) and not remotes.is_remote(item):
            files += content.hashed(expanded(item))
        else:
            newest = remotes.kept(item, endpoint)[-1:]
            files += remotes.refreshed(item, endpoint, newest[0] if newest else None)
    return files


def _pinned(items: Sequence[remotes.Item], endpoint: str | None, sha256: str | None) -> list[File] | None:
    """Return the files of earlier downloads, beside those that are here, if they are what is pinned."""
    if sha256 is None:
        return None
    here = {path: content.hashed(expanded(path)) for path in paths_of(items)}
    kept = [[here[item]] if item in here else remotes.kept(item, endpoint) for item in items]
    for choice in (0, -1):  # all that were used last, or the newest
        if all(kept):
            files = [file for each in kept for file in each[choice]]
            if content.digest(files) == sha256.lower():
                return files
    return None


def _check_names(files: Sequence[File]) -> None:
    """Refuse a file that is named twice, or one under data/source/ that fetch does not depend on."""
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


def _check_hash(source: Source, files: Sequence[File], expected: str | None) -> None:
    """Raise ParamsError where the files' hash is not the one expected, or none is given."""
    found = content.digest(files)
    shown = files[0].shown if len(files) == 1 else f"the {len(files)} files"
    away = any(map(remotes.is_remote, items_of(source)))
    if expected is None:
        why = "what is elsewhere" if away else "a path outside data/source/"
        raise ParamsError(
            f"params.yaml: fetch.sha256: is required for {why}, which DVC does not watch; "
            f"`trialtree data update` writes it: {found}"
        )
    if expected.lower() != found:
        raise ParamsError(f"params.yaml: fetch.sha256: {changed(source, shown, found, expected)}")


def changed(source: Source, shown: str, found: str, expected: str) -> str:
    """Return the line for a source that is no longer what is pinned."""
    hint = ""
    if isinstance(source, Sql) and not source.ordered:
        hint = " (the query has no ORDER BY, so that its rows may come in another order each time)"
    return (
        f"{shown}: changed since it was pinned{hint}: the hash is {found}, pinned is {expected}; "
        "`trialtree data update` takes the new one"
    )


def expanded(name: str) -> list[File]:
    """Return the files that one path, folder or glob names."""
    if re.match(r"\w+://", name):
        raise ParamsError(
            f"params.yaml: fetch.source: must be sklearn:NAME, a path, {remotes.KINDS}, got {remotes.shown(name)!r}"
        )
    for base in _bases(name):
        path = base / relative(name)
        if path.is_dir():
            return content.inside(relative(name), path)
        if path.exists():
            return [File(relative(name), path)]
        if has_magic(name):
            found = sorted(glob(relative(name), root_dir=base, recursive=True))  # noqa: PTH207  # takes absolute ones too
            files = [File(each, base / each) for each in found if content.is_data(base / each)]
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


def _dependencies() -> list[str]:
    """Return what fetch depends on by dvc.yaml."""
    import yaml

    try:
        # Names only, so every scalar as text; DVC's own parser takes twenty times as long.
        pipeline: Any = yaml.load(DVC_YAML.read_text(encoding="utf-8"), yaml.CBaseLoader)  # noqa: S506  # makes no objects
        deps = pipeline["stages"]["fetch"].get("deps") or []
    except (FileNotFoundError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return []
    return [os.path.normpath(dep if isinstance(dep, str) else next(iter(dep))) for dep in deps]
