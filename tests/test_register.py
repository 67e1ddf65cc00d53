"""The stage register: a run for every trial, a version for every model that passes its gates, once."""

import hashlib
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from examples.walkthrough import services
from stages import gates, models
from stages.errors import UserError
from stages.gates import Champion, Gate
from tests.conftest import Repo, isolated
from tests.tabling import raw, write_params
from trialtree.tracking import packages
from trialtree.tracking.versions import Registered


def rows(repo: Repo, query: str) -> list[tuple[Any, ...]]:
    """Return what the repository's store holds."""
    with closing(sqlite3.connect(repo.path / "mlflow.db")) as database:
        return database.execute(query).fetchall()


def versions(repo: Repo) -> list[tuple[Any, ...]]:
    return rows(repo, "SELECT name, version FROM model_versions WHERE current_stage <> 'Deleted_Internal'")


def runs(repo: Repo) -> list[tuple[Any, ...]]:
    return rows(repo, "SELECT status, name FROM runs WHERE lifecycle_stage = 'active'")


def aliases(repo: Repo) -> dict[str, int]:
    return dict(rows(repo, "SELECT alias, version FROM registered_model_aliases"))


def report(repo: Repo) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((repo.path / "reports/register.json").read_text(encoding="utf-8"))
    return content


# Runs where neither `stages` nor `trialtree` can be imported, and no pickle may be loaded.
LOADED = """
import json, os, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("stages", "trialtree"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
import mlflow, pyarrow.parquet as pq
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/iris@champion")
frame = pq.read_table(sys.argv[2]).to_pandas()
print(json.dumps({
    "predicted": model.predict(frame).tolist(),
    "inputs": [[c.name, str(c.type), c.required] for c in model.metadata.signature.inputs],
    "outputs": [str(c.type) for c in model.metadata.signature.outputs],
    "example": len(model.input_example),
    "modules": sorted({n.partition(".")[0] for n in sys.modules} & {"stages", "trialtree"}),
}))
"""


def test_a_repro_ends_with_a_run_and_a_registered_version(ran_once: Repo) -> None:
    found = report(ran_once)
    (gate,) = found.pop("gates")
    assert found == {
        "run_id": rows(ran_once, "SELECT run_uuid FROM runs")[0][0],
        "experiment": "iris",
        "tracking_uri": f"sqlite:///{ran_once.path}/mlflow.db",
        "registered": True,
        "name": "iris",
        "version": "1",
        "aliases": ["challenger", "champion"],
    }
    assert gate["said"] == "gate holds by 0.07368: accuracy is 0.973684 on 38 rows, min 0.9"
    assert [status for status, _ in runs(ran_once)] == ["FINISHED"]
    assert aliases(ran_once) == {"challenger": 1, "champion": 1}
    tags = dict(rows(ran_once, "SELECT key, value FROM tags"))
    assert tags["baseline_commit"] == ran_once.git("rev-parse", "HEAD~1")
    assert (tags["branch"], tags["dirty"], tags["mlflow.runName"]) == (
        "main", "false", f"main@{tags['baseline_commit'][:7]}",
    )  # fmt: skip
    assert ran_once.git("status", "--porcelain") == ""


def test_the_version_loads_where_trialtree_is_not(ran_once: Repo, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    test = next((ran_once.path / "data/split/test").iterdir())
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOADED, f"sqlite:///{ran_once.path}/mlflow.db", str(test)],
        cwd=tmp_path, env=isolated(tmp_path), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    predicted = pq.read_table(ran_once.path / "reports/predictions.parquet").column("predicted").to_pylist()
    assert json.loads(done.stdout) == {
        "predicted": predicted,
        "inputs": [[name, "DataType.double", True] for name in names],
        "outputs": ["DataType.string"],
        "example": 5,
        "modules": [],
    }


def test_a_version_pins_what_prediction_needs(ran_once: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ran_once.path)
    lines = packages.requirements(Path("models/model"), "sklearn.svm.SVC")
    lock = (ran_once.path / "requirements.lock").read_text(encoding="utf-8")
    assert [line.partition("==")[0] for line in lines] == [
        "mlflow", "numpy", "pandas", "pyarrow", "pydantic", "scikit-learn", "scipy", "skops",
    ]  # fmt: skip
    assert [line for line in lines if line not in lock] == []


def test_run_again_nothing_is_new_and_lost_it_is_made_again(ran: Repo) -> None:
    before = runs(ran), versions(ran)
    assert "registered: iris version 1 (challenger, champion), from before" in ran.stage("register").stdout
    assert len(runs(ran)) == len(before[0])
    assert versions(ran) == before[1]
    for path in ran.path.glob("mlflow.db*"):
        path.unlink()
    shutil.rmtree(ran.path / "mlartifacts")
    ran.dvc("repro")
    assert (len(runs(ran)), versions(ran)) == (1, [("iris", 1)])
    assert next(ran.path.glob("mlartifacts/*/models/*/artifacts/data/model/manifest.json"))


@pytest.mark.slow
def test_killed_anywhere_one_run_and_one_version_come_of_it(ran: Repo) -> None:
    for path in ran.path.glob("mlflow.db*"):
        path.unlink()
    shutil.rmtree(ran.path / "mlartifacts")
    draw = random.Random(0)
    for _ in range(7):
        process = subprocess.Popen(
            [sys.executable, "-m", "stages.register"], cwd=ran.path, env=ran.env,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            process.wait(draw.uniform(1.2, 2.8))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    ran.stage("register")
    assert [status for status, _ in runs(ran)] == ["FINISHED"]
    assert versions(ran) == [("iris", 1)]
    assert aliases(ran) == {"challenger": 1, "champion": 1}
    assert len(rows(ran, "SELECT model_id FROM logged_models")) == 1


STEPS = (
    "create_run", "log_batch", "log_inputs", "upload", "set_terminated", "create_logged_model", "log_outputs",
    "log_model_artifacts", "finalize_logged_model", "create_registered_model", "create_model_version",
    "set_registered_model_alias", "set_model_version_tag",
)  # fmt: skip
# Ends the process, as kill -9 does, right before or after a step.
KILLED = """
import os, sys
from mlflow import MlflowClient
from trialtree.tracking import artifacts
step, when = sys.argv.pop(), sys.argv.pop()
of = MlflowClient if hasattr(MlflowClient, step) else artifacts
own = getattr(of, step)
def last(*args, **kwargs):
    if when == "after":
        own(*args, **kwargs)
    os._exit(9)
setattr(of, step, last)
from stages import register
register.main()
"""


def completed(ran: Repo, when: str, steps: Sequence[str]) -> None:
    """End register at each step of an empty store, and see that the next start leaves one of everything."""
    found = []
    for step in steps:
        for path in ran.path.glob("mlflow.db*"):
            path.unlink()
        shutil.rmtree(ran.path / "mlartifacts", ignore_errors=True)
        done = ran.run("python", "-c", KILLED, when, step, check=False, PYTHONPATH=".")
        assert done.returncode == 9, (step, done.stderr)
        ran.stage("register")
        models = rows(ran, "SELECT status FROM logged_models")
        linked = rows(ran, "SELECT * FROM inputs")  # two datasets of the run, and its model
        found.append((step, len(runs(ran)), versions(ran), aliases(ran), len(models), len(linked)))
    assert found == [(step, 1, [("iris", 1)], {"challenger": 1, "champion": 1}, 1, 3) for step in steps]


@pytest.mark.parametrize("step", ["create_run", "create_model_version"])
def test_ended_after_a_step_the_next_start_completes_it(ran: Repo, step: str) -> None:
    completed(ran, "after", [step])


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_ended_at_any_step_the_next_start_completes_it(ran: Repo, when: str) -> None:
    completed(ran, when, STEPS)


@pytest.mark.slow
def test_two_at_once_make_one_version(ran: Repo) -> None:
    for path in ran.path.glob("mlflow.db*"):
        path.unlink()
    shutil.rmtree(ran.path / "mlartifacts")
    both = [
        subprocess.Popen([sys.executable, "-m", "stages.register"], cwd=ran.path, env=ran.env, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    said = sorted(process.communicate()[0].decode().splitlines()[-1] for process in both)
    assert said == [
        "registered: iris version 1 (challenger, champion)",
        "registered: iris version 1 (challenger, champion), from before",
    ]
    assert (len(runs(ran)), versions(ran)) == (1, [("iris", 1)])


def test_a_gate_that_fails_registers_nothing_and_says_by_how_much(ran: Repo) -> None:
    ran.params({"register.gates.accuracy.min": 0.99, "register.name": "strict"})
    done = ran.stage("register")
    assert done.stdout.splitlines()[1:] == [
        "gate fails by 0.01632: accuracy is 0.973684 on 38 rows, min 0.99",
        "registered: false",
    ]
    assert done.returncode == 0
    assert (report(ran)["registered"], report(ran)["version"], versions(ran)) == (False, None, [("iris", 1)])
    ran.params({"register.required": True})
    done = ran.stage("register", check=False)
    assert done.returncode == 1
    assert done.stderr == "params.yaml: register.required: a gate fails, and the model must be registered\n"


@pytest.mark.slow
def test_another_model_is_challenger_when_it_is_no_worse_than_asked(ran: Repo) -> None:
    ran.params({"train.hyperparameters.C": 0.001, "register.gates": {"accuracy": {"better_than": "champion"}}})
    ran.dvc("repro")
    said = ran.stage("register").stdout
    assert "gate fails by" in said
    assert "better than champion (version 1): 0.973684" in said
    ran.params({"register.gates": {}})
    ran.git("checkout", "-q", "-b", "other")
    said = ran.stage("register").stdout
    assert "aliases stay as they are: this is branch other, and they move on main" in said
    assert "registered: iris version 2\n" in said
    assert aliases(ran) == {"challenger": 1, "champion": 1}
    ran.git("checkout", "-q", "main")
    assert "registered: iris version 2 (challenger), from before" in ran.stage("register").stdout
    assert aliases(ran) == {"challenger": 2, "champion": 1}


def test_an_experiment_has_a_run_and_no_version(ran: Repo) -> None:
    ran.dvc("exp", "run", "--temp", "--name", "brisk-fox", "-S", "train.hyperparameters.kernel=rbf")
    assert [name for _, name in runs(ran)][1:] == ["brisk-fox"]
    assert versions(ran) == [("iris", 1)]
    tags = rows(ran, "SELECT key, value FROM tags JOIN runs USING (run_uuid) WHERE name = 'brisk-fox'")
    found = dict(tags)
    assert found["dvc.experiment"] == "brisk-fox"
    assert found["baseline_commit"] == ran.git("rev-parse", "HEAD")
    assert found["dirty"] == "false"


@pytest.mark.slow
def test_a_queued_grid_has_a_run_each_and_no_version(ran: Repo) -> None:
    ran.dvc("exp", "run", "--name", "keen-owl", "-S", "train.hyperparameters.C=0.5")
    ran.dvc("exp", "run", "--queue", "-S", "train.hyperparameters.kernel=rbf", "-S", "train.hyperparameters.C=0.25,2.0")
    ran.dvc("--wait-for-lock", "exp", "run", "--run-all")
    named = ran.dvc("exp", "list", "--name-only").stdout.split()
    assert sorted(name for _, name in runs(ran)[1:]) == sorted(named)
    assert len(named) == 3
    assert versions(ran) == [("iris", 1)]


def test_a_worktree_speaks_to_the_same_store(ran: Repo) -> None:
    ran.git("worktree", "add", "-q", "../tree", "-b", "other")
    tree = Repo(ran.path.parent / "tree", ran.env)
    for name in ("data/raw.parquet", "data/split", "models/model", "reports"):
        source, target = ran.path / name, tree.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target, **(
            {"dirs_exist_ok": True} if source.is_dir() else {}
        ))  # fmt: skip
    tree.stage("register")
    assert not (tree.path / "mlflow.db").exists()
    assert (len(runs(ran)), versions(ran)) == (1, [("iris", 1)])


def test_without_a_name_the_run_is_logged_and_nothing_registered(ran: Repo) -> None:
    ran.params({"register": ...})
    assert ran.stage("register").stdout.splitlines()[1:] == [
        "nothing is registered: params.yaml has no register.name",
        "registered: false",
    ]


def test_a_gate_on_an_unknown_metric_names_those_there(ran: Repo) -> None:
    ran.params({"register.gates": {"acuracy": {"min": 0.9}}})
    done = ran.stage("register", check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "params.yaml: register.gates.acuracy: reports/metrics.json has no such metric of the test part; "
        "did you mean accuracy?\n",
    )


def test_a_server_that_is_away_is_one_line_within_seconds(ran: Repo) -> None:
    start = time.monotonic()
    done = ran.run("python", "-m", "stages.register", check=False, MLFLOW_TRACKING_URI="http://u:pw@127.0.0.1:9")
    assert time.monotonic() - start < 10
    assert (done.returncode, done.stderr) == (
        1,
        "MLflow at http://127.0.0.1:9: cannot be reached (ConnectionError); the trial is kept; "
        "`dvc repro register` publishes it once that is mended\n",
    )


def test_a_locked_store_is_one_line(ran: Repo) -> None:
    with closing(sqlite3.connect(ran.path / "mlflow.db", isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        done = ran.stage("register", check=False)
    assert done.returncode == 1
    assert "database is locked; the trial is kept" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A real MLflow server."""
    with services.mlflow(tmp_path / "server") as address:
        yield address


@pytest.mark.slow
def test_a_server_gets_the_run_and_the_version_with_its_bytes(ran: Repo, server: str, tmp_path: Path) -> None:
    for _ in range(2):
        done = ran.run("python", "-m", "stages.register", MLFLOW_TRACKING_URI=server)
    assert "registered: iris version 1 (challenger, champion), from before" in done.stdout
    test = next((ran.path / "data/split/test").iterdir())
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", LOADED, server, str(test)],
        cwd=tmp_path, env=isolated(tmp_path), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert len(json.loads(loaded.stdout)["predicted"]) == 38


BOTH = """
import sys, warnings
import mlflow, pandas as pd
from stages import models, tables
mlflow.set_tracking_uri(sys.argv[1])
one, two = (mlflow.pyfunc.load_model(f"models:/iris/{v}") for v in (1, 2))
frame = one.input_example
print(one.loader_module != two.loader_module, list(one.predict(frame)) == list(two.predict(frame)))
print(two.predict(frame, params={"probabilities": True}).columns.tolist())
print(sys.modules["stages.models"] is models, models.__file__ == sys.argv[2] + "/stages/models.py")
"""


@pytest.mark.slow
def test_two_versions_with_other_code_stand_side_by_side_and_beside_the_repository(ran: Repo) -> None:
    module = ran.path / "stages" / "models.py"
    module.write_text(module.read_text(encoding="utf-8") + "\n# Another version.\n", encoding="utf-8")
    own = "train.features"
    ran.params({"train.calibrate": True, own: {"number": {"clip": [0.0, 1.0], "impute": "median"}}})
    ran.dvc("repro")
    code = ran.path.glob("mlartifacts/*/models/*/artifacts/code/*/transformers.py")
    assert len(list(code)) == 1  # only a model that uses one has it
    done = ran.run("python", "-c", BOTH, f"sqlite:///{ran.path}/mlflow.db", str(ran.path), PYTHONPATH=".")
    assert done.stdout.splitlines() == ["True True", "['p_setosa', 'p_versicolor', 'p_virginica']", "True True"]


MIXED = """
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("stages", "trialtree"):
            raise ModuleNotFoundError(name)
import sys
sys.meta_path.insert(0, Absent())
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/mixed@champion")
print([(c.name, c.type.name, c.required) for c in model.metadata.signature.inputs])
frame = model.input_example
print(model.predict(frame).tolist() == model.predict(frame.to_dict("records")).tolist())
print(len(model.predict(frame.drop(columns=["gappy", "kind"]))))
print(model.predict(frame, params={"probabilities": True}).columns.tolist())
"""


@pytest.mark.slow
def test_a_catboost_model_of_gaps_dates_and_categories_loads_where_trialtree_is_not(repo: Repo) -> None:
    draw = random.Random(0)
    lines = ["count,gappy,kind,day,y"]
    for k in range(200):
        gappy, kind = draw.choice(["", "1", "2"]), draw.choice(["", "ä", "b"])
        lines.append(f"{draw.randint(0, 9)},{gappy},{kind},2024-01-{k % 28 + 1:02},{draw.randint(0, 1)}")
    table = repo.path.parent / "t.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    pinned = {"source": str(table), "sha256": hashlib.sha256(table.read_bytes()).hexdigest()}
    repo.params({"fetch": pinned, "split.target": "y", "register": {"name": "mixed"}})
    repo.params({"train": {"estimator": "catboost.CatBoostClassifier", "hyperparameters": {"iterations": 5}}})
    repo.dvc("repro")
    done = repo.run("python", "-I", "-c", MIXED, f"sqlite:///{repo.path}/mlflow.db")
    assert done.stdout.splitlines() == [
        "[('count', 'long', True), ('gappy', 'double', False), ('kind', 'string', False), ('day', 'datetime', True)]",
        "True",
        "5",
        "['p_0', 'p_1']",
    ]
    (file,) = repo.path.glob("mlartifacts/*/models/*/artifacts/requirements.txt")
    assert "catboost==" in file.read_text(encoding="utf-8")


METRICS = {"test.accuracy": 0.9, "test.rmse": 2.0, "test.rows": 40, "cv.accuracy": 0.8}


@pytest.mark.parametrize(
    ("gate", "holds"),
    [
        ({"accuracy": Gate(min=0.9)}, True),
        ({"accuracy": Gate(min=0.91)}, False),
        ({"rmse": Gate(max=2.0)}, True),
        ({"rmse": Gate(max=1.9)}, False),
        ({"cv.accuracy": Gate(min=0.8)}, True),
        ({"rows": Gate(min=100)}, False),
        ({"rmse": Gate(better_than="champion")}, True),
        ({"accuracy": Gate(better_than="champion")}, False),  # equal is not better
    ],
)
def test_gates(gate: dict[str, Gate], holds: bool) -> None:
    champion = Champion("3", {"accuracy": 0.9, "rmse": 2.1})
    assert [result.holds for result in gates.check(gate, METRICS, champion)] == [holds]


def test_a_champion_that_cannot_be_scored_keeps_its_place() -> None:
    (result,) = gates.check({"accuracy": Gate(better_than="champion")}, METRICS, Champion("3", {}, "other columns"))
    assert str(result) == "gate fails: accuracy better than champion (version 3): other columns"
    (result,) = gates.check({"accuracy": Gate(better_than="champion")}, METRICS, None)
    assert result.holds


def test_a_champion_is_scored_for_the_positive_label_as_evaluate_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages import register, split, train

    monkeypatch.chdir(tmp_path)
    raw("SELECT range AS x, CASE WHEN range % 20 < 10 THEN 'False' ELSE 'True' END AS y FROM range(100)",
        x="integer", y="category")  # fmt: skip
    tree = {"estimator": "sklearn.tree.DecisionTreeClassifier"}
    write_params(split={"target": "y", "test": 0.3}, train=tree)
    split.main()
    train.main()
    held = Registered("1", None, models.FOLDER, "a")
    assert register.score_champion(held, ["precision"], {"positive": True}, "a") == Champion(
        "1", {"precision": 1.0}, None
    )
    assert register.score_champion(held, ["precision"], {"positive": "yes"}, "a") == Champion(
        "1",
        {},
        "it cannot be scored here: params.yaml: evaluate.positive: must be 'False' or 'True', got 'yes'",
    )


def test_a_gate_must_ask_for_something() -> None:
    from stages import params
    from stages.register import RegisterParams

    with pytest.raises(UserError) as raised:
        params.parse(
            "register", {"name": "a/b", "gates": {"accuracy": {}, "f1": {"min": 1.0, "max": 0.5}}}, RegisterParams
        )
    assert str(raised.value).splitlines() == [
        "params.yaml: register.name: must be letters, digits, blanks, _ . and -, at most 200 of them, "
        "a letter or digit first, got 'a/b'",
        "params.yaml: register.gates.accuracy: must have min, max or better_than",
        "params.yaml: register.gates.f1: min must be at most max, got 1.0 and 0.5",
    ]


def test_the_signature_leaves_room_for_gaps() -> None:
    columns = {
        "task": "classification",
        "target": {"name": "y", "type": "integer"},
        "columns": [
            {"name": "n", "type": "number"},
            {"name": "i", "type": "integer"},
            {"name": "gappy", "type": "integer"},
            {"name": "c", "type": "category"},
            {"name": "d", "type": "date"},
        ],
    }
    found = packages.signature(columns, {"gappy", "d"})
    assert [(c.name, c.type.name, c.required) for c in found.inputs] == [
        ("n", "double", True),
        ("i", "long", True),
        ("gappy", "double", False),
        ("c", "string", True),
        ("d", "datetime", False),
    ]
    assert [c.type.name for c in found.outputs] == ["long"]


@pytest.mark.slow
def test_a_trial_of_a_branch_becomes_the_challenger_once_main_has_it(ran: Repo) -> None:
    ran.run("trialtree", "start", "soft", "-S", "train.hyperparameters.C=0.5")
    assert "aliases stay as they are: this is branch soft" in ran.run("trialtree", "run").stdout
    ran.git("switch", "-q", "main")
    ran.git("merge", "-q", "--ff-only", "soft")
    said = ran.stage("register").stdout.splitlines()
    assert said[0].startswith(f"run soft@{ran.git('rev-parse', '--short=7', 'HEAD')} (")
    assert said[-1] == "registered: iris version 2 (challenger), from before"
