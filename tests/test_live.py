"""A long fit is seen in MLflow while it runs, and MLflow never stops or slows it."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from examples.walkthrough import services
from stages import invocations, models
from tests.conftest import Repo
from tests.slow import until
from trialtree.tracking import stores
from trialtree.tracking.curves import points
from trialtree.tracking.live import thinned

AT_ONCE = {"TRIALTREE_LIVE_AFTER": "0"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty embedded store."""
    top = tmp_path_factory.mktemp("store")
    with stores.Store(f"sqlite:///{top}/mlflow.db", top).opened():
        return top / "mlflow.db"


@pytest.fixture
def slow(slow: Callable[..., Repo], store: Path) -> Callable[..., Repo]:
    """Return a function that makes a repository of a slow estimator, with a store."""

    def make(**hyperparameters: Any) -> Repo:
        repo = slow(**hyperparameters)
        shutil.copy(store, repo.path)
        return repo

    return make


@contextmanager
def training(repo: Repo, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Yield a train stage that runs, as `train`; what it says on stderr is a pipe."""
    command = ["python", "-m", "stages.train"]
    everything = {**repo.env, **AT_ONCE, **env}
    with subprocess.Popen(command, cwd=repo.path, env=everything, stderr=subprocess.PIPE, text=True) as train:
        try:
            yield train
        finally:
            train.kill()


def said(train: subprocess.Popen[str]) -> str:
    """Wait for the end of all that writes to its stderr, and return what was written but how far the fit was."""
    lines = train.communicate()[1].splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("fit "))


def client(uri: str) -> Any:
    """Return a client of a store."""
    from mlflow import MlflowClient

    return MlflowClient(uri)


def embedded(repo: Repo) -> str:
    return f"sqlite:///{repo.path}/mlflow.db"


def live_runs(uri: str) -> list[Any]:
    """Return the runs of the experiment, in the order of their names; none as long as there is no experiment."""
    found = client(uri).get_experiment_by_name("iris")
    return client(uri).search_runs([found.experiment_id], order_by=["attributes.run_name ASC"]) if found else []


def with_points(uri: str) -> Any:
    """Return the first run, once it has points."""
    return next((run for run in live_runs(uri) if "curve.train_loss" in run.data.metrics), None)


def ended(uri: str) -> list[tuple[str, str]]:
    """Return status and tag of each run, once none of them is running."""
    found = [(run.info.status, run.data.tags["trialtree.live"]) for run in live_runs(uri)]
    return found if all(status != "RUNNING" for status, _ in found) else []


@pytest.mark.slow
def test_a_long_fit_is_seen_while_it_runs_and_left_to_register(slow: Callable[..., Repo]) -> None:
    repo = slow()
    with training(repo) as train:
        run = until(lambda: with_points(embedded(repo)))
        begun, _ = invocations.process(train.pid) or ("", 0)
        (repo.path / "enough").touch()
        assert (said(train), train.returncode) == ("", 0)
    assert run.info.status == "RUNNING"
    expected = {
        "trialtree.live": "running", "trialtree.live.host": invocations.machine(), "trialtree.live.pid": str(train.pid),
        "trialtree.live.started": begun, "branch": "main", "mlflow.source.git.branch": "main",
        "mlflow.source.git.commit": repo.git("rev-parse", "HEAD"), "mlflow.runName": "main",
    }  # fmt: skip
    assert run.data.tags == expected
    (after,) = live_runs(embedded(repo))
    digest = models.digest(repo.path / models.FOLDER)
    assert (after.info.status, after.data.tags["trialtree.live"]) == ("RUNNING", digest)
    logged = [
        (name, point.value, point.step)
        for name in after.data.metrics
        for point in client(embedded(repo)).get_metric_history(after.info.run_id, name)
    ]
    curve = points((repo.path / "reports/curves.csv").read_bytes(), b"")
    assert set(logged) <= set(curve)
    assert {curve[-1], curve[-2]} <= set(logged)  # the last of either label; register adds what is left out


def test_a_lot_of_points_is_thinned_evenly_to_the_last() -> None:
    curve = [("a", 0.0, step) for step in range(100)] + [("b", 1.0, 7)]
    assert thinned(curve, 40) == [("a", 0.0, step) for step in range(0, 100, 3)] + [("b", 1.0, 7)]
    assert thinned(curve[:40], 40) == curve[:40]
    assert thinned([], 40) == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_fit_that_is_stopped_is_a_killed_run(slow: Callable[..., Repo], how: signal.Signals) -> None:
    repo = slow()
    with training(repo) as train:
        until(lambda: with_points(embedded(repo)))
        train.send_signal(how)
    assert until(lambda: ended(embedded(repo))) == [("KILLED", "ended")]


def test_a_fit_that_fails_is_a_failed_run(slow: Callable[..., Repo]) -> None:
    repo = slow(fails=True)
    with training(repo) as train:
        until(lambda: with_points(embedded(repo)))
        (repo.path / "enough").touch()
        train.communicate()
    assert until(lambda: ended(embedded(repo))) == [("FAILED", "ended")]


def test_a_run_that_nobody_could_end_is_ended_by_the_next(slow: Callable[..., Repo]) -> None:
    repo = slow()
    with training(repo) as train:
        until(lambda: with_points(embedded(repo)))
        for pid in beside(train.pid):
            os.kill(pid, signal.SIGKILL)
    assert [run.info.status for run in live_runs(embedded(repo))] == ["RUNNING"]
    with training(repo):
        until(lambda: len(live_runs(embedded(repo))) == 2)
        assert sorted(run.info.status for run in live_runs(embedded(repo))) == ["KILLED", "RUNNING"]


def beside(pid: int) -> list[int]:
    """Return the processes that the threads of a process have started."""
    lists = [(task / "children").read_text().split() for task in Path(f"/proc/{pid}/task").iterdir()]
    return [int(child) for children in lists for child in children]


@pytest.mark.slow
def test_two_experiments_at_once_in_temporary_folders_are_two_runs(slow: Callable[..., Repo]) -> None:
    repo = slow()
    repo.commit("Slow")
    begun = [
        subprocess.Popen(
            ["dvc", "--wait-for-lock", "exp", "run", "--temp", "-n", name, "-S", f"+train.seed={seed}", "train"],
            cwd=repo.path, env={**repo.env, **AT_ONCE}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for seed, name in enumerate(("first", "second"))
    ]  # fmt: skip
    until(lambda: len([run for run in live_runs(embedded(repo)) if run.data.metrics]) == 2)
    (repo.path / "enough").touch()
    for one in begun:
        output = one.communicate()[0]
        assert one.returncode == 0, output
    found = [(run.info.run_name, run.data.tags["dvc.experiment"]) for run in live_runs(embedded(repo))]
    assert found == [("first", "first"), ("second", "second")]


def test_a_short_fit_and_one_that_is_not_to_be_shown_start_no_process(slow: Callable[..., Repo]) -> None:
    repo = slow(iterations=3)
    for env in ({"TRIALTREE_LIVE_AFTER": "5"}, {"TRIALTREE_LIVE": "0"}):
        with training(repo, **env) as train:
            assert (said(train), train.returncode) == ("", 0)
    assert not (repo.path / "mlflow.db.lock").exists()


def test_a_setting_that_is_no_number_is_refused_in_a_line(slow: Callable[..., Repo]) -> None:
    with training(slow(iterations=3), TRIALTREE_LIVE_AFTER="soon") as train:
        assert said(train) == "TRIALTREE_LIVE_AFTER: must be a number of seconds, got 'soon'\n"
    assert train.returncode == 1


def not_shown(reason: str) -> str:
    return f"not shown in MLflow while it runs: {reason}; register publishes the trial all the same\n"


@pytest.mark.slow
def test_a_server_that_is_away_costs_one_line(slow: Callable[..., Repo]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    repo = slow(iterations=700)
    with training(repo, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}") as train:
        line = f"MLflow at http://127.0.0.1:{port}: cannot be reached (ConnectionError); it is tried again"
        assert (said(train), train.returncode) == (not_shown(line), 0)


@pytest.mark.slow
def test_a_server_that_hangs_costs_one_line_and_keeps_nobody_waiting(slow: Callable[..., Repo]) -> None:
    repo = slow(iterations=1200)
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        train = stack.enter_context(training(repo, MLFLOW_TRACKING_URI=uri))
        # Up to the end of the pipe: the process beside it does not hold it open.
        assert (said(train), train.returncode) == (not_shown("MLflow does not answer"), 0)


def test_a_module_that_fails_costs_one_line(slow: Callable[..., Repo]) -> None:
    repo = slow(iterations=300)
    (repo.path / "trialtree/tracking/live.py").write_text("import nothing_of_this_name\n", encoding="utf-8")
    with training(repo) as train:
        line = "trialtree.tracking.live ended with status 1"
        assert (said(train), train.returncode) == (not_shown(line), 0)


@pytest.mark.slow
def test_a_server_that_dies_in_the_middle_costs_one_line(slow: Callable[..., Repo], tmp_path: Path) -> None:
    repo = slow(iterations=3000)
    with ExitStack() as server:
        address = server.enter_context(services.mlflow(tmp_path / "server"))
        with training(repo, MLFLOW_TRACKING_URI=address) as train:
            until(lambda: with_points(address))
            server.close()
            lines = said(train)
    assert train.returncode == 0
    assert lines.startswith(f"not shown in MLflow while it runs: MLflow at {address}: ")
    assert lines.count("\n") == 1


def test_points_are_those_of_both_files_as_far_as_they_go() -> None:
    curve = b"step,label,value\n0,train_loss,0.5\n0,validation_auc:type=Mu,nan\n1,train_loss,inf\n2,train_loss,0.2"
    folds = b"fold,rows_train,rows,accuracy,roc_auc\n1,10,5,0.5,\n2,10,5,0.75,1.0\n"
    found = points(curve, folds)
    assert [(name, repr(value), step) for name, value, step in found] == [
        ("curve.train_loss", "0.5", 0),
        ("curve.validation_auc:type=Mu", "nan", 0),
        ("curve.train_loss", "inf", 1),
        ("fold.accuracy", "0.5", 1),
        ("fold.accuracy", "0.75", 2),
        ("fold.roc_auc", "1.0", 2),
    ]
    assert points(b"", b"") == points(b"step,lab", b"fold\n") == points(b"\xff\n\n,,\n", b"a,b\n1\n") == []
