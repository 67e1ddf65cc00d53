"""Many new runs in one transaction: the rows that MLflow's client would write, into MLflow's own tables.

By the client's calls a run is some sixty statements, each with objects made
for it: 15 ms. Here it is rows of a batch. Only a database of the schema that is
known here is written to; another one is for the client, as a server is.
"""

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trialtree.tracking import artifacts, claims
from trialtree.tracking.inputs import CONTEXT, Dataset

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SCHEMA = "dc11669786a5"  # of MLflow 3.17.2, the revision of its last migration
_LARGEST = 1.7976931348623157e308  # stands for infinity
_USER = "mlflow.user"
_NAMED = "mlflow.runName"

Point = tuple[str, float, int, int]  # metric, value, milliseconds since 1970, step


@dataclass(frozen=True)
class New:
    """A run to be made, with all that it will hold; names and lengths are those that MLflow takes."""

    name: str
    status: str
    start: int  # milliseconds since 1970
    end: int
    tags: Mapping[str, str]
    params: Mapping[str, str]
    points: Sequence[Point]
    datasets: Sequence[Dataset] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)


def location(client: "MlflowClient", experiment_id: str) -> str | None:
    """Return where an experiment has its files; None where runs cannot be written at once."""
    from sqlalchemy import text

    engine = claims.database(client)
    if engine is None:
        return None
    with engine.connect() as connection:
        schema = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    place: str = client.get_experiment(experiment_id).artifact_location
    return place if schema == _SCHEMA and artifacts.local(place) else None


def write(client: "MlflowClient", experiment_id: str, place: str, new: Sequence[New]) -> list[str]:
    """Make runs whose files go below `place`, and return their ids: all of them, or none.

    A kill leaves files without a run, never a run without its files.
    """
    from mlflow.store.tracking.dbmodels import models
    from sqlalchemy import insert

    ids = [uuid.uuid4().hex for _ in new]
    folders = [f"{place.rstrip('/')}/{run_id}/artifacts" for run_id in ids]
    for run, folder in zip(new, folders, strict=True):
        artifacts.write(folder, run.files)
    runs = [_run(*given, int(experiment_id)) for given in zip(ids, new, folders, strict=True)]
    points = [_distinct(run_id, run.points) for run_id, run in zip(ids, new, strict=True)]
    named = [(run_id, {**run.tags, _NAMED: run.name}) for run_id, run in zip(ids, new, strict=True)]
    rows: list[tuple[Any, list[dict[str, Any]]]] = [
        (models.SqlRun, runs),
        (models.SqlTag, _pairs(named)),
        (models.SqlParam, _pairs((run_id, run.params) for run_id, run in zip(ids, new, strict=True))),
        (models.SqlMetric, [point for of in points for point in of]),
        (models.SqlLatestMetric, [point for of in points for point in _latest(of)]),
    ]
    with claims.database(client).begin() as connection:
        for model, lot in rows:
            if lot:
                connection.execute(insert(model.__table__), lot)
        _inputs(connection, int(experiment_id), {run_id: run.datasets for run_id, run in zip(ids, new, strict=True)})
    return ids


def _run(run_id: str, run: New, folder: str, experiment_id: int) -> dict[str, Any]:
    """Return the row of a run."""
    return {
        "run_uuid": run_id, "name": run.name, "source_type": "UNKNOWN", "source_name": "", "entry_point_name": "",
        "user_id": run.tags.get(_USER, "unknown"), "status": run.status, "start_time": run.start, "end_time": run.end,
        "deleted_time": None, "source_version": "", "lifecycle_stage": "active", "artifact_uri": folder,
        "experiment_id": experiment_id,
    }  # fmt: skip


def _pairs(of: Any) -> list[dict[str, str]]:
    """Return the rows of runs' params or tags."""
    return [{"run_uuid": run_id, "key": key, "value": value} for run_id, pairs in of for key, value in pairs.items()]


def _distinct(run_id: str, points: Sequence[Point]) -> list[dict[str, Any]]:
    """Return the rows of a run's points, each once."""
    found = {}
    for key, value, time, step in points:
        nan = math.isnan(value)
        kept = 0.0 if nan else max(-_LARGEST, min(_LARGEST, float(value)))
        row = {"run_uuid": run_id, "key": key, "value": kept, "timestamp": time, "step": step, "is_nan": nan}
        found[key, kept, time, step, nan] = row
    return [*found.values()]


def _latest(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the latest point of each metric: by step, then time, then value."""
    found: dict[str, dict[str, Any]] = {}
    for point in points:
        had = found.get(point["key"])
        if had is None or _order(point) > _order(had):
            found[point["key"]] = point
    return [*found.values()]


def _order(point: Mapping[str, Any]) -> tuple[int, int, float]:
    return point["step"], point["timestamp"], point["value"]


def _inputs(connection: Any, experiment_id: int, of: Mapping[str, Sequence[Dataset]]) -> None:
    """Make datasets the inputs of runs, those that the experiment lacks first."""
    from mlflow.store.tracking.dbmodels.models import SqlDataset, SqlInput, SqlInputTag
    from sqlalchemy import insert, select

    wanted = {(d.name, d.digest): d for datasets in of.values() for d in datasets}
    if not wanted:
        return
    table = SqlDataset.__table__
    asked = select(table.c.name, table.c.digest, table.c.dataset_uuid).where(
        table.c.experiment_id == experiment_id, table.c.digest.in_({digest for _, digest in wanted})
    )
    known = {(name, digest): dataset for name, digest, dataset in connection.execute(asked)}
    lacking = [_dataset(d, experiment_id) for key, d in wanted.items() if key not in known]
    if lacking:
        connection.execute(insert(table), lacking)
        known |= {(row["name"], row["digest"]): row["dataset_uuid"] for row in lacking}
    inputs, tags = [], []
    for run_id, datasets in of.items():
        for dataset in {(d.name, d.digest): d for d in reversed(datasets)}.values():
            made = uuid.uuid4().hex
            inputs.append({
                "input_uuid": made, "source_type": "DATASET", "source_id": known[dataset.name, dataset.digest],
                "destination_type": "RUN", "destination_id": run_id, "step": 0,
            })  # fmt: skip
            tags.append({"input_uuid": made, "name": CONTEXT, "value": dataset.context})
    connection.execute(insert(SqlInput.__table__), inputs)
    connection.execute(insert(SqlInputTag.__table__), tags)


def _dataset(of: Dataset, experiment_id: int) -> dict[str, Any]:
    """Return the row of a dataset."""
    return {
        "dataset_uuid": uuid.uuid4().hex, "experiment_id": experiment_id, "name": of.name, "digest": of.digest,
        "dataset_source_type": of.source_type, "dataset_source": of.source, "dataset_schema": of.schema,
        "dataset_profile": of.profile,
    }  # fmt: skip
