"""A preprocessing that is not stored: what scikit-learn's gives, bit for bit, and in the same memory order."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stages import features, fitting, naming, params, preparing, steps
from stages.batches import Held
from stages.errors import UserError
from stages.features import Group
from stages.matrices import Matrix
from stages.recipes import Features, Recipe
from stages.tables import Column
from tests.test_fitting import CLASSES, LINEAR, LOGISTIC, NUMBERS, TABLE

TREATMENTS: dict[str, dict[str, Any]] = {
    "nothing said": {},
    "no filling": {"number": {"impute": "none"}, "date": {"impute": "none"}},
    "means": {"number": {"impute": "mean", "scale": "standard"}},
    "most frequent": {
        "number": {"impute": "most_frequent", "scale": "minmax"},
        "category": {"impute": "most_frequent"},
    },
    "constants": {
        "number": {"impute": "constant", "fill_value": -1.0},
        "category": {"impute": "constant", "fill_value": "red"},
    },
    "neighbours": {"number": {"impute": "knn", "scale": "robust"}},
    "bins": {"number": {"bins": 3}, "columns": {"floor": {"encode": "onehot"}}},
    "cut": {"number": {"clip": [0.1, 0.9]}, "category": {"encode": "ordinal"}},
    "encoded by the target": {"category": {"encode": "target"}, "columns": {"floor": {"encode": "target"}}},
    "rare levels": {"category": {"min_frequency": 29}, "date": {"cyclic": True, "parts": ["month", "weekday"]}},
    "a row number": {"include": ["row"], "columns": {"s*": {"drop": True}}},
}
TARGETS = {"numbers": np.arange(120.0), "classes": np.array(["a", "b", "c"])[np.arange(120) % 3]}


def both(treatment: str, task: str) -> tuple[Any, steps.Steps, list[Group], dict[str, list[str]]]:
    """Return scikit-learn's unfitted preprocessing and the steps alone."""
    recipe = Recipe(estimator=LINEAR, features=params.parse("features", TREATMENTS[treatment], Features))
    columns, groups = features.chosen(NUMBERS, recipe.features, catboost=False)
    of = preparing.chosen(recipe, NUMBERS.target, (columns, groups), Held(TABLE))
    made = recipe, task == "numbers", groups, of.categories
    return features.preprocessing(*made), steps.Steps(features.parts(*made)), groups, of.categories


def laid(values: Matrix) -> tuple[bytes, tuple[int, ...], tuple[int, ...]]:
    """Return all that makes an array what it is."""
    return values.tobytes("A"), values.shape, values.strides


def filled(values: Matrix) -> Matrix:
    """Return the matrix without gaps."""
    return np.where(np.isnan(values), np.nanmin(values, axis=0), values)


@pytest.mark.parametrize("task", TARGETS)
@pytest.mark.parametrize("gaps", ["in both", "in training", "in other rows", "nowhere"])
@pytest.mark.parametrize("treatment", TREATMENTS)
def test_the_steps_give_what_a_column_transformer_gives(treatment: str, gaps: str, task: str) -> None:
    theirs, ours, groups, categories = both(treatment, task)
    places = [place for group in groups for place in group.places]
    values = np.random.RandomState(0).permutation(_matrix(treatment))[:, : max(places) + 1]
    train, other = values[:80], values[80:]
    train = train if gaps in ("in both", "in training") else filled(train)
    other = other if gaps in ("in both", "in other rows") else filled(other)
    target = TARGETS[task][:80]
    assert laid(ours.fit_transform(train, target)) == laid(theirs.fit_transform(train, target))
    for rows in (other, other[:1], train):
        assert laid(ours.transform(rows)) == laid(theirs.transform(rows))
    assert naming.outputs(ours, groups, categories) == naming.outputs(theirs, groups, categories)


def _matrix(treatment: str) -> Matrix:
    """Return all rows of the table as a matrix."""
    recipe = Recipe(estimator=LINEAR, features=params.parse("features", TREATMENTS[treatment], Features))
    taken = features.chosen(NUMBERS, recipe.features, catboost=False)
    of = preparing.chosen(recipe, NUMBERS.target, taken, Held(TABLE))
    return preparing.matrix(TABLE, of.columns, of.categories)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_value_is_refused_as_before(value: float) -> None:
    theirs, ours, _, _ = both("nothing said", "numbers")
    values = filled(_matrix("nothing said"))
    broken = values.copy()
    broken[3, 0] = value
    for transformer in (ours, theirs):
        with pytest.raises(ValueError, match=r"^Input X contains infinity"):
            transformer.fit_transform(broken, TARGETS["numbers"])
        transformer.fit_transform(values, TARGETS["numbers"])
        with pytest.raises(ValueError, match=r"^Input X contains infinity"):
            transformer.transform(broken)


@pytest.mark.parametrize("estimator", [LOGISTIC, "sklearn.svm.SVC", "catboost.CatBoostClassifier"])
def test_a_model_fitted_again_is_the_model_fitted(estimator: str) -> None:
    recipe = Recipe(estimator=estimator, hyperparameters={"iterations": 5} if "cat" in estimator else {})
    whole, again = fitting.fit(recipe, CLASSES, TABLE).model, fitting.refitted(recipe, CLASSES, TABLE)
    assert again.outputs == whole.outputs
    for method in ("predict", "probabilities", "decision"):
        assert np.array_equal(getattr(again, method)(TABLE), getattr(whole, method)(TABLE))
        assert np.array_equal(getattr(again, method)(again.prepared(TABLE)), getattr(whole, method)(TABLE))


def test_a_fit_that_fails_says_so_as_before() -> None:
    columns = type(NUMBERS)([Column("size", "number"), Column("price", "number", "target")])
    table = pa.table({"size": [1.0, float("inf"), 2.0], "price": [1.0, 2.0, 3.0]})
    said = []
    for fit in (fitting.fit, fitting.refitted):
        with pytest.raises(UserError) as error:
            fit(Recipe(estimator=LINEAR), columns, table)
        said.append(str(error.value))
    assert said[0] == said[1]
    assert said[0].startswith("params.yaml: train.features: Input X contains infinity")
