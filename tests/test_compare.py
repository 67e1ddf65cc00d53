"""`trialtree compare`: in what trials differ, from Git and DVC alone."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Repo, isolated


@pytest.fixture(scope="module")
def two(ran_once: Repo, tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A repository with the trial of main, and an experiment `other` with another seed, C, module and file of code."""
    folder = tmp_path_factory.mktemp("two")
    shutil.copytree(ran_once.path.parent, folder, dirs_exist_ok=True, symlinks=True)
    repo = Repo(folder / "repo", isolated(folder / "home"))
    (repo.path / "stages" / "added.py").write_text('"""Nothing."""\n', encoding="utf-8")
    train = repo.path / "stages" / "train.py"
    train.write_text(train.read_text(encoding="utf-8") + "\n# another\n", encoding="utf-8")
    pipeline = repo.path / "dvc.yaml"
    text = pipeline.read_text(encoding="utf-8")
    pipeline.write_text(text.replace("    - stages/train.py\n", "    - stages/added.py\n    - stages/train.py\n"))
    repo.git("add", "stages/added.py")
    changes = ["train.hyperparameters.C=0.01", "+train.hyperparameters.gamma=1.0", "split.seed=1"]
    repo.dvc("exp", "run", "--name", "other", *(word for change in changes for word in ("-S", change)), "evaluate")
    repo.git("reset", "-q", "--hard")
    shutil.rmtree(repo.path / "reports", ignore_errors=True)  # what is compared stands in Git and in DVC's cache
    repo.git("checkout", "-q", ".")
    return repo


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_params_metrics_data_and_code_that_differ_are_told(two: Repo) -> None:
    found = json.loads(two.run("trialtree", "compare", "main", "other", "--json").stdout)
    commits = [two.git("rev-parse", "main"), two.git("for-each-ref", "--format=%(objectname)", "refs/exps/*/*/other")]
    assert found["revisions"] == [{"name": n, "commit": c} for n, c in zip(["main", "other"], commits, strict=True)]
    assert {row["name"]: row["values"] for row in found["params"]} == {
        "split.seed": [0, 1],
        "train.hyperparameters.C": [1.0, 0.01],
        "train.hyperparameters.gamma": [None, 1.0],
    }
    scored = [json.loads(two.git("show", f"{c}:reports/metrics.json")) for c in commits]
    accuracy = [s["test"]["accuracy"] for s in scored]
    assert found["metrics"][0] == {
        "name": "test.accuracy", "values": accuracy, "differences": [0, accuracy[1] - accuracy[0]],
    }  # fmt: skip
    assert [row["name"] for row in found["data"]] == ["data/split"]
    code = [two.run("git", "show", f"{c}:stages/train.py").stdout.encode() for c in commits]
    assert found["code"] == [
        {"name": "stages/added.py", "values": [None, md5(b'"""Nothing."""\n')]},
        {"name": "stages/train.py", "values": [md5(content) for content in code]},
    ]
    assert found["notes"] == []


def test_what_does_not_differ_is_said_in_one_line(two: Repo) -> None:
    assert two.run("trialtree", "compare", "main", "HEAD").stdout == "the same: params, metrics, data, code\n"


def test_the_tables_name_the_sides_and_the_difference_to_the_first(two: Repo) -> None:
    lines = two.run("trialtree", "compare", "main", "other", "main").stdout.splitlines()
    params = lines.index(next(line for line in lines if line.startswith("params")))
    at, other = two.git("rev-parse", "--short=7", "main"), lines[params].split()[4]
    assert lines[params].split() == ["params", "main", f"({at})", "other", other, "main", f"({at})"]
    assert ["train.hyperparameters.C", "1.0", "0.01", "1.0"] in [line.split() for line in lines]
    assert ["train.hyperparameters.gamma", "-", "1.0", "-"] in [line.split() for line in lines]
    rows = next(line.split() for line in lines if line.startswith("test.rows"))
    assert rows == ["test.rows", "38", "38", "(=)", "38", "(=)"]


def test_the_working_folder_is_what_ran_there_and_later_changes_are_named(two: Repo, tmp_path: Path) -> None:
    shutil.copytree(two.path.parent, tmp_path, dirs_exist_ok=True, symlinks=True)
    repo = Repo(tmp_path / "repo", isolated(tmp_path / "home"))
    repo.params({"train.hyperparameters.C": 5.0})
    scores = repo.path / "stages" / "scores.py"
    scores.write_text(scores.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    (repo.path / "reports" / "metrics.json").write_text("{}", encoding="utf-8")
    said = repo.run("trialtree", "compare", "main", "workspace").stdout.splitlines()
    assert [line for line in said if line.startswith(("the same", "workspace"))] == [
        "the same: params, data, code",
        "workspace: train of params.yaml changed since it ran",
        "workspace: reports/metrics.json is not the one of dvc.lock, and left out",
        "workspace: stages/scores.py changed since it ran",
    ]


def test_a_plot_is_drawn_the_same_each_time(two: Repo, tmp_path: Path) -> None:
    drawn = []
    for name in ("a.png", "b.png"):
        two.run("trialtree", "compare", "main", "other", "--plot", str(tmp_path / name))
        drawn.append((tmp_path / name).read_bytes())
    assert drawn[0] == drawn[1]
    assert drawn[0].startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["main"], "main: give a second revision to compare it with, or `workspace`"),
        (["main", "HEAD~1"], "HEAD~1 has no dvc.lock: the pipeline has not run there; `dvc repro` runs it"),
        (["main", "none"], "none is no commit, branch, tag or experiment of this repository; `git log --all --oneline` "
         "and `dvc exp show -A` show those there are"),
        (["main", "HEAD", "--plot", "a.svg"], "--plot: must end in .png, got a.svg"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_one_line(two: Repo, arguments: list[str], said: str) -> None:
    done = two.run("trialtree", "compare", *arguments, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said + "\n")
