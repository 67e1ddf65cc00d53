"""List trials: on branches, here and on remotes, and DVC's experiments; nothing is checked out."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from trialtree.branches import commands, locks, objects
from trialtree.branches.objects import Reader
from trialtree.remotes import faults
from trialtree.remotes.presence import Cloud

_LOCK, _YAML, _PARAMS, _METRICS = "dvc.lock", "dvc.yaml", "params.yaml", "reports/metrics.json"
_REMOTES = "refs/remotes/"
# DVC's own references among the experiments.
_INNER = ("stash", "celery", "running", "apply", "exec", "namespace")
# The sections that make a trial; register and sweep do not.
_COMPARED = ("fetch.", "split.", "train.", "evaluate.")


@dataclass
class Trial:
    """One trial, as its commit holds it."""

    commit: str
    names: list[str]  # branches and experiments that it is the last trial of
    who: str
    when: str  # ISO 8601, UTC
    data: str  # MD5 of data/split
    whole: bool  # each stage from fetch to evaluate ran on what those before it made
    metrics: dict[str, float]
    params: dict[str, str]  # those that differ between the trials listed
    main: list[str] = field(default_factory=list)  # the metrics that it is judged by
    in_remote: str = "-"  # yes, no, part (11 of 26), unknown; - without a DVC remote
    objects: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {key: value for key, value in asdict(self).items() if key not in ("objects", "main")}


def trials(*, all_commits: bool = False) -> tuple[list[Trial], list[str]]:
    """Return the trials, the newest first, and what to say beside them.

    Args:
        all_commits: every commit of the branches that changed dvc.lock, not the last of each only.
    """
    with objects.reading() as reader:
        named: dict[str, list[str]] = {}
        for name, commit in _tips():
            last = commit if name.startswith("exp ") else _last(reader, commit)
            if last:
                named.setdefault(last, []).append(name)
        if all_commits:
            said = commands.git("log", "--branches", "--remotes", "--format=%H", "--", _LOCK)
            named |= {commit: [] for commit in said.split() if commit not in named}
        found = [trial for commit, names in named.items() if (trial := _read(reader, commit, _distinct(names)))]
    found.sort(key=lambda trial: (trial.when, trial.commit), reverse=True)
    _keep_differing(found)
    return found, _look_into_the_remote(found)


def _tips() -> Iterator[tuple[str, str]]:
    """Yield the name and the commit of each branch and experiment."""
    for name, commit in objects.references("refs/heads", "refs/remotes", "refs/exps"):
        _, kind, rest = name.split("/", 2)
        if kind != "exps":
            yield name if kind == "remotes" else rest, commit
        elif rest.split("/")[0] not in _INNER and rest.count("/") >= 2:
            yield f"exp {rest.split('/', 2)[2]}", commit


def _last(reader: Reader, tip: str) -> str | None:
    """Return the last commit up to `tip` that changed dvc.lock; a merge that took it whole did not, as for Git."""
    name = tip
    while version := reader.version(name, _LOCK):
        commit = reader.commit(name)
        same = [p for p in (commit.parents if commit else []) if reader.version(p, _LOCK) == version]
        if not same:
            return name
        name = same[0]
    return None


def _distinct(names: Sequence[str]) -> list[str]:
    """Leave out the remotes' branches that a branch of this clone stands for."""
    own = {name for name in names if not name.startswith(_REMOTES)}
    away = [name.removeprefix(_REMOTES) for name in names if name.startswith(_REMOTES)]
    return [*(name for name in names if name in own), *(name for name in away if name.partition("/")[2] not in own)]


def _read(reader: Reader, name: str, names: list[str]) -> Trial | None:
    """Return the trial of a commit."""
    commit, lock = reader.commit(name), locks.parsed(reader.file(name, _LOCK))
    if commit is None or not lock:
        return None
    params, metrics = locks.parsed(reader.file(name, _PARAMS)), locks.metrics(reader.file(name, _METRICS))
    whole = locks.whole(lock)
    return Trial(
        commit=name,
        names=names,
        who=commit.author,
        when=datetime.fromtimestamp(commit.seconds, UTC).isoformat(),
        data=locks.split_version(lock),
        whole=whole,
        metrics=dict(metrics.get("test") or {}) if whole else {},
        params={key: value for key, value in locks.flat(params) if key.startswith(_COMPARED)},
        main=list(locks.main_metrics(metrics, params)) if whole else [],
        objects=locks.objects(lock, locks.parsed(reader.file(name, _YAML))),
    )


def _keep_differing(found: Sequence[Trial]) -> None:
    """Leave each trial the params in which the trials differ."""
    keys = dict.fromkeys(key for trial in found for key in trial.params)
    differing = [key for key in keys if len({trial.params.get(key) for trial in found}) > 1]
    for trial in found:
        trial.params = {key: trial.params[key] for key in differing if key in trial.params}


def _look_into_the_remote(found: Sequence[Trial]) -> list[str]:
    """Say of each trial whether its data are in the default remote; return why that is not known, if it is not."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    if not found:
        return []
    logging.getLogger("dvc").setLevel(logging.ERROR)
    try:
        repo = Repo()
    except DvcException as error:
        return [f"the DVC remote is not looked into: {' '.join(str(error).split())}"]
    with repo:
        cloud = Cloud(repo)
        if not cloud.named:
            return []
        wanted = {trial.commit: cloud.contents(trial.objects) for trial in found}
        try:
            held = cloud.held(list(dict.fromkeys(oid for oids in wanted.values() for oid in oids)))
        except Exception as error:
            for trial in found:
                trial.in_remote = "unknown"
            return [faults.line(error, cloud.where, "asked which data it holds")]
    for trial in found:
        oids = wanted[trial.commit]
        count = len(held.intersection(oids))
        trial.in_remote = "yes" if count == len(oids) else "no" if not count else f"{count} of {len(oids)}"
    return []
