"""The trials of a sweep are in MLflow while it runs, below a run of their own, and Git makes all of it again."""

import os
import re
import shutil
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.walkthrough import services
from tests import many
from tests.conftest import YAML_12, Repo, isolated
from tests.slow import until
from tests.test_track import Dump, dump, lost
from trialtree.sweep import journal, ranking
from trialtree.sweep.publishing import Published, Publishing
from trialtree.tracking import git, stores, survey
from trialtree.tracking.fresh import Baseline

ID = "iris-k3f9"
BEGAN = 1_790_000_000_000


@pytest.fixture(scope="module")
def tracked_once(ran_once: Repo, tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A repository in which the pipeline ran and its own trial is tracked; for reading only."""
    folder = tmp_path_factory.mktemp("tracked")
    shutil.copytree(ran_once.path.parent, folder, dirs_exist_ok=True, symlinks=True)
    repo = Repo(folder / "repo", isolated(folder / "home"))
    repo.run("trialtree", "track")
    return repo


@pytest.fixture
def swept(tracked_once: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """Stand in a copy of such a repository, with its environment."""
    shutil.copytree(tracked_once.path.parent, tmp_path, dirs_exist_ok=True, symlinks=True)
    repo = Repo(tmp_path / "repo", isolated(tmp_path / "home"))
    monkeypatch.chdir(repo.path)
    for name in set(os.environ) - set(repo.env):
        monkeypatch.delenv(name)
    for name, value in repo.env.items():
        monkeypatch.setenv(name, value)
    return repo


def sweep(repo: Repo, name: str = ID) -> journal.Journal:
    """Return the journal of a sweep: of one that begins, or that goes on."""
    there = (repo.path / journal.SWEEPS / name / journal.FILE).exists()
    log = journal.Journal(repo.path / journal.SWEEPS / name)
    if there:
        log.add("resumed", time=BEGAN)
        return log
    params = YAML_12.load((repo.path / "params.yaml").read_text(encoding="utf-8"))
    log.add(
        "sweep", id=name, time=BEGAN, section=params["sweep"], params=params, experiment=params["experiment"],
        baseline=repo.git("rev-parse", "HEAD"), tree=repo.git("rev-parse", "HEAD^{tree}"), changed=[], seed=0,
        executor="engine", dvc="3.67.1",
    )  # fmt: skip
    return log


def begin(log: journal.Journal, number: int, attempt: int = 1) -> None:
    """Let a trial begin."""
    if attempt == 1:
        log.add("asked", number=number, values={"train.hyperparameters.C": number + 2.5}, raw={}, source="sampler")
    log.add("began", number=number, attempt=attempt, time=BEGAN + 1000 * number)


def done(repo: Repo, log: journal.Journal, numbers: Iterable[int], attempt: int = 1) -> None:
    """Let trials end well, as experiments."""
    metrics = ranking.read(repo.path)
    for number, (name, commit) in many.sweep(repo, log.folder.name, numbers).items():
        begin(log, number, attempt)
        log.add(
            "ended", number=number, state="done", seconds=0.5, name=name, commit=commit,
            objective=[metrics["cv.accuracy"]], metrics=metrics, model_bytes=100, reason=None, status=None,
            stage=None, log=None,
        )  # fmt: skip


def failed(log: journal.Journal, number: int, attempt: int = 1) -> None:
    """Let a trial fail."""
    begin(log, number, attempt)
    log.add("ended", number=number, state="failed", seconds=2.0, reason="train: C must be > 0", status=1, stage="train",
            log=f"logs/{number:05}.log")  # fmt: skip


def pruned(log: journal.Journal, number: int) -> None:
    """Let a trial be stopped by a policy."""
    begin(log, number)
    decision = {"policy": "median_stopping", "step": 3, "value": 0.4, "threshold": 0.5}
    log.add("ended", number=number, state="pruned", seconds=1.0, curve=[[1, 0.2], [2, 0.3], [3, 0.4]],
            decision=decision, stage="evaluate")  # fmt: skip


def finish(log: journal.Journal) -> None:
    log.add("finished", reason="limits.trials: 3", time=BEGAN + 60_000)
    log.close()


def kinds(found: Dump) -> dict[str | None, int]:
    """Return how many runs of each kind there are, of trials by how they ended."""
    names = [run["tags"].get("trialtree.kind", run["status"]) for run in found.values()]
    return {name: names.count(name) for name in names}


def below(found: Dump, parent: str = ID) -> list[str]:
    """Return the names of the runs below another."""
    return sorted(name for name, run in found.items() if run["tags"].get("mlflow.parentRunId") == parent)


def nothing_new(repo: Repo) -> bool:
    """Say whether `track --all` finds all that Git holds in MLflow."""
    return ": all are in MLflow at " in repo.run("trialtree", "track", "--all").stdout.splitlines()[0]


def test_trials_are_below_the_run_of_their_sweep_and_git_makes_all_of_it_again(swept: Repo) -> None:
    log = sweep(swept)
    publishing = Publishing(log.folder)
    publishing.start()
    done(swept, log, range(3))
    finish(log)
    assert publishing.finish() == Published(3, (), f"sqlite:///{swept.path}/mlflow.db")
    assert nothing_new(swept)
    before = dump(swept)
    assert kinds(before) == {"FINISHED": 4, "sweep": 1}
    assert below(before) == [f"{ID}-0000", f"{ID}-0001", f"{ID}-0002"]
    parent = before[ID]
    assert parent["status"] == "FINISHED"
    assert parent["params"]["sweep.sampling"] == "random"
    assert parent["params"]["sweep.space.train.hyperparameters.C.choice"] == "[0.5, 1.0, 1.5]"
    assert {name: parent["tags"][name] for name in parent["tags"] if name.startswith("sweep.")} == {
        "sweep.objective": "maximize cv.accuracy", "sweep.best": f"{ID}-0000", "sweep.trials": "3 done",
    }  # fmt: skip
    assert parent["points"]["trials"] == [(3, "3.0")]
    lost(swept)
    swept.run("trialtree", "track", "--all")
    after = dump(swept)
    del parent["tags"]["sweep.trials"]
    assert after.keys() == before.keys()
    for name, run in before.items():
        assert after[name] == run, name


def test_failed_and_pruned_trials_are_there_by_what_the_journal_has(swept: Repo) -> None:
    log = sweep(swept)
    done(swept, log, [0])
    failed(log, 1)
    pruned(log, 2)
    finish(log)
    assert Publishing(log.folder).finish().count == 3
    found = dump(swept)
    bad, stopped = found[f"{ID}-0001"], found[f"{ID}-0002"]
    assert (bad["status"], stopped["status"]) == ("FAILED", "KILLED")
    assert bad["params"] == {
        "fetch.source": "sklearn:iris", "split.target": "species", "split.validation": "0.0", "split.test": "0.25",
        "split.seed": "0", "train.estimator": "sklearn.svm.SVC", "train.hyperparameters.kernel": "linear",
        "train.hyperparameters.C": "3.5", "evaluate.cross_validation.folds": "5",
    }  # fmt: skip
    wanted = ("sweep.state", "sweep.reason", "sweep.stage", "exit_status", "trialtree.number", "trialtree.sweep")
    assert [bad["tags"].get(name) for name in wanted] == ["failed", "train: C must be > 0", "train", "1", "1", ID]
    assert stopped["tags"]["sweep.reason"] == "median_stopping at report 3: 0.4 against 0.5"
    assert stopped["points"] == {"reports": [(1, "0.2"), (2, "0.3"), (3, "0.4")]}
    assert found[ID]["tags"]["sweep.trials"] == "1 done, 1 failed, 1 pruned"
    assert nothing_new(swept)
    Publishing(log.folder).finish()
    assert dump(swept) == found
    said = swept.run("trialtree", "runs", "--json", "--kind", "sweep").stdout
    assert re.findall(r'"name": "(.*)"', said) == [ID]


def test_a_sweep_of_which_nothing_came_stays_through_track(swept: Repo) -> None:
    log = sweep(swept)
    failed(log, 0)
    finish(log)
    Publishing(log.folder).finish()
    found = dump(swept)
    swept.git("tag", "first")  # something to do
    swept.run("trialtree", "track", "--all")
    assert dump(swept).keys() == found.keys()
    assert below(dump(swept)) == [f"{ID}-0000"]


def test_a_failed_trial_that_is_run_again_is_replaced(swept: Repo) -> None:
    log = sweep(swept)
    failed(log, 0)
    failed(log, 1)
    finish(log)
    Publishing(log.folder).finish()
    log = sweep(swept)
    done(swept, log, [0], attempt=2)
    failed(log, 1, attempt=2)
    finish(log)
    Publishing(log.folder).finish()
    found = dump(swept)
    assert [found[name]["status"] for name in below(found)] == ["FINISHED", "FAILED"]
    assert found[f"{ID}-0001"]["tags"]["sweep.attempt"] == "2"
    assert nothing_new(swept)


@pytest.mark.slow
def test_killed_at_any_time_a_sweep_goes_on_and_has_each_trial_once(swept: Repo) -> None:
    for first in (0, 4, 8):
        log = sweep(swept)
        publishing = Publishing(log.folder)
        publishing.start()
        done(swept, log, range(first, first + 3))
        failed(log, first + 3)
        until(lambda: _status(swept) == "RUNNING")
        assert publishing.pid is not None
        os.kill(publishing.pid, signal.SIGKILL)
        os.waitpid(publishing.pid, 0)
        publishing.leave()
        log.close()
    assert _status(swept) == "RUNNING"
    other = sweep(swept, "iris-aaaa")
    finish(other)
    Publishing(other.folder).finish()
    assert _status(swept) == "KILLED"
    log = sweep(swept)
    finish(log)
    Publishing(log.folder).finish()
    found = dump(swept)
    assert below(found) == [f"{ID}-{number:04}" for number in range(12)]
    assert kinds(found) == {"FINISHED": 10, "FAILED": 3, "sweep": 2}
    assert found[ID]["status"] == "FINISHED"
    assert nothing_new(swept)


def _status(repo: Repo) -> str | None:
    """Return the status of the sweep's run."""
    with stores.Store(f"sqlite:///{repo.path}/mlflow.db", repo.path).opened() as client:
        ids = [experiment.experiment_id for experiment in client.search_experiments()]
        found = client.search_runs(ids, f"tags.`trialtree.sweep` = '{ID}' and tags.`trialtree.kind` = 'sweep'")
    return found[0].info.status if found else None


def test_a_driver_that_dies_leaves_its_sweep_published_and_killed(swept: Repo) -> None:
    log = sweep(swept)
    publishing = Publishing(log.folder)
    publishing.start()
    done(swept, log, range(2))
    log.close()  # as the system does
    until(lambda: _status(swept) == "KILLED")
    assert below(dump(swept)) == [f"{ID}-0000", f"{ID}-0001"]
    assert publishing.finish().count == 2


def test_a_store_that_is_away_costs_a_line_and_track_publishes_later(
    swept: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = sweep(swept)
    done(swept, log, range(2))
    failed(log, 2)
    finish(log)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    said = Publishing(log.folder).finish()
    assert said == Published(0, (
        "MLflow at http://127.0.0.1:9: cannot be reached (ConnectionError); the trials are kept, and "
        "`trialtree track --all` publishes them",
    ))  # fmt: skip
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    lines = swept.run("trialtree", "track", "--all").stdout.splitlines()
    assert " 2 new, " in lines[0]
    assert lines[-1] == f"sweep {ID}: 1 trial that failed or was pruned added"
    assert below(dump(swept)) == [f"{ID}-0000", f"{ID}-0001", f"{ID}-0002"]
    assert nothing_new(swept)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A real MLflow server."""
    with services.mlflow(tmp_path / "server") as address:
        yield address


@pytest.mark.slow
def test_a_server_and_postgresql_take_a_sweep_as_the_embedded_store_does(
    swept: Repo, server: str, postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = sweep(swept)
    done(swept, log, range(3))
    failed(log, 3)
    finish(log)
    Publishing(log.folder).finish()
    wanted = dump(swept)
    for uri in (server, postgresql):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        for _ in range(2):
            assert (Publishing(log.folder).finish().count, uri) == (4, uri)
            found = dump(swept, uri)
            assert below(found) == below(wanted)
            for name in below(wanted):
                mine, other = ({**of[name], "files": None} for of in (found, wanted))
                assert mine == other
        swept.run("trialtree", "track")
        assert nothing_new(swept)


@pytest.mark.slow
def test_two_sweeps_at_once_and_a_register_beside_them(swept: Repo) -> None:
    logs = [sweep(swept, name) for name in (ID, "iris-bbbb")]
    both = [Publishing(log.folder) for log in logs]
    for publishing in both:
        publishing.start()
    for numbers in (range(2), range(2, 4)):
        for log in logs:
            done(swept, log, numbers)
        swept.stage("register")
    for log in logs:
        finish(log)
    assert [publishing.finish().count for publishing in both] == [4, 4]
    found = dump(swept)
    assert len(below(found)) == len(below(found, "iris-bbbb")) == 4
    assert nothing_new(swept)


def test_what_git_says_of_a_new_experiment_is_what_a_walk_through_history_finds(swept: Repo) -> None:
    swept.params({"split.seed": 1})
    swept.dvc("repro", "evaluate")
    swept.commit("Deal out anew")
    (swept.path / "README.md").write_text("Trials\n", encoding="utf-8")
    head = swept.commit("Say what this is")
    made = many.sweep(swept, ID, [7, 8])
    found = survey.read("main")
    baseline = Baseline(head, "main")
    with git.objects() as objects:
        for number, (name, commit) in made.items():
            place = baseline.place(objects, commit, name)
            assert place == found.at(commit)
            assert (place.sweep, place.number, place.branch) == (ID, number, "main")


def test_nothing_is_said_of_a_trial_that_is_gone_but_that(swept: Repo) -> None:
    log = sweep(swept)
    done(swept, log, range(2))
    begin(log, 2)
    log.add("ended", number=2, state="done", name="gone", commit="0" * 40, objective=[1.0], metrics={})
    finish(log)
    said: list[Any] = []
    assert Publishing(log.folder).finish(lambda *counts: said.append(counts)).notes == (
        "not in MLflow: trial 2: commit 0000000 is not here",
    )
    assert said[-1] == (2, 3)
