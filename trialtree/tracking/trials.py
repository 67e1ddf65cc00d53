"""What Git and DVC hold of a trial: everything that its MLflow run says."""

import getpass
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages import models
from stages.errors import UserError
from trialtree.tracking import git

LOCK = Path("dvc.lock")
METRICS = Path("reports/metrics.json")
STAGES = ("fetch", "split", "train", "evaluate")  # what a trial's content is

KEY = "trialtree.key"  # tag: the trial's content
EXPERIMENT = "dvc.experiment"  # tag: the name of the DVC experiment that the trial is
DIGEST = "model.digest"  # tag: the model's SHA-256

# What a run holds as files, beside the plots. Predictions and the model are large, and DVC keeps them.
_FILES = ("params.yaml", "dvc.lock", "reports/metrics.json", "reports/data.json", "reports/curves.csv",
          "reports/folds.csv")  # fmt: skip
_PLOTS = Path("reports/plots")
_LARGEST = 10_000_000  # bytes of a file that a run holds


class TrialError(UserError):
    """A workspace that holds no whole trial."""


@dataclass(frozen=True)
class Trial:
    """One trial, wherever it was read from."""

    experiment: str
    name: str
    key: str  # SHA-256 of what dvc.lock says of fetch to evaluate: equal content, equal key
    params: dict[str, Any]  # by dotted name
    metrics: dict[str, float]  # by dotted name
    artifacts: dict[str, bytes]  # by path
    tags: dict[str, str]
    branch: str | None  # that is checked out
    dvc_experiment: str | None  # the name, inside `dvc exp run`


def workspace(experiment: str) -> Trial:
    """Return the trial that stands in the working folder.

    Raises:
        GitError: there is no repository, or no commit.
        TrialError: dvc.lock, metrics and model are not there, or not of one run.
    """
    commit, branch = git.head(), git.branch()
    lock = read_lock(LOCK.read_bytes() if LOCK.exists() else b"")
    metrics = _metrics(lock)
    name = os.environ.get("DVC_EXP_NAME")
    tags = {
        KEY: content_key(lock),
        DIGEST: models.digest(),
        "baseline_commit": os.environ.get("DVC_EXP_BASELINE_REV") or commit,
        "mlflow.source.git.commit": commit,
        # An experiment's commit takes in every change.
        "dirty": "false" if name or not _dirty(lock) else "true",
        **_present({
            "branch": branch,
            "mlflow.source.git.branch": branch,
            "DVC_BRANCH": branch,
            "DVC_REPO_URL": git.origin(),
            "mlflow.source.git.repoURL": git.origin(),
            EXPERIMENT: name,
            "USER": _user(),
            "mlflow.user": _user(),
        }),
        **data_hashes(lock),
    }  # fmt: skip
    return Trial(
        experiment=experiment,
        name=name or (f"{branch}@{commit[:7]}" if branch else commit[:7]),
        key=tags[KEY],
        params=dict(_flat(_params(lock))),
        metrics=metrics,
        artifacts=dict(_artifacts()),
        tags=tags,
        branch=branch,
        dvc_experiment=name,
    )


def read_lock(content: bytes) -> dict[str, Any]:
    """Return what a dvc.lock says of each stage from fetch to evaluate.

    Raises:
        TrialError: it is damaged, or lacks one.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        stages = (YAML(typ="safe", pure=True).load(content) or {}).get("stages") or {}
        found = {name: dict(stages[name]) for name in STAGES if name in stages}
    except (YAMLError, AttributeError, TypeError, ValueError):
        raise TrialError(f"{LOCK} is damaged; `dvc repro` makes it anew") from None
    missing = [name for name in STAGES if name not in found]
    if missing:
        raise TrialError(f"{LOCK} has no {', '.join(missing)}: the pipeline has not run; `dvc repro` runs it")
    return found


def content_key(lock: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the lock entries of fetch to evaluate, as canonical JSON."""
    entries = {name: lock[name] for name in STAGES}
    text = json.dumps(entries, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def data_hashes(lock: Mapping[str, Any]) -> dict[str, str]:
    """Return DVC's hash of the raw table and of the split, and of each part where DVC's cache holds the list."""
    hashes = {"data.raw": _md5(lock, "data/raw.parquet"), "data.split": _md5(lock, "data/split")}
    listed = _manifest(hashes["data.split"])
    for part in ("train", "validation", "test"):
        files = [entry["md5"] for entry in listed if entry["relpath"].startswith(f"{part}/")]
        if files:
            joined = hashlib.md5("\n".join(files).encode(), usedforsecurity=False).hexdigest()
            hashes[f"data.{part}"] = files[0] if len(files) == 1 else joined
    return _present(hashes)


def _md5(lock: Mapping[str, Any], path: str) -> str | None:
    """Return DVC's hash of an output."""
    outs = (out for stage in lock.values() for out in stage.get("outs", ()))
    return next((out.get("md5") for out in outs if out["path"] == path), None)


def _manifest(md5: str | None) -> list[dict[str, str]]:
    """Return DVC's list of a folder's files from the cache; empty where it is not in the usual place."""
    if not md5:
        return []
    here = Path(os.environ.get("DVC_ROOT", ""))
    for root in dict.fromkeys((Path(), here, git.shared_top(here))):
        path = root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
        if path.exists():
            listed: list[dict[str, str]] = json.loads(path.read_bytes())
            return sorted(listed, key=lambda entry: entry["relpath"])
    return []


def _metrics(lock: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics by dotted name, after checking that they are those of dvc.lock."""
    try:
        content = METRICS.read_bytes()
        parts = json.loads(content)
        found = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
    except FileNotFoundError:
        raise TrialError(f"{METRICS} is not here; `dvc repro` makes it") from None
    except (ValueError, AttributeError):
        raise TrialError(f"{METRICS} is damaged; `dvc repro --force evaluate` makes it anew") from None
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if md5 != _md5(lock, METRICS.as_posix()):
        raise TrialError(f"{METRICS} is not the one of {LOCK}; `dvc repro` brings them together")
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def _params(lock: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params that the stages ran with, by file and section: what dvc.lock says."""
    found: dict[str, Any] = {}
    for name in STAGES:
        for file in lock[name].get("params", {}).values():
            found |= file
    return found


def _flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings by dotted name; an empty mapping is a leaf."""
    for key, inner in value.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(inner, Mapping) and inner:
            yield from _flat(inner, name)
        else:
            yield name, inner


def _artifacts() -> Iterator[tuple[str, bytes]]:
    """Yield the small files of a trial."""
    paths = [*(Path(name) for name in _FILES), *sorted(p for p in _PLOTS.rglob("*") if p.is_file())]
    for path in paths:
        if path.exists() and path.stat().st_size <= _LARGEST:
            yield path.as_posix(), path.read_bytes()


def _dirty(lock: Mapping[str, Any]) -> bool:
    """Say whether the trial came from other files than the commit's: tracked ones but outputs, and untracked deps."""
    top = git.prefix()
    outs = [top + out["path"] for stage in lock.values() for out in stage.get("outs", ())]
    deps = [top + dep["path"] for stage in lock.values() for dep in stage.get("deps", ())]
    made = [top + LOCK.as_posix(), *outs]
    return any(
        not _below(change.path, made) and (change.tracked or _below(change.path, deps)) for change in git.changes()
    )


def _below(path: str, places: Sequence[str]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return None


def _present(values: Mapping[str, str | None]) -> dict[str, str]:
    """Return the entries that have a value."""
    return {name: value for name, value in values.items() if value}
