"""The revisions that a report is about, and how Git relates them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.errors import UserError
from trialtree import revisions
from trialtree.queries import sides
from trialtree.queries.sides import Side
from trialtree.review.laid import Laid
from trialtree.review.remotely import Remote
from trialtree.tracking import git, history, locks

PREDICTIONS = "reports/predictions.parquet"
PLOTS = "reports/plots"
_SMALL = ("reports/data.json", "reports/curves.csv", PLOTS, PREDICTIONS)  # reports: pulled unasked


@dataclass
class Subject:
    """A revision, and what there is of its trial."""

    name: str  # as it was asked for
    commit: str
    laid: Laid = field(repr=False)
    lock: Mapping[str, Any] = field(repr=False)  # entries by stage; none where there is no trial
    params: Mapping[str, Any] = field(repr=False)  # params.yaml, nested
    side: Side | None = field(repr=False)  # what is compared of it; None where there is no trial
    notes: list[str] = field(default_factory=list)

    @property
    def short(self) -> str:
        """The commit's first letters."""
        return self.commit[:7]

    @property
    def folder(self) -> Path:
        """Where its outputs are laid out."""
        return self.laid.folder

    def param(self, path: str) -> Any:
        """Return a key of params.yaml by its dotted name; None where there is none."""
        found: Any = self.params
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    def size(self, path: str) -> int | None:
        """Return the bytes of an output, as dvc.lock has them."""
        outs = (out for stage in self.lock.values() for out in stage.get("outs") or ())
        return next((out.get("size") for out in outs if out.get("path") == path), None)

    def out(self, path: str) -> str | None:
        """Return DVC's hash of an output."""
        return locks.out(self.lock, path)


def subject(name: str, commit: str, folder: Path, content: git.Objects, remote: Remote) -> Subject:
    """Return a revision with its small reports laid out in `folder`; what is missing is among its notes."""
    notes: list[str] = []
    try:
        lock = locks.entries(history.lock_at(content, commit) or b"")
        outs = revisions.outs(content, commit)
    except locks.TrialError as error:
        lock, outs, notes = {}, {}, [str(error)]
    placed = Laid(commit, folder, outs, content, remote)
    if not lock and not notes:
        notes.append("the pipeline has not run there: no dvc.lock")
    placed.bring(_SMALL)
    missing = {path: said for path in _SMALL if path in outs and (said := placed.have(path)) is not None}
    if missing:
        first, said = next(iter(missing.items()))
        notes.append(f"{', '.join(missing)}: {remote.silent or said.removeprefix(f'{first}: ')}")
    side = None
    if lock:
        try:
            side = sides.of_commit(content, name, commit)
            notes += [note.removeprefix(f"{name}: ") for note in side.notes]
        except UserError as error:
            notes.append(str(error))
    return Subject(name, commit, placed, lock, _params(content, commit, notes), side, notes)


def _params(content: git.Objects, commit: str, notes: list[str]) -> Mapping[str, Any]:
    try:
        found = locks.load(content.read(f"{commit}:./params.yaml") or b"")
    except locks.TrialError as error:
        notes.append(f"params.yaml {error}")
        return {}
    return found if isinstance(found, Mapping) else {}


def resolved(base: str) -> tuple[str | None, str]:
    """Return the commit of a base and the name that it has here, or None and why there is none.

    A branch that this clone does not have is taken from origin.
    """
    for name in (base, f"origin/{base}"):
        try:
            if commit := revisions.resolved(name):
                return commit, name
        except UserError as error:
            return None, str(error)
    said = f"there is no {base} here to compare with"
    if is_shallow():
        said += "; this is a shallow clone: `git fetch --unshallow`, in CI fetch-depth: 0"
    return None, said


def is_shallow() -> bool:
    """Say whether the clone lacks the beginning of its history."""
    return git.run("rev-parse", "--is-shallow-repository") == "true"


def relation(base: Subject, head: Subject) -> list[str]:
    """Return notes on how the two descend from each other, where that matters to who compares them."""
    if base.commit == head.commit:
        return [f"{base.name} and {head.name} are the same commit"]
    common = git.run("merge-base", base.commit, head.commit)
    if common is None:
        cut = "; this is a shallow clone: fetch-depth: 0, or `git fetch --unshallow`" if is_shallow() else ""
        return [f"{base.name} and {head.name} have no history in common{cut}"]
    behind = git.run("rev-list", "--count", f"{common}..{base.commit}") or "0"
    if behind != "0":
        commits = f"{behind} commit{'s' * (behind != '1')}"
        return [
            f"{base.name} has gone on by {commits} since {head.name} began there, and what these changed is among the "
            "differences"
        ]
    return []


def metrics(of: Subject) -> dict[str, Any]:
    """Return reports/metrics.json by part; empty where it is not there or damaged."""
    try:
        found = json.loads(of.laid.read("reports/metrics.json") or b"{}")
    except ValueError:
        return {}
    return {k: v for k, v in found.items() if isinstance(v, dict)} if isinstance(found, dict) else {}
