"""Make tables the source of params.yaml: files under data/source/ and DVC, or addresses, pinned by a hash."""

import filecmp
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages import fetch, params, remotes, sources
from stages.errors import UserError
from stages.files import replacing, replacing_folder
from trialtree import editing, pins

FOLDER = Path(sources.TRACKED)


def add_all(tables: Sequence[str], here: Path, endpoint: str | None = None) -> list[str]:
    """Do `add` of paths, relative to `here`, or `add_remote` of addresses; return what to print."""
    away = [name for name in tables if remotes.is_remote(name)]
    if away and len(away) < len(tables):
        raise UserError("add files or addresses, not both at once: a hash pins the ones, DVC the others")
    if endpoint and not away:
        raise UserError("--endpoint is for s3:// only")
    return add_remote(away, endpoint) if away else add([here / name for name in tables])


def add(paths: Sequence[Path]) -> list[str]:
    """Make files or folders the tables of this repository, and return what to print: what was done, what to do next.

    Done twice, it changes nothing more. Killed anywhere, it goes on when done again.

    Raises:
        UserError: a path is not there, another table has its name, or DVC refuses it.
    """
    with editing.alone():
        return _add(paths)


def add_remote(names: Sequence[str], endpoint: str | None = None) -> list[str]:
    """Make addresses the source of this repository, pinned as it is now, and return what to print as `add` does.

    Raises:
        UserError: an address is none, or what it names cannot be had.
    """
    with editing.alone():
        dvc_yaml, params_yaml = editing.load(sources.DVC_YAML), editing.load(params.PATH)
        left = _point(params_yaml, names)
        if any(name.startswith("s3://") for name in names):
            endpoint = endpoint or params_yaml["fetch"].get("endpoint")
        else:
            params_yaml["fetch"].pop("endpoint", None)
        source = {"source": params_yaml["fetch"]["source"], "endpoint": endpoint}
        p = params.parse("fetch", source, fetch.FetchParams)
        found, _ = pins.digest(p.source, p.endpoint)
        depend(dvc_yaml, [])
        editing.save(sources.DVC_YAML, editing.text(dvc_yaml))
        written = editing.text(params_yaml)
        if endpoint:
            written = editing.with_key(written, "endpoint", endpoint)
        editing.save(params.PATH, editing.with_key(written, "sha256", found))
        return [f"{p.shown}: fetch.source of params.yaml, pinned by fetch.sha256", *left, *_next(params_yaml)]


def _add(paths: Sequence[Path]) -> list[str]:
    """Do what `add` says."""
    for path in (sources.DVC_YAML, params.PATH):
        editing.load(path)  # raises before anything is done
    places = [_place(path) for path in paths]
    if repeated := next((place for place in places if places.count(place) > 1), None):
        raise UserError(f"two of the files are called {repeated.name}; rename one")
    for path, place in zip(paths, places, strict=True):
        _bring(path, place)
    names = [place.as_posix() for place in places]
    pins.dvc("add", "--quiet", *names)
    # DVC links a table to its cache where it can; one that is edited in place must be a file of its own.
    pins.dvc("unprotect", "--quiet", *names)
    dvc_yaml, params_yaml = editing.load(sources.DVC_YAML), editing.load(params.PATH)
    depend(dvc_yaml, names)
    editing.save(sources.DVC_YAML, editing.text(dvc_yaml))
    left = _point(params_yaml, names)
    if params_yaml["fetch"].pop("sha256", None) is not None:
        left.insert(0, "fetch.sha256 is taken out: DVC has the table's hash")
    params_yaml["fetch"].pop("endpoint", None)
    editing.save(params.PATH, editing.text(params_yaml))
    return [f"{', '.join(names)}: under DVC, and fetch.source of params.yaml", *left, *_next(params_yaml)]


def _place(path: Path) -> Path:
    """Return where a table is to stand: a path below data/source/ stays."""
    shown = sources.relative(str(path))
    if not path.exists():
        raise UserError(f"there is no file {shown}")
    return Path(shown) if sources.is_tracked(shown) and Path(shown) != FOLDER else FOLDER / path.resolve().name


def _bring(path: Path, place: Path) -> None:
    """Copy a table to its place, whole or not at all, unless it stands there.

    Raises:
        UserError: another table stands there, or is kept under that name by DVC.
    """
    if place.exists():
        if not (path.samefile(place) or _same(path, place)):
            raise UserError(f"{place} is another table than {path}; rename one, or put the new one there yourself")
        return
    if Path(f"{place}.dvc").exists():
        raise UserError(f"{place}.dvc is here and its table is not: run `dvc pull {place}` first, or rename {path}")
    if path.is_dir():
        with replacing_folder(place) as partial:
            shutil.copytree(path, partial, dirs_exist_ok=True, ignore=_hidden, copy_function=shutil.copyfile)
    else:
        with replacing(place) as partial:
            shutil.copyfile(path, partial)


def _hidden(_: str, names: list[str]) -> list[str]:
    """Return the entries of a folder that are no tables."""
    return [name for name in names if name.startswith(".")]


def _same(one: Path, other: Path) -> bool:
    """Say whether two files, or the tables of two folders, hold the same bytes."""
    if one.is_file() and other.is_file():
        return filecmp.cmp(one, other, shallow=False)
    if not (one.is_dir() and other.is_dir()):
        return False
    files = [{p.relative_to(top) for p in top.rglob("[!.]*") if p.is_file()} for top in (one, other)]
    return files[0] == files[1] and all(filecmp.cmp(one / p, other / p, shallow=False) for p in files[0])


def depend(content: Any, names: Sequence[str]) -> None:
    """Make these the only tables of data/source/ that fetch depends on."""
    stage = (content.get("stages") or {}).get("fetch")
    if not isinstance(stage, dict):
        raise UserError(f"{sources.DVC_YAML}: stages.fetch: is missing")
    deps = stage.setdefault("deps", [])
    paths = [dep if isinstance(dep, str) else next(iter(dep)) for dep in deps]
    for i, path in reversed(list(enumerate(paths))):
        if sources.is_tracked(path) and path not in names:
            del deps[i]
    deps.extend(name for name in names if name not in paths)


def _point(content: Any, names: Sequence[str]) -> list[str]:
    """Set fetch.source, and return what else was changed or may no longer fit."""
    section = content.setdefault("fetch", {})
    if not isinstance(section, dict):
        raise UserError(f"{params.PATH}: fetch: must be a mapping")
    source = names[0] if len(names) == 1 else list(names)
    changed = section.get("source") != source
    section["source"] = source
    others = [f"fetch.{key}" for key in section if key not in ("source", "sha256", "endpoint")]
    if changed and others:
        return [f"{', '.join(others)}: left as set for the source before; see that they fit"]
    return []


def _next(content: Any) -> list[str]:
    """Return what is to be done before the pipeline runs."""
    try:
        columns = fetch.columns(params.parse("fetch", params.load().get("fetch"), fetch.FetchParams))
    except UserError as error:
        return [*str(error).splitlines(), "next: mend that, then `dvc repro`"]
    names = [column.name for column in columns]
    target = (content.get("split") or {}).get("target")
    if target in names:
        return [f"next: `dvc repro` (split.target is {target})"]
    return [f"next: set split.target in {params.PATH} to one of: {', '.join(names)}", "then: `dvc repro`"]
