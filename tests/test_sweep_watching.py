"""What early termination watches: known before the first trial, and read from the files that stages write."""

import math
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from ruamel.yaml import YAML
from sklearn.datasets import load_diabetes, load_iris

from stages import curves, fitting, folding, params
from stages.curves import Curve
from stages.growing import Growing
from stages.recipes import Recipe
from stages.tables import Column, Columns
from tests.conftest import Repo
from tests.slow import until
from trialtree.sweep import section, stopping
from trialtree.sweep.records import Decision
from trialtree.sweep.stopping import Source, Tail, Watch, labels
from trialtree.sweep.stopping.bandit import Bandit

PARAMS = """
experiment: rents
fetch: {source: sklearn:diabetes}
split: {target: target, validation: 0.2, test: 0.2, seed: 0}
train: {estimator: catboost.CatBoostRegressor, hyperparameters: {iterations: 300}}
evaluate: {cross_validation: {folds: 5}}
sweep:
  objective: {metric: validation.rmse, goal: minimize}
  space: {train.hyperparameters.depth: {choice: [4, 6]}}
  limits: {trials: 3}
  early_termination: {policy: median_stopping}
"""
ACCURACY = {"sweep.objective": {"metric": "validation.accuracy", "goal": "maximize"}}
CV = {"sweep.objective": {"metric": "cv.rmse", "goal": "minimize"}}
SVC, CLASSIFIER = {"estimator": "sklearn.svm.SVC"}, {"estimator": "catboost.CatBoostClassifier"}
FOREST = {"estimator": "sklearn.ensemble.RandomForestClassifier"}
ADABOOST, OWN = {"estimator": "sklearn.ensemble.AdaBoostClassifier"}, {"estimator": "stages.mine.Own"}
BOOSTED = {"estimator": "sklearn.ensemble.GradientBoostingRegressor", "hyperparameters": {}}
HISTOGRAM = {
    "estimator": "sklearn.ensemble.HistGradientBoostingRegressor",
    "hyperparameters": {"early_stopping": True},
}
BOOSTS = {**CLASSIFIER, "hyperparameters": {"iterations": {"int": {"low": 100, "high": 500}}, "depth": {"choice": [4]}}}
GROWS = {**FOREST, "hyperparameters": {"n_estimators": {"choice": [200, 10]}}}
SEVERAL = {"train": {"choice": [SVC, BOOSTS, GROWS]}}


def content(changes: dict[str, Any]) -> dict[str, Any]:
    """Return all of params.yaml with other values at dotted keys; `space.KEY` is a key of the space."""
    found: dict[str, Any] = YAML(typ="safe", pure=True).load(PARAMS)
    for key, value in changes.items():
        *parents, name = ["sweep", "space", key[6:]] if key.startswith("space.") else key.split(".")
        inner = found
        for parent in parents:
            inner = inner[parent]
        inner[name] = value
    return found


def rule(policy: str, **options: Any) -> dict[str, Any]:
    return {"sweep.early_termination": {"policy": policy, **options}}


def curve(*names: str, goal: stopping.Goal = "minimize", length: int | None = 300, without: str = "") -> Watch:
    notes = [f"never stopped early, for there is no curve {' or '.join(names)}: {without}"] if without else []
    return Watch(Source("curve", names), goal, length, notes)


WATCHED: list[tuple[dict[str, Any], Watch]] = [
    ({}, curve("validation_rmse")),
    ({"train.hyperparameters": {"n_estimators": 20, "metric_period": 3}}, curve("validation_rmse", length=7)),
    ({"space.train.hyperparameters.iterations": {"choice": [40, 30]}}, curve("validation_rmse", length=40)),
    (rule("asha", curve="train_rmse"), curve("train_rmse")),
    (CV, Watch(Source("folds", ("rmse",)), "minimize", 5, [])),
    (rule("asha", curve="cv.r2"), Watch(Source("folds", ("r2",)), "maximize", 5, [])),
    (
        {**CV, "space.evaluate.cross_validation.folds": {"int": {"low": 3, "high": 10}}},
        Watch(Source("folds", ("rmse",)), "minimize", 10, []),
    ),
    ({"train": CLASSIFIER, **ACCURACY}, curve("validation_logloss", "validation_multiclass", length=1000)),
    (
        {"train": {**CLASSIFIER, "hyperparameters": {"eval_metric": "AUC:hints=skip_train~false"}}, **ACCURACY},
        curve("validation_auc", goal="maximize", length=1000),
    ),
    (
        {"train": {**CLASSIFIER, "hyperparameters": {"custom_metric": ["Accuracy"]}}, **ACCURACY},
        curve("validation_accuracy", goal="maximize", length=1000),
    ),
    (
        {"sweep.space": SEVERAL, **ACCURACY},
        curve(
            "validation_accuracy",
            goal="maximize",
            length=200,
            without="sklearn.svm.SVC, catboost.CatBoostClassifier",
        ),
    ),
    (
        {"sweep.space": SEVERAL, **ACCURACY, **rule("hyperband", curve="validation_logloss")},
        curve("validation_logloss", length=500, without="sklearn.svm.SVC, sklearn.ensemble.RandomForestClassifier"),
    ),
    (
        {"train": OWN, **rule("asha", curve="profit", goal="maximize")},
        curve("profit", goal="maximize", length=None),
    ),
    ({"train": OWN, **rule("asha", curve="train_loss")}, curve("train_loss", length=None)),
]


@pytest.mark.parametrize(("changes", "expected"), WATCHED)
def test_what_is_watched_follows_from_the_objective_and_the_estimators(
    changes: dict[str, Any], expected: Watch
) -> None:
    whole = content(changes)
    assert stopping.check(section.read(whole), whole) == []
    assert stopping.watch(section.read(whole), whole) == expected


def test_without_early_termination_nothing_is_watched() -> None:
    whole = content({"sweep.early_termination": None})
    assert stopping.check(section.read(whole), whole) == []
    assert stopping.watch(section.read(whole), whole) is None


NO_ITERATIONS = "an estimator without iterations has none: watch folds of cv.METRIC"
FAULTS: list[tuple[dict[str, Any], str]] = [
    ({**CV, "evaluate": {}}, ": would watch the folds of cv.rmse, and there is no evaluate.cross_validation"),
    (
        {"sweep.objective": {"metric": "cv.rmse_std", "goal": "minimize"}},
        ": cv.rmse_std has no value of a fold for curve; did you mean cv.rmse?",
    ),
    ({"split.validation": 0.0}, ".curve: is required for validation.rmse: there is no default; known: train_rmse"),
    ({"train": SVC, **ACCURACY}, f".curve: is required for validation.accuracy: there is no default; {NO_ITERATIONS}"),
    (
        {"train": SVC, **ACCURACY, **rule("asha", curve="train_loss")},
        f".curve: no estimator of the space has a curve train_loss; {NO_ITERATIONS}",
    ),
    (
        {"train": {"script": "train.py"}, "space.train.arguments.x": {"choice": [1, 2]}},
        f".curve: is required for validation.rmse: there is no default; {NO_ITERATIONS}",
    ),
    (
        {"train": OWN},
        ".curve: is required for validation.rmse: there is no default; give a label that the estimator writes",
    ),
    (
        rule("asha", curve="validation_rsme"),
        ".curve: no estimator of the space has a curve validation_rsme; did you mean validation_rmse?",
    ),
    (
        {"train": ADABOOST, **ACCURACY, **rule("asha", curve="validation_accuracy")},
        ".curve: validation_accuracy is written when the fit is over: too late to stop it",
    ),
    (
        {"sweep.space": {"train": {"choice": [BOOSTED, HISTOGRAM]}}, **rule("asha", curve="train_score")},
        ".curve: train_score is a loss of one estimator and a score of another; take another curve",
    ),
    (rule("asha", goal="maximize"), ".goal: validation_rmse is to minimize, got 'maximize'"),
    (
        {"train": OWN, **rule("asha", curve="profit")},
        ".goal: is required for profit: nobody knows where it should go",
    ),
    (
        {"train": HISTOGRAM, **rule("bandit", slack_factor=0.1)},
        ".slack_factor: is for values from 0, and validation_score is below; take slack_amount",
    ),
    (
        {"train": OWN, **rule("hyperband", curve="profit", goal="maximize")},
        ".max_resource: is required: nobody knows how many reports of profit there are",
    ),
    (
        {**CV, **rule("median_stopping", evaluation_interval=5)},
        ": evaluation_interval: 5 never stops a trial before its last report: there are at most 5 folds",
    ),
    (
        rule("hyperband", min_resource=300),
        ": min_resource: 300 never stops a trial before its last report: there are at most 300 reports of "
        "validation_rmse",
    ),
    (
        rule("median_stopping", evaluation_interval=200, delay_evaluation=201),
        ": evaluation_interval: 200, delay_evaluation: 201 never stops a trial before its last report: there are at "
        "most 300 reports of validation_rmse",
    ),
]


@pytest.mark.parametrize(("changes", "line"), FAULTS)
def test_a_policy_that_would_stay_silent_is_refused(changes: dict[str, Any], line: str) -> None:
    whole = content({"sweep.space": {"train.seed": {"choice": [1, 2]}}, **changes})
    assert stopping.check(section.read(whole), whole) == [f"params.yaml: sweep.early_termination{line}"]


IRIS, DIABETES = load_iris(), load_diabetes()
QUICK = {"max_iter": 5, "early_stopping": True}
# Estimator, hyperparameters, and whether there is a validation part.
FITS: list[tuple[str, dict[str, Any], bool]] = [
    ("catboost.CatBoostClassifier", {"iterations": 5}, True),
    ("catboost.CatBoostClassifier", {"iterations": 5, "eval_metric": "TotalF1:average=Micro"}, True),
    ("catboost.CatBoostClassifier", {"iterations": 5, "custom_metric": "Accuracy", "metric_period": 2}, True),
    ("catboost.CatBoostRegressor", {"n_estimators": 5}, False),
    ("catboost.CatBoostRegressor", {"iterations": 5, "loss_function": "Quantile:alpha=0.9", "eval_metric": "R2"}, True),
    ("catboost.CatBoostRegressor", {"iterations": 5, "eval_metric": "RMSE:hints=skip_train~true"}, True),
    ("sklearn.ensemble.GradientBoostingClassifier", {"n_estimators": 5}, True),
    ("sklearn.ensemble.GradientBoostingRegressor", {"n_estimators": 5}, False),
    ("sklearn.ensemble.HistGradientBoostingClassifier", QUICK, True),
    ("sklearn.ensemble.HistGradientBoostingRegressor", {**QUICK, "scoring": "r2"}, True),
    ("sklearn.ensemble.HistGradientBoostingRegressor", {"max_iter": 5, "early_stopping": False}, True),
    ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 5}, True),
    ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 5}, False),
    ("sklearn.ensemble.ExtraTreesRegressor", {"n_estimators": 5}, True),
    ("sklearn.ensemble.AdaBoostRegressor", {"n_estimators": 5}, True),
    ("sklearn.neural_network.MLPClassifier", QUICK, True),
    ("sklearn.neural_network.MLPRegressor", {"max_iter": 5}, True),
    ("sklearn.neural_network.MLPRegressor", {"max_iter": 5, "solver": "lbfgs"}, True),
    ("sklearn.svm.SVC", {}, True),
    ("sklearn.tree.DecisionTreeRegressor", {}, True),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("name", "settings", "validated"), FITS, ids=str)
def test_the_curves_known_before_are_those_that_a_fit_writes(
    name: str, settings: dict[str, Any], validated: bool
) -> None:
    labelled = name.endswith("SVC") or "Classifier" in name
    data = IRIS if labelled else DIABETES
    target = pa.array([f"kind {label}" for label in data.target] if labelled else data.target)
    columns = Columns([Column("x", "number"), Column("y", "category" if labelled else "number", "target")])
    table = pa.table({"x": data.data[:, 2], "y": target})
    recipe = params.parse("train", {"estimator": name, "hyperparameters": settings}, Recipe)
    curve = Curve()
    fitted = fitting.fit(recipe, columns, table, table.slice(0, 120) if validated else None, curve)
    known = labels.curves({"estimator": name}, settings.get, validated)
    assert known is not None
    names = [label.name for label in known.labels]
    assert [name for name in fitted.curve if name not in names] == []
    assert bool(names) == bool(fitted.curve)
    assert not known.default or any(name in fitted.curve for name in known.default)
    assert max(map(len, fitted.curve.values()), default=0) <= known.length
    for label in known.labels:
        if (values := fitted.curve.get(label.name)) is None:
            continue
        assert not label.negative or max(values) < 0
        if label.name in ("train_loss", "train_score", "train_rmse", "train_logloss", "train_multiclass"):
            assert label.goal == ("maximize" if values[-1] > values[0] else "minimize")


def test_a_curve_that_starts_its_file_is_told_report_by_report(tmp_path: Path) -> None:
    tail = Tail(tmp_path, Source("curve", ("validation_rmse",)))
    assert tail.read() == []
    with Growing(tmp_path / "reports/curves.csv") as file:
        assert tail.read() == []
        file.add([curves.HEADER, (0, "train_rmse", 3.0), (0, "validation_rmse", 2.5)])
        assert tail.read() == [(1, 2.5)]
        assert tail.read() == []
        file.add([(1, "train_rmse", 2.0)])
        assert tail.read() == []
        file.add([(1, "validation_rmse", 1.5), (2, "validation_rmse", 1.25)])
        assert tail.read() == [(2, 1.5), (3, 1.25)]
        rows = [(n, "validation_rmse", v) for n, v in enumerate([2.5, 1.5, 1.25, 1.0])]
        file.finish(curves.HEADER, rows)  # other lines than those so far: the file is written anew
    assert tail.read() == [(4, 1.0)]
    assert tail.missed() is None


def test_a_line_counts_once_it_has_its_end(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    tail, path = Tail(tmp_path, Source("curve", ("train_loss",))), tmp_path / "reports/curves.csv"
    with path.open("w") as file:
        for text in ("step,la", "bel,value\n0,train_loss,0.", "25", "\n1,train_loss,0"):
            file.write(text)
            file.flush()
            last = tail.read()
            assert last == ([(1, 0.25)] if text.startswith("\n") else [])


def test_what_is_no_number_is_told_as_none(tmp_path: Path) -> None:
    tail = Tail(tmp_path, Source("curve", ("train_loss",)))
    with Growing(tmp_path / "reports/curves.csv") as file:
        file.add([curves.HEADER, *((n, "train_loss", v) for n, v in enumerate(["nan", "", "much", "inf", 1]))])
    told = tail.read()
    assert [t for t, _ in told] == [1, 2, 3, 4, 5]
    assert [math.isnan(value) for _, value in told] == [True, True, True, False, False]


@pytest.mark.parametrize("linked", [True, False])
def test_what_an_earlier_trial_left_is_not_told(linked: bool, tmp_path: Path) -> None:
    path, cached = tmp_path / "reports/curves.csv", tmp_path / "cached"
    path.parent.mkdir()
    cached.write_text("step,label,value\n0,train_loss,9.0\n1,train_loss,8.0\n")
    if linked:
        cached.chmod(0o444)
        os.link(cached, path)
    else:
        path.write_bytes(cached.read_bytes())
    os.utime(path, ns=(10**18, 10**18))
    tail = Tail(tmp_path, Source("curve", ("train_loss",)))
    assert tail.read() == []
    path.unlink()
    assert tail.read() == []
    with Growing(path) as file:  # on some disks it gets the number of the one that went
        file.add([curves.HEADER, (0, "train_loss", 0.5)])
        assert tail.read() == [(1, 0.5)]
    assert cached.read_text().endswith("8.0\n")


def test_a_file_that_begins_again_is_not_told_twice(tmp_path: Path) -> None:
    path = tmp_path / "reports/curves.csv"
    tail = Tail(tmp_path, Source("curve", ("train_loss",)))
    with Growing(path) as file:
        file.add([curves.HEADER, (0, "train_loss", 0.5), (1, "train_loss", 0.25)])
    assert tail.read() == [(1, 0.5), (2, 0.25)]
    with path.open("r+") as cut:
        cut.truncate(20)
    assert tail.read() == []
    path.unlink()
    with Growing(path) as file:
        file.add([curves.HEADER, *((n, "train_loss", v) for n, v in enumerate([0.5, 0.25, 0.125]))])
    assert tail.read() == [(3, 0.125)]


def test_folds_are_told_as_the_mean_so_far(tmp_path: Path) -> None:
    tail = Tail(tmp_path, Source("folds", ("r2",)))
    told = []

    def records() -> Any:
        for number, r2 in enumerate([0.5, 1.0, 0.0], start=1):
            yield {"fold": number, "rows_train": 20, "rows": 10, "r2": r2, "mae": 1.0}
            told.append(tail.read())

    folding.written(tmp_path / "reports/folds.csv", records(), ["mae", "r2"])
    assert told == [[(1, 0.5)], [(2, 0.75)], [(3, 0.5)]]
    assert tail.read() == []


def test_a_metric_that_only_later_folds_have_is_told_in_the_end(tmp_path: Path) -> None:
    tail = Tail(tmp_path, Source("folds", ("auc",)))
    records = [{"fold": 1, "mcc": 1.0}, {"fold": 2, "mcc": 1.0, "auc": 0.5}, {"fold": 3, "mcc": 1.0, "auc": 1.0}]
    folding.written(tmp_path / "reports/folds.csv", records, ["mcc", "auc"])
    (first, missing), *others = tail.read()
    assert (first, math.isnan(missing)) == (1, True)
    assert others == [(2, 0.5), (3, 0.75)]


@pytest.mark.parametrize(
    ("source", "text", "said"),
    [
        (
            Source("curve", ("validation_logloss", "validation_multiclass")),
            "step,label,value\n0,train_logloss,1\n0,train_auc,1\n",
            "reports/curves.csv has no validation_logloss or validation_multiclass; it has: train_logloss, train_auc",
        ),
        (
            Source("curve", ("train_loss",)),
            "step,label,value\n",
            "reports/curves.csv has no train_loss; it has: nothing",
        ),
        (
            Source("folds", ("r2",)),
            "fold,rows_train,rows,mae,rmse\n1,10,5,1,1\n",
            "reports/folds.csv has no r2; it has: mae, rmse",
        ),
    ],
)
def test_a_trial_without_a_report_says_what_it_wrote(source: Source, text: str, said: str, tmp_path: Path) -> None:
    tail = Tail(tmp_path, source)
    assert tail.missed() is None
    (tmp_path / source.file).parent.mkdir()
    (tmp_path / source.file).write_text(text)
    assert tail.read() == []
    assert tail.missed() == said


def test_a_fit_that_falls_behind_is_stopped_while_it_runs(slow: Callable[..., Repo]) -> None:
    repo = slow()
    policy = stopping.make(Bandit(slack_amount=0.1, delay_evaluation=5), "minimize")
    assert policy is not None
    policy.report(0, 1, 0.05)
    tail = Tail(repo.path, Source("curve", ("train_loss",)))

    def decided() -> Decision | None:
        for t, value in tail.read():
            policy.report(1, t, value)
            if decision := policy.decide(1):
                return decision
        return None

    env = {**repo.env, "TRIALTREE_CURVE_EVERY": "0.02"}
    with subprocess.Popen(["python", "-m", "stages.train"], cwd=repo.path, env=env) as train:
        try:
            decision = until(decided)
            assert train.poll() is None
        finally:
            train.kill()
    # The estimator's loss is 1, 1/2, 1/3 and so on.
    assert decision == Decision("bandit", 5, 0.2, pytest.approx(0.15))
