"""What each column contributed to a prediction: exact Shapley values of CatBoost, coefficients of linear models.

The contributions of a row and its base add up to the model's raw score: the
prediction itself for a regression, log-odds for two labels (of the second
one), and for more labels the score of the label that is predicted.
Lundberg and Lee 2017, arXiv:1705.07874; of trees: arXiv:1802.03888.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stages.matrices import Matrix
from trialtree.predicting.asked import PredictError
from trialtree.serving.loading import Passed
from trialtree.serving.scoring import Scorer

Explainer = Callable[[Matrix, "np.ndarray[Any, Any]"], Matrix]  # values, predicted -> (rows, columns + base)

_LINEAR_SVM = ("LinearSVC", "LinearSVR")


def explainer(scorer: Scorer) -> Explainer:
    """Return a function of rows (rows, columns) and their predictions (rows,) to contributions (rows, columns + 1).

    Raises:
        PredictError: the estimator cannot be explained.
    """
    name = scorer.estimator
    catboost = name.startswith("catboost.")
    linear = name.startswith("sklearn.linear_model.") or name.rpartition(".")[2] in _LINEAR_SVM
    owners = _owners(scorer.model.preparation.fitted)
    if owners is None or not (catboost or (linear and hasattr(scorer.model.estimator, "coef_"))):
        why = "a model with train.features.pca" if owners is None else name
        raise PredictError(
            f"--explain: {why} cannot be explained; CatBoost and linear models can: sklearn.linear_model, LinearSVC "
            "and LinearSVR, without train.calibrate and train.features.pca"
        )
    return _trees(scorer, owners) if catboost else _linear(scorer, owners)


def _owners(fitted: Any) -> list[int] | None:
    """Return the column that each output of a preprocessing is made of; None where it is of several."""
    if isinstance(fitted, Passed):
        return list(fitted.places)
    if not hasattr(fitted, "transformers_"):
        return None
    found: list[int] = []
    for name, steps, places in fitted.transformers_:
        if name != "remainder":
            for place, width in zip(places, _widths(steps, len(places)), strict=True):
                found += [int(place)] * width
    return found


def _widths(steps: Any, count: int) -> Sequence[int]:
    """Return how many outputs a group's steps make of each of `count` columns; they stand side by side."""
    named = dict(getattr(steps, "steps", ()))
    if "parts" in named:
        return [len(named["parts"].names([""]))] * count
    encoder: Any = named.get("encode")
    if hasattr(encoder, "_n_features_outs"):  # one-hot, which has no public word for it
        return [int(width) for width in encoder._n_features_outs]
    if hasattr(encoder, "encodings_") and encoder.target_type_ == "multiclass":
        return [len(encoder.classes_)] * count
    return [1] * count


def _trees(scorer: Scorer, owners: Sequence[int]) -> Explainer:
    preparation, estimator = scorer.model.preparation, scorer.model.estimator
    # CatBoost puts numbers before categories.
    arranged = [owners[preparation.outputs.index(name)] for name in preparation.arranged_names]

    def explain(values: Matrix, predicted: "np.ndarray[Any, Any]") -> Matrix:
        from catboost import Pool

        pool = Pool(scorer.prepared(values).values)
        found = np.asarray(estimator.get_feature_importance(pool, type="ShapValues", thread_count=1))
        if found.ndim == 3:  # (rows, labels, outputs + 1)
            found = found[np.arange(len(found)), _places(estimator, predicted)]
        return _summed(found[:, :-1], found[:, -1], arranged, values.shape[1])

    return explain


def _linear(scorer: Scorer, owners: Sequence[int]) -> Explainer:
    estimator = scorer.model.estimator
    coefficients = estimator.coef_
    dense = coefficients.toarray() if hasattr(coefficients, "toarray") else np.asarray(coefficients)
    weights = np.atleast_2d(dense)
    bases = np.broadcast_to(np.atleast_1d(estimator.intercept_), len(weights))

    def explain(values: Matrix, predicted: "np.ndarray[Any, Any]") -> Matrix:
        prepared = np.asarray(scorer.prepared(values).values)
        places = np.zeros(len(values), dtype=int) if len(weights) == 1 else _places(estimator, predicted)
        return _summed(prepared * weights[places], bases[places], owners, values.shape[1])

    return explain


def _places(estimator: Any, predicted: "np.ndarray[Any, Any]") -> "np.ndarray[Any, np.dtype[np.int_]]":
    """Return the place of each predicted label among those of the estimator."""
    known = {str(label): place for place, label in enumerate(estimator.classes_)}
    return np.array([known[str(label)] for label in predicted.tolist()])


def _summed(found: Matrix, base: Matrix, owners: Sequence[int], columns: int) -> Matrix:
    """Return the contributions of outputs (rows, outputs) added up by column, and the base behind them."""
    result = np.zeros((len(found), columns + 1))
    for output, owner in enumerate(owners):  # one after the other: a sum that does not depend on the rows beside it
        result[:, owner] += found[:, output]
    result[:, -1] = base
    return result
