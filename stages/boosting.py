"""Fit CatBoost from one matrix: of float64, or of float32 by columns, which it reads in place.

CatBoost takes numbers as float32, and keeps a byte of each in training: both
give the same model, byte for byte, and a matrix that a file holds is read
from there.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stages import progress
from stages.curves import Curve, of_catboost
from stages.matrices import Preparation
from stages.preparing import Ready
from stages.recipes import Recipe
from stages.refusals import called

Array = np.ndarray[Any, Any]

_ITERATIONS = ("iterations", "n_estimators", "num_boost_round", "num_trees")
_OWN = 1000  # iterations, where the recipe says nothing


class _Told:
    """Tells of each iteration."""

    def __init__(self, report: progress.Report, curve: Curve | None) -> None:
        self.report, self.curve = report, curve

    def after_iteration(self, info: Any) -> bool:
        """Tell, and go on."""
        if self.curve is None:
            self.report(info.iteration)
            return True
        values = of_catboost(info.metrics)
        # With a metric_period it has values of some iterations only.
        if any(len(of) > self.curve.steps for of in values.values()):
            self.curve.add({label: of[-1] for label, of in values.items() if of})
        self.report(info.iteration, self.curve.text)
        return True


def pools(rows: Ready, held: Ready | None, preparation: Preparation) -> list[Any]:
    """Return the rows to fit on, and behind them those that choose the best iteration, as CatBoost takes them."""
    return [_pool(ready, preparation) for ready in (rows, held) if ready is not None]


def fit(recipe: Recipe, estimator: Any, on: Sequence[Any], curve: Curve | None = None) -> Any:
    """Return CatBoost fitted on `pools`; the values of an iteration go to `curve` when it ends.

    CatBoost hands a callback all values so far: that takes 0.1 s in 1,000 iterations, and 4 s in 5,000.

    Raises:
        TrainError: CatBoost refuses them.
    """
    settings = estimator.get_params()
    total = next((settings[name] for name in _ITERATIONS if settings.get(name)), _OWN)
    with progress.step(f"fit {recipe.estimator}", total, "iterations") as report:
        # On a GPU CatBoost calls nobody.
        told = {} if str(settings.get("task_type")).upper() == "GPU" else {"callbacks": [_Told(report, curve)]}
        return called(recipe, "train", estimator.fit, on[0], eval_set=on[1] if len(on) > 1 else None, **told)


def _pool(ready: Ready, preparation: Preparation) -> Any:
    """Return rows as CatBoost takes them."""
    from catboost import Pool

    values = ready.values
    if preparation.natives and values.dtype == np.float32:
        natives = [name for name in preparation.arranged_names if name in preparation.natives]
        pool = Pool(_frame(values, preparation), ready.target, cat_features=natives)
    else:
        pool = Pool(preparation.arranged(values), ready.target)
    pool.set_feature_names(preparation.arranged_names)
    return pool


def _frame(values: Array, preparation: Preparation) -> Any:
    """Return columns (rows, outputs) of float32 as a frame, numbers in place and categories as codes."""
    import pandas as pd

    places = {name: place for place, name in enumerate(preparation.outputs)}
    columns: dict[str, Any] = {}
    for name in preparation.arranged_names:
        column = values[:, places[name]]
        if name in preparation.natives:
            columns[name] = _categories(column, preparation.categories[name])
        else:
            columns[name] = column
    return pd.DataFrame(columns, copy=False)


def _categories(codes: Array, known: Sequence[str]) -> Any:
    """Return categories by their places; one that training does not know and a gap have texts of their own."""
    import pandas as pd

    places = np.where(np.isnan(codes), len(known) + 1, codes).astype(np.int32)
    return pd.Categorical.from_codes(places, categories=[*known, "\x00other", ""])
