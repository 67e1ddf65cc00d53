"""Trials of the engine are those of `dvc exp run`, byte for byte: Git's tree, dvc.lock, cache, run cache."""

import json
import math
import random
import shutil
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import dumps_yaml, parse_yaml
from ruamel.yaml import YAML

from tests.conftest import Repo, isolated
from trialtree.sweep.engine import entries, paramsfile
from trialtree.sweep.engine.hashes import Hash
from trialtree.sweep.journal import SweepError

PARAMS = """\
experiment: iris  # of MLflow

train:
  estimator: sklearn.svm.SVC
  hyperparameters:
    kernel: 'linear'
    C: 1e-3        # small
    weights:
    - 1.0
    - 2

evaluate:
  cross_validation: {folds: 5}   # the yardstick
  words: "no"
"""
VALUES: list[dict[str, Any]] = [
    {"train.hyperparameters.C": 0.5},
    {"train.hyperparameters.C": 1e-05, "train.hyperparameters.kernel": "rbf"},
    {"train.hyperparameters.C": 3, "train.hyperparameters.kernel": "no"},
    {"train.hyperparameters.kernel": "it's: a #text"},
    {"train.hyperparameters.kernel": "line\nline", "train.hyperparameters.gamma": None},
    {"train.hyperparameters.weights": [0.25, 4]},
    {"train.hyperparameters.shrinking": False, "train.hyperparameters.degree": 4},
    {"train.hyperparameters.kernel": "12:30", "evaluate.cross_validation.folds": 4},
    {"train.hyperparameters.kernel": "1e-3"},
    {"train.hyperparameters.kernel": "x" * 200},
    {"train.estimator": "sklearn.tree.DecisionTreeClassifier", "train.hyperparameters.max_depth": 3},
    {"train.estimator": "sklearn.dummy.DummyClassifier"},
    {"train.hyperparameters.C": 2.5e300, "train.seed": 0},
    {"train.hyperparameters.class_weight": {"setosa": 2.0}},
]


def by_dvc(folder: Path, text: str, values: Mapping[str, Any]) -> str:
    """Return the text that -S makes of a params.yaml."""
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    apply_overrides(path, paramsfile.overrides(parse_yaml(text, "params.yaml"), values))
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("values", VALUES, ids=[str(number) for number in range(len(VALUES))])
def test_params_are_written_as_dvc_writes_them(tmp_path: Path, values: dict[str, Any]) -> None:
    file = paramsfile.ParamsFile(PARAMS)
    wanted = by_dvc(tmp_path, PARAMS, values)
    for _ in range(5):  # slowly first, then compared, then quickly
        text, content = file.changed(values)
        assert text == wanted
        assert content == YAML(typ="safe", pure=True).load(text)


@pytest.mark.slow
def test_thousands_of_values_are_written_as_dvc_writes_them(tmp_path: Path) -> None:
    draw = random.Random(0)
    file = paramsfile.ParamsFile(PARAMS)
    for number in range(3000):
        value = math.ldexp(draw.random(), draw.randint(-60, 60)) if number % 2 else draw.choice([*"abcnyYN", "on", "~"])
        values = {"train.hyperparameters.kernel": value, "train.hyperparameters.C": draw.random()}
        text, content = file.changed(values)
        assert YAML(typ="safe", pure=True).load(text) == content
        if number % 300 < 2:
            assert text == by_dvc(tmp_path, PARAMS, values)


def test_a_key_below_a_value_is_said() -> None:
    with pytest.raises(SweepError, match=r"params\.yaml: sweep\.space\.experiment\.name: experiment is no mapping"):
        paramsfile.ParamsFile(PARAMS).changed({"experiment.name": 1})


HASHES = [Hash("0" * 32, 1), Hash("1" * 31 + "a", 12), Hash("12e45678901234567890123456789012", 3), Hash("a" * 32, 4),
          Hash("f" * 32 + ".dir", 5, 2), Hash("12345678901234567890123456789012.dir", 6, 1)]  # fmt: skip
PATHS = ["data/x.csv", "no", "a b", "größe", "x: y", "data/" + "long name " * 12, "1e3", "'quoted'", "-", "#x"]


@pytest.mark.parametrize("path", PATHS)
def test_an_entry_is_written_as_dvc_writes_it(path: str) -> None:
    items = [entries._item(path, of) for of in HASHES]
    params = {"params.yaml": {"train": {"C": 1e-05, "text": "no", "list": [1, {"a": None}], "long": "word " * 40}}}
    made = {"cmd": "python -m x", "deps": items, "params": params, "outs": deepcopy(items[::-1])}
    lock = entries.Lock("", {})
    assert lock.changed({"train": made}) == dumps_yaml({"schema": "2.0", "stages": {"train": made}})
    assert entries.text(made) == dumps_yaml(made)


SIMPLE: list[Any] = [
    1, -2, 0.1, 1e-05, 1e22, 1.5e300, 100000.0, True, False, "word", "a.b-c", "no", "", "x y", None, [], {}, [1, "a"],
    [True, 0.5], {"a": {"b": 1}}, [[1]], [{"a": 1}], "0x1", "1_000", "1.", ".5", "_", "-", "a:", "NULL", "~", "12:30",
    "y" * 70, {"a b": 1}, {"no": 1}, float("inf"), "Infinity",
]  # fmt: skip


@pytest.mark.parametrize("value", SIMPLE, ids=[str(number) for number in range(len(SIMPLE))])
def test_params_of_an_entry_are_written_as_dvc_writes_them(value: Any) -> None:
    made = {"cmd": "python -m stages.train", "params": {"params.yaml": {"train": {"key": value, "other": 1}}}}
    assert entries.text(made) == dumps_yaml(made)
    assert entries.Lock("", {}).changed({"train": made}) == dumps_yaml({"schema": "2.0", "stages": {"train": made}})


def test_a_lock_that_is_not_in_dvcs_own_form_is_left_to_dvc() -> None:
    text = "schema: '2.0'\nstages:\n  train:   # mine\n    cmd: x\n"
    lock = entries.Lock(text, parse_yaml(text, "dvc.lock"))
    made = {"cmd": "y"}
    assert lock.changed({"evaluate": made}) == text + "  evaluate:\n    cmd: y\n"
    assert lock.changed({}) == text


@pytest.fixture
def pair(ran_once: Repo, tmp_path: Path) -> tuple[Repo, Repo]:
    """Two copies of a repository in which the pipeline has run."""
    return copied(ran_once, tmp_path / "one"), copied(ran_once, tmp_path / "two")


def copied(of: Repo, folder: Path) -> Repo:
    """Return a copy of a repository, with a home of its own."""
    shutil.copytree(of.path.parent, folder, symlinks=True)
    return Repo(folder / "repo", isolated(folder / "home"))


def swept(repo: Repo, space: Mapping[str, Any], **more: Any) -> list[dict[str, Any]]:
    """Run a grid by the engine, from the params that stand in the workspace, and return its trials by number."""
    given = {"choice": 0} if not space else {key: {"choice": values} for key, values in space.items()}
    section = {"objective": {"metric": "test.accuracy", "goal": "maximize"}, "allow_test": True, "sampling": "grid",
               "space": given, "limits": {"concurrent": 2}, **more}  # fmt: skip
    repo.params({"sweep": section})
    repo.commit("Sweep")
    repo.run("trialtree", "sweep", "--no-mlflow")
    (journal,) = (repo.path / ".dvc/tmp/trialtree/sweeps").glob("*/journal.jsonl")
    ended = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    asked = {event["number"]: event["values"] for event in ended if event["event"] == "asked"}
    return [
        {**event, "values": asked[event["number"]]}
        for event in sorted((event for event in ended if event["event"] == "ended"), key=lambda event: event["number"])
    ]


def ran_by_dvc(repo: Repo, values: Mapping[str, Any], name: str) -> str:
    """Run the same trial by `dvc exp run`, and return its commit."""
    content = parse_yaml((repo.path / "params.yaml").read_text(encoding="utf-8"), "params.yaml")
    sets = [part for override in paramsfile.overrides(content, values) for part in ("-S", override)]
    repo.dvc("exp", "run", "--temp", "-n", name, *sets, "evaluate")
    return repo.git("for-each-ref", "--format=%(objectname)", f"refs/exps/*/*/{name}")


def files(folder: Path) -> Iterator[tuple[str, bytes, int]]:
    """Yield every file of a folder: path, content, mode."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.read_bytes(), path.stat().st_mode & 0o777


def compare(ours: Repo, theirs: Repo, trials: list[dict[str, Any]]) -> None:
    """Hold trials to those that DVC makes of the same values."""
    theirs.git("fetch", "-q", str(ours.path), "main:ours")
    theirs.git("reset", "-q", "--hard", "ours")
    for trial in trials:
        assert trial["state"] == "done", trial["reason"]
        name = f"trial-{trial['number']}"
        commit = ran_by_dvc(theirs, trial["values"], name)
        own = ours.git("rev-parse", f"{trial['commit']}^{{tree}}")
        if own != theirs.git("rev-parse", f"{commit}^{{tree}}"):
            theirs.git("fetch", "-q", str(ours.path), trial["commit"])
            pytest.fail(theirs.git("diff", commit, trial["commit"]))
        first = [repo.git("log", "-1", "--format=%s", rev) for repo, rev in ((ours, trial["commit"]), (theirs, commit))]
        assert first[0] == first[1]
        assert ours.git("rev-parse", f"{trial['commit']}^") == theirs.git("rev-parse", f"{commit}^")
    assert list(files(ours.path / ".dvc/cache")) == list(files(theirs.path / ".dvc/cache"))


def shown(repo: Repo) -> dict[str, Any]:
    """Return what DVC keeps of its experiments to show them, without what differs between two commits."""
    kept = {}
    for path in (repo.path / ".dvc/tmp/exps/cache").glob("*/*"):
        content = json.loads(path.read_bytes())
        assert path.parent.name + path.name == content.pop("rev")
        content.pop("timestamp")
        kept[json.dumps(content["params"], sort_keys=True)] = content
    return kept


def test_trials_are_those_of_dvc_to_the_byte(pair: tuple[Repo, Repo]) -> None:
    ours, theirs = pair
    trials = swept(ours, {"train.hyperparameters.C": [0.5, 1.0]})
    assert [trial["ran"] for trial in trials] == [["train", "evaluate"], []]  # the second is the baseline's
    compare(ours, theirs, trials)
    theirs.dvc("exp", "show", "--json")
    before, after = shown(ours), shown(theirs)
    assert len(before) == 2
    for key, content in before.items():
        for part, values in content.items():
            assert values == after[key][part], part


@pytest.mark.slow
def test_trials_of_all_kinds_are_those_of_dvc_to_the_byte(pair: tuple[Repo, Repo]) -> None:
    ours, theirs = pair
    items = [
        {"estimator": "sklearn.tree.DecisionTreeClassifier", "hyperparameters": {"max_depth": 3}},
        {"estimator": "catboost.CatBoostClassifier", "hyperparameters": {"iterations": 5, "verbose": 0}},
        {"estimator": "sklearn.svm.SVC", "hyperparameters": {"C": 1e-05}},
    ]
    trials = swept(ours, {"split.seed": [0, 3], "train": items})
    assert [trial["ran"] for trial in trials] == [["train", "evaluate"]] * 3 + [
        ["split", "train", "evaluate"], ["train", "evaluate"], ["train", "evaluate"],
    ]  # fmt: skip
    compare(ours, theirs, trials)


def test_uncommitted_changes_are_taken_along_and_stay_as_they_are(ran: Repo) -> None:
    """As with `dvc exp run`: changed and added files are in the trial, an unknown one is not."""
    (ran.path / "stages/errors.py").write_bytes((ran.path / "stages/errors.py").read_bytes() + b"# changed\n")
    (ran.path / "added.txt").write_text("new\n", encoding="utf-8")
    ran.git("add", "added.txt")
    (ran.path / "unknown.txt").write_text("unknown\n", encoding="utf-8")
    section = {"objective": {"metric": "cv.accuracy", "goal": "maximize"}, "sampling": "grid",
               "space": {"train.hyperparameters.C": {"choice": [2.0]}}}  # fmt: skip
    ran.params({"sweep": section})
    status = ran.git("status", "--porcelain")
    index = (ran.path / ".git/index").read_bytes()
    said = ran.run("trialtree", "sweep", "--no-mlflow").stdout
    assert "uncommitted changes are taken into the trials: added.txt, params.yaml, stages/errors.py" in said
    assert (ran.path / ".git/index").read_bytes() == index
    assert ran.git("status", "--porcelain") == status
    (commit,) = ran.git("for-each-ref", "--format=%(objectname)", "refs/exps").split()
    assert ran.git("rev-parse", f"{commit}^") == ran.git("rev-parse", "HEAD")
    changed = ran.git("diff", "--name-only", "HEAD", commit).splitlines()
    assert changed == [
        "added.txt", "dvc.lock", "params.yaml", "reports/metrics.json", "stages/errors.py",
    ]  # fmt: skip
