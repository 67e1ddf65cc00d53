"""A trial becomes one MLflow run, in the one store of its repository."""

import json
import math
import multiprocessing
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from stages.errors import UserError
from tests.conftest import Repo, isolated
from trialtree.tracking import Trial, git, publish, runs, stores, trials

TRIAL = Trial(
    experiment="iris",
    name="main@0123456",
    key="k" * 64,
    params={"train.hyperparameters.C": 1.0, "train.hyperparameters.kernel": "linear", "train.accelerate": False},
    metrics={"test.accuracy": 0.97, "test.rows": 38},
    artifacts={"params.yaml": b"experiment: iris\n", "reports/plots/roc.csv": b"label\n"},
    tags={trials.KEY: "k" * 64, "branch": "main"},
    branch="main",
    dvc_experiment=None,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> stores.Store:
    """An embedded store, in a folder with blanks and non-ASCII letters."""
    top = tmp_path_factory.mktemp("ein Würfel")
    return stores.Store(f"sqlite:///{top}/mlflow.db", top)


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Leave the environment as it was."""
    before = dict(os.environ)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    yield
    os.environ.clear()
    os.environ.update(before)


def published(store: stores.Store, trial: Trial) -> list[dict[str, object]]:
    """Publish a trial, and return all runs of its experiment."""
    with store.opened() as client:
        publish(trial, client, store)
        experiment = client.get_experiment_by_name(trial.experiment)
        return [run.to_dictionary() for run in client.search_runs([experiment.experiment_id])]


def test_a_trial_is_one_finished_run_with_all_that_it_holds(store: stores.Store) -> None:
    (run,) = published(store, TRIAL)
    assert run["info"]["status"] == "FINISHED"
    assert run["info"]["run_name"] == "main@0123456"
    assert run["data"]["params"] == {
        "train.hyperparameters.C": "1.0",
        "train.hyperparameters.kernel": "linear",
        "train.accelerate": "false",
    }
    assert run["data"]["metrics"] == {"test.accuracy": 0.97, "test.rows": 38.0}
    files = store.top.joinpath("mlartifacts").rglob("artifacts/**/*.*")
    assert {path.name: path.read_bytes() for path in files} == {
        "params.yaml": b"experiment: iris\n",
        "roc.csv": b"label\n",
    }


def test_published_again_under_another_name_it_is_the_same_run(store: stores.Store) -> None:
    again = replace(TRIAL, experiment="again")
    (first,) = published(store, again)
    (second,) = published(store, replace(again, name="brisk-fox", tags={**again.tags, "branch": "other"}))
    assert second["info"]["run_id"] == first["info"]["run_id"]
    assert second["info"]["end_time"] == first["info"]["end_time"]
    assert second["info"]["run_name"] == "brisk-fox"
    assert second["data"]["tags"]["branch"] == "other"


def test_a_metric_has_one_point_however_often_it_is_published(store: stores.Store) -> None:
    trial = replace(TRIAL, experiment="points", metrics={"test.r2": math.nan, "test.mae": math.inf, "test.a": 0.5})
    published(store, trial)
    (run,) = published(store, trial)
    with store.opened() as client:
        points = {name: len(client.get_metric_history(run["info"]["run_id"], name)) for name in trial.metrics}
    assert points == {"test.r2": 1, "test.mae": 1, "test.a": 1}
    assert math.isnan(run["data"]["metrics"]["test.r2"])


def test_of_points_of_one_step_the_last_is_the_metric_however_often_it_is_published(store: stores.Store) -> None:
    values = (0.9, 0.5, 0.3)
    trial = replace(TRIAL, experiment="steps", metrics={"script.loss": 0.3},
                    history=tuple(("script.loss", value, 0) for value in values))  # fmt: skip
    published(store, trial)
    (run,) = published(store, replace(trial, params={**trial.params, "more": 1}))
    assert run["data"]["metrics"]["script.loss"] == 0.3
    with store.opened() as client:
        found = client.get_metric_history(run["info"]["run_id"], "script.loss")
    assert sorted(point.value for point in found) == sorted(values)


@pytest.mark.slow
def test_ten_thousand_params_and_one_of_100_kb_lose_nothing_but_length(store: stores.Store) -> None:
    params = {f"fetch.p{i}": i for i in range(10_000)} | {"fetch.long": "ü" * 100_000, "fetch.höhe (m)": 1}
    (run,) = published(store, replace(TRIAL, experiment="many", params=params))
    found = run["data"]["params"]
    assert len(found) == 10_002
    assert found["fetch.p9999"] == "9999"
    assert found["fetch.long"] == "ü" * 5999 + "…"
    assert found["fetch.höhe _m_"] == "1"


@pytest.mark.parametrize(
    ("name", "taken"),
    [("a//b", "a__b"), ("../x", "_x"), ("/x", "_x"), (".", "_"), ("a?b", "a_b"), ("a b:c/d", "a b:c/d")],
)
def test_names_that_mlflow_refuses_get_another(name: str, taken: str) -> None:
    assert runs.mlflow_params({name: 1}) == ({taken: "1"}, int(name != taken))


def test_two_names_that_become_one_stay_two() -> None:
    found, changed = runs.mlflow_params({"a_b": 1, "a?b": 2, "a!b": 3, "x" * 300: 4})
    assert sorted(found.values()) == ["1", "2", "3", "4"]
    assert changed == 3
    assert max(map(len, found)) == 250


def test_a_run_that_was_killed_halfway_is_finished_not_doubled(store: stores.Store) -> None:
    trial = replace(TRIAL, experiment="killed")
    with store.opened() as client:
        experiment = client.create_experiment("killed", artifact_location=store.artifacts)
        client.create_run(experiment, tags={trials.KEY: trial.key})
        client.log_batch(client.search_runs([experiment])[0].info.run_id)
    (run,) = published(store, trial)
    assert run["info"]["status"] == "FINISHED"
    assert len(run["data"]["params"]) == 3


def test_a_second_run_that_another_machine_made_is_taken_away(store: stores.Store) -> None:
    trial = replace(TRIAL, experiment="race")
    (first,) = published(store, trial)
    with store.opened() as client:
        client.create_run(first["info"]["experiment_id"], tags={trials.KEY: trial.key})
    (left,) = published(store, trial)
    assert left["info"]["run_id"] == first["info"]["run_id"]


def test_a_deleted_experiment_is_taken_back(store: stores.Store) -> None:
    trial = replace(TRIAL, experiment="deleted")
    (first,) = published(store, trial)
    with store.opened() as client:
        client.delete_experiment(first["info"]["experiment_id"])
    assert len(published(store, trial)) == 1


def test_lost_files_are_put_back(store: stores.Store) -> None:
    trial = replace(TRIAL, experiment="lost")
    (run,) = published(store, trial)
    folder = next(store.top.rglob(run["info"]["run_id"]))
    shutil.rmtree(folder)
    published(store, trial)
    assert (folder / "artifacts/params.yaml").read_bytes() == b"experiment: iris\n"


def publish_many(store: stores.Store, trial: Trial) -> None:
    for i in range(5):
        with store.opened() as client:
            publish(replace(trial, key=str(i), tags={trials.KEY: str(i)}), client, store)


def test_two_processes_at_once_make_the_store_once_and_each_run_once(tmp_path: Path) -> None:
    store = stores.Store(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    processes = [multiprocessing.get_context("spawn").Process(target=publish_many, args=(store, TRIAL)) for _ in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    with store.opened() as client:
        found = client.search_runs([client.get_experiment_by_name("iris").experiment_id])
    assert sorted(run.data.tags[trials.KEY] for run in found) == list("01234")


def test_a_store_that_moves_with_its_repository_finds_its_files(store: stores.Store, tmp_path: Path) -> None:
    trial = replace(TRIAL, experiment="moved")
    published(store, trial)
    top = tmp_path / "elsewhere"
    shutil.copytree(store.top, top)
    moved = stores.Store(f"sqlite:///{top}/mlflow.db", top)
    (run,) = published(moved, trial)
    assert run["info"]["artifact_uri"].startswith((top / "mlartifacts").as_uri() + "/moved")


def test_a_damaged_store_is_one_line_that_says_how_to_go_on(tmp_path: Path) -> None:
    tmp_path.joinpath("mlflow.db").write_text("no database, " * 100)
    store = stores.Store(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    with pytest.raises(UserError) as raised, store.opened():
        pass
    assert str(raised.value) == (
        f"MLflow at sqlite:///{tmp_path}/mlflow.db: file is not a database; move the file away, and "
        "`trialtree track --all` makes it anew; the trial is kept; "
        "`dvc repro register` publishes it once that is mended"
    )


def test_an_empty_or_half_made_store_is_made_anew(tmp_path: Path) -> None:
    for name in ("mlflow.db", "mlflow.db.partial", "mlflow.db.partial-journal"):
        tmp_path.joinpath(name).touch()
    assert len(published(stores.Store(f"sqlite:///{tmp_path}/mlflow.db", tmp_path), TRIAL)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlartifacts", "mlflow.db", "mlflow.db.lock"]


def test_a_store_of_another_schema_is_one_line(store: stores.Store, tmp_path: Path) -> None:
    import sqlite3

    published(store, replace(TRIAL, experiment="schema"))
    path = tmp_path / "mlflow.db"
    shutil.copy(store.top / "mlflow.db", path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE alembic_version SET version_num = 'future'")
        database.commit()
    with pytest.raises(UserError, match=r"is of a newer MLflow than .*the trial is kept"):
        published(stores.Store(f"sqlite:///{path}", tmp_path), TRIAL)


def test_the_store_is_that_of_the_main_working_tree(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.git("worktree", "add", "-q", "../tree", "-b", "other")
    repo.git("clone", "-q", "--bare", ".", "../bare")
    Repo(repo.path.parent / "bare", repo.env).git("worktree", "add", "-q", "../of-bare", "-b", "another")
    expected = {
        repo.path: repo.path,
        repo.path / "stages": repo.path,
        repo.path.parent / "tree" / "stages": repo.path,
        repo.path.parent / "of-bare": repo.path.parent / "bare",
    }
    assert {folder: git.shared_top(folder) for folder in expected} == expected
    monkeypatch.chdir(repo.path.parent / "tree")
    assert stores.find() == stores.Store(f"sqlite:///{repo.path}/mlflow.db", repo.path)


def test_an_address_of_the_user_wins_and_is_made_absolute(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repo.path)
    found = []
    for address in ("http://u:secret@host:5000", "sqlite:///x.db", "runs"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        found.append(stores.find().shown)
    assert found == ["http://host:5000", f"sqlite:///{repo.path}/x.db", f"file://{repo.path}/runs"]


def test_without_git_or_a_commit_the_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"is in no Git repository that can be used; make one: `git init`, then commit"):
        stores.find()
    subprocess.run(["git", "init", "-q"], env=isolated(tmp_path), check=True)
    with pytest.raises(UserError, match="the Git repository has no commit yet"):
        git.head()


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://user:p@ss@host/x.git", "https://host/x.git"),
        ("https://token@host/x.git", "https://host/x.git"),
        ("https://host/a@b", "https://host/a@b"),
        ("git@host:path.git", "git@host:path.git"),
        ("ssh://git@host/path.git", "ssh://host/path.git"),
        ("postgresql://u:p@host:5432/mlflow", "postgresql://host:5432/mlflow"),
        ("sqlite:////tmp/a@b/mlflow.db", "sqlite:////tmp/a@b/mlflow.db"),
    ],
)
def test_no_password_is_shown(address: str, shown: str) -> None:
    assert git.without_credentials(address) == shown


def test_the_key_tells_content_and_nothing_else(ran: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ran.path)
    first = trials.workspace()
    assert len(first.key) == 64
    assert first.tags["dirty"] == "false"
    assert first.tags["baseline_commit"] == ran.git("rev-parse", "HEAD~1")
    lock = json.dumps(trials.read_lock(trials.LOCK.read_bytes()))
    assert {name: first.tags[name] in lock for name in ("data.raw", "data.split")} == {
        "data.raw": True,
        "data.split": True,
    }
    assert {"data.train", "data.test"} <= first.tags.keys()
    ran.params({"register.gates": {}, "experiment": "other"})
    second = trials.workspace()
    assert (second.key, second.params, second.tags["dirty"]) == (first.key, first.params, "true")


def test_metrics_of_another_run_than_dvc_lock_are_refused(ran: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ran.path)
    Path(trials.METRICS).write_text('{"test": {"accuracy": 1.0}}')
    with pytest.raises(UserError, match=r"reports/metrics.json is not the one of dvc.lock; `dvc repro` brings them"):
        trials.workspace()
    trials.LOCK.unlink()
    with pytest.raises(UserError, match=r"dvc.lock has no fetch, split, train, evaluate: the pipeline has not run"):
        trials.workspace()
