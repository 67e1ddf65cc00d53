"""A trial becomes a run of MLflow: one, however often it is published, and whole after any crash.

A run is found by the trial's content key and, for a DVC experiment, its name,
which it has from its first moment: two experiments of equal content are two
trials. What is there already is left; what a crash left out is added.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from posixpath import normpath
from typing import TYPE_CHECKING, Any

from trialtree.tracking import inputs
from trialtree.tracking.trials import COMMIT, COMMITS, DIRTY, EXPERIMENT, KEY, SOURCE, Trial

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PUBLISHED = "trialtree.published"  # tag: digest of the files that are there
# What a trial that is committed keeps for ever, from wherever it is published again.
_KEPT = ("mlflow.runName", "branch", "mlflow.source.git.branch", "DVC_BRANCH", "baseline_commit", "USER", "mlflow.user",
         "DVC_REPO_URL", "mlflow.source.git.repoURL", "data_commit_hash")  # fmt: skip
_OF_COMMIT = (SOURCE, DIRTY)  # settled by the first commit that is all that the trial came from

# MLflow's limits.
_NAME = 250  # characters of a name
_PARAM = 6000  # characters of a param
_TAG = 8000  # characters of a tag
_COMMITS = 190  # that such a tag holds
_BATCH = 100  # params or tags at once
_BYTES = 500_000  # of a request; a server takes twice that
_METRICS = 1000  # at once
_REFUSED = re.compile(r"[^/\w.\-: ]")  # in names


@dataclass(frozen=True)
class Run:
    """A run that holds a trial."""

    id: str
    name: str  # that of the trial when it was first published
    experiment_id: str
    notes: list[str]  # what MLflow could not take as it is


def publish(trial: Trial, client: "MlflowClient", artifacts: str | None = None) -> Run:
    """Make the run of a trial, or bring the one there up to date.

    `artifacts` is where a new experiment keeps its files; None lets the server decide.
    """
    experiment_id = _experiment(client, trial.experiment, artifacts)
    run = _found(client, experiment_id, trial)
    if run is None:
        identity = {name: value for name, value in trial.tags.items() if name in (KEY, EXPERIMENT)}
        client.create_run(experiment_id, tags=identity, run_name=trial.name)
        # Another machine may have made one meanwhile: both then choose the same.
        run = _found(client, experiment_id, trial)
    params, changed = mlflow_params(trial.params)
    _log(client, run, trial, params)
    inputs.log(client, run, trial.datasets)
    _upload(client, run, trial.artifacts)
    if run.info.status != "FINISHED":
        client.set_terminated(run.info.run_id)
    notes = [f"{changed} params are shortened or renamed in MLflow; the run's params.yaml has them all"]
    return Run(run.info.run_id, run.info.run_name, experiment_id, notes if changed else [])


def _experiment(client: "MlflowClient", name: str, artifacts: str | None) -> str:
    """Return the id of an experiment, made where it is not there, taken back where it was deleted."""
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name, artifact_location=artifacts and f"{artifacts}/{_slug(name)}"))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _slug(name: str) -> str:
    """Return a folder's name for an experiment: telling, and its own."""
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', name)[:40]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _found(client: "MlflowClient", experiment_id: str, trial: Trial) -> Any:
    """Return the first run of a trial, or None; others of it, which only a race makes, are deleted."""
    order = ["attributes.start_time ASC", "attributes.run_id ASC"]
    equal = client.search_runs([experiment_id], f"tags.`{KEY}` = '{trial.key}'", order_by=order)
    runs = [run for run in equal if run.data.tags.get(EXPERIMENT) == trial.dvc_experiment]
    for other in runs[1:]:
        client.delete_run(other.info.run_id)
    return runs[0] if runs else None


def mlflow_params(params: Mapping[str, Any]) -> tuple[dict[str, str], int]:
    """Return params as MLflow takes them, each under a name of its own, and how many had to be changed for that."""
    taken: dict[str, str] = {}
    changed = 0
    for name, value in params.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        named = _name(name, taken)
        short = text if len(text) <= _PARAM else text[: _PARAM - 1] + "…"
        changed += named != name or short != text
        taken[named] = short
    return taken, changed


def _name(name: str, taken: Mapping[str, Any]) -> str:
    """Return a name that MLflow takes and that is not taken."""
    named = _REFUSED.sub("_", name)
    if named != normpath(named) or named.startswith(("/", "..")) or named == ".":
        named = named.replace("/", "_").strip(".") or "_"
    if len(named) > _NAME or named in taken:
        named = f"{named[: _NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return named


def _log(client: "MlflowClient", run: Any, trial: Trial, params: Mapping[str, str]) -> None:
    """Log the params, metrics and tags that the run does not have."""
    from mlflow.entities import Metric, Param, RunTag

    run_id, start = run.info.run_id, run.info.start_time
    had = run.data
    wanted = merged(had.tags, {**trial.tags, "mlflow.runName": trial.name})
    tags = [RunTag(k, v[:_TAG]) for k, v in wanted.items() if had.tags.get(k) != v[:_TAG]]
    # A param cannot change once it is logged; the key makes sure that it need not.
    new = [Param(k, v) for k, v in params.items() if k not in had.params]
    # The run's own start as time: logged twice, a metric stays one point.
    metrics = [Metric(_name(k, {}), v, start, 0) for k, v in trial.metrics.items() if not _same(had.metrics.get(k), v)]
    for params_batch in _batches(new):
        client.log_batch(run_id, params=params_batch)
    for place in range(0, len(metrics), _METRICS):
        client.log_batch(run_id, metrics=metrics[place : place + _METRICS])
    for tags_batch in _batches(tags):
        client.log_batch(run_id, tags=tags_batch)


def merged(had: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """Return the tags to set: a committed trial keeps where it came from, and gains other commits."""
    settled = (*_KEPT, COMMIT) if COMMIT in had else _KEPT if COMMIT in wanted else ()
    if COMMIT in had and had.get(DIRTY) == "false":
        settled = (*settled, *_OF_COMMIT)
    found = {name: value for name, value in wanted.items() if name not in settled or name not in had}
    if COMMITS in wanted:
        commits = dict.fromkeys([*had.get(COMMITS, "").split(), *wanted[COMMITS].split()])
        found[COMMITS] = " ".join([*commits][:_COMMITS])
    return found


def _same(one: float | None, other: float) -> bool:
    return one is not None and (one == other or (one != one and other != other))  # noqa: PLR0124  # NaN


def _batches(entries: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield entries in lots that one request can hold."""
    lot: list[Any] = []
    size = 0
    for entry in entries:
        length = len(json.dumps([entry.key, entry.value]))
        if lot and (len(lot) == _BATCH or size + length > _BYTES):
            yield lot
            lot, size = [], 0
        lot.append(entry)
        size += length
    if lot:
        yield lot


def _upload(client: "MlflowClient", run: Any, artifacts: Mapping[str, bytes]) -> None:
    """Put the files into the run, unless they are there; a tag says so, set after the last of them."""
    run_id = run.info.run_id
    digest = hashlib.sha256()
    for path in sorted(artifacts):
        digest.update(f"{path}\0{hashlib.sha256(artifacts[path]).hexdigest()}\n".encode())
    known = run.data.tags.get(_PUBLISHED) == digest.hexdigest()
    if not artifacts or (known and client.list_artifacts(run_id)):
        return
    with tempfile.TemporaryDirectory() as folder:
        for path, content in artifacts.items():
            place = Path(folder, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        client.log_artifacts(run_id, folder)
    client.set_tag(run_id, _PUBLISHED, digest.hexdigest())
