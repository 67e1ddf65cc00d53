"""What Git and DVC hold of a trial: everything that its MLflow run says."""

import getpass
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages import models, tables
from trialtree.tracking import committed, git, history, inputs, locks, storage
from trialtree.tracking.inputs import Dataset
from trialtree.tracking.locks import LOCK, TrialError, content_key, read_lock

METRICS = Path("reports/metrics.json")

KEY = "trialtree.key"  # tag: the trial's content
COMMIT = "trialtree.commit"  # tag: the trial's own commit
COMMITS = "trialtree.commits"  # tag: all commits of that content, the first one first
DATA_COMMIT = "data_commit_hash"  # tag: the commit that first had its data
EXPERIMENT = "dvc.experiment"  # tag: the name of the DVC experiment that the trial is
DIGEST = "model.digest"  # tag: the model's SHA-256
DIRTY = "dirty"  # tag: whether the trial came from other files than its commit's
SOURCE = "mlflow.source.git.commit"  # tag: the commit that MLflow shows

# What a run holds as files, beside the plots. Predictions and the model are large, and DVC keeps them.
_FILES = ("params.yaml", "dvc.lock", "reports/metrics.json", "reports/data.json", "reports/curves.csv",
          "reports/folds.csv")  # fmt: skip
_PLOTS = Path("reports/plots")
_LARGEST = 10_000_000  # bytes of a file that a run holds
_TAG = 8000  # characters of a tag


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
    datasets: tuple[Dataset, ...] = ()

    @property
    def shown(self) -> str:
        """The name, and whether the trial came from more than that commit."""
        return f"{self.name} + uncommitted changes" if self.tags.get(DIRTY) == "true" else self.name


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
    # An experiment's commit takes in every change.
    dirty = not name and _dirty(lock)
    stored, datasets = _data(lock)
    tags = {
        KEY: content_key(lock),
        DIGEST: models.digest(),
        "baseline_commit": os.environ.get("DVC_EXP_BASELINE_REV") or commit,
        SOURCE: commit,
        DIRTY: "true" if dirty else "false",
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
        **stored,
        **_libraries(),
        **_present({"best_iteration": _best_iteration()}),
        **_committed(commit, lock, own=not dirty and not name),
    }  # fmt: skip
    return Trial(
        experiment=experiment,
        name=name or (f"{branch}@{commit[:7]}" if branch else commit[:7]),
        key=tags[KEY],
        params=dict(locks.flat(locks.params(lock))),
        metrics=metrics,
        artifacts=dict(_artifacts()),
        tags=tags,
        branch=branch,
        dvc_experiment=name,
        datasets=datasets,
    )


def _committed(head: str, lock: Mapping[str, Any], *, own: bool) -> dict[str, str]:
    """Return what the history of HEAD says of a trial: its data's first commit, and its own where `own` asks for it."""
    with git.objects() as objects:
        first = history.first(objects, head, committed.has_data(locks.data(lock)))
        found = _present({DATA_COMMIT: first})
        if own and committed.has_key(content_key(lock))(history.lock_at(objects, head) or b""):
            found |= commit_tags(committed.read(head))
    return found


def commit_tags(of: committed.Committed) -> dict[str, str]:
    """Return the tags by which a commit is known."""
    exact = {SOURCE: of.commit, DIRTY: "false"} if of.exact else {}
    return {COMMIT: of.commit, COMMITS: of.commit, **_present({DATA_COMMIT: of.data_commit}), **exact}


def _data(lock: Mapping[str, Any]) -> tuple[dict[str, str], tuple[Dataset, ...]]:
    """Return the tags that say which data these are and where they are kept, and the parts as datasets."""
    raw, split = locks.data(lock)
    settings = storage.config()
    remote = storage.remote(settings)
    listed = storage.manifest(storage.cached(storage.caches(settings), split or ""))
    files = inputs.hashes(listed)
    digests = {"raw": raw, "split": split} | {part: _joined(hashes) for part, hashes in files.items()}
    tags = _present({f"data.{name}": md5 for name, md5 in digests.items()})
    if remote is not None:
        places = {"raw": [raw or ""], "split": [split or ""], **files}
        tags |= {f"storage.{name}": _places(remote, hashes) for name, hashes in places.items()}
    ratio = _held_out(locks.params(lock).get("split", {}))
    if ratio is not None:
        tags["train_test_split_ratio"] = ratio
    known = {part: digest for part, digest in digests.items() if digest}
    origin = _present({"mlflow.source.git.repoURL": git.origin(), "dvc.md5": split})
    return tags, tuple(inputs.read(known, files, remote, origin))


def _joined(hashes: Sequence[str]) -> str:
    """Return one hash for the files of a part: of a single file its own."""
    return hashes[0] if len(hashes) == 1 else hashlib.md5("\n".join(hashes).encode(), usedforsecurity=False).hexdigest()


def _places(remote: str, hashes: Sequence[str]) -> str:
    """Return the addresses of files, as many as a tag holds."""
    urls = [storage.address(remote, md5) for md5 in hashes]
    return " ".join(urls[: max(1, _TAG // (len(urls[0]) + 1))])


def _held_out(p: Mapping[str, Any]) -> str | None:
    """Return the share of all rows that are held out for validation and test."""
    amounts = (p.get("validation", 0), p.get("test"))
    if any(isinstance(amount, int) and amount for amount in amounts):
        rows = json.loads((tables.SPLIT / "report.json").read_text(encoding="utf-8"))["rows"]
        return str(round(1 - rows["train"] / sum(rows.values()), 4))
    return str(round(sum(amounts), 10)) if None not in amounts else None


def _best_iteration() -> str | None:
    """Return the iteration that the validation rows chose, counted from 0; None where there is none to choose."""
    chosen = json.loads((models.FOLDER / "columns.json").read_text(encoding="utf-8")).get("best_iteration")
    return None if chosen is None else str(chosen)


def _libraries() -> dict[str, str]:
    """Return the versions of the libraries that fitted the model."""
    versions = json.loads((models.FOLDER / "versions.json").read_text(encoding="utf-8"))
    return {f"library.{name}": str(version) for name, version in versions.items()}


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
    if md5 != locks.out(lock, METRICS.as_posix()):
        raise TrialError(f"{METRICS} is not the one of {LOCK}; `dvc repro` brings them together")
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def _artifacts() -> Iterator[tuple[str, bytes]]:
    """Yield the small files of a trial."""
    paths = [*(Path(name) for name in _FILES), *sorted(p for p in _PLOTS.rglob("*") if p.is_file())]
    for path in paths:
        if path.exists() and path.stat().st_size <= _LARGEST:
            content = path.read_bytes()
            yield path.as_posix(), locks.without_register(content) if path == LOCK else content


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
