"""What was asked about: a model version, a trial by its run or revision, or data."""

import re
from dataclasses import dataclass

from trialtree import revisions
from trialtree.lineage import from_git
from trialtree.lineage.chain import Kind, Version
from trialtree.lineage.from_mlflow import View
from trialtree.revisions import RevisionError
from trialtree.tracking import git, history, locks

_VERSION = re.compile(r"(?:models:/+)?(?P<name>\w[\w .-]*?)(?:/(?P<number>\d+)|@(?P<alias>[\w-]+))")
_HASH = re.compile(r"[0-9a-f]{32}(\.dir)?")
_RUN = re.compile(r"[0-9a-f]{4,32}")


@dataclass(frozen=True)
class Asked:
    """What was asked about, as it is stored."""

    kind: Kind
    key: str | None = None  # of the trial
    version: Version | None = None
    md5: str | None = None  # of the data
    texts: tuple[str, ...] = ()  # that are known to be in the trial's dvc.lock


def read(objects: git.Objects, text: str, view: View | None, warning: str | None) -> Asked:
    """Return what `text` stands for.

    Raises:
        RevisionError: nothing, or several things.
    """
    version = _version(text, view)
    commit = None if text.startswith("models:/") else revisions.resolved(text)
    meanings = [
        *([f"model version models:/{version.name}/{version.number}"] if version else []),
        *([f"commit {commit}"] if commit else []),
        *([f"run {run}" for run in _runs(text, view)]),
    ]
    if len(meanings) > 1:
        raise RevisionError(f"{text} stands for {len(meanings)} things; name one: {', '.join(meanings)}")
    if version and version.key is None:
        raise RevisionError(f"{text} was not registered from a trial of a trialtree repository: no tag trialtree.key")
    if version:
        return Asked("model version", version.key, version)
    if commit:
        return of_commit(objects, commit)
    return _run(text, view) or _data(objects, text, view) or _nothing(text, warning)


def of_commit(objects: git.Objects, commit: str) -> Asked:
    """Return the trial that a commit holds, or its data where that is all."""
    lock = locks.entries(history.lock_at(objects, commit) or b"")
    if len(lock) == len(locks.STAGES):
        hashes = (locks.out(lock, path) for path in (locks.SPLIT, locks.MODEL))
        return Asked("trial", locks.content_key(lock), texts=tuple(md5 for md5 in hashes if md5))
    _, split = locks.data(lock)
    if split:
        return Asked("data", md5=split)
    raise RevisionError(f"commit {commit[:7]} holds no trial: its dvc.lock has no {_missing(lock)}")


def _missing(lock: dict[str, object]) -> str:
    return ", ".join(name for name in locks.STAGES if name not in lock)


def _version(text: str, view: View | None) -> Version | None:
    match = _VERSION.fullmatch(text)
    if match is None or view is None:
        return None
    return view.version(match["name"], match["number"] or match["alias"])


def _runs(text: str, view: View | None) -> list[str]:
    """Return the runs whose id begins so."""
    if view is None or not _RUN.fullmatch(text):
        return []
    return [run.id for run in view.runs(f"attributes.run_id LIKE '{text}%'")]


def _run(text: str, view: View | None) -> Asked | None:
    """Return the trial of a run."""
    for run_id in _runs(text, view):
        tags = view.logged[run_id].data.tags if view else {}
        if "trialtree.key" not in tags:
            raise RevisionError(f"run {run_id} is of no trial of this repository: it has no tag trialtree.key")
        return Asked("trial", tags["trialtree.key"], texts=tuple(v for v in [tags.get("data.split")] if v))
    return None


def _data(objects: git.Objects, text: str, view: View | None) -> Asked | None:
    """Return data by their hash, or by path and revision."""
    path, _, rev = text.partition("@")
    if rev and "/" in path:
        commit = revisions.commit(rev)
        hashes = from_git.hashes(locks.entries(history.lock_at(objects, commit) or b""))
        if path not in hashes:
            there = ", ".join(hashes) or "none"
            raise RevisionError(f"{path} is no data of the trial at {commit[:7]}; there: {there}")
        return Asked("data", md5=hashes[path])
    if not _HASH.fullmatch(text):
        return None
    for md5 in (text, f"{text}.dir"):
        if from_git.of_data(objects, md5) or (view and view.runs(of_data(md5))):
            return Asked("data", md5=md5)
    return None


def of_data(md5: str) -> str:
    """Return MLflow's filter for the runs on a split or raw table."""
    return f"tags.`data.{'split' if md5.endswith('.dir') else 'raw'}` = '{md5}'"


def _nothing(text: str, warning: str | None) -> Asked:
    unasked = f" ({warning})" if warning else ""
    raise RevisionError(
        f"{text} is no model version, run, revision or hash of data here{unasked}; name one as NAME/3, NAME@champion, "
        "the id of a run, a commit, branch, tag or experiment, or data/split@REV"
    )
