"""`trialtree start`: a branch at a clean base with its params, or nothing at all."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT, Repo
from trialtree.branches import commands, starting, writing

EXAMPLE = PROJECT / "examples/wine-cultivar/params.yaml"


@pytest.fixture
def inside(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """Stand in a fresh repository."""
    monkeypatch.chdir(repo.path)
    for name, value in repo.env.items():
        monkeypatch.setenv(name, value)
    return repo


def state(repo: Repo) -> tuple[str, str]:
    """Return the branches, and what is checked out and changed."""
    return repo.git("branch", "--list"), repo.git("status", "--porcelain", "--branch")


def test_params_are_those_of_a_dvc_experiment_byte_for_byte(repo: Repo) -> None:
    sets = [
        "-S", "train.estimator=sklearn.ensemble.RandomForestClassifier", "-S", "+train.hyperparameters.n_estimators=5",
        "-S", "~train.hyperparameters.kernel", "-S", "~train.hyperparameters.C", "-S", "split.test=0.5",
        "-S", "+fetch.drop=[sepal_width]",
    ]  # fmt: skip
    done = repo.run("trialtree", "start", "forest", *sets)
    assert done.stdout.splitlines() == [
        f"branch forest at {repo.git('rev-parse', '--short', 'main')}, with",
        "  split.test: 0.25 -> 0.5",
        "  train.estimator: sklearn.svm.SVC -> sklearn.ensemble.RandomForestClassifier",
        "  train.hyperparameters.kernel: linear -> not set",
        "  train.hyperparameters.C: 1.0 -> not set",
        "  fetch.drop: not set -> sepal_width",
        "  train.hyperparameters.n_estimators: not set -> 5",
        "next: `trialtree run`",
    ]
    assert repo.git("status", "--porcelain", "--branch").splitlines() == ["## forest", " M params.yaml"]
    ours = (repo.path / "params.yaml").read_bytes()
    repo.git("restore", ".")
    repo.dvc("exp", "run", "--temp", "--name", "theirs", *sets, "fetch")
    ref = repo.git("for-each-ref", "--format=%(refname)", "refs/exps/**/theirs")
    assert repo.run("git", "show", f"{ref}:params.yaml").stdout.encode() == ours


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["a b"], "'a b' can be no name of a branch: no blanks, .., ~, ^, :, ?, * or [, and no - or / first"),
        (["main"], "there is a branch main already: `git switch main` goes to it; or take another name"),
        (["x", "--base", "nowhere"], "--base: there is no commit nowhere; see `git log`, or `git fetch` first"),
        (["x", "--from", "none.yaml"], "--from none.yaml: No such file or directory"),
        (["x", "-S", "train.no=1"], "-S: Could not override 'train.no'. To append to your config use +train.no=1"),
        (["x", "-S", "split.test=0.1,0.2"],
         "-S: one trial has one value for each key; `dvc exp run --queue` takes several"),
        (["x", "-S", "other.yaml:a=1"], "-S other.yaml: only keys of params.yaml can be set"),
        (["x", "-S", "split.test=1.5"], "params.yaml: split.test: must be less than 1 as a share of all rows, or a "
         "whole number of rows, got 1.5"),
        (["x", "-S", "fetch.source=data/source/no.csv"], "params.yaml: fetch.source: data/source/no.csv is not "
         "under DVC here; put it there first: `trialtree data add no.csv`, and commit"),
    ],
)  # fmt: skip
def test_what_cannot_be_started_is_said_and_leaves_nothing(inside: Repo, args: list[str], said: str) -> None:
    before = state(inside)
    done = inside.run("trialtree", "start", *args, check=False)
    assert (done.returncode, done.stderr) == (1, f"{said}\n")
    assert state(inside) == before
    assert not Path(".dvc/tmp/trialtree-start.json").exists()


@pytest.mark.usefixtures("inside")
def test_changes_that_are_not_committed_stop_it() -> None:
    Path("dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    Path("untracked").write_text("", encoding="utf-8")
    with pytest.raises(commands.CommandError) as caught:
        starting.start("x")
    assert str(caught.value) == (
        "changed and not committed: dvc.yaml; `trialtree run` or `git commit` keeps them, `git stash` puts them aside"
    )


def test_a_file_of_params_brings_its_table_into_dvc_yaml(inside: Repo, tmp_path: Path) -> None:
    names = "Alcohol,Malic_acid,Ash,Alcalinity,Magnesium,Phenols,Flavanoids,WineVariety"
    (tmp_path / "wine.csv").write_text(f"{names}\n1,2,3,4,5,6,7,0\n", encoding="utf-8")
    inside.run("trialtree", "data", "add", str(tmp_path / "wine.csv"))
    table = inside.commit("Add a table")
    inside.git("switch", "-q", "-c", "other", "main~1")
    given = tmp_path / "given.yaml"
    text = EXAMPLE.read_text(encoding="utf-8")
    given.write_text(text, encoding="utf-8")
    source = "data/source/wine.csv"
    assert f"source: {source}" in text

    # The table is on main, and not at the base: nothing is made.
    done = inside.run("trialtree", "start", "wine", "--from", str(given), check=False)
    assert done.stderr == (
        f"params.yaml: fetch.source: {source} is not under DVC here; "
        "put it there first: `trialtree data add wine.csv`, and commit\n"
    )
    assert inside.git("branch", "--show-current") == "other"

    inside.git("switch", "-q", "main")
    inside.params({"fetch.source": "sklearn:iris"})
    inside.run("sed", "-i", "/data.source.wine/d", "dvc.yaml")
    inside.commit("Back to iris")
    inside.run("trialtree", "start", "wine", "--from", str(given), "--base", "main")
    assert (inside.path / "params.yaml").read_text(encoding="utf-8") == text
    assert inside.git("diff", "--stat", table, "--", "dvc.yaml") == ""
    assert inside.git("branch", "--show-current") == "wine"


def test_a_start_that_was_killed_is_undone_by_the_next(inside: Repo) -> None:
    command = [sys.executable, "-m", "trialtree.cli", "start", "killed", "-S", "split.test=0.5"]
    process = subprocess.Popen(command, start_new_session=True)
    while "split.test" not in Path("params.yaml").read_text() and "0.5 " not in Path("params.yaml").read_text():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert inside.git("branch", "--show-current") == "killed"
    done = inside.run("trialtree", "start", "killed", "-S", "split.test=0.5")
    assert done.stdout.splitlines()[0] == (
        "the start of killed, which was cut off, is undone; its params are in `git stash list`"
    )
    assert inside.git("status", "--porcelain", "--branch").splitlines() == ["## killed", " M params.yaml"]


def test_one_that_fails_on_a_detached_head_goes_back_there(inside: Repo) -> None:
    inside.git("switch", "-q", "--detach")
    head = inside.git("rev-parse", "HEAD")
    with pytest.raises(writing.FaultsError):
        starting.start("x", sets=["split.test=1.5"])
    assert (inside.git("branch", "--show-current"), inside.git("rev-parse", "HEAD")) == ("", head)
    assert inside.git("branch", "--list", "x") == ""


def test_two_at_once_are_told_apart(inside: Repo) -> None:
    with commands.alone():
        for command in (["start", "x"], ["run"], ["finish", "main"]):
            done = inside.run("trialtree", *command, check=False)
            assert (done.returncode, done.stderr) == (
                1, "another trialtree command is at work in this folder; wait until it ends\n",
            )  # fmt: skip
