"""Merge params.yaml key by key, as Git's merge driver for the files that every trial changes.

    trialtree merge-file BASE OURS THEIRS PATH      (called by `git merge`, through .gitattributes)

Reads   the three versions that Git gives
Writes  OURS

params.yaml becomes theirs with our own changes.  A key that both changed, to different values, is a conflict;
in `trialtree finish` ours stands, because the branch is that trial.  dvc.lock and metrics.json stay ours:
`dvc repro` makes them anew.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from stages import params
from trialtree import editing
from trialtree.branches import commands
from trialtree.tracking import git

# `git merge` runs the driver in the environment that `finish` gives it.
FINISH = {"TRIALTREE_OURS_STAND": "1"}
_DRIVER = "trialtree merge-file %O %A %B %P"
_ABSENT = object()


def install() -> None:
    """Tell Git of the driver, in this clone."""
    if git.run("config", "--get", "merge.trialtree.driver") != _DRIVER:
        commands.git("config", "merge.trialtree.name", "params.yaml by key; dvc.lock and metrics by dvc repro")
        commands.git("config", "merge.trialtree.driver", _DRIVER)


def merge_file(base: Path, ours: Path, theirs: Path, path: str) -> tuple[bool, list[str]]:
    """Merge into `ours`; return whether that went well, and what to say."""
    if Path(path).name != params.PATH.name:
        return True, [f"{path}: as it is on this branch; `dvc repro` makes it anew"]
    try:
        texts = [file.read_text(encoding="utf-8") for file in (base, ours, theirs)]
        merged, clashes = by_key(*texts)
    except (YAMLError, UnicodeDecodeError, TypeError, AttributeError):
        return _by_line(base, ours, theirs), [f"{path}: cannot be read as YAML, so it was merged line by line"]
    stand = os.environ.get(next(iter(FINISH)))
    if clashes and not stand:
        _by_line(base, ours, theirs)
        return False, [f"{path}: {clash}: choose one" for clash in clashes]
    ours.write_text(merged, encoding="utf-8", newline="\n")
    return True, [f"{path}: {clash}: the first stands" for clash in clashes]


def _by_line(base: Path, ours: Path, theirs: Path) -> bool:
    """Merge as Git does without a driver, with its conflict markers."""
    command = ["git", "merge-file", "-L", "ours", "-L", "base", "-L", "theirs", str(ours), str(base), str(theirs)]
    return subprocess.run(command, check=False).returncode == 0


def by_key(base: str, ours: str, theirs: str) -> tuple[str, list[str]]:
    """Return their text with our changes since `base`, and the keys that both changed to different values."""
    yaml = editing.yaml()
    old, own, merged = (yaml.load(text) or {} for text in (base, ours, theirs))
    if not all(isinstance(content, dict) for content in (old, own, merged)):
        raise TypeError("params.yaml must be a mapping")
    clashes = list(_apply(old, own, merged, ""))
    stream = StringIO()
    yaml.dump(merged, stream)
    return stream.getvalue(), clashes


def _apply(old: Mapping[str, Any], own: Mapping[str, Any], merged: dict[str, Any], prefix: str) -> Iterator[str]:
    """Make the changes from `old` to `own` in `merged`; yield the keys that `merged` has changed otherwise."""
    for key in {**old, **own}:
        was, mine, its = (content.get(key, _ABSENT) for content in (old, own, merged))
        if _same(mine, was) or _same(mine, its):
            continue
        if isinstance(mine, dict) and isinstance(its, dict):
            yield from _apply(was if isinstance(was, dict) else {}, mine, its, f"{prefix}{key}.")
            continue
        if not _same(its, was):
            yield f"{prefix}{key}: {_shown(mine)} here, {_shown(its)} there"
        if mine is _ABSENT:
            del merged[key]
        else:
            merged[key] = mine


def _same(one: Any, other: Any) -> bool:
    """Say whether two values are equal; 1 and true are not."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _shown(value: Any) -> str:
    return "nothing" if value is _ABSENT else params.shown(value)
