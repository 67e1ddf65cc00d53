"""Many runs that are written at once are, row for row, those that MLflow's client writes."""

import math
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.test_tracking import TRIAL
from trialtree.tracking import Trial, bulk, lots, publish, runs, stores, trials
from trialtree.tracking.inputs import Dataset

# What tells a run, and what is made anew each time, is left out: ids, and where files are.
QUERIES = {
    "runs": "SELECT name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time, "
    "source_version, lifecycle_stage, deleted_time, experiment_id FROM runs",
    **{
        table: f"SELECT runs.name, {columns} FROM {table} AS t JOIN runs USING (run_uuid)"
        for table, columns in {
            "tags": "t.key, t.value", "params": "t.key, t.value",
            "metrics": "t.key, t.value, t.timestamp, t.step, t.is_nan",
            "latest_metrics": "t.key, t.value, t.timestamp, t.step, t.is_nan",
        }.items()
    },
    "inputs": "SELECT runs.name, i.source_type, i.destination_type, i.step, t.name, t.value, d.experiment_id, d.name, "
    "d.digest, d.dataset_source_type, d.dataset_source, d.dataset_schema, d.dataset_profile FROM inputs AS i "
    "JOIN runs ON i.destination_id = runs.run_uuid JOIN datasets AS d ON i.source_id = d.dataset_uuid "
    "JOIN input_tags AS t USING (input_uuid)",
    "datasets": "SELECT name, digest FROM datasets",
}  # fmt: skip


def trial(number: int, **fields: Any) -> Trial:
    """Return a committed trial with all that one can hold."""
    parts = [Dataset(f"data/split/{part}", f"{part}{number % 2}", part, "code", "{}", "{}", "{}") for part in "ab"]
    made = replace(
        TRIAL, name=f"trial {number}", key=f"{number:064}", time=1_790_000_000_000 + number,
        datasets=(*parts, parts[0]),
        metrics={"test.accuracy": number / 7, "test.r2": math.nan, "test.mae": math.inf, "test.low": -math.inf},
        history=(("curve.loss", 0.9, 0), ("curve.loss", 0.5, 2), ("curve.loss", 0.4, 1), ("curve.loss", 0.7, 2),
                 ("curve.loss", 0.7, 2), ("fold.r2", math.nan, 1)),
        tags={trials.KEY: f"{number:064}", trials.COMMIT: f"{number:040}", "mlflow.user": "Ada", "long": "ü" * 9000},
        params={**TRIAL.params, "fetch.long": "ü" * 7000, "höhe (m)": number, "none": None, "list": [1, "a"]},
    )  # fmt: skip
    return replace(made, **fields)


SEVERAL = [trial(0), trial(1), trial(2, missing={"models/model": "0" * 32 + ".dir"}), trial(3, experiment="other"),
           trial(4, tags={trials.KEY: f"{4:064}"}, metrics={}, history=(), datasets=())]  # fmt: skip


def rows(store: stores.Store) -> dict[str, list[tuple[Any, ...]]]:
    """Return what an embedded store has."""
    with closing(sqlite3.connect(store.top / "mlflow.db")) as database:
        return {name: sorted(database.execute(query), key=repr) for name, query in QUERIES.items()}


def contents(store: stores.Store) -> list[tuple[str, bytes]]:
    """Return the name and the content of each file of the runs."""
    found = (path for path in store.top.glob("mlartifacts/*/*/artifacts/**/*") if path.is_file())
    return sorted((path.relative_to(path.parents[-len(store.top.parts) - 4]).as_posix(), path.read_bytes())
                  for path in found)  # fmt: skip


@pytest.fixture
def two(tmp_path: Path) -> list[stores.Store]:
    """Two embedded stores."""
    for name in "ab":
        (tmp_path / name).mkdir()
    return [stores.Store(f"sqlite:///{tmp_path / name}/mlflow.db", tmp_path / name) for name in "ab"]


def test_runs_written_at_once_are_those_that_the_client_writes(two: list[stores.Store]) -> None:
    last = {"trialtree.state": "x", "mlflow.parentRunId": "y"}
    with two[0].opened() as client:
        ones = [publish(one, client, two[0], tags=last) for one in SEVERAL]
    with two[1].opened() as client:
        made = lots.publish([(one, last) for one in SEVERAL], client, two[1])
    assert [replace(made[number], id="") for number in sorted(made)] == [replace(one, id="") for one in ones]
    wanted, found = (rows(store) for store in two)
    for name, had in wanted.items():
        assert found[name] == had, name
    assert len(wanted["metrics"]) > len(wanted["latest_metrics"]) > 0
    assert contents(two[1]) == contents(two[0]) != []


def test_what_is_known_is_left_to_be_completed_one_by_one(two: list[stores.Store]) -> None:
    store = two[0]
    shown = trial(1, tags={**trial(1).tags, trials.DIGEST: "d" * 64})
    with store.opened() as client:
        publish(SEVERAL[0], client, store)
        experiment = runs.experiment_id(client, "iris", store.artifacts)
        client.create_run(experiment, tags={runs.LIVE: "d" * 64})  # shows the fit of the second
        twin = replace(SEVERAL[0], dvc_experiment="twin", tags={**SEVERAL[0].tags, trials.COMMIT: "f" * 40})
        made = lots.publish([(one, {}) for one in (SEVERAL[0], shown, twin, SEVERAL[2])], client, store)
    assert sorted(made) == [2, 3]


def test_what_a_database_refuses_leaves_nothing(two: list[stores.Store]) -> None:
    store = two[0]
    with store.opened() as client:
        place = bulk.location(client, runs.experiment_id(client, "iris", store.artifacts))
        good, _ = runs.new(SEVERAL[0], {})
        before = rows(store)
        with pytest.raises(Exception, match="NOT NULL"):
            bulk.write(client, "1", str(place), [good, replace(good, params={"a": None})])  # type: ignore[dict-item]
    assert rows(store) == before
