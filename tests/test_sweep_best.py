"""The best trial of a sweep: told, and taken into the workspace, onto a branch or into the registry by its commit."""

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from tests import journals, many
from tests.conftest import Repo
from tests.journals import C, done, failed, pruned
from trialtree.sweep import applying, best, journal, registering
from trialtree.sweep.applying import BestError
from trialtree.sweep.best import Asked
from trialtree.sweep.records import Sweep

Made = Callable[..., Sweep]


@pytest.fixture
def here(ran: Repo, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """Stand in a repository in which the pipeline ran; its gate is one that the trials of `many` meet."""
    ran.params({"register.gates": {"accuracy": {"min": 0.0}}})
    ran.commit("Lower the gate")
    monkeypatch.chdir(ran.path)
    for name in set(os.environ) - set(ran.env):
        monkeypatch.delenv(name)
    for name, value in ran.env.items():
        monkeypatch.setenv(name, value)
    return ran


@pytest.fixture
def made(here: Repo) -> Made:
    """Return a function that writes the journal of a sweep with three experiments; of trial 1 the objective is best."""

    def make(*objectives: tuple[float, ...], **section: Any) -> Sweep:
        names = many.experiments(here, 3)
        said = here.git("for-each-ref", "--format=%(objectname) %(refname:lstrip=4)", "refs/exps/*/*/exp-*")
        commits = {name: commit for commit, name in (line.split() for line in said.splitlines())}
        trials = [
            done(
                number, *objective, name=name, commit=commits[name], values={C: number + 2.5}, model_bytes=1000 + number
            )
            for number, (name, objective) in enumerate(zip(names, objectives or ((0.5,), (0.9,), (0.9,)), strict=True))
        ]
        head = journals.head(baseline=here.git("rev-parse", "HEAD"), **section)
        of = journals.sweep([*trials, failed(3), pruned(4)], head, finished="limits.trials: 5 trials")
        journals.write(journal.place(), of)
        return of

    return make


def said(**asked: Any) -> list[str]:
    return list(best.best(Asked(**asked)))


def rows(repo: Repo, query: str) -> list[tuple[Any, ...]]:
    """Return what the repository's store holds."""
    with closing(sqlite3.connect(repo.path / "mlflow.db")) as database:
        return database.execute(query).fetchall()


def add(repo: Repo, path: str) -> None:
    """Change a file."""
    with (repo.path / path).open("a") as file:
        file.write("# mine\n")


def test_the_best_is_told_with_its_reason_its_params_and_its_experiment(made: Made) -> None:
    of = made()
    commit = str(of.trials[1].commit)[:7]
    assert said() == [
        "best is trial 1: cv.accuracy 0.9",
        "2 trials have that; the smallest model decided, 1,001 bytes against 1,002 bytes of trial 2",
        f"experiment exp-00001, commit {commit}",
        "  C  3.5",
    ]
    (text,) = said(as_json=True)
    told = json.loads(text)
    assert (told["sweep"], told["objective"]) == ("iris-k3f9", [{"metric": "cv.accuracy", "goal": "maximize"}])
    assert (told["trial"]["number"], told["trial"]["commit"][:7]) == (1, commit)
    assert (told["removed"], told["equal"], told["front"], told["why"]) == (False, [2], [], said()[:2])
    assert said(sweep="iris", trial=0)[0] == "trial 0: cv.accuracy 0.5; number 3 of those that are done"


def test_of_several_goals_the_front_is_told_and_any_of_it_can_be_taken(made: Made) -> None:
    goals = [{"metric": "cv.accuracy", "goal": "maximize"}, {"metric": "cv.seconds", "goal": "minimize"}]
    made((0.5, 1.0), (0.9, 2.0), (0.4, 9.0), objective=goals)
    assert [line for line in said() if not line.startswith("experiment")] == [
        "best is trial 1: cv.accuracy 0.9, cv.seconds 2",
        "2 trials are on the Pareto front; the best of them is that with the highest cv.accuracy, then the lowest "
        "cv.seconds",
        "  C  3.5",
        "on the front: trial 0: cv.accuracy 0.5, cv.seconds 1",
        "  C=2.5",
        "`--trial NUMBER` takes another of them",
    ]
    assert said(trial=0, branch="fast")[0].startswith("branch fast stands at trial 0, commit ")


def test_apply_puts_the_trial_into_the_workspace_and_spares_what_nobody_else_has(here: Repo, made: Made) -> None:
    of = made()
    (here.path / "notes.txt").write_text("mine")
    assert said(apply=True) == ["trial 1, exp-00001, is in the workspace; `trialtree run` commits it"]
    assert here.git("diff", "--name-only").splitlines() == ["dvc.lock", "params.yaml", "reports/metrics.json"]
    assert here.git("diff", "--stat", str(of.trials[1].commit), "--", "params.yaml", "dvc.lock") == ""
    # What an earlier one put there is no one's work.
    assert said(apply=True, trial=0) == ["trial 0, exp-00000, is in the workspace; `trialtree run` commits it"]
    add(here, "stages/gates.py")
    with pytest.raises(BestError) as refused:
        said(apply=True)
    assert str(refused.value) == (
        "stages/gates.py: changed and not committed, and `dvc exp apply` would set that aside; commit or stash it first"
    )
    assert (here.path / "stages/gates.py").read_text().endswith("# mine\n")
    assert (here.path / "notes.txt").read_text() == "mine"


def test_apply_says_that_the_repository_has_gone_on(here: Repo, made: Made) -> None:
    made()
    (here.path / "notes.txt").write_text("mine")
    before = here.git("rev-parse", "--short=7", "HEAD")
    here.commit("Go on")
    assert said(apply=True)[1] == (
        f"HEAD has gone on since the sweep, which stood on {before}: `git diff` shows what the trial takes back"
    )


def test_a_branch_stands_at_the_trial_if_its_name_is_free(here: Repo, made: Made) -> None:
    commit = str(made().trials[1].commit)
    assert said(branch="winner") == [
        f"branch winner stands at trial 1, commit {commit[:7]}; `git switch winner` goes there"
    ]
    assert here.git("rev-parse", "winner") == commit
    for name, reason in (("main", "there is a branch main already; give another name"),
                         ("a..b", "must be a name that Git takes for a branch, got 'a..b'")):  # fmt: skip
        with pytest.raises(BestError, match=f"^--branch: {reason}$".replace("..", r"\.\.")):
            said(branch=name)


def test_register_makes_one_version_of_the_experiments_commit_and_leaves_the_workspace(here: Repo, made: Made) -> None:
    commit = str(made().trials[1].commit)
    add(here, "params.yaml")
    before = here.git("status", "--porcelain"), here.git("for-each-ref")
    first = said(register=True)
    assert first[0].startswith("run exp-00001 (")
    assert first[1:] == [
        "gate holds by 1e-05: accuracy is 1e-05 on 38 rows, min 0", "registered: iris version 2 (challenger)",
    ]  # fmt: skip
    assert said(register=True) == [*first[:2], "registered: iris version 2 (challenger), from before"]
    assert (here.git("status", "--porcelain"), here.git("for-each-ref")) == before
    tags = dict(rows(here, "SELECT key, value FROM model_version_tags WHERE version = 2"))
    assert (tags["trialtree.commit"], tags["trialtree.commits"]) == (commit, commit)
    assert dict(rows(here, "SELECT alias, version FROM registered_model_aliases")) == {"champion": 1, "challenger": 2}
    run = dict(rows(here, "SELECT key, value FROM tags WHERE run_uuid = (SELECT run_id FROM model_versions "
                          "WHERE version = 2)"))  # fmt: skip
    assert (run["dvc.experiment"], run["trialtree.commit"]) == ("exp-00001", commit)


def test_aliases_move_on_the_branch_of_params_yaml_only(here: Repo, made: Made) -> None:
    made()
    here.git("switch", "-qc", "side")
    assert said(register=True)[2:] == [
        "aliases stay as they are: this is branch side, and they move on main", "registered: iris version 2",
    ]  # fmt: skip


def test_a_gate_that_fails_keeps_the_model_out(here: Repo, made: Made) -> None:
    here.params({"register.gates": {"accuracy": {"min": 0.9}}})
    here.commit("Raise the gate")
    made()
    lines = best.best(Asked(register=True))
    assert [next(lines)[:13], next(lines)] == [
        "run exp-00001", "gate fails by 0.9: accuracy is 1e-05 on 38 rows, min 0.9",
    ]  # fmt: skip
    with pytest.raises(registering.RegisterError) as refused:
        next(lines)
    assert str(refused.value) == (
        "nothing is registered: the gate on accuracy fails; `--trial NUMBER` registers another trial"
    )
    assert rows(here, "SELECT count(*) FROM model_versions") == [(1,)]


def test_of_an_experiment_that_was_removed_it_is_said_how_to_have_it(here: Repo, made: Made) -> None:
    commit = str(made().trials[1].commit)
    here.dvc("exp", "remove", "exp-00001")
    assert said()[2] == f"experiment exp-00001, commit {commit[:7]}; removed"
    for asked in ({"apply": True}, {"branch": "b"}, {"register": True}):
        with pytest.raises(BestError) as refused:
            said(**asked)
        assert str(refused.value) == (
            "the experiment exp-00001 of trial 1 was removed; Git still has its commit: "
            f"`git branch NAME {commit[:7]}` keeps it"
        )
    here.git("reflog", "expire", "--expire=now", "--all")
    here.git("prune", "--expire=now")
    with pytest.raises(BestError, match=r"and its commit with it; to make it again: dvc exp run -S train.*C=3.5$"):
        applying.commit(journal.read(journal.find()), journal.read(journal.find()).trials[1])


def test_what_cannot_be_had_is_said_in_a_line(here: Repo, made: Made) -> None:
    del here
    with pytest.raises(journal.SweepError, match=r"^no sweep has run here"):
        said()
    made()
    empty = journals.sweep([failed(0), failed(1)], journals.head("none-aaaa"))
    journals.write(journal.place(), empty)
    refusals = {
        "3": {"sweep": "iris", "trial": 3}, "4": {"sweep": "iris", "trial": 4}, "9": {"sweep": "iris", "trial": 9},
        "none": {"sweep": "none"}, "two": {"apply": True, "as_json": True},
    }  # fmt: skip
    found = {}
    for name, asked in refusals.items():
        with pytest.raises(BestError) as refused:
            said(**asked)
        found[name] = str(refused.value)
    assert found == {
        "3": "trial 3 of iris-k3f9 is failed, not done: train: ValueError: no",
        "4": "trial 4 of iris-k3f9 is pruned, not done: median_stopping at report 12: 0.5 against 0.75",
        "9": "iris-k3f9 has no trial 9; the last is 4",
        "none": "no trial of none-aaaa is done: 2 trials failed; `trialtree sweep show none-aaaa` tells more",
        "two": "--apply, --json: give one of them",
    }


def test_while_a_sweep_runs_the_best_is_so_far(made: Made) -> None:
    made()
    with journal.Journal(journal.find()):
        assert said()[0] == "iris-k3f9 is running; this is the best so far"
