"""Fit a recipe on the rows of a table: preprocessing and estimator together, on these rows only."""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stages import estimators, features, naming, targets
from stages.matrices import Matrix, Preparation, levels, matrix
from stages.models import Model, Task, needs_codes
from stages.params import PATH
from stages.recipes import Recipe, TrainError
from stages.tables import Column, Columns

if TYPE_CHECKING:
    import pyarrow as pa

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Fitted:
    """A model, and what was seen while it was fitted."""

    model: Model
    curve: dict[str, list[float]]  # a metric's value at each iteration; empty where there are no iterations
    notes: list[str]  # lines for the person who runs it


@dataclass(frozen=True)
class _Rows:
    """The rows of a part as the estimator takes them."""

    values: Matrix
    target: Array


def fit(recipe: Recipe, columns: Columns, train: "pa.Table", validation: "pa.Table | None" = None) -> Fitted:
    """Fit a recipe on `train`; `validation` only chooses the best iteration of an estimator that boosts.

    Raises:
        UserError: the recipe does not fit the table, or the estimator cannot be fitted.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted = _fitted(recipe, columns, train, validation)
    return replace(fitted, notes=fitted.notes + _warned(caught))


def _fitted(recipe: Recipe, columns: Columns, train: "pa.Table", validation: "pa.Table | None") -> Fitted:
    """Fit a recipe; see `fit`."""
    task = estimators.task(estimators.find(recipe.estimator))
    target = targets.learnable(train, columns.target, task, recipe.estimator)
    labels = targets.labels_of(target, task, columns.target)
    estimator, notes = _estimator(recipe, task)
    preparation, rows = _prepared(recipe, columns, task, train, target)
    if len(rows.target) < len(target):
        notes.append(f"{len(target) - len(rows.target)} rows with gaps left out of training")
    rows = _resampled(recipe, task, rows, preparation)
    if needs_codes(recipe.estimator) and task == "classification":
        rows = _Rows(rows.values, np.searchsorted(labels, rows.target))
    if recipe.estimator.startswith("catboost."):
        validation, said = targets.known(validation, columns.target, task, labels)
        notes += said
        held = _held(validation, columns.target, task, preparation)
        estimator = _fit_catboost(recipe, estimator, rows, held, preparation)
    else:
        estimator = _fit(recipe, estimator, rows)
        if recipe.accelerate:
            notes = [estimators.fell_back(estimator) or notes[0], *notes[1:]]
            estimator = estimators.plain(estimator)
    model = Model(preparation, columns.target, task, labels, recipe, estimator, _best_iteration(estimator))
    left = [c.name for c in columns.features if c.name not in preparation.columns.names]
    if left:
        notes.append(f"left out of the features: {', '.join(left)} (text, or dropped by train.features)")
    return Fitted(model, _curve(estimator), notes)


def _prepared(
    recipe: Recipe, columns: Columns, task: Task, train: "pa.Table", target: Array
) -> tuple[Preparation, _Rows]:
    """Fit the preprocessing on the training rows, and return it with the rows put through it."""
    kept, groups = features.chosen(columns, recipe.features, recipe.estimator.startswith("catboost."))
    categories = {c.name: levels(train, c) for c in kept if c.type in ("category", "text")}
    values = matrix(train, kept, categories)
    whole = features.whole_rows(values, groups)
    if not whole.any():
        raise TrainError(f"{PATH}: train.features: impute: drop_rows leaves no row to train on")
    if not whole.all():
        values, target = values[whole], target[whole]
    transformer = features.preprocessing(recipe, task == "regression", groups, categories)
    try:
        seen = _called(recipe, "train.features", transformer.fit_transform, values, target)
    except TrainError as error:
        infinite = [repr(c.name) for place, c in enumerate(kept) if np.isinf(values[:, place]).any()]
        where = f" (infinite: {', '.join(infinite)})" if infinite else ""
        raise TrainError(f"{error}{where}") from error
    outputs = naming.outputs(transformer, groups, categories)
    preparation = Preparation(kept, categories, transformer, outputs, naming.natives(groups, outputs))
    return preparation, _Rows(seen, target)


def _estimator(recipe: Recipe, task: Task) -> tuple[Any, list[str]]:
    """Return the unfitted estimator, and what is to be said about it."""
    cls = estimators.find(recipe.estimator)
    settings = dict(recipe.hyperparameters)
    estimators.check(recipe.estimator, cls, settings)
    if recipe.resample == "class_weight":
        weight = _class_weight(recipe, cls, task)
        if given := sorted(weight.keys() & settings.keys()):
            raise TrainError(f"{PATH}: train.resample: class_weight sets {given[0]}, and hyperparameters give it too")
        settings |= weight
    estimator = estimators.make(recipe.estimator, settings, recipe.seed)
    if recipe.accelerate:
        estimator, said = estimators.accelerated(estimator)
        return estimator, [said]
    return estimator, []


def _class_weight(recipe: Recipe, cls: type, task: Task) -> dict[str, Any]:
    """Return the hyperparameter that weighs classes by their rarity."""
    import inspect

    known = inspect.signature(cls).parameters
    for name, value in (("class_weight", "balanced"), ("auto_class_weights", "Balanced")):
        if task == "classification" and name in known:
            return {name: value}
    raise TrainError(f"{PATH}: train.resample: {recipe.estimator} takes no class weights; take over, under or smote")


def _resampled(recipe: Recipe, task: Task, rows: _Rows, preparation: Preparation) -> _Rows:
    """Return the training rows with classes evened out."""
    if recipe.resample in (None, "class_weight"):
        return rows
    if task == "regression":
        raise TrainError(f"{PATH}: train.resample: evens out classes, and {recipe.estimator} predicts numbers")
    from imblearn.over_sampling import SMOTE, RandomOverSampler
    from imblearn.under_sampling import RandomUnderSampler

    if recipe.resample == "smote":
        rarest = int(np.unique(rows.target, return_counts=True)[1].min())
        if preparation.natives:
            raise TrainError(f"{PATH}: train.resample: smote cannot mix CatBoost's own categories; take over or under")
        if rarest < 2:
            raise TrainError(f"{PATH}: train.resample: smote needs 2 rows of each class, and one class has {rarest}")
        sampler = SMOTE(random_state=recipe.seed, k_neighbors=min(5, rarest - 1))
    else:
        sampler = {"over": RandomOverSampler, "under": RandomUnderSampler}[str(recipe.resample)](
            random_state=recipe.seed
        )
    return _Rows(*_called(recipe, "train.resample", sampler.fit_resample, rows.values, rows.target))


def _fit(recipe: Recipe, estimator: Any, rows: _Rows) -> Any:
    """Return the fitted estimator, calibrated where that is asked for."""
    if recipe.calibrate:
        if not hasattr(estimator, "predict_proba") and not hasattr(estimator, "decision_function"):
            raise TrainError(f"{PATH}: train.calibrate: {recipe.estimator} has no scores of labels to calibrate")
        from sklearn.calibration import CalibratedClassifierCV

        # One estimator on all rows, calibrated by its cross-validated scores.
        estimator = CalibratedClassifierCV(estimator, ensemble=False)
    return _called(recipe, "train", estimator.fit, rows.values, rows.target)


def _held(table: "pa.Table | None", target: Column, task: Task, preparation: Preparation) -> _Rows | None:
    """Return validation rows, put through the fitted preprocessing."""
    if table is None or not table.num_rows:
        return None
    return _Rows(preparation.transformed(table), targets.values(table, target, task))


def _fit_catboost(recipe: Recipe, estimator: Any, rows: _Rows, held: _Rows | None, preparation: Preparation) -> Any:
    """Fit CatBoost, with the validation rows choosing its best iteration."""
    from catboost import Pool

    if recipe.calibrate:
        raise TrainError(f"{PATH}: train.calibrate: CatBoost's probabilities are its own; leave calibrate out")
    pools = [Pool(preparation.arranged(r.values), r.target) for r in (rows, held) if r is not None]
    for pool in pools:
        pool.set_feature_names(preparation.arranged_names)
    return _called(recipe, "train", estimator.fit, pools[0], eval_set=pools[1] if held is not None else None)


def _called(recipe: Recipe, key: str, function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a library's fit, and say in one line what it refuses; the user's own estimator keeps its traceback."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        refused = isinstance(error, ValueError | TypeError | AttributeError) or type(error).__name__ == "CatBoostError"
        if recipe.estimator.startswith("stages.") or not refused:
            raise
        what = f"{recipe.estimator} cannot be fitted: " if key == "train" else ""
        raise TrainError(f"{PATH}: {key}: {what}{_first_line(error)}") from error


def _first_line(said: object) -> str:
    """Return the first line that a library says, at most 300 characters of it."""
    line = next((line.strip() for line in str(said).splitlines() if line.strip()), type(said).__name__)
    return line if len(line) <= 300 else f"{line[:297]}..."


def _warned(caught: Sequence[warnings.WarningMessage]) -> list[str]:
    """Return what libraries warned of: a line for each, however often it was said."""
    said = Counter(f"{warning.category.__name__}: {_first_line(warning.message)}" for warning in caught)
    return [f"{line} ({times} times)" if times > 1 else line for line, times in said.items()]


def _best_iteration(estimator: Any) -> int | None:
    """Return the iteration that CatBoost chose by the validation rows; None without them, or for others."""
    best: int | None = estimator.get_best_iteration() if hasattr(estimator, "get_best_iteration") else None
    return best


def _curve(estimator: Any) -> dict[str, list[float]]:
    """Return the values of a metric by iteration, as the estimator kept them."""
    if hasattr(estimator, "get_evals_result"):
        names = {"learn": "train"}
        return {
            f"{names.get(part, part)}_{metric.lower()}": values
            for part, metrics in estimator.get_evals_result().items()
            for metric, values in metrics.items()
        }
    for attribute in ("train_score_", "loss_curve_"):
        values = getattr(estimator, attribute, None)
        if values is not None and np.ndim(values) == 1 and len(values):
            return {"train_loss" if attribute == "loss_curve_" else "train_score": np.asarray(values).tolist()}
    return {}
