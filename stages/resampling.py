"""Classes evened out for training: by weights of the estimator, or by rows drawn again, left out or made up."""

import inspect
from typing import Any

import numpy as np

from stages.models import Task
from stages.params import PATH
from stages.recipes import Recipe, TrainError
from stages.refusals import called

Array = np.ndarray[Any, Any]


def class_weight(recipe: Recipe, cls: type, task: Task) -> dict[str, Any]:
    """Return the hyperparameter that weighs classes by their rarity.

    Raises:
        TrainError: the estimator has none.
    """
    known = inspect.signature(cls).parameters
    for name, value in (("class_weight", "balanced"), ("auto_class_weights", "Balanced")):
        if task == "classification" and name in known:
            return {name: value}
    raise TrainError(f"{PATH}: train.resample: {recipe.estimator} takes no class weights; take over, under or smote")


def resampled(recipe: Recipe, task: Task, values: Array, target: Array, natives: bool) -> tuple[Array, Array]:
    """Return training rows (rows, columns) and their target (rows,) with classes evened out.

    Raises:
        TrainError: there are no classes, or too few rows of one.
    """
    if recipe.resample in (None, "class_weight"):
        return values, target
    if task == "regression":
        raise TrainError(f"{PATH}: train.resample: evens out classes, and {recipe.estimator} predicts numbers")
    from imblearn.over_sampling import SMOTE, RandomOverSampler
    from imblearn.under_sampling import RandomUnderSampler

    if recipe.resample == "smote":
        rarest = int(np.unique(target, return_counts=True)[1].min())
        if natives:
            raise TrainError(f"{PATH}: train.resample: smote cannot mix CatBoost's own categories; take over or under")
        if rarest < 2:
            raise TrainError(f"{PATH}: train.resample: smote needs 2 rows of each class, and one class has {rarest}")
        sampler = SMOTE(random_state=recipe.seed, k_neighbors=min(5, rarest - 1))
    else:
        sampler = {"over": RandomOverSampler, "under": RandomUnderSampler}[str(recipe.resample)](
            random_state=recipe.seed
        )
    found: tuple[Array, Array] = called(recipe, "train.resample", sampler.fit_resample, values, target)
    return found
