"""Curves: seen line by line while a fit runs, and the model is that of a plain fit."""

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_diabetes, load_iris

from stages import curves, estimators, fitting, incremental, params, stepwise, storing
from stages.curves import Curve
from stages.files import write_csv
from stages.growing import Growing
from stages.preparing import Ready
from stages.recipes import Recipe
from stages.tables import Column, Columns
from tests.conftest import Repo
from tests.slow import until

IRIS = Ready(*load_iris(return_X_y=True))
DIABETES = Ready(*load_diabetes(return_X_y=True))
EARLY = {"early_stopping": True, "max_iter": 5}

# Estimator, hyperparameters, the labels of its curve and how many values it has.
FITS: list[tuple[str, dict[str, Any], list[str], int]] = [
    ("sklearn.ensemble.GradientBoostingClassifier", {"n_estimators": 12, "subsample": 0.5}, ["train_score"], 12),
    ("sklearn.ensemble.GradientBoostingRegressor", {"n_estimators": 12}, ["train_score"], 12),
    ("sklearn.ensemble.HistGradientBoostingClassifier", EARLY, ["train_score", "validation_score"], 6),
    ("sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 12}, ["train_accuracy"], 12),
    ("sklearn.ensemble.HistGradientBoostingRegressor", {"max_iter": 12}, ["train_r2"], 12),
    ("sklearn.ensemble.AdaBoostClassifier", {"n_estimators": 12}, ["train_accuracy"], 12),
    ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 45}, ["train_accuracy"], 45),
    ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 9, "class_weight": "balanced"}, ["train_accuracy"], 9),
    ("sklearn.ensemble.RandomForestRegressor", {"n_estimators": 45}, ["train_r2"], 45),
    ("sklearn.ensemble.ExtraTreesClassifier", {"n_estimators": 45, "bootstrap": True}, ["train_accuracy"], 45),
    ("sklearn.ensemble.ExtraTreesRegressor", {"n_estimators": 45}, ["train_r2"], 45),
    ("sklearn.ensemble.BaggingClassifier", {"n_estimators": 12}, [], 0),
    ("sklearn.neural_network.MLPRegressor", {"max_iter": 12}, ["train_loss"], 12),
    ("sklearn.neural_network.MLPClassifier", EARLY, ["train_loss", "validation_score"], 5),
    ("sklearn.linear_model.SGDClassifier", {"max_iter": 12}, [], 0),
    ("sklearn.linear_model.LogisticRegression", {"max_iter": 12}, [], 0),
    ("sklearn.linear_model.Lasso", {}, [], 0),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("fit", FITS, ids=lambda fit: fit[0].rpartition(".")[2])
def test_a_fit_with_a_curve_stores_the_bytes_of_a_plain_fit(
    fit: tuple[str, dict[str, Any], list[str], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, settings, labels, count = fit
    monkeypatch.setattr(stepwise, "_SMALL", 0)  # a forest is grown in lots
    task = estimators.task(estimators.find(name))
    rows = IRIS if task == "classification" else DIABETES
    plain, seen = (estimators.make(name, settings, 0) for _ in range(2))
    plain.fit(rows.values, rows.target)
    curve = Curve()
    stepwise.fit(Recipe(estimator=name), seen, rows, stepwise.watched(task, rows, None), curve)
    for folder, fitted in (("plain", plain), ("seen", seen)):
        storing.dump_skops(fitted, tmp_path / folder)
    assert (tmp_path / "seen").read_bytes() == (tmp_path / "plain").read_bytes()
    values = curves.kept(seen) or curve.values
    assert {label: len(of) for label, of in values.items()} == dict.fromkeys(labels, count)


def test_a_forests_curve_ends_at_its_score() -> None:
    name = "sklearn.ensemble.RandomForestRegressor"
    forest, curve = estimators.make(name, {"n_estimators": 30}, 0), Curve()
    stepwise.fit(Recipe(estimator=name), forest, DIABETES, stepwise.watched("regression", DIABETES, None), curve)
    assert curve.values["train_r2"][-1] == pytest.approx(forest.score(DIABETES.values, DIABETES.target))


def test_batches_are_scored_on_validation_rows_and_learn_the_same(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(incremental, "BATCH", 50)
    name = "sklearn.linear_model.SGDClassifier"
    recipe = Recipe(estimator=name, epochs=2)
    plain, seen = (estimators.make(name, {}, 0) for _ in range(2))
    curve = Curve()
    incremental.fit(recipe, plain, IRIS, labelled=True)
    incremental.fit(recipe, seen, IRIS, True, (stepwise.watched("classification", IRIS, IRIS), curve))
    for folder, fitted in (("plain", plain), ("seen", seen)):
        storing.dump_skops(fitted, tmp_path / folder)
    assert (tmp_path / "seen").read_bytes() == (tmp_path / "plain").read_bytes()
    assert len(curve.values["validation_accuracy"]) == 6
    assert curve.values["validation_accuracy"][-1] == seen.score(IRIS.values, IRIS.target)


@pytest.mark.parametrize("settings", [{}, {"metric_period": 7}, {"custom_metric": ["AUC", "Accuracy"]}])
def test_catboost_tells_the_values_that_it_keeps(settings: dict[str, Any], tmp_path: Path) -> None:
    columns = Columns([Column("x", "number"), Column("y", "category", "target")])
    x = np.random.RandomState(0).rand(200)
    table = pa.table({"x": x, "y": pa.array(["no" if value < 0.5 else "yes" for value in x])})
    section = {"estimator": "catboost.CatBoostClassifier", "hyperparameters": {"iterations": 30, **settings}}
    curve = Curve()
    with Growing(tmp_path / "live") as file, curves.written(curve, file, lambda: None):
        fitted = fitting.fit(params.parse("train", section, Recipe), columns, table, table.slice(150), curve)
    write_csv(tmp_path / "whole", curves.HEADER, curves.rows(fitted.curve))
    assert (tmp_path / "live").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_file_of_other_lines_is_written_anew(tmp_path: Path) -> None:
    with Growing(tmp_path / "file") as file:
        file.add([["fold", "accuracy"], [1, 0.5]])
        assert (tmp_path / "file").read_text() == "fold,accuracy\n1,0.5\n"
        file.finish(["fold", "accuracy", "roc_auc"], [[1, 0.5, None], [2, 0.5, 0.25]])
    assert (tmp_path / "file").read_text() == "fold,accuracy,roc_auc\n1,0.5,\n2,0.5,0.25\n"


def test_a_link_to_the_cache_of_dvc_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "cached").write_text("kept\n")
    os.link(tmp_path / "cached", tmp_path / "file")
    with Growing(tmp_path / "file") as file:
        file.finish(["fold"], [])
    assert (tmp_path / "cached").read_text() == "kept\n"
    assert (tmp_path / "file").read_text() == "fold\n"


def test_the_curve_file_grows_while_the_fit_runs_and_stays_when_it_is_killed(slow: Callable[..., Repo]) -> None:
    repo = slow()
    path = repo.path / "reports/curves.csv"
    with subprocess.Popen(["python", "-m", "stages.train"], cwd=repo.path, env=repo.env) as train:
        first = until(lambda: path.exists() and path.read_text().count("\n") > 10 and path.read_text())
        until(lambda: len(path.read_text()) > len(first))
        assert train.poll() is None
        train.kill()
    left = path.read_text().splitlines()
    assert left[:3] == ["step,label,value", "0,train_loss,1.0", "0,validation_score,0.0"]


def test_how_often_a_curve_is_written_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    curve, ticks = Curve(), threading.Semaphore(0)
    monkeypatch.setenv("TRIALTREE_CURVE_EVERY", "0.001")
    with Growing(tmp_path / "file") as file, curves.written(curve, file, ticks.release):
        curve.add({"train_loss": 1})
        until(lambda: (tmp_path / "file").read_text() == "step,label,value\n0,train_loss,1.0\n")
        assert ticks.acquire(timeout=60)


@pytest.mark.parametrize("given", ["often", "0", "-1", "nan", ""])
def test_what_is_no_time_is_refused(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIALTREE_CURVE_EVERY", given)
    file = Growing(tmp_path / "file")
    with file, pytest.raises(curves.CurveError) as refused, curves.written(Curve(), file, lambda: None):
        pass
    rule = "must be a number of seconds over 0 and up to 3600"
    assert str(refused.value) == f"TRIALTREE_CURVE_EVERY: {rule}, got {given!r}"


def test_folds_are_written_one_by_one(slow: Callable[..., Repo]) -> None:
    repo = slow(iterations=100)
    repo.params({"evaluate.cross_validation": {"folds": 3}})
    repo.stage("train")
    path = repo.path / "reports/folds.csv"
    with subprocess.Popen(["python", "-m", "stages.evaluate"], cwd=repo.path, env=repo.env) as evaluate:
        lines = until(lambda: path.exists() and path.read_text().splitlines())
        (repo.path / "enough").touch()
        evaluate.wait()
    assert 2 <= len(lines) < 4
    after = path.read_text().splitlines()
    assert after[: len(lines)] == lines
    assert [line.split(",")[0] for line in after] == ["fold", "1", "2", "3"]
