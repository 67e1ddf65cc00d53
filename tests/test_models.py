"""The model folder: the same bytes from the same fit, every file checked before it is loaded."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages import models
from stages.errors import UserError
from tests.test_fitting import CLASSES, NUMBERS, TABLE, fit

KINDS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "svc": (CLASSES, "sklearn.svm.SVC", {"features": {"number": {"clip": [0.05, 0.95], "scale": "standard"}}}),
    "forest": (CLASSES, "sklearn.ensemble.RandomForestClassifier", {"hyperparameters": {"n_estimators": 5}}),
    "target encoding": (NUMBERS, "sklearn.linear_model.Ridge", {"features": {"category": {"encode": "target"}}}),
    "boosting": (NUMBERS, "sklearn.ensemble.HistGradientBoostingRegressor", {"hyperparameters": {"max_iter": 5}}),
    "catboost classes": (CLASSES, "catboost.CatBoostClassifier", {"hyperparameters": {"iterations": 5}}),
    "catboost numbers": (NUMBERS, "catboost.CatBoostRegressor", {"hyperparameters": {"iterations": 5}}),
}


def saved(kind: str, folder: Path) -> models.Model:
    columns, estimator, recipe = KINDS[kind]
    model = fit(columns, estimator, **recipe).model
    models.save(model, folder)
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_a_stored_model_predicts_what_the_fitted_one_did(kind: str, tmp_path: Path) -> None:
    model = saved(kind, tmp_path / "model")
    loaded = models.load(tmp_path / "model")
    assert np.array_equal(loaded.predict(TABLE), model.predict(TABLE))
    for ours, theirs in ((loaded.probabilities(TABLE), model.probabilities(TABLE)),
                         (loaded.decision(TABLE), model.decision(TABLE))):  # fmt: skip
        assert (ours is None) == (theirs is None)
        assert ours is None or np.array_equal(ours, theirs)
    assert loaded.importances() == model.importances()
    assert (loaded.labels, loaded.task, loaded.recipe, loaded.columns) == (
        model.labels, model.task, model.recipe, model.columns,
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_fit_gives_the_same_bytes(kind: str, tmp_path: Path) -> None:
    saved(kind, tmp_path / "one")
    saved(kind, tmp_path / "two")
    content = [{p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("one", "two")]
    assert content[0] == content[1]


@pytest.mark.parametrize("kind", ["svc", "catboost numbers"])
def test_no_damaged_file_is_ever_loaded(kind: str, tmp_path: Path) -> None:
    saved(kind, tmp_path)
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        middle = len(whole) // 2
        for damaged in (whole[:middle], whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :], b""):
            path.write_bytes(damaged)
            with pytest.raises(UserError) as error:
                models.load(tmp_path)
            assert str(tmp_path) in str(error.value)
            assert "\n" not in str(error.value)
        path.write_bytes(whole)
    models.load(tmp_path)


def test_a_missing_and_a_foreign_file_are_named(tmp_path: Path) -> None:
    saved("svc", tmp_path)
    (tmp_path / "extra.pkl").write_bytes(b"")
    with pytest.raises(models.ModelError, match=r"or has one too many: extra.pkl$"):
        models.load(tmp_path)
    (tmp_path / "extra.pkl").unlink()
    (tmp_path / "estimator.skops").unlink()
    with pytest.raises(
        models.ModelError, match=r"lacks a file of its manifest.json, or has one too many: estimator.skops$"
    ):
        models.load(tmp_path)
    with pytest.raises(models.ModelError, match=r"holds no model; `dvc repro train` makes it$"):
        models.load(tmp_path / "nowhere")


def test_a_table_without_a_column_of_the_model_is_one_line(tmp_path: Path) -> None:
    model = saved("svc", tmp_path)
    with pytest.raises(UserError, match=r"^the table has no column 'size'; it has: row, floor"):
        model.predict(TABLE.drop_columns(["size"]))


def test_the_digest_is_that_of_the_whole_folder(tmp_path: Path) -> None:
    saved("svc", tmp_path / "a")
    saved("forest", tmp_path / "b")
    saved("svc", tmp_path / "c")
    a, b, c = (models.digest(tmp_path / name) for name in "abc")
    assert a == c != b
