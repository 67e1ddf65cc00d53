"""Trials that have no run yet become runs many at a time, where the store is a database."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trialtree.tracking import bulk, claims, runs, stageruns
from trialtree.tracking.runs import LIVE, Run
from trialtree.tracking.stores import Store
from trialtree.tracking.trials import COMMITS, DIGEST, EXPERIMENT, KEY, Trial

if TYPE_CHECKING:
    from mlflow import MlflowClient

Given = tuple[Trial, Mapping[str, str]]  # with the tags that are set last


def publish(lot: Sequence[Given], client: "MlflowClient", store: Store) -> dict[int, Run]:
    """Return the runs that were made, by the trial's place in the lot; the others are for `runs.publish`."""
    from sqlalchemy.exc import DataError, IntegrityError

    made: dict[int, Run] = {}
    if claims.database(client) is None:
        return made
    for name in dict.fromkeys(trial.experiment for trial, _ in lot):
        experiment_id = runs.experiment_id(client, name, store.artifacts)
        place = bulk.location(client, experiment_id)
        mine = {number: given for number, given in enumerate(lot) if given[0].experiment == name and given[0].time}
        if place is None or not mine:
            continue
        keys = {trial.key for trial, _ in mine.values()}
        with claims.all_alone(client, keys, embedded=store.embedded) as alone:
            new = _unknown(client, mine) if alone else {}
            try:
                made |= _make(client, experiment_id, place, new) if new else {}
            except (DataError, IntegrityError):  # by one of them; one by one they show by which
                continue
    return made


def _make(client: "MlflowClient", experiment_id: str, place: str, new: Mapping[int, Given]) -> dict[int, Run]:
    """Make the runs of trials that have none."""
    written = {number: runs.new(trial, last) for number, (trial, last) in new.items()}
    ids = bulk.write(client, experiment_id, place, [run for run, _ in written.values()])
    made = {}
    for run_id, (number, (run, notes)) in zip(ids, written.items(), strict=True):
        trial = new[number][0]
        if trial.stages:
            stageruns.log(client, client.get_run(run_id), trial)
        made[number] = Run(run_id, run.name, experiment_id, notes, made=True, missing=tuple(trial.missing))
    return made


def _unknown(client: "MlflowClient", lot: Mapping[int, Given]) -> dict[int, Given]:
    """Return the trials of which the database has no run, nor one that shows their fit."""
    of_key, shown = _there(client, [trial for trial, _ in lot.values()])
    return {
        number: given for number, given in lot.items()
        if given[0].tags.get(DIGEST) not in shown
        and not any(runs.is_of(tags, given[0]) for tags in of_key.get(given[0].key, ()))
    }  # fmt: skip


def _there(client: "MlflowClient", trials: Sequence[Trial]) -> tuple[dict[str, list[dict[str, str]]], set[str]]:
    """Return the tags of the runs with the content of these trials, by it, and the models whose fits are shown."""
    from mlflow.store.tracking.dbmodels.models import SqlRun, SqlTag
    from sqlalchemy import and_, or_, select

    runs_, tags = SqlRun.__table__, SqlTag.__table__
    keys, digests = {trial.key for trial in trials}, {trial.tags.get(DIGEST, "") for trial in trials}
    equal = or_(and_(tags.c.key == KEY, tags.c.value.in_(keys)), and_(tags.c.key == LIVE, tags.c.value.in_(digests)))
    ids = select(tags.c.run_uuid).where(equal)
    asked = select(tags.c.run_uuid, tags.c.key, tags.c.value).where(
        tags.c.run_uuid.in_(ids),
        tags.c.run_uuid.in_(select(runs_.c.run_uuid).where(runs_.c.lifecycle_stage == "active")),
        tags.c.key.in_((KEY, LIVE, EXPERIMENT, COMMITS)),
    )
    found: dict[str, dict[str, str]] = {}
    with claims.database(client).connect() as connection:
        for run_id, key, value in connection.execute(asked):
            found.setdefault(run_id, {})[key] = value
    by_key: dict[str, list[dict[str, str]]] = {}
    for of in found.values():
        by_key.setdefault(of.get(KEY, ""), []).append(of)
    return by_key, {of[LIVE] for of in found.values() if LIVE in of}
