"""Put tables under data/source/ and under DVC, and make them the source of params.yaml."""

import fcntl
import filecmp
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages import fetch, params, sources
from stages.errors import UserError
from stages.files import replacing, replacing_folder

FOLDER = Path(sources.TRACKED)
_DVC = Path(".dvc")


def add(paths: Sequence[Path]) -> list[str]:
    """Make files or folders the tables of this repository, and return what to print: what was done, what to do next.

    Done twice, it changes nothing more. Killed anywhere, it goes on when done again.

    Raises:
        UserError: a path is not there, another table has its name, or DVC refuses it.
    """
    if not (sources.DVC_YAML.exists() and params.PATH.exists()):
        raise UserError(f"{sources.DVC_YAML} and {params.PATH} are not here; run this in the repository's top folder")
    with _alone():
        return _add(paths)


@contextmanager
def _alone() -> Iterator[None]:
    """Keep every other `data add` in this repository waiting until the block ends."""
    if not _DVC.is_dir():
        raise UserError(f"{_DVC} is not here; `dvc init` makes it")
    lock = _DVC / "tmp" / "trialtree-data-add.lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _add(paths: Sequence[Path]) -> list[str]:
    """Do what `add` says."""
    for path in (sources.DVC_YAML, params.PATH):
        _load(path)  # raises before anything is done
    places = [_place(path) for path in paths]
    if repeated := next((place for place in places if places.count(place) > 1), None):
        raise UserError(f"two of the files are called {repeated.name}; rename one")
    for path, place in zip(paths, places, strict=True):
        _bring(path, place)
    names = [place.as_posix() for place in places]
    _dvc("add", "--quiet", *names)
    # DVC links a table to its cache where it can; one that is edited in place must be a file of its own.
    _dvc("unprotect", "--quiet", *names)
    dvc_yaml, params_yaml = _load(sources.DVC_YAML), _load(params.PATH)
    _depend(dvc_yaml, names)
    _save(sources.DVC_YAML, dvc_yaml)
    left = _point(params_yaml, names)
    _save(params.PATH, params_yaml)
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


def _dvc(*args: str) -> None:
    """Run dvc; what it says against it becomes one line."""
    done = subprocess.run([sys.executable, "-m", "dvc", *args], capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit status {done.returncode}"]
        raise UserError(f"dvc {args[0]}: {said[0].removeprefix('ERROR: ')}")


def _yaml() -> YAML:
    """Return a parser that keeps comments, quotes and order, and puts dashes under their key, as DVC does."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096  # never folds a line
    return yaml


def _load(path: Path) -> Any:
    """Return a YAML file's content with its comments."""
    try:
        content = _yaml().load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: must be a mapping")
    return content


def _save(path: Path, content: Any) -> None:
    """Write a YAML file, if it has changed."""
    stream = StringIO()
    _yaml().dump(content, stream)
    if stream.getvalue() != path.read_text(encoding="utf-8"):
        with replacing(path) as partial:
            partial.write_text(stream.getvalue(), encoding="utf-8", newline="\n")


def _depend(content: Any, names: Sequence[str]) -> None:
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
    lines = []
    if section.pop("sha256", None) is not None:
        lines.append("fetch.sha256 is taken out: DVC has the table's hash")
    others = [f"fetch.{key}" for key in section if key != "source"]
    if changed and others:
        lines.append(f"{', '.join(others)}: left as set for the source before; see that they fit")
    return lines


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
