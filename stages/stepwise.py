"""Fit an estimator of scikit-learn's kind so that its curve is seen, and the model is that of a plain fit.

Gradient boosting tells of each iteration. What an estimator keeps in lists
(`loss_curve_`, `train_score_`, `validation_scores_`) is looked at while they
grow. A forest is grown in lots by `warm_start`, which makes the same trees in
the same order. What else has staged predictions is scored when it is fitted.
`warm_start` of all others gives another model than one fit, so they have no
curve. Scores are of at most `WATCHED` rows, validation's where there are some.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages import curves, progress
from stages.curves import Curve
from stages.models import Task
from stages.preparing import Ready
from stages.recipes import Recipe
from stages.refusals import called

Array = np.ndarray[Any, Any]

WATCHED = 1000  # rows
_LOTS = 20  # that a forest is grown in
_SMALL = 2_000_000  # rows times trees under which a forest is grown at once, for its fit takes few seconds
_FORESTS = ("ExtraTreesClassifier", "ExtraTreesRegressor", "RandomForestClassifier", "RandomForestRegressor")


@dataclass(frozen=True)
class Watched:
    """The rows that a curve is scored on."""

    part: str
    rows: Ready
    task: Task

    def score(self, predicted: Array) -> dict[str, float]:
        """Return the accuracy of predicted labels, or R² of numbers, under its label in the curve."""
        actual = self.rows.target
        if self.task == "classification":
            return {f"{self.part}_accuracy": float(np.mean(predicted == actual))}
        spread = float(np.sum((actual - actual.mean()) ** 2))
        left = float(np.sum((actual - np.asarray(predicted).reshape(len(actual))) ** 2))
        return {f"{self.part}_r2": 1 - left / spread} if spread else {}


def watched(task: Task, train: Ready, held: Ready | None) -> Watched:
    """Return validation's rows if there are any, else rows of train, evenly from all of them."""
    part, rows = ("validation", held) if held is not None and len(held.target) else ("train", train)
    places = np.linspace(0, len(rows.target) - 1, min(WATCHED, len(rows.target))).astype(int)
    return Watched(part, Ready(np.ascontiguousarray(rows.values[places]), rows.target[places]), task)


def is_scored(estimator: Any) -> bool:
    """Say whether the curve of an estimator may be one of scores, and not what it keeps itself."""
    return _is_forest(estimator) or hasattr(estimator, "staged_predict")


def fit(recipe: Recipe, estimator: Any, rows: Ready, of: Watched, curve: Curve) -> None:
    """Fit the estimator, and add to the curve.

    Raises:
        TrainError: the estimator refuses the rows.
    """
    if _is_forest(estimator):
        _grow(recipe, estimator, rows, of, curve)
        return
    with progress.step(f"fit {recipe.estimator}", _total(estimator), "iterations") as report:
        if type(estimator).__module__ == "sklearn.ensemble._gb":
            called(recipe, "train", estimator.fit, rows.values, rows.target, monitor=_Monitor(curve, report))
            return
        with curve.looking_at(estimator, report):
            called(recipe, "train", estimator.fit, rows.values, rows.target)
    if not curves.kept(estimator) and hasattr(estimator, "staged_predict"):
        with quietly():
            for predicted in estimator.staged_predict(of.rows.values):
                curve.add(of.score(predicted))


@contextmanager
def quietly() -> Iterator[None]:
    """Keep what a score warns of and what it cannot do from the fit, which does not need it."""
    with warnings.catch_warnings(), suppress(Exception):
        warnings.simplefilter("ignore")
        yield


def _total(estimator: Any) -> int | None:
    """Return how many iterations there will be at most; None where an estimator does not say."""
    found = (getattr(estimator, name, None) for name in ("n_estimators", "max_iter"))
    return next((count for count in found if isinstance(count, int) and count > 0), None)


class _Monitor:
    """Is told of each iteration of gradient boosting."""

    def __init__(self, curve: Curve, report: progress.Report) -> None:
        self.curve, self.report = curve, report

    def __call__(self, iteration: int, estimator: Any, _: object) -> bool:
        """Tell, and go on."""
        self.curve.add({"train_score": estimator.train_score_[iteration]})
        self.report(iteration + 1, self.curve.text)
        return False


def _is_forest(estimator: Any) -> bool:
    return type(estimator).__module__ == "sklearn.ensemble._forest" and type(estimator).__name__ in _FORESTS


def _grow(recipe: Recipe, estimator: Any, rows: Ready, of: Watched, curve: Curve) -> None:
    """Grow a forest, and add its score after each of its trees."""
    scores = _scores(estimator, of)
    next(scores)
    with progress.step(f"fit {recipe.estimator}", estimator.n_estimators, "iterations") as report:
        for _ in _lots(recipe, estimator, rows):
            for tree in estimator.estimators_[curve.steps :]:
                curve.add(scores.send(tree))
            report(curve.steps, curve.text)


def _lots(recipe: Recipe, estimator: Any, rows: Ready) -> Iterator[None]:
    """Fit a forest, and yield whenever it has more trees."""
    trees, was = estimator.n_estimators, estimator.warm_start
    alone = estimator.n_jobs in (None, 1)  # trees of a lot are grown side by side, and wait for the last
    if was or estimator.oob_score or not alone or not isinstance(trees, int) or len(rows.target) * trees < _SMALL:
        called(recipe, "train", estimator.fit, rows.values, rows.target)
        yield
        return
    for lot in range(1, _LOTS + 1):
        estimator.set_params(n_estimators=max(1, trees * lot // _LOTS), warm_start=True)
        if len(getattr(estimator, "estimators_", ())) == estimator.n_estimators:
            continue
        with warnings.catch_warnings():
            # The classes are the same in every lot.
            warnings.filterwarnings("ignore", "class_weight presets")
            called(recipe, "train", estimator.fit, rows.values, rows.target)
        yield
    estimator.set_params(n_estimators=trees, warm_start=was)


def _scores(forest: Any, of: Watched) -> Any:
    """Return a generator that is sent tree after tree, and gives the forest's score with each."""
    values = of.rows.values.astype(np.float32)
    total: Any = 0
    count = 0
    scored: dict[str, float] = {}
    while True:
        tree = yield scored
        count += 1
        if of.task == "classification":
            total = total + tree.predict_proba(values, check_input=False)
            scored = of.score(forest.classes_[np.argmax(total, axis=1)])
        else:
            total = total + tree.predict(values, check_input=False)
            scored = of.score(total / count)
