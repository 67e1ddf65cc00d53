"""`trialtree runs`: the runs of a real store, chosen, sorted and shown."""

import io
import json
import os
from collections.abc import Iterator

import pytest
from rich.console import Console

from tests.conftest import Repo, make_repo
from trialtree.queries import runs, tables
from trialtree.queries.runs import Run
from trialtree.tracking import stores

NAN = float("nan")
ROWS: list[tuple[str, dict[str, str], dict[str, float], dict[str, str]]] = [
    ("ten", {"train.hyperparameters.C": "10"}, {"test.accuracy": 0.9, "test.rmse": 3}, {"branch": "x"}),
    ("nine", {"train.hyperparameters.C": "9.0"}, {"test.accuracy": 0.8, "test.rmse": 1}, {"branch": "x"}),
    ("broken", {"train.hyperparameters.C": "1"}, {"test.accuracy": NAN}, {"branch": "main"}),
    ("unscored", {}, {}, {}),
    ("part", {"train.hyperparameters.C": "1"}, {"test.accuracy": 1}, {"trialtree.kind": "stage"}),
    ("grid", {}, {}, {"trialtree.kind": "experiments"}),
]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A repository whose store has runs of every kind; for reading only."""
    folder = tmp_path_factory.mktemp("runs")
    repo = make_repo(folder / "repo", folder / "home")
    store = stores.Store(f"sqlite:///{repo.path / 'mlflow.db'}", repo.path)
    with store.opened() as client:
        iris, other = client.create_experiment("iris"), client.create_experiment("other")
        for at, (name, params, metrics, tags) in enumerate(ROWS):
            run = client.create_run(iris, start_time=1_000 * (at + 1), run_name=name, tags=tags)
            for key, text in params.items():
                client.log_param(run.info.run_id, key, text)
            for key, value in metrics.items():
                client.log_metric(run.info.run_id, key, value)
            client.set_terminated(run.info.run_id, "FAILED" if name == "unscored" else "FINISHED")
        client.create_run(other, start_time=50_000, run_name="elsewhere")
    return repo


@pytest.fixture
def here(filled: Repo, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repo]:
    """Stand in that repository."""
    monkeypatch.chdir(filled.path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield filled
    os.environ.pop("MLFLOW_TRACKING_URI", None)


def names(found: list[Run]) -> list[str]:
    return [run.name for run in found]


@pytest.mark.usefixtures("here")
def test_the_newest_come_first_and_parts_of_trials_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_PAGE", 2)  # what is behind the first page counts too
    assert names(runs.read("iris")) == ["unscored", "broken", "nine", "ten"]
    assert names(runs.read("iris", ["stage", "experiments"])) == ["grid", "part"]
    assert names(runs.read(None)) == ["elsewhere", "unscored", "broken", "nine", "ten"]
    with pytest.raises(runs.RunsError, match=r"no experiment 'none' in MLflow at .*; there are: Default, iris, other"):
        runs.read("none")


@pytest.mark.usefixtures("here")
def test_the_best_come_first_and_those_without_a_number_last() -> None:
    there = runs.read("iris")
    orders = {
        "accuracy": ["ten", "nine", "unscored", "broken"],
        "+accuracy": ["nine", "ten", "unscored", "broken"],
        "metrics.test.rmse": ["nine", "ten", "unscored", "broken"],  # an error: less is better
        "-rmse": ["ten", "nine", "unscored", "broken"],
    }
    assert {by: names(runs.ordered(there, by)[0]) for by in orders} == orders
    assert names(runs.ordered(there, "rmse", reverse=True)[0]) == orders["-rmse"]
    assert names(runs.ordered(there, None, reverse=True)[0]) == ["ten", "nine", "broken", "unscored"]
    with pytest.raises(runs.RunsError, match=r"^--sort: no run has the metric acuracy; did you mean accuracy\?$"):
        runs.ordered(there, "acuracy")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("params.C > 9", ["ten"]),
        ("params.C >= 9 and tags.branch = 'x'", ["nine", "ten"]),
        ("not metrics.accuracy > 0.85", ["nine"]),  # NaN is neither above nor not
        ("metrics.accuracy = nan or status != 'finished'", ["unscored", "broken"]),
        ("name like 'n%'", ["nine"]),
    ],
)
def test_where_chooses(where: str, found: list[str]) -> None:
    assert names(runs.chosen(runs.read("iris"), where)) == found


@pytest.mark.parametrize(
    ("name", "rising"),
    [("test.log_loss", True), ("script.Loss", True), ("script.median-AE", True), ("test.ae_p50", True),
     ("test.r2", False), ("script.val_loss", True), ("cv.f1_macro", False)],
)  # fmt: skip
def test_less_is_better_for_errors(name: str, rising: bool) -> None:
    both = [Run(str(value), "", "", "", value, {}, {name: value}, {}) for value in (1, 2)]
    assert [run.metrics[name] for run in runs.ordered(both, name)[0]] == ([1, 2] if rising else [2, 1])


def test_the_table_fits_80_columns_and_the_line_below_says_what_is_the_same() -> None:
    params = {"train.estimator": "sklearn.ensemble.RandomForestClassifier", "train.hyperparameters.C": "0.001"}
    many = [
        Run(f"{n:032x}", f"main@123456{n}", "iris", "FINISHED", 1_700_000_000_000, {**params, "split.seed": str(n)},
            {"test.accuracy": 0.9, "test.roc_auc": 0.99, "cv.accuracy": 0.1}, {"branch": "a-long-name/of-a-branch"})
        for n in range(3)
    ]  # fmt: skip
    out = io.StringIO()
    Console(file=out, width=80, highlight=False).print(tables.table(many, {}, "cv.accuracy"))
    assert max(map(len, out.getvalue().splitlines())) <= 80
    assert out.getvalue().split("\n")[0].split() == [
        "run", "id", "cv.accuracy", "accuracy", "roc_auc", "params", "branch", "when"
    ]  # fmt: skip
    assert tables.summary(many, 5) == "3 of 5 runs of experiment iris, finished"


def test_the_command_prints_plain_lines_or_json(filled: Repo) -> None:
    said = filled.run("trialtree", "runs", "--where", "params.C > 1", "--sort", "accuracy").stdout
    lines = [line.split()[:1] + line.split()[2:6] for line in said.splitlines()]
    assert lines == [
        ["run", "accuracy", "rmse", "params", "branch"],
        ["ten", "0.9000", "3.0000", "C=10", "x"],
        ["nine", "0.8000", "1.0000", "C=9.0", "x"],
        ["2", "of", "experiment", "iris,", "finished"],
    ]
    (found,) = json.loads(filled.run("trialtree", "runs", "--json", "--where", "name = 'broken'").stdout)
    assert found | {"id": "", "tags": {}} == {
        "id": "",
        "name": "broken",
        "kind": "trial",
        "experiment": "iris",
        "status": "FINISHED",
        "started": "1970-01-01T00:00:03.000+00:00",
        "params": {"train.hyperparameters.C": "1"},
        "metrics": {"test.accuracy": "nan"},
        "tags": {},
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--where", "params.C >> 1"], "--where: column 11: must be a number, or a text in quotes, got >\n"),
        (["--kind", "x"], "--kind: must be one of trial, stage, branch, experiments, sweep, got 'x'\n"),
        (["--all", "--experiment", "iris"], "--all and --experiment: give one of them\n"),
    ],
)
def test_a_question_with_a_fault_is_one_line(filled: Repo, arguments: list[str], said: str) -> None:
    done = filled.run("trialtree", "runs", *arguments, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


def test_a_server_that_is_away_is_one_line(repo: Repo) -> None:
    done = repo.run("trialtree", "runs", check=False, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("MLflow at http://127.0.0.1:9: cannot be reached (")
    assert done.stderr.endswith("; mend that, and ask again\n")
