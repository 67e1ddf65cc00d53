"""`trialtree check`: all that is wrong with params.yaml and dvc.yaml, at once, without running anything."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT, Repo

EXAMPLES = sorted(path for path in (PROJECT / "examples").glob("*/*.yaml") if path.name != "dvc.yaml")


def check(repo: Repo) -> list[str]:
    """Return what `trialtree check` says; none when it is content."""
    done = repo.run("trialtree", "check", check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode == (1 if done.stderr else 0), done.stderr
    return done.stderr.splitlines()


def test_the_default_files_are_in_order(repo: Repo) -> None:
    assert check(repo) == []
    assert repo.git("status", "--porcelain") == ""


def test_every_fault_of_every_section_is_said_at_once(repo: Repo) -> None:
    repo.params(
        {
            "experiment": 3,
            "fetch.source": "sklearn:irs",
            "split.test": 1.5,
            "train.hyperparameters.kernal": "rbf",
            "evaluate.metrics": ["acuracy"],
            "register.gates": {"accuracy": {"mn": 0.9}},
        }
    )
    said = check(repo)
    assert [line.split(",")[0] for line in said] == [
        "params.yaml: experiment: must be the name of the experiment",
        "params.yaml: fetch.source: is no table of scikit-learn; did you mean iris?",
        "params.yaml: split.test: must be less than 1 as a share of all rows",
        "params.yaml: evaluate.metrics[0]: must be a metric (did you mean accuracy?)",
        "params.yaml: register.gates.accuracy.mn is not a key; did you mean min?",
        "params.yaml: train.hyperparameters.kernal is not a parameter of sklearn.svm.SVC; did you mean kernel?",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train.estimator": "os.system"}, "params.yaml: train.estimator: must be from sklearn, catboost, imblearn"),
        (
            {"register.gates": {"rmse": {"max": 1.0}}},
            "params.yaml: register.gates.rmse: 'rmse' is no metric of a class",
        ),
        ({"fetch.drop": ["species"]}, "params.yaml: split.target: 'species' is among fetch.drop"),
        ({"fetch.keep": ["petal_width"]}, "params.yaml: split.target: 'species' is not among fetch.keep: petal_width"),
        (
            {"evaluate": ...},
            "params.yaml: evaluate: is missing, and DVC asks for it; `evaluate: {}` takes its defaults",
        ),
        (
            {"split.target": "specis"},
            "params.yaml: split.target: the table has no column 'specis'; did you mean species?",
        ),
        (
            {"fetch.source": "../none.csv", "fetch.sha256": "0" * 64},
            "params.yaml: fetch.source: there is no file '../none.csv'",
        ),
        ({"trian": {}}, "params.yaml: trian is not a section; did you mean train?"),
    ],
)
def test_what_takes_two_sections_to_see_is_said_too(repo: Repo, changes: dict[str, object], said: str) -> None:
    repo.params(changes)
    assert [line[: len(said)] for line in check(repo)] == [said]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    - stages/dealing.py\n", "",
         "dvc.yaml: stages.split.deps: lacks stages/dealing.py, which the stage imports"),
        ("cmd: python -m stages.split\n    deps:", "cmd: python -m stages.split\n    deps:\n    - stages/train.py",
         "dvc.yaml: stages.split.deps: has stages/train.py, which the stage does not import"),
        ("    params:\n    - split\n", "", "dvc.yaml: stages.split.params: lacks split"),
        ("  evaluate:\n", "  evalute:\n", "dvc.yaml: stages.evaluate: is missing"),
        ("stages:\n", "stages: [\n", "dvc.yaml: cannot be read"),
        ("    - reports/data.json\n", "    - reports/data.json\n    - data/split\n", "dvc.yaml: "),
    ],
)  # fmt: skip
def test_a_pipeline_that_would_miss_a_change_is_named(repo: Repo, old: str, new: str, said: str) -> None:
    path = repo.path / "dvc.yaml"
    content = path.read_text(encoding="utf-8")
    assert old in content
    path.write_text(content.replace(old, new, 1), encoding="utf-8")
    lines = check(repo)
    assert lines
    assert lines[0].startswith(said)


def test_an_estimator_of_ones_own_is_among_what_dvc_hashes(repo: Repo) -> None:
    (repo.path / "stages/mine.py").write_text(
        "from sklearn.svm import SVC\n\n\nclass Mine(SVC):\n    pass\n", encoding="utf-8"
    )
    repo.params({"train.estimator": "stages.mine.Mine"})
    assert check(repo) == [
        f"dvc.yaml: stages.{stage}.deps: lacks stages/mine.py, which train.estimator names"
        for stage in ("train", "evaluate")
    ]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_examples_are_in_order(repo: Repo, example: Path) -> None:
    (repo.path / "params.yaml").write_text(example.read_text(encoding="utf-8"), encoding="utf-8")
    for file in (*example.parent.glob("dvc.yaml"), *example.parent.glob("train_*.py")):
        shutil.copy(file, repo.path)
    repo.git("add", "-A")
    # The tables themselves are not in Git.
    assert [line for line in check(repo) if "`trialtree data add FILE` puts a table there" not in line] == []


def test_outside_a_repository_is_one_line(repo: Repo, tmp_path: Path) -> None:
    done = Repo(tmp_path, repo.env).run("trialtree", "check", check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"{tmp_path} is not inside a trialtree repository: no folder above has dvc.yaml and stages/\n"
    )


def test_it_works_from_a_folder_inside(repo: Repo) -> None:
    inside = repo.path / "reports"
    inside.mkdir(exist_ok=True)
    assert check(Repo(inside, repo.env)) == []


def test_version_is_that_of_the_package(repo: Repo) -> None:
    assert repo.run("trialtree", "--version").stdout == "trialtree 0.1.0\n"


def test_a_column_that_a_file_has_not_is_said(repo: Repo) -> None:
    path = repo.path.parent / "t.csv"
    path.write_text("a,b,label\n" + "1,2,x\n" * 30, encoding="utf-8")
    pin = hashlib.sha256(path.read_bytes()).hexdigest()
    repo.params({"fetch.source": "../t.csv", "fetch.sha256": pin, "split.target": "labl", "split.group": "c"})
    assert check(repo) == [
        "params.yaml: split.target: the table has no column 'labl'; did you mean label?",
        "params.yaml: split.group: the table has no column 'c'; known: a, b, label",
    ]
    repo.params({"fetch.derive": {"c": "a + b"}, "split.target": "label"})
    assert check(repo) == []


@pytest.mark.slow
def test_a_large_or_distant_table_is_known_from_the_last_run(repo: Repo) -> None:
    path = repo.path.parent / "t.csv"
    path.write_text("a,b,label\n" + "1,2,x\n" * 1_000_000, encoding="utf-8")
    pin = hashlib.sha256(path.read_bytes()).hexdigest()
    repo.params({"fetch.source": "../t.csv", "fetch.sha256": pin, "split.target": "labl"})
    assert check(repo) == []
    repo.dvc("repro", "fetch")
    assert check(repo) == ["params.yaml: split.target: the table has no column 'labl'; did you mean label?"]
    repo.params({"fetch.derive": {"labl": "label"}})  # which the last run did not have
    assert check(repo) == []


def test_a_table_that_is_to_be_pulled_is_no_fault(repo: Repo) -> None:
    (repo.path / "data/source").mkdir(parents=True)
    (repo.path / "data/source/t.csv.dvc").write_text("outs:\n- path: t.csv\n", encoding="utf-8")
    repo.params({"fetch.source": "data/source/t.csv"})
    assert [line for line in check(repo) if "fetch.source" in line] == []


def test_a_terminal_that_knows_few_letters_costs_no_traceback() -> None:
    code = "from trialtree import repository; repository.run(lambda: print('größe'))"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout == "gr??e\n"
