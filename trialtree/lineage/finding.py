"""The chain of what was asked about."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from trialtree.lineage import asking, from_git, from_mlflow
from trialtree.lineage.asking import Asked
from trialtree.lineage.chain import Chain, Data, Run, Trial, Version
from trialtree.lineage.from_git import Found
from trialtree.lineage.from_mlflow import View
from trialtree.tracking import git, history, locks
from trialtree.tracking.committed import has_data
from trialtree.tracking.trials import COMMITS, DATA_COMMIT, DIGEST, KEY


def chain(text: str) -> Chain:
    """Return the chain of a model version, run, revision or data.

    Raises:
        RevisionError: there is nothing of that name, or it has several meanings.
        StoreError: MLflow went away in between.
    """
    with git.objects() as objects, from_mlflow.opened() as (view, warning):
        asked = asking.read(objects, text, view, warning)
        of_data = asked.kind == "data"
        found = _of_data(objects, view, asked.md5 or "") if of_data else [_of_trial(objects, view, asked)]
        found.sort(key=lambda trial: trial.order)
        data = {(trial.data.raw, trial.data.split): trial.data for trial in reversed(found)}
        data = {hashes: _version_of(objects, one, found) for hashes, one in data.items()}
        found = [replace(trial, data=data[trial.data.raw, trial.data.split]) for trial in found]
        return Chain(text, asked.kind, found, asked.version, list(reversed(data.values())), warning)


def _of_trial(objects: git.Objects, view: View | None, asked: Asked) -> Trial:
    """Return the trial of a key."""
    key = asked.key or ""
    runs = view.runs(f"tags.`{KEY}` = '{key}'") if view else []
    texts = set(asked.texts) | {run.tags["data.split"] for run in runs if "data.split" in run.tags}
    known = _tagged(objects, runs, asked.version)
    texts |= {md5 for lock in known.values() if (md5 := locks.out(lock, locks.MODEL))}
    found = from_git.of_trial(objects, key, texts)
    one = found[0] if found else Found(key, next(iter(known.values()), {}))
    digests = {run.tags[DIGEST] for run in runs if DIGEST in run.tags}
    filters = [f"tag.`{KEY}` = '{key}'", *(f"tag.`{DIGEST}` = '{digest}'" for digest in sorted(digests))]
    return _trial(objects, view, one, runs, view.versions(filters) if view else [])


def _tagged(objects: git.Objects, runs: Iterable[Run], version: Version | None) -> dict[str, Mapping[str, Any]]:
    """Return the dvc.lock of the commits that MLflow names, of those that are still here."""
    named = [sha for run in runs for sha in run.tags.get(COMMITS, "").split()] + (version.commits if version else [])
    contents = {sha: history.lock_at(objects, sha) for sha in dict.fromkeys(named)}
    return {sha: locks.entries(content) for sha, content in contents.items() if content}


def _of_data(objects: git.Objects, view: View | None, md5: str) -> list[Trial]:
    """Return all trials on data."""
    found = {one.key: one for one in from_git.of_data(objects, md5)}
    runs = _runs_on(view, md5, found) if view else {}
    for key, equal in runs.items():
        if key not in found:
            found[key] = Found(key, next(iter(_tagged(objects, equal, None).values()), {}))
    splits = {split for one in found.values() if (split := locks.data(one.lock)[1])}
    splits |= {run.tags["data.split"] for equal in runs.values() for run in equal if "data.split" in run.tags}
    versions = view.versions(f"tag.`data.split` = '{split}'" for split in sorted(splits)) if view else []
    return [_trial(objects, view, one, runs.get(key, []), versions) for key, one in found.items()]


def _runs_on(view: View, md5: str, found: Mapping[str, Found]) -> dict[str, list[Run]]:
    """Return the runs on data, or of the trials found, by trial."""
    hashes = {md5} if md5.endswith(".dir") else {md5} | {raw for f in found.values() if (raw := locks.data(f.lock)[0])}
    runs: dict[str, list[Run]] = {}
    for one in sorted(hashes):
        for run in view.runs(asking.of_data(one)):
            if KEY in run.tags and (one == md5 or run.tags[KEY] in found):
                runs.setdefault(run.tags[KEY], []).append(run)
    return runs


def _trial(objects: git.Objects, view: View | None, one: Found, runs: list[Run], versions: list[Version]) -> Trial:
    """Return a trial with what Git and MLflow have of it."""
    digests = {run.tags.get(DIGEST) for run in runs} - {None}
    mine = [version for version in versions if version.key == one.key or version.digest in digests]
    named = [sha for run in runs for sha in run.tags.get(COMMITS, "").split()]
    named += [sha for version in mine if version.key == one.key for sha in version.commits]
    commits = sorted(
        (from_git.commit(objects, sha) for sha in dict.fromkeys([*one.commits, *named])),
        key=lambda commit: (not commit.here, commit.time, commit.id),
    )
    logged = view.logged[runs[0].id].data if view and runs else None
    here = next((commit.id for commit in commits if commit.here), None)
    params = dict(locks.flat(locks.params(one.lock))) if one.lock else dict(logged.params) if logged else {}
    metrics = from_git.metrics(objects, here) if here else _without_curves(logged.metrics) if logged else {}
    return Trial(one.key, commits, runs, mine, _data(one.lock, runs), params, metrics)


def _without_curves(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return a run's metrics as metrics.json has them."""
    return {name: value for name, value in metrics.items() if not name.startswith(("curve.", "fold."))}


def _data(lock: Mapping[str, Any], runs: list[Run]) -> Data:
    """Return the data of a trial: from its dvc.lock, or else as its run has them."""
    tags = runs[0].tags if runs else {}
    raw, split = locks.data(lock) if lock else (tags.get("data.raw"), tags.get("data.split"))
    stored = {name.removeprefix("storage."): value for name, value in tags.items() if name.startswith("storage.")}
    storage = {name: value for name, value in stored.items() if name != "model"}
    return Data(raw, split, from_git.sources(lock) if lock else [], None, storage)


def _version_of(objects: git.Objects, data: Data, trials: list[Trial]) -> Data:
    """Return data with the commit that first had them, as the first of its trials tells it."""
    mine = [trial for trial in trials if (trial.data.raw, trial.data.split) == (data.raw, data.split)]
    first = next((run.tags[DATA_COMMIT] for trial in mine for run in trial.runs if DATA_COMMIT in run.tags), None)
    if first is None:
        here = (commit.id for trial in mine for commit in trial.commits if commit.here)
        commit = next(here, None)
        first = commit and history.first(objects, commit, has_data((data.raw, data.split)))
    return replace(data, first_commit=from_git.commit(objects, first) if first else None)
