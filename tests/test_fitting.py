"""Recipes on tables with gaps, categories, dates and texts: what the estimator sees, and what is refused."""

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stages import fitting, params
from stages.errors import UserError
from stages.recipes import Recipe
from stages.tables import Column, Columns

ROWS = 120
TABLE = pa.table(
    {
        "row": np.arange(ROWS),
        "size": pa.array([None if i % 7 == 0 else float(i % 13) for i in range(ROWS)]),
        "floor": np.arange(ROWS) % 5,
        "colour": pa.array([None if i % 11 == 0 else ("red", "green", "größe")[i % 3] for i in range(ROWS)]),
        "sold": pa.array(
            [None if i % 50 == 0 else dt.datetime(2024, 1, 1) + dt.timedelta(days=i) for i in range(ROWS)],
            pa.timestamp("us"),
        ),
        "note": pa.array([f"note {i}" for i in range(ROWS)]),
        "good": pa.array([("no", "yes")[i % 13 > 6] for i in range(ROWS)]),
        "price": pa.array([float(i % 13) + i % 3 + 0.5 for i in range(ROWS)]),
    }
)
FEATURES = [
    Column("row", "integer", "row"),
    Column("size", "number"),
    Column("floor", "integer"),
    Column("colour", "category"),
    Column("sold", "date"),
    Column("note", "text"),
]
CLASSES = Columns([*FEATURES, Column("good", "category", "target")])
NUMBERS = Columns([*FEATURES, Column("price", "number", "target")])
LOGISTIC = "sklearn.linear_model.LogisticRegression"
LINEAR = "sklearn.linear_model.LinearRegression"


def fit(columns: Columns, estimator: str, **recipe: Any) -> fitting.Fitted:
    section = params.parse("train", {"estimator": estimator, **recipe}, Recipe)
    return fitting.fit(section, columns, TABLE.slice(0, 90), TABLE.slice(90))


def outputs(**features: Any) -> list[str]:
    return fit(NUMBERS, LINEAR, features=features).model.outputs


def test_a_table_with_gaps_categories_dates_and_texts_trains_without_features() -> None:
    fitted = fit(CLASSES, "sklearn.ensemble.RandomForestClassifier")
    assert fitted.model.outputs == [
        "size", "floor", "colour=green", "colour=größe", "colour=red", "colour=(missing)",
        "sold.year", "sold.month", "sold.day", "sold.weekday",
    ]  # fmt: skip
    assert fitted.notes == ["left out of the features: note (text, or dropped by train.features)"]
    assert fitted.model.labels == ["no", "yes"]


def test_numbers_stay_as_they_are_and_gaps_get_the_training_median() -> None:
    model = fit(NUMBERS, LINEAR, features={"columns": {"colour": {"drop": True}, "sold": {"drop": True}}}).model
    seen = model.preparation(TABLE)
    size = np.array(TABLE["size"].to_pylist(), dtype=float)
    assert np.array_equal(seen[:, 0], np.where(np.isnan(size), np.nanmedian(size[:90]), size))
    assert np.array_equal(seen[:, 1], TABLE["floor"].to_numpy())


def test_a_category_unseen_in_training_is_no_known_one() -> None:
    model = fit(NUMBERS, LINEAR, features={"category": {"max_categories": None}}).model
    unseen = TABLE.slice(1, 1).set_column(3, "colour", pa.array(["violet"]))
    first = model.outputs.index("colour=green")
    assert model.preparation(unseen)[0, first : first + 4].tolist() == [0, 0, 0, 0]


def test_rare_levels_become_one() -> None:
    assert "colour=(rare)" in outputs(category={"min_frequency": 29})
    assert [name for name in outputs(category={"max_categories": 2}) if name.startswith("colour")] == [
        "colour=red",
        "colour=(rare)",
    ]


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"columns": {"floor": {"encode": "onehot"}}}, ["floor=0", "floor=1", "floor=2", "floor=3", "floor=4"]),
        ({"columns": {"so*": {"parts": ["month"], "cyclic": True}}}, ["sold.month_sin", "sold.month_cos"]),
        ({"category": {"encode": "ordinal"}}, ["colour"]),
        ({"category": {"encode": "target"}}, ["colour"]),
        ({"text": {"encode": "target"}}, ["note"]),
        ({"include": ["row"]}, ["row"]),
    ],
)
def test_treatments_give_the_columns_they_name(features: dict[str, Any], expected: list[str]) -> None:
    assert [name for name in outputs(**features) if name in expected] == expected


def test_principal_components_take_the_place_of_columns() -> None:
    assert outputs(pca=3) == ["pca0", "pca1", "pca2"]


@pytest.mark.parametrize(
    ("treatment", "check"),
    [
        ({"impute": "mean"}, lambda x: np.isclose(x[0], np.nanmean(x[np.arange(90) % 7 != 0]))),
        ({"impute": "constant", "fill_value": -1.0}, lambda x: x[0] == -1),
        ({"impute": "knn"}, lambda x: not np.isnan(x[0])),
        ({"clip": [0.1, 0.9]}, lambda x: (x.min(), x.max()) == (1.0, 11.0)),
        ({"scale": "standard"}, lambda x: np.isclose(x.mean(), 0) and np.isclose(x.std(), 1)),
        ({"scale": "minmax"}, lambda x: (x.min(), x.max()) == (0, 1)),
        ({"scale": "robust"}, lambda x: np.isclose(np.median(x), 0)),
        ({"bins": 3}, lambda x: set(x) == {0, 1, 2}),
    ],
)
def test_numbers_are_filled_cut_scaled_and_binned(treatment: dict[str, Any], check: Any) -> None:
    model = fit(NUMBERS, LINEAR, features={"columns": {"size": treatment}}).model
    assert check(model.preparation(TABLE.slice(0, 90))[:, model.outputs.index("size")])


def test_rows_with_gaps_are_left_out_of_training_and_still_predicted() -> None:
    fitted = fit(NUMBERS, LINEAR, features={"columns": {"size": {"impute": "drop_rows"}}})
    assert fitted.notes[0] == "13 rows with gaps left out of training"
    assert np.isfinite(fitted.model.predict(TABLE)).all()


def test_catboost_takes_gaps_and_categories_as_they_are_and_validation_for_its_best_iteration() -> None:
    fitted = fit(CLASSES, "catboost.CatBoostClassifier", hyperparameters={"iterations": 20})
    assert fitted.model.preparation.natives == {"colour": 2}
    assert np.isnan(fitted.model.preparation.transformed(TABLE)[0, 0])
    assert list(fitted.curve) == ["train_logloss", "validation_logloss"]
    assert [len(values) for values in fitted.curve.values()] == [20, 20]
    assert fitted.model.best_iteration == int(np.argmin(fitted.curve["validation_logloss"]))
    assert fitted.model.estimator.tree_count_ == fitted.model.best_iteration + 1


def test_preprocessing_learns_from_the_training_rows_only() -> None:
    alone = fitting.fit(Recipe(estimator=LINEAR), NUMBERS, TABLE.slice(0, 90))
    beside = fit(NUMBERS, LINEAR)
    assert np.array_equal(alone.model.predict(TABLE), beside.model.predict(TABLE))


@pytest.mark.parametrize("resample", ["smote", "over", "under", "class_weight"])
def test_classes_are_evened_out(resample: str) -> None:
    few = Columns([c for c in CLASSES if c.name != "note"])
    plain, even = (fit(few, LOGISTIC, resample=r, hyperparameters={"max_iter": 5000}) for r in (None, resample))
    rare = [np.sum(f.model.predict(TABLE) == "yes") for f in (plain, even)]
    assert rare[1] >= rare[0]
    assert not np.array_equal(plain.model.estimator.coef_, even.model.estimator.coef_)


def test_calibration_is_only_when_asked() -> None:
    assert fit(CLASSES, "sklearn.svm.SVC").model.probabilities(TABLE) is None
    given = fit(CLASSES, "sklearn.svm.SVC", calibrate=True).model.probabilities(TABLE)
    assert given is not None
    assert np.allclose(given.sum(axis=1), 1)


def test_whole_numbers_are_labels_of_their_own() -> None:
    columns = Columns([*FEATURES[:2], Column("floor", "integer", "target")])
    model = fit(columns, LOGISTIC).model
    assert model.labels == [0, 1, 2, 3, 4]
    assert model.predict(TABLE).dtype == np.int64


@pytest.mark.parametrize(
    ("columns", "recipe", "said"),
    [
        (CLASSES, {"estimator": LINEAR}, f"{LINEAR} predicts numbers, and the target 'good' is a category"),
        (NUMBERS, {"estimator": LOGISTIC}, "the target 'price' has fractions; take a regressor"),
        (CLASSES, {"estimator": LOGISTIC, "hyperparameters": {"l1_ratio": 1.0}}, "cannot be fitted: "),
        (NUMBERS, {"estimator": LINEAR, "features": {"columns": {"colr*": {"drop": True}}}},
         "train.features.columns.colr*: no column has this name; there are: row, size, floor, colour, sold, note"),
        (NUMBERS, {"estimator": LINEAR, "features": {"columns": {"colour": {"clip": [0.1, 0.9]}}}},
         "train.features.columns.colour.clip: means nothing for 'colour', a category column"),
        (NUMBERS, {"estimator": LINEAR, "features": {"category": {"encode": "none"}}}, "needs encode: onehot"),
        (NUMBERS, {"estimator": LINEAR, "features": {"category": {"encode": "native"}}}, "is CatBoost's"),
        (NUMBERS, {"estimator": LINEAR, "resample": "over"}, "evens out classes"),
        (NUMBERS, {"estimator": LINEAR, "features": {"include": ["prize"]}}, "'prize' is no column"),
        (NUMBERS, {"estimator": LINEAR, "features": {"columns": {"*": {"drop": True}}}}, "leaves no column"),
        (NUMBERS, {"estimator": LINEAR, "features": {"number": {"clip": [0.9, 0.1]}}}, "clip must be two quantiles"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_clear_line(columns: Columns, recipe: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        fit(columns, recipe.pop("estimator"), **recipe)
    assert str(error.value).startswith("params.yaml: train")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_target_with_one_class_or_gaps_is_refused() -> None:
    same = TABLE.set_column(6, "good", pa.array(["yes"] * ROWS))
    gaps = TABLE.set_column(6, "good", pa.array([None] * 3 + ["yes", "no"] * 58 + ["no"]))
    recipe = Recipe(estimator=LOGISTIC)
    with pytest.raises(UserError, match=r"^data/split/train: the target 'good' is 'yes' in all 120 rows$"):
        fitting.fit(recipe, CLASSES, same)
    with pytest.raises(UserError, match=r"^data/split/train: the target 'good' is missing in 3 of 120 rows$"):
        fitting.fit(recipe, CLASSES, gaps)
