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


def table(**columns: Any) -> pa.Table:
    rows = len(next(iter(columns.values())))
    return pa.table({"row": np.arange(rows), **columns})


def columns_of(target: str, **types: Any) -> Columns:
    features = [Column(name, kind, "target" if name == target else "feature") for name, kind in types.items()]
    return Columns([Column("row", "integer", "row"), *features])


@pytest.mark.parametrize("hyperparameters", [{"iterations": 20}, {"iterations": 20, "class_names": ["9", "10", "2"]}])
def test_each_probability_stands_under_its_label_in_whatever_order_the_estimator_has_them(
    hyperparameters: dict[str, Any],
) -> None:
    labels = ["9", "10", "2"]
    rows = table(x=[float(i % 3) for i in range(60)], label=[labels[i % 3] for i in range(60)])
    recipe = Recipe(estimator="catboost.CatBoostClassifier", hyperparameters=hyperparameters)
    model = fitting.fit(recipe, columns_of("label", x="number", label="category"), rows).model
    given = model.probabilities(rows)
    assert given is not None
    assert [model.labels[i] for i in given.argmax(axis=1)] == rows["label"].to_pylist() == model.predict(rows).tolist()


def test_large_codes_stay_apart() -> None:
    codes = [1234561 + i % 4 for i in range(80)]
    rows = table(code=codes, label=["even" if code % 2 == 0 else "odd" for code in codes])
    columns = columns_of("label", code="integer", label="category")
    for estimator, encode in (("catboost.CatBoostClassifier", "native"), (LOGISTIC, "onehot")):
        recipe = params.parse(
            "train", {"estimator": estimator, "features": {"columns": {"code": {"encode": encode}}}}, Recipe
        )
        model = fitting.fit(recipe, columns, rows).model
        assert model.predict(rows).tolist() == rows["label"].to_pylist()
    assert model.outputs == ["code=1234561", "code=1234562", "code=1234563", "code=1234564"]


def test_whole_numbers_that_float64_cannot_tell_apart_are_refused() -> None:
    rows = table(code=[2**53 + i % 2 for i in range(20)], label=["a", "b"] * 10)
    with pytest.raises(UserError, match=r"^column 'code' holds whole numbers beyond 9007199254740992, which float64"):
        fitting.fit(Recipe(estimator=LOGISTIC), columns_of("label", code="integer", label="category"), rows)


def test_dates_without_end_train() -> None:
    ends = pa.array([dt.datetime(1700 if i % 2 else 9999, 12, 31) for i in range(20)], pa.timestamp("us"))
    model = fitting.fit(
        Recipe(estimator="sklearn.tree.DecisionTreeClassifier"),
        columns_of("label", when="date", label="category"),
        table(when=ends, label=["a", "b"] * 10),
    ).model
    assert model.preparation(table(when=ends))[0].tolist() == [9999, 12, 31, 4]


def test_a_column_may_have_brackets_in_its_name_and_an_output_the_name_of_a_column() -> None:
    rows = table(**{"x [usd]": [1.0, 2.0] * 20, "c=a": [0.5, 1.5] * 20, "c": ["a", "b"] * 20, "label": ["y", "n"] * 20})
    columns = columns_of("label", **{"x [usd]": "number", "c=a": "number", "c": "category", "label": "category"})
    section = {"estimator": LOGISTIC, "features": {"columns": {"x [usd]": {"scale": "standard"}}}}
    model = fitting.fit(params.parse("train", section, Recipe), columns, rows).model
    assert sorted(model.outputs) == ["c=a", "c=a (2)", "c=b", "x [usd]"]
    assert sorted(model.importances() or ()) == sorted(model.outputs)


def test_a_label_that_only_validation_has_does_not_choose_the_iteration() -> None:
    rows = table(x=[float(i % 2) for i in range(40)], label=["a", "b"] * 20)
    held = table(x=[0.0, 1.0, 0.5], label=["a", "b", "rare"])
    recipe = Recipe(estimator="catboost.CatBoostClassifier", hyperparameters={"iterations": 5})
    fitted = fitting.fit(recipe, columns_of("label", x="number", label="category"), rows, held)
    assert fitted.notes == ["validation rows of a label that train lacks ('rare') do not choose the iteration"]
    assert fitted.model.best_iteration is not None


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"estimator": LOGISTIC, "features": {"pca": 40}}, "params.yaml: train.features: n_components=40"),
        ({"estimator": LOGISTIC, "resample": "class_weight", "hyperparameters": {"class_weight": {"a": 2}}},
         "params.yaml: train.resample: class_weight sets class_weight, and hyperparameters give it too"),
        ({"estimator": LINEAR, "calibrate": True}, "predicts numbers, and the target 'label' is a category"),
        ({"estimator": "sklearn.ensemble.VotingClassifier", "hyperparameters": {"estimators": [["a", "b"]]}},
         "params.yaml: train: sklearn.ensemble.VotingClassifier cannot be fitted: "),
        ({"estimator": LOGISTIC, "features": {"number": {"impute": "none"}}}, "cannot be fitted: Input X contains inf"),
        ({"estimator": LOGISTIC}, "a value too large for dtype('float64'). (infinite: 'x')"),
    ],
)  # fmt: skip
def test_the_key_at_fault_is_named(recipe: dict[str, Any], said: str) -> None:
    rows = table(x=[0.0, np.inf if "inf" in said else 1.0] * 20, label=["a", "b"] * 20)
    with pytest.raises(UserError) as error:
        fitting.fit(params.parse("train", recipe, Recipe), columns_of("label", x="number", label="category"), rows)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_warnings_are_a_line_each() -> None:
    fitted = fit(CLASSES, LOGISTIC, hyperparameters={"max_iter": 1})
    assert [note.split(":")[0] for note in fitted.notes] == ["left out of the features", "ConvergenceWarning"]
    assert not any("\n" in note for note in fitted.notes)
