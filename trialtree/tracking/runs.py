"""A trial becomes a run of MLflow: one, however often it is published, and whole after any crash.

A run is found by the trial's content key and, for a DVC experiment, its name
or commit: two experiments of equal content are two trials. What is there
already is left; what a crash left out is added.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from posixpath import normpath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from trialtree.tracking import artifacts as files
from trialtree.tracking import claims, git, inputs, stageruns, wishes
from trialtree.tracking.bulk import New, Point
from trialtree.tracking.index import MISSING, STATE, loaded
from trialtree.tracking.stores import Store
from trialtree.tracking.trials import BRANCHES, COMMIT, COMMITS, DIGEST, EXPERIMENT, KEY, TAGS, Trial

if TYPE_CHECKING:
    from mlflow import MlflowClient

PUBLISHED = "trialtree.published"  # tag: digest of what the run holds, set when all of it is there
LIVE = "trialtree.live"  # tag: the digest of the model whose fit a run shows, before the trial is published
_NAMED = "mlflow.runName"

# MLflow's limits.
_NAME = 250  # characters of a name
_PARAM = 6000  # characters of a param
TAG = 8000  # characters of a tag
_COMMITS = 190  # that such a tag holds
_GAPS = 50  # outputs with their hashes, the same
_BATCH = 100  # params or tags at once
_BYTES = 500_000  # of a request; a server takes twice that
_METRICS = 1000  # at once
_REFUSED = re.compile(r"[^/\w.\-: ]")  # in names

_ATTEMPTS = 4  # to publish beside another process that publishes the same


@dataclass(frozen=True)
class Run:
    """A run that holds a trial."""

    id: str
    name: str  # that of the trial when it was first published
    experiment_id: str
    notes: list[str]  # what MLflow could not take as it is
    made: bool = False  # whether there was none before
    changed: bool = False  # whether something was added to the one that was there
    missing: tuple[str, ...] = ()  # outputs that it lacks, as this machine has them neither


def publish(
    trial: Trial, client: "MlflowClient", store: Store, *, unknown: bool = False, tags: Mapping[str, str] | None = None
) -> Run:  # fmt: skip
    """Make the run of a trial, or bring the one there up to date.

    `unknown`: there is no run of it yet, or none but one of its fit. `tags` are
    set last, when everything else is there.
    """
    from mlflow import MlflowException

    for left in reversed(range(_ATTEMPTS)):
        run_id = None
        try:
            experiment = experiment_id(client, trial.experiment, store.artifacts)
            with claims.alone(client, trial.key, embedded=store.embedded) as alone:
                run = None if unknown else _found(client, experiment, trial)
                run, made = (run, False) if run else _made(client, experiment, trial, alone=alone)
                run_id = run.info.run_id
                return _completed(client, run, trial, made=made, last=dict(tags or {}))
        except MlflowException as error:
            # Another machine publishes the same: it was faster, or took this run away in favour of its own.
            if not left or run_id is None or not (claims.raced(error) or _is_gone(client, run_id)):
                raise
            unknown = False
    raise AssertionError


def _is_gone(client: "MlflowClient", run_id: str) -> bool:
    """Say whether a run was deleted."""
    return bool(client.get_run(run_id).info.lifecycle_stage != "active")


def _completed(client: "MlflowClient", run: Any, trial: Trial, *, made: bool, last: dict[str, str]) -> Run:
    """Return a run after adding what it lacks."""
    params, odd = mlflow_params(trial.params)
    digest, lacking = _digest(trial), _lacking(run, trial)
    whole = run.data.tags.get(PUBLISHED) == digest or lacking is None or _outranks(run, trial)
    whole = whole and files.there(client, run)
    changed = _log(client, run, trial, {} if whole else params, fresh=made)
    if not whole:
        inputs.log(client, run, trial.datasets)
        files.upload(client, run, trial.artifacts)
        last |= {PUBLISHED: digest, **({MISSING: json.dumps(lacking)} if lacking else {})}
        if MISSING in run.data.tags and not lacking:
            client.delete_tag(run.info.run_id, MISSING)
    if run.info.status != "FINISHED":
        client.set_terminated(run.info.run_id, end_time=trial.time if made else None)
    if trial.stages:
        stageruns.log(client, run, trial)
    changed = _set(client, run, last) or changed or not whole
    name = trial.name if made else _tags(run.data.tags, trial).get(_NAMED, run.info.run_name)
    missing = () if whole else tuple(lacking or ())
    return Run(run.info.run_id, name, run.info.experiment_id, _notes(odd), made, changed and not made, missing)


def _outranks(run: Any, trial: Trial) -> bool:
    """Say whether a run that is whole is of a commit, and the trial of none: files that no commit has stay out."""
    return PUBLISHED in run.data.tags and COMMIT in run.data.tags and COMMIT not in trial.tags


def _lacking(run: Any, trial: Trial) -> dict[str, str] | None:
    """Return the outputs that the run will lack; None where this machine lacks all that the run does, and more."""
    had, here = run.data.tags, trial.missing
    if PUBLISHED not in had:
        return dict([*here.items()][:_GAPS])
    there = loaded(had.get(MISSING))
    return None if here and there.keys() <= here.keys() else {path: here[path] for path in there if path in here}


def experiment_id(client: "MlflowClient", name: str, artifacts: str | None) -> str:
    """Return the id of an experiment, made where it is not there, taken back where it was deleted."""
    from mlflow import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        place = artifacts and f"{artifacts}/{_slug(name)}"
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException as error:  # another machine was faster
            found = client.get_experiment_by_name(name)
            if error.error_code != "RESOURCE_ALREADY_EXISTS" or found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _slug(name: str) -> str:
    """Return a folder's name for an experiment: telling, and its own."""
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', name)[:40]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _found(client: "MlflowClient", experiment_id: str, trial: Trial) -> Any:
    """Return the first run of a trial, or None; others of it, which only a race makes, are deleted."""
    equal = _equal(client, experiment_id, f"tags.`{KEY}` = '{trial.key}'")
    runs = [run for run in equal if is_of(run.data.tags, trial)]
    for other in runs[1:]:
        client.delete_run(other.info.run_id)
    return runs[0] if runs else None


def _equal(client: "MlflowClient", experiment_id: str, text: str) -> list[Any]:
    """Return the runs for which a filter holds, the first made first."""
    order = ["attributes.start_time ASC", "attributes.run_id ASC"]
    return list(client.search_runs([experiment_id], text, order_by=order))


def is_of(tags: Mapping[str, str], trial: Trial) -> bool:
    """Say whether a run of the same content is the trial's: by its name as an experiment, or by its commit."""
    mine = trial.tags.get(COMMIT)
    return tags.get(EXPERIMENT) == trial.dvc_experiment or bool(mine and mine in tags.get(COMMITS, "").split())


def _made(client: "MlflowClient", experiment_id: str, trial: Trial, *, alone: bool) -> tuple[Any, bool]:
    """Return a run for a trial that has none, and whether it is new: the one that showed its fit is taken first."""
    digest = trial.tags.get(DIGEST)
    if digest and any(name.startswith("curve.") for name, _, _ in trial.history):
        shown = [
            run for run in _equal(client, experiment_id, f"tags.`{LIVE}` = '{digest}'")
            if KEY not in run.data.tags and run.data.tags.get(EXPERIMENT) == trial.dvc_experiment
        ]  # fmt: skip
        for other in shown[1:]:
            client.delete_run(other.info.run_id)
        if shown:
            return shown[0], False
    tags = _cut(trial.tags)
    if sum(map(len, tags.values())) > _BYTES:
        tags = {name: tags[name] for name in (KEY, EXPERIMENT, COMMIT, COMMITS) if name in tags}
    run = client.create_run(experiment_id, start_time=trial.time, tags=tags, run_name=trial.name)
    if alone:
        return run, True
    # Another machine may have made one meanwhile: both then choose the same.
    chosen = _found(client, experiment_id, trial)
    return chosen, chosen.info.run_id == run.info.run_id


def new(trial: Trial, last: Mapping[str, str]) -> tuple[New, list[str]]:
    """Return the run of a committed trial that has none, whole from the first, and what MLflow cannot take as it is."""
    params, odd = mlflow_params(trial.params)
    start = trial.time or 0
    lacking = dict([*trial.missing.items()][:_GAPS])
    tags = {
        **_cut(trial.tags),
        PUBLISHED: _digest(trial),
        **({MISSING: json.dumps(lacking)} if lacking else {}),
        **last,
    }
    made = New(
        trial.name, "FINISHED", start, start, tags, params, _points(trial, start), trial.datasets, trial.artifacts
    )  # fmt: skip
    return made, _notes(odd)


def create(client: "MlflowClient", experiment_id: str, of: New) -> str:
    """Make a run by MLflow's own calls, and return its id; its tag STATE is set last, when everything else is there."""
    from mlflow.entities import Metric, Param, RunTag

    first = {name: value for name, value in of.tags.items() if name != STATE}
    run_id = str(client.create_run(experiment_id, of.start, first, of.name).info.run_id)
    send(client, run_id, [Metric(*point) for point in of.points], [Param(*pair) for pair in of.params.items()], ())
    client.set_terminated(run_id, of.status, of.end)
    if STATE in of.tags:
        client.log_batch(run_id, tags=[RunTag(STATE, of.tags[STATE])])
    return run_id


def _cut(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags of the length that MLflow takes."""
    return {name: value[:TAG] for name, value in tags.items()}


def _notes(odd: int) -> list[str]:
    return [f"{odd} params are shortened or renamed in MLflow; the run's params.yaml has them all"] if odd else []


def mlflow_params(params: Mapping[str, Any]) -> tuple[dict[str, str], int]:
    """Return params as MLflow takes them, each under a name of its own, and how many had to be changed for that."""
    taken: dict[str, str] = {}
    changed = 0
    for name, value in params.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        named = mlflow_name(name, taken)
        short = text if len(text) <= _PARAM else text[: _PARAM - 1] + "…"
        changed += named != name or short != text
        taken[named] = short
    return taken, changed


def mlflow_name(name: str, taken: Mapping[str, Any]) -> str:
    """Return a name that MLflow takes and that is not taken."""
    named = _REFUSED.sub("_", name)
    if named != normpath(named) or named.startswith(("/", "..")) or named == ".":
        named = named.replace("/", "_").strip(".") or "_"
    if len(named) > _NAME or named in taken:
        named = f"{named[: _NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return named


def _digest(trial: Trial) -> str:
    """Return the SHA-256 of what a run holds of a trial, its tags apart."""
    digest = hashlib.sha256()
    for path in sorted(trial.artifacts):
        digest.update(f"{path}\0{hashlib.sha256(trial.artifacts[path]).hexdigest()}\n".encode())
    parts = [part.digest for part in trial.datasets]
    digest.update(json.dumps([trial.params, trial.metrics, trial.history, parts], default=str).encode())
    return digest.hexdigest()


def _log(client: "MlflowClient", run: Any, trial: Trial, params: Mapping[str, str], *, fresh: bool) -> bool:
    """Log the params, metrics and tags that the run does not have, and say whether there were any."""
    from mlflow.entities import Param, RunTag

    had = run.data
    wanted = _tags(had.tags, trial)
    tags = [RunTag(k, v[:TAG]) for k, v in wanted.items() if had.tags.get(k) != v[:TAG]]
    # A param cannot change once it is logged; the key makes sure that it need not.
    new = [Param(k, v) for k, v in params.items() if k not in had.params]
    points = _lacking_points(client, run, trial, fresh=fresh) if params else []
    send(client, run.info.run_id, points, new, tags)
    gone = _gone(had.tags, trial)
    for name in gone:
        client.delete_tag(run.info.run_id, name)
    return bool(tags or new or points or gone)


def send(
    client: "MlflowClient", run_id: str, points: Sequence[Any], params: Sequence[Any], tags: Sequence[Any]
) -> None:
    """Log metrics, params and tags in as few requests as MLflow takes them in."""
    lots = [[*_batches(params)], [*_batches(tags)]]
    if len(points) <= _METRICS - 2 * _BATCH and all(len(lot) <= 1 for lot in lots):
        if points or params or tags:
            client.log_batch(run_id, metrics=points, params=params, tags=tags)
        return
    for params_batch in lots[0]:
        client.log_batch(run_id, params=params_batch)
    for place in range(0, len(points), _METRICS):
        client.log_batch(run_id, metrics=points[place : place + _METRICS])
    for tags_batch in lots[1]:
        client.log_batch(run_id, tags=tags_batch)


def _lacking_points(client: "MlflowClient", run: Any, trial: Trial, *, fresh: bool) -> list[Any]:
    """Return the points of metrics that the run lacks."""
    from mlflow.entities import Metric

    had = run.data.metrics
    there: Counter[tuple[str, int]] = Counter()
    for name in () if fresh else sorted({mlflow_name(point[0], {}) for point in trial.history} & had.keys()):
        there.update((name, point.step) for point in client.get_metric_history(run.info.run_id, name))
    return [Metric(*point) for point in _points(trial, run.info.start_time, had, there)]


def _points(
    trial: Trial, start: int, had: Mapping[str, float] = MappingProxyType({}),
    there: Mapping[tuple[str, int], int] = MappingProxyType({}),
) -> list[Point]:  # fmt: skip
    """Return the points of a trial's metrics, without those that a run has: its last values, and points by step."""
    names = {name: mlflow_name(name, {}) for name in {*trial.metrics, *(point[0] for point in trial.history)}}
    curved = {point[0] for point in trial.history}
    # The run's own start as time: logged twice, a metric stays one point.
    found = [
        (names[name], value, start, 0)
        for name, value in trial.metrics.items()
        if name not in curved and not _same(had.get(names[name]), value)
    ]
    seen: Counter[tuple[str, int]] = Counter()
    for name, value, step in trial.history:
        # Of points of one step the last counts: for MLflow that is the latest, and at one time the largest.
        if seen[name, step] >= there.get((names[name], step), 0):
            found.append((names[name], value, start + seen[name, step], step))
        seen[name, step] += 1
    return found


def _tags(had: Mapping[str, str], trial: Trial) -> dict[str, str]:
    """Return the tags to set: what Git says of a committed trial counts, whatever was known before."""
    wanted = {**trial.tags, _NAMED: trial.name}
    if COMMIT in had and (COMMIT not in wanted or trial.uncertain):
        return {}
    if COMMITS in wanted:
        commits = dict.fromkeys([*wanted[COMMITS].split(), *_elsewhere(had, wanted[COMMITS].split())])
        wanted[COMMITS] = " ".join([*commits][:_COMMITS])
    return wanted


def _elsewhere(had: Mapping[str, str], here: Sequence[str]) -> list[str]:
    """Return the commits of a run that this clone does not know; one that it knows and does not count was amended."""
    others = [commit for commit in had.get(COMMITS, "").split() if commit not in here]
    return [commit for commit, known in zip(others, git.names(others) if others else (), strict=True) if known is None]


def _gone(had: Mapping[str, str], trial: Trial) -> list[str]:
    """Return the tags of the run that the trial has no more."""
    mine = {name for name in had if name.startswith(LIVE)}
    if COMMIT in trial.tags and not trial.uncertain:
        mine |= {BRANCHES, TAGS, EXPERIMENT, wishes.GIVEN, *loaded(had.get(wishes.GIVEN))}
    return sorted(name for name in mine if name in had and name not in trial.tags)


def _set(client: "MlflowClient", run: Any, tags: Mapping[str, str]) -> bool:
    """Set the tags that the run has not, and say whether there were any."""
    from mlflow.entities import RunTag

    new = [RunTag(name, value) for name, value in tags.items() if run.data.tags.get(name) != value]
    if new:
        client.log_batch(run.info.run_id, tags=new)
    return bool(new)


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
