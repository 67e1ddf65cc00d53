"""One side of a comparison: what Git and DVC hold of a revision, or of the working folder."""

import csv
import hashlib
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.errors import UserError
from trialtree import revisions
from trialtree.tracking import git, history, locks, storage

WORKSPACE = "workspace"
SIZES = ("rows", "columns")  # of the raw table; known where DVC's cache has the report on it
_METRICS = ("reports/metrics.json", "reports/script.json")
_DATA, _CURVES = "reports/data.json", "reports/curves.csv"
_CODE = ("stages/", ".py")  # how the path of a file of code begins, or ends
# The sections that no stage from fetch to evaluate has in dvc.lock.
_OTHERS = ("experiment", "register", "sweep", "review")

Read = Callable[[str], bytes | None]


class CompareError(UserError):
    """What cannot be compared."""


@dataclass(frozen=True)
class Side:
    """What is compared of a revision."""

    name: str  # as it was asked for
    commit: str | None  # None for the working folder
    params: dict[str, Any]  # by dotted name; those that the stages ran with
    metrics: dict[str, float]  # by dotted name
    data: dict[str, Any]  # hashes, rows, columns, and tables that the pipeline takes
    code: dict[str, str]  # MD5s of the stages' files
    curves: dict[str, list[tuple[float, float]]] = field(repr=False)  # steps and values, by label
    notes: list[str]

    @property
    def shown(self) -> str:
        """The name, and the commit where that is another."""
        at = self.commit[:7] if self.commit else ""
        return self.name if not at or self.name.startswith(at) else f"{self.name} ({at})"


def read(names: list[str]) -> list[Side]:
    """Return the sides.

    Raises:
        RevisionError: there is no such commit, branch, tag or experiment.
        CompareError: it holds no trial, or there is only one.
    """
    if len(names) < 2:
        raise CompareError(f"{names[0]}: give a second revision to compare it with, or `{WORKSPACE}`")
    with git.objects() as objects:
        return [
            _workspace() if name == WORKSPACE else of_commit(objects, name, revisions.commit(name)) for name in names
        ]


def of_commit(objects: git.Objects, name: str, commit: str) -> Side:
    """Return what Git and DVC's cache hold of a commit, under a name.

    Raises:
        CompareError: it holds no trial.
    """
    lock = _lock(name, history.lock_at(objects, commit))
    caches = storage.caches(storage.config())

    def content(path: str) -> bytes | None:
        found = objects.read(f"{commit}:./{path}")
        place = storage.cached(caches, locks.out(lock, path) or "") if found is None else None
        return place.read_bytes() if place else found

    return _side(name, commit, lock, content)


def _workspace() -> Side:
    def content(path: str) -> bytes | None:
        return Path(path).read_bytes() if Path(path).is_file() else None

    return _side(WORKSPACE, None, _lock(WORKSPACE, content(locks.LOCK.as_posix())), content)


def _lock(name: str, content: bytes | None) -> Mapping[str, Any]:
    """Return the entries of a dvc.lock."""
    try:
        found = locks.entries(content or b"")
    except locks.TrialError as error:
        raise CompareError(f"{name}: {error}") from None
    if not found:
        raise CompareError(f"{name} has no {locks.LOCK}: the pipeline has not run there; `dvc repro` runs it")
    return found


def _side(name: str, commit: str | None, lock: Mapping[str, Any], content: Read) -> Side:
    params, notes = _params(name, lock, content)
    metrics: dict[str, float] = {}
    for path in _METRICS:
        found, fault = _metrics(path, lock, content)
        metrics |= found
        notes += [f"{name}: {fault}"] if fault else []
    if missing := [stage for stage in locks.STAGES if stage not in lock]:
        notes.append(f"{name}: {', '.join(missing)} did not run")
    code = _code(lock)
    if changed := [path for path, md5 in code.items() if (there := content(path)) is not None and _md5(there) != md5]:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        notes.append(f"{name}: {', '.join(changed[:3])}{more} changed since it ran")
    return Side(name, commit, params, metrics, _data(lock, content), code, _curves(content(_CURVES) or b""), notes)


def _params(name: str, lock: Mapping[str, Any], content: Read) -> tuple[dict[str, Any], list[str]]:
    """Return the params that the stages ran with and those of the other sections, and a note where the file differs."""
    try:
        file = locks.load(content("params.yaml") or b"") or {}
    except locks.TrialError as error:
        return dict(locks.flat(locks.params(lock))), [f"{name}: params.yaml {error}"]
    if not isinstance(file, Mapping):
        file = {}
    ran = locks.params(lock)
    found = dict(locks.flat({key: file[key] for key in _OTHERS if key in file} | ran))
    changed = {section for section, value in ran.items() if section in locks.STAGES and file.get(section) != value}
    notes = [f"{name}: {', '.join(sorted(changed))} of params.yaml changed since it ran"] if changed else []
    return found, notes


def _metrics(path: str, lock: Mapping[str, Any], content: Read) -> tuple[dict[str, float], str | None]:
    """Return the metrics of a file by dotted name, and what is wrong with it."""
    there, md5 = content(path), locks.out(lock, path)
    if there is None:
        return {}, f"{path} is not here" if md5 else None
    if md5 is None:
        return {}, None  # of another pipeline, or left behind
    if _md5(there) != md5:
        return {}, f"{path} is not the one of {locks.LOCK}, and left out"
    try:
        values = dict(locks.flat(json.loads(there)))
    except (ValueError, AttributeError):
        return {}, f"{path} is damaged, and left out"
    return {k: v for k, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}, None


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _data(lock: Mapping[str, Any], content: Read) -> dict[str, Any]:
    """Return what tells the data: the tables that DVC tracks, the hashes, and how large the raw table is."""
    raw, split = locks.data(lock)
    found: dict[str, Any] = {path: md5 for path, md5 in _files(lock, "deps") if path.startswith("data/source/")}
    found |= {locks.RAW: raw, locks.SPLIT: split}
    try:
        report = json.loads(content(_DATA) or b"{}")
        found |= {name: report[name] for name in SIZES if name in report}
    except (ValueError, TypeError):
        pass  # it only says more
    return {name: value for name, value in found.items() if value is not None}


def _curves(content: bytes) -> dict[str, list[tuple[float, float]]]:
    """Return the points of each curve; a line that is half written, or no number, is left out."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in csv.DictReader(io.StringIO(content.decode(errors="replace"))):
        try:
            step, value = float(row["step"]), float(row["value"])
        except (KeyError, TypeError, ValueError):
            continue
        if math.isfinite(value):
            found.setdefault(row.get("label") or "", []).append((step, value))
    return found


def _code(lock: Mapping[str, Any]) -> dict[str, str]:
    """Return the files of code that the stages depend on."""
    start, end = _CODE
    return {path: md5 for path, md5 in _files(lock, "deps") if path.startswith(start) or path.endswith(end)}


def _files(lock: Mapping[str, Any], kind: str) -> Iterator[tuple[str, str]]:
    for stage in lock.values():
        for file in stage.get(kind) or ():
            if isinstance(file.get("md5"), str):
                yield file["path"], file["md5"]
