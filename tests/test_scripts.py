"""Training by a script of the user's own, unmodified: what it leaves, what is made of it, and what bad ones get."""

import json
import pickle
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import joblib
import mlflow
import numpy as np
import pytest
import skops.io
from catboost import CatBoostRegressor
from mlflow.models import Model
from sklearn.tree import DecisionTreeRegressor

from stages import foreign, models, scripts
from tests.conftest import PROJECT, YAML_12, Repo, isolated, make_repo
from trialtree.tracking import scripted

NOTHING = ["params.json", "history.csv", "tags.json", "registrations.json", "output.log"]


def with_script(text: str, name: str) -> str:
    """Return a dvc.yaml with a script as a dependency of train."""
    before, train, after = text.partition("  train:\n")
    return before + train + after.replace("    - data/split\n", f"    - data/split\n    - {name}\n", 1)


def give(repo: Repo, source: str, arguments: Mapping[str, Any] | None = None, **more: Any) -> None:
    """Let a script train in a repository."""
    (repo.path / "train.py").write_text(source, encoding="utf-8")
    content = YAML_12.load((repo.path / "params.yaml").read_text(encoding="utf-8"))
    content["train"] = {"script": {"file": "train.py", **more}, "arguments": dict(arguments or {})}
    with (repo.path / "params.yaml").open("w", encoding="utf-8") as file:
        YAML_12.dump(content, file)
    path = repo.path / "dvc.yaml"
    path.write_text(with_script((PROJECT / "dvc.yaml").read_text(encoding="utf-8"), "train.py"), encoding="utf-8")


def read(repo: Repo, path: str) -> Any:
    """Return a JSON file's content."""
    return json.loads((repo.path / path).read_text(encoding="utf-8"))


def text(repo: Repo, path: str) -> str:
    """Return a file's content."""
    return (repo.path / path).read_text(encoding="utf-8")


def files(folder: Path) -> list[str]:
    """Return the paths of all files below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def example(name: str, path: Path) -> Repo:
    """Return a repository of an example."""
    repo = make_repo(path, path.parent / "home")
    for file in (PROJECT / "examples" / name).iterdir():
        if file.name != "README.md":
            (repo.path / file.name).write_bytes(file.read_bytes())
    return repo


@pytest.fixture(scope="module")
def split_once(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A repository with the split of iris, its labels as numbers; for reading only."""
    folder = tmp_path_factory.mktemp("split")
    repo = make_repo(folder / "repo", folder / "home")
    number = "case when species = 'setosa' then 0 when species = 'virginica' then 2 else 1 end"
    repo.params({
        "fetch.derive": {"kind": number}, "fetch.drop": ["species"], "split.target": "kind", "split.format": "csv",
        "register.gates": ..., "evaluate": {},
    })  # fmt: skip
    repo.stage("fetch")
    repo.stage("split")
    return repo


@pytest.fixture
def split(split_once: Repo, tmp_path: Path) -> Repo:
    """A copy of such a repository."""
    subprocess.run(["cp", "-a", f"{split_once.path.parent}/.", str(tmp_path)], check=True)
    return Repo(tmp_path / "repo", isolated(tmp_path / "home"))


def test_arguments_are_those_of_a_command_line() -> None:
    given = {"kernel": "linear", "C": 1.0, "k": 3, "early": True, "late": False, "nothing": None, "sizes": [10, 20],
             "sign": "-x", "tiny": 1e-3}  # fmt: skip
    assert list(scripts.command_line(given)) == [
        "--kernel", "linear", "-C", "1.0", "-k", "3", "--early", "--sizes", "10", "20", "--sign=-x", "--tiny", "0.001",
    ]  # fmt: skip


LOGS = """
import argparse, json, os, sys
import mlflow
assert mlflow.active_run() is None and "MLFLOW_RUN_ID" not in os.environ
parser = argparse.ArgumentParser()
parser.add_argument("--größe", type=float)
args = parser.parse_args()
mlflow.set_experiment("Versuche")
with mlflow.start_run(run_name="ours"):
    mlflow.log_params({f"p{i:05}": i for i in range(10_000)})
    mlflow.log_param("Größe", args.größe)
    for step in range(3):
        mlflow.log_metric("Verlust/é", 1 / (step + 1), step=step)
    mlflow.log_metric("odd", float("nan"))
    mlflow.log_metric("endless", float("inf"))
    mlflow.set_tag("Farbe", "grün")
    open("big.bin", "wb").write(b"x" * 20_000_000)
    mlflow.log_artifact("big.bin", "large")
    mlflow.log_text("ja", "notes/ä.txt")
    for fold in (1, 2):
        with mlflow.start_run(run_name=f"fold-{fold}" if fold == 1 else None, nested=True):
            mlflow.log_metric("acc", fold / 2)
os.remove("big.bin")
print("Genauigkeit: 0.5")
print("Genauigkeit: 0.75 ✓", file=sys.stderr)
print(json.dumps({key: os.environ[key] for key in ("SM_HPS", "SM_CHANNELS", "SM_NUM_GPUS")}))
print(sorted(os.listdir(os.environ["SM_CHANNEL_TRAIN"])), os.environ["SM_MODEL_DIR"] != "", mlflow.get_tracking_uri())
os.chdir("/")
mlflow.start_run(run_name="second")
mlflow.log_metric("late", 1)
sys.exit(0)
"""


def test_what_a_script_logs_and_prints_becomes_files_of_the_trial(split: Repo) -> None:
    give(
        split,
        LOGS,
        {"größe": 2.5},
        metrics={"Genau": "Genauigkeit: ([0-9.]+)", "never": "no such (.)", "word": "(Genau)"},
    )
    done = split.run("python", "-m", "stages.train", MLFLOW_RUN_ID="0" * 32, MLFLOW_TRACKING_URI="http://localhost:1")
    assert read(split, "reports/script.json") == {
        "script": {"Genau": 0.75, "fold-1.acc": 0.5, "late": 1.0, "ours.Verlust/é": 1 / 3, "run-3.acc": 1.0}
    }
    assert [line for line in done.stdout.splitlines() if line.startswith(("script.", "4 MLflow", "train.py"))] == [
        "4 MLflow runs: the values of all but one stand behind their names: ours, fold-1, run-3",
        "script.never left out: nothing that train.py printed matches 'no such (.)'",
        "script.word left out: '(Genau)' found 'Genau', which is no number",
        "script.ours.endless left out of reports/script.json: it is inf",
        "script.ours.odd left out of reports/script.json: it is nan",
        "train.py left no model: it neither logged one to MLflow nor saved one under SM_MODEL_DIR",
        "train.py -> models/model, reports/script, reports/script.json",
    ]
    assert files(split.path / "reports/script") == sorted(
        [*NOTHING, "artifacts/ours/large/big.bin", "artifacts/ours/notes/ä.txt"]
    )
    params = read(split, "reports/script/params.json")
    assert (len(params), params["ours.p09999"], params["ours.Größe"]) == (10_001, "9999", "2.5")
    assert read(split, "reports/script/tags.json") == {"ours.Farbe": "grün"}
    assert text(split, "reports/script/history.csv") == (
        "name,step,value\nlate,0,1.0\nours.Verlust/é,0,1.0\nours.Verlust/é,1,0.5\n"
        "ours.Verlust/é,2,0.3333333333333333\nours.endless,0,inf\nours.odd,0,nan\nfold-1.acc,0,0.5\nrun-3.acc,0,1.0\n"
        "Genau,0,0.75\n"
    )
    log = text(split, "reports/script/output.log")
    assert '{"SM_HPS": "{\\"gr\\u00f6\\u00dfe\\": 2.5}"' in log or "größe" in log
    assert "['part-000.csv'] True file://" in log
    assert not split.git("status", "--porcelain", "--ignored=no", "mlruns", "mlflow.db", "big.bin")
    split.stage("evaluate")
    assert read(split, "reports/metrics.json") == {}


SAVES = """
import os, sys
import pandas as pd
from sklearn.tree import DecisionTreeClassifier
train = pd.read_csv(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "part-000.csv"))
names = ["petal_width", "sepal_length"]
model = DecisionTreeClassifier(random_state=0).fit(train[names], train["kind"])
if sys.argv[1] == "--joblib":
    import joblib
    joblib.dump(model, os.path.join(os.environ["SM_MODEL_DIR"], "model.joblib"))
else:
    os.makedirs("outputs", exist_ok=True)
    import skops.io
    skops.io.dump(model, "outputs/model.skops")
print("done")
"""


@pytest.mark.slow
def test_a_model_that_a_script_saves_is_scored_by_the_names_of_its_columns(split: Repo) -> None:
    give(split, SAVES, {"skops": True})
    split.stage("train")
    first = read(split, "models/model/manifest.json")
    assert files(split.path / "models/model/files") == ["model.skops"]
    said = split.stage("evaluate").stdout
    assert read(split, "reports/metrics.json")["test"]["rows"] == 38
    assert read(split, "reports/metrics.json")["test"]["accuracy"] > 0.8
    assert "reads rows of its own" not in said
    champion = (
        "from pathlib import Path; from stages import register; from trialtree.tracking.versions import Registered;"
        "print(register.score_champion(Registered('1', None, Path('models/model'), 'a'), ['accuracy'], {}, 'a'))"
    )
    accuracy = read(split, "reports/metrics.json")["test"]["accuracy"]
    assert split.run("python", "-c", champion).stdout == (
        f"Champion(version='1', metrics={{'accuracy': {accuracy}}}, reason=None)\n"
    )
    split.stage("train")
    assert read(split, "models/model/manifest.json") == first


def test_a_pickle_is_loaded_only_where_that_is_allowed_and_scores_nothing_otherwise(split: Repo) -> None:
    give(split, SAVES, {"joblib": True})
    split.params({"evaluate": {"cross_validation": {"folds": 3}}})
    split.stage("train")
    assert split.stage("evaluate").stdout == (
        "nothing is scored: models/model/files/model.joblib is a pickle, which runs code when it is loaded; "
        "params.yaml: evaluate.allow_pickle: true loads it\n"
    )
    assert read(split, "reports/metrics.json") == {}
    assert text(split, "reports/folds.csv") == "fold\n"
    assert len(files(split.path / "reports/plots")) == 8
    split.params({"evaluate.allow_pickle": True})
    said = split.stage("evaluate").stdout
    assert "neither cross-validation nor a learning curve: only the script itself can fit its model again" in said
    assert read(split, "reports/metrics.json")["test"]["accuracy"] > 0.8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train.script": "none.py"}, "params.yaml: train.script: none.py is not there"),
        ({"train.script": "../train.py"},
         "params.yaml: train.script: must be a Python file of this repository, such as train.py, got '../train.py'"),
        ({"train.script": "params.yaml"},
         "params.yaml: train.script: must be a Python file of this repository, such as train.py, got 'params.yaml'"),
        ({"train.script": "stages/plots.py"},
         "dvc.yaml: stages.train.deps: lacks stages/plots.py, which train.script names, and DVC would not see it "
         "change; add the line `- stages/plots.py`"),
        ({"train.estimator": "sklearn.svm.SVC"},
         "params.yaml: train: script and estimator exclude each other: a script trains by its own code"),
        ({"train.script": ..., "train.estimator": "sklearn.svm.SVC", "train.arguments": {"a": 1}},
         "params.yaml: train: arguments are those of a script, and there is no train.script"),
        ({"train.script": ..., "train.arguments": ...}, "params.yaml: train.estimator: is required"),
        ({"train.script.metrics": {"x": "[0-9]+"}},
         "params.yaml: train.script.metrics.x: must have one group in parentheses, around the number, got '[0-9]+'"),
        ({"train.script.metrics": {"x": "("}},
         "params.yaml: train.script.metrics.x: must be a regular expression; missing ), unterminated subpattern at "
         "position 0, got '('"),
        ({"train.script.fil": "x"}, "params.yaml: train.script.fil is not a key; did you mean file?"),
        ({"train.arguments": {"--a": 1}},
         "params.yaml: train.arguments.--a.[key]: must be a name without blanks, = and dashes before it, got '--a'"),
        ({"train.arguments": {"a": {"b": 1}}},
         "params.yaml: train.arguments.a: must be text, a number, true, false, or a list of these"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_script_is_said_in_one_line(split: Repo, change: dict[str, Any], message: str) -> None:
    give(split, "print(1)")
    split.params(change)
    done = split.stage("train", check=False)
    assert (done.returncode, done.stderr) == (1, f"{message}\n")
    if "train.script.metrics" not in message:
        checked = split.run("trialtree", "check", check=False)
        assert message in checked.stderr.splitlines()


def test_the_check_names_modules_that_dvc_would_not_see_change_and_text_that_is_not_python(repo: Repo) -> None:
    give(repo, "import helper, json\nfrom package.inner import f\n")
    repo.params({"sweep": ...})
    (repo.path / "helper.py").write_text("import second\n", encoding="utf-8")
    (repo.path / "second.py").write_text("def f(:\n", encoding="utf-8")
    (repo.path / "package").mkdir()
    for name in ("__init__", "inner", "unused"):
        (repo.path / f"package/{name}.py").touch()
    done = repo.run("trialtree", "check", check=False)
    assert done.stderr.splitlines() == [
        "params.yaml: train.script: train.py is unknown to Git: DVC's queue would leave it behind; `git add train.py`",
        "dvc.yaml: stages.train.deps: lacks helper.py, which train.py imports",
        "dvc.yaml: stages.train.deps: lacks package/__init__.py, which train.py imports",
        "dvc.yaml: stages.train.deps: lacks package/inner.py, which train.py imports",
        "dvc.yaml: stages.train.deps: lacks second.py, which helper.py imports",
        "second.py, line 1: is not Python: invalid syntax",
    ]


@pytest.mark.parametrize(
    ("source", "status", "said"),
    [
        ("def f(:\n", 1, "exited with status 1: SyntaxError: invalid syntax"),
        ("import sys\nprint('läuft')\nsys.exit(3)", 3, "exited with status 3: läuft"),
        ("import os\nos.kill(os.getpid(), 9)", 137, "was killed by signal 9 and printed nothing"),
        ("raise ValueError('no rows')", 1, "exited with status 1: ValueError: no rows"),
        ("input()", 1, "exited with status 1: EOFError: EOF when reading a line"),
    ],
)
def test_a_script_that_fails_fails_the_stage_with_its_status_its_last_line_and_its_log(
    split: Repo, source: str, status: int, said: str
) -> None:
    give(split, source)
    done = split.stage("train", check=False)
    assert (done.returncode, done.stderr) == (
        status, f"train.py {said}; all that it printed: reports/script/output.log\n",
    )  # fmt: skip
    assert text(split, "reports/script/output.log") == done.stdout
    assert files(split.path / "models") == []


@pytest.mark.slow
def test_a_model_that_mlflow_saved_in_the_folder_does_not_stop_the_next_run(split: Repo) -> None:
    source = (
        "import sys, mlflow.sklearn\nfrom sklearn.dummy import DummyClassifier\n"
        "model = DummyClassifier().fit([[0.0] * 4] * 3, [0, 1, 2])\n"
        "mlflow.sklearn.save_model(model, 'out/iris', pip_requirements=[])\n"
        "mlflow.set_tracking_uri('sqlite:///other.db')\nsys.exit(len(sys.argv) - 1)"
    )
    give(split, source, {"fail": True})
    assert split.stage("train", check=False).returncode == 1
    assert not (split.path / "out").exists()
    give(split, source)
    said = split.stage("train").stdout
    assert (
        "train.py calls mlflow.set_tracking_uri: what it logs goes to that store; without the call it is part of the "
        "trial\n" in said
    )
    assert not (split.path / "out").exists()
    assert (split.path / "models/model/mlflow/MLmodel").exists()
    assert "given, by place: sepal_length" in split.stage("evaluate").stdout
    assert read(split, "reports/metrics.json")["test"]["accuracy"] == 13 / 38


SLEEPS = """
import subprocess, sys, time
child = subprocess.Popen(["sleep", "600"])
print(child.pid, flush=True)
try:
    time.sleep(600)
except KeyboardInterrupt:
    sys.exit(1)
"""


def test_a_ctrl_c_ends_the_script_and_all_that_it_started(split: Repo) -> None:
    give(split, SLEEPS)
    with subprocess.Popen(["python", "-m", "stages.train"], cwd=split.path, env=split.env, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as stage:  # fmt: skip
        assert stage.stdout is not None
        child = int(stage.stdout.readline())
        stage.send_signal(signal.SIGINT)
        _, said = stage.communicate(timeout=60)
    assert (stage.returncode, said) == (130, "stopped; what was finished is kept, and `dvc repro` goes on from there\n")
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}/stat").exists() and time.monotonic() < deadline:
        if Path(f"/proc/{child}/stat").read_text().split(")")[1].split()[0] == "Z":
            break  # nobody here reaps it
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{child}").exists()
    assert files(split.path / "models") == []


def test_a_process_that_a_script_leaves_behind_is_not_waited_for(split: Repo) -> None:
    give(split, "import subprocess\nsubprocess.Popen(['sleep', '600'])\nprint('done')")
    started = time.monotonic()
    assert split.stage("train").stdout.startswith("done\n")
    assert time.monotonic() - started < 300  # the test would hang, not be slow


def test_labels_that_are_not_those_of_the_target_score_nothing_until_they_are_named(split: Repo) -> None:
    give(split, "import os, pickle\nfrom sklearn.dummy import DummyClassifier\n"
                "model = DummyClassifier().fit([[0.0] * 4] * 3, ['a', 'b', 'c'])\n"
                "pickle.dump(model, open(os.environ['SM_MODEL_DIR'] + '/m.pkl', 'wb'))")  # fmt: skip
    split.params({"evaluate": {"allow_pickle": True}})
    split.stage("train")
    assert split.stage("evaluate").stdout == (
        "nothing is scored: the model's classes are a, b, c, and the target 'kind' of data/split has 0, 1, 2; "
        "params.yaml: evaluate.labels lists what the classes 0, 1, ... mean\n"
    )


@pytest.mark.parametrize("ending", [".joblib", ".skops", ".pkl", ".cbm"])
def test_a_model_saved_as_a_file_is_an_mlflow_model_of_its_version(in_folder: Callable[[], Path], ending: str) -> None:
    file = in_folder() / f"my model{ending}"
    write_model(file)
    foreign.write(foreign.About("train.py", reads_split=True), None, {file.name: file}, [])
    scripted.write(Path("package"), models.FOLDER, Model(model_id="m-1"))
    assert mlflow.pyfunc.load_model("package").predict(np.array([[0.0], [9.0]])).tolist() == [1.0, 3.0]
    assert (
        scripted.expected(models.FOLDER).items()
        <= {name: Path("package", name).stat().st_size for name in files(Path("package"))}.items()
    )
    models.check(scripted.whole(Path("package"), Path("whole")))


def write_model(file: Path) -> None:
    """Write a model that says 1 of 0 and 3 of 9."""
    if file.suffix == ".cbm":
        CatBoostRegressor(iterations=1, learning_rate=1, l2_leaf_reg=0, allow_writing_files=False, silent=True).fit(
            [[0.0], [9.0]], [1.0, 3.0]
        ).save_model(str(file))
        return
    dump = {".joblib": joblib.dump, ".skops": skops.io.dump}.get(
        file.suffix, lambda model, path: path.write_bytes(pickle.dumps(model))
    )
    dump(DecisionTreeRegressor().fit([[0.0], [9.0]], [1.0, 3.0]), file)


def test_a_trial_without_a_script_has_empty_files_of_one_that_dvc_brings_back(ran: Repo) -> None:
    assert text(ran, "reports/script.json") == "{}\n"
    assert files(ran.path / "reports/script") == ["params.json"]
    ran.run("rm", "-r", "reports/script")
    ran.dvc("checkout")
    assert (ran.path / "reports/script").is_dir()
    assert ran.dvc("status", "fetch", "split", "train", "evaluate").stdout == "Data and pipelines are up to date.\n"


@pytest.mark.parametrize("name", ["azure-iris", "sagemaker-script"])
def test_an_examples_pipeline_is_the_projects_with_the_script(name: str) -> None:
    folder = PROJECT / "examples" / name
    (script,) = folder.glob("*.py")
    project = (PROJECT / "dvc.yaml").read_text(encoding="utf-8")
    assert (folder / "dvc.yaml").read_text(encoding="utf-8") == with_script(project, script.name)


VERSIONS = """
import json, mlflow, numpy, warnings
warnings.simplefilter("ignore")
mlflow.set_tracking_uri("sqlite:///mlflow.db")
client = mlflow.MlflowClient()
versions = [[v.name, v.version, v.tags["model.digest"]] for v in client.search_model_versions()]
runs = [r for e in client.search_experiments() for r in client.search_runs([e.experiment_id])]
said = None
if versions:
    model = mlflow.pyfunc.load_model(f"models:/{versions[0][0]}@champion")
    said = model.predict(numpy.array([[5.1, 3.5, 1.4, 0.2]])).tolist()
print(json.dumps([versions, said, [r.data.tags.get("dvc.experiment") for r in runs]]))
"""


def registry(repo: Repo) -> Any:
    """Return the versions of MLflow, what the champion predicts, and the DVC experiment of each run."""
    return json.loads(repo.run("python", "-W", "ignore", "-c", VERSIONS).stdout.splitlines()[-1])


@pytest.mark.slow
def test_the_article_like_script_unmodified_gives_one_run_one_model_and_one_version(tmp_path: Path) -> None:
    repo = example("azure-iris", tmp_path / "a repository, größer")
    repo.git("add", "train_iris.py")
    assert repo.run("trialtree", "check").stdout == "params.yaml and dvc.yaml are in order\n"
    repo.dvc("repro")
    assert read(repo, "reports/script.json")["script"]["Accuracy"] == 0.9736842105263158
    assert read(repo, "reports/metrics.json")["test"]["accuracy"] == 0.9736842105263158
    assert repo.git("ls-files", "--others", "--exclude-standard", "reports", "iris-svm", "mlruns").splitlines() == [
        "reports/metrics.json", "reports/script.json",
    ]  # fmt: skip
    versions, said, runs = registry(repo)
    assert (len(versions), versions[0][:2], said, runs) == (1, ["iris-svm", 1], [0], [None])
    lock = text(repo, "dvc.lock")
    repo.dvc("repro", "--force", "train")
    repo.dvc("repro")
    assert text(repo, "dvc.lock") == lock
    assert registry(repo) == [versions, said, runs]


@pytest.mark.slow
def test_a_grid_over_a_scripts_arguments_gives_an_experiment_each_and_no_version(tmp_path: Path) -> None:
    repo = example("azure-iris", tmp_path / "repo")
    repo.commit("Train by a script")
    for kernel in ("linear", "rbf", "poly", "sigmoid"):
        for penalty in (0.5, 1.0, 1.5):
            repo.dvc("--wait-for-lock", "exp", "run", "--temp", "-n", f"{kernel}-{penalty}",
                     "-S", f"train.arguments.kernel={kernel}", "-S", f"train.arguments.penalty={penalty}")  # fmt: skip
    names = sorted(repo.dvc("exp", "list", "--name-only").stdout.split())
    assert len(names) == 12
    versions, _, runs = registry(repo)
    assert (versions, sorted(runs)) == ([], names)
    refs = repo.git("for-each-ref", "--format=%(refname:lstrip=4) %(objectname)", "refs/exps").splitlines()
    commits = dict(line.split() for line in refs)
    metrics = {name: json.loads(repo.git("show", f"{commits[name]}:reports/script.json"))["script"] for name in names}
    found = {name: values["Accuracy"] for name, values in metrics.items()}
    assert set(found.values()) == {0.9736842105263158, 0.23684210526315788}
    assert sorted(name for name, value in found.items() if value < 0.5) == ["sigmoid-0.5", "sigmoid-1.0", "sigmoid-1.5"]
