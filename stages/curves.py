"""The curve of a fit: a value of each metric by iteration, seen while the fit runs.

The fit adds to a `Curve`, or lets it look at the lists in which an estimator
keeps its own values. A thread takes what is new into a file every half second,
or as often as TRIALTREE_CURVE_EVERY says in seconds, so that an iteration
costs the fit no more than an entry in a list.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from stages.errors import UserError
from stages.growing import Growing
from stages.progress import Report

Values = dict[str, list[float]]  # of each label, by iteration

HEADER = ("step", "label", "value")

_EVERY = "TRIALTREE_CURVE_EVERY"
_LISTS = {
    "train_score_": "train_score",
    "loss_curve_": "train_loss",
    "validation_score_": "validation_score",
    "validation_scores_": "validation_score",
}  # in which estimators keep their values


class CurveError(UserError):
    """A setting that cannot be used."""


class Curve:
    """The values of a fit that runs."""

    def __init__(self) -> None:
        self.points: list[tuple[int, str, float]] = []  # only ever added to, so that a thread can read on
        self.values: Values = {}  # those that the fit added, and not those that it keeps itself
        self.steps = 0
        self._looks = threading.Lock()
        self._seen: tuple[Any, Report] | None = None

    def add(self, values: Mapping[str, float]) -> None:
        """Add the values of the next iteration, by label."""
        for label, value in values.items():
            self.values.setdefault(label, []).append(float(value))
        self._append(values)

    def _append(self, values: Mapping[str, float]) -> None:
        self.points.extend((self.steps, label, float(value)) for label, value in values.items())
        self.steps += 1

    @property
    def text(self) -> str:
        """The last value, as a person reads it."""
        return f"{self.points[-1][1]} {self.points[-1][2]:.4g}" if self.points else ""

    @contextmanager
    def looking_at(self, estimator: Any, report: Report) -> Iterator[None]:
        """Take over, while the block fits it, what an estimator adds to its lists."""
        self._seen = estimator, report
        try:
            yield
        finally:
            with self._looks:
                self._seen = None

    def look(self) -> None:
        """Add what is new in the lists of the estimator looked at."""
        with self._looks:
            if self._seen is None:
                return
            estimator, report = self._seen
            # An array does not grow: it is of the estimator's full length from the first.
            lists = _lists(estimator, list)
            # Of the iteration that runs, one list may have a value and another not yet.
            for step in range(self.steps, max(map(len, lists.values()), default=0) - 1):
                self._append({label: values[step] for label, values in lists.items() if step < len(values)})
                report(self.steps, self.text)


def kept(estimator: Any) -> Values:
    """Return the values that a fitted estimator kept of its iterations; none where there are no iterations."""
    if hasattr(estimator, "get_evals_result"):
        return of_catboost(estimator.get_evals_result())
    return _lists(estimator, (list, np.ndarray))


def _lists(estimator: Any, kinds: type | tuple[type, ...]) -> Values:
    """Return copies of the estimator's lists that hold numbers."""
    found = {}
    for name, label in _LISTS.items():
        values = getattr(estimator, name, None)
        with suppress(TypeError, ValueError):
            numbers = np.asarray(values if isinstance(values, kinds) else (), dtype=float)
            if numbers.ndim == 1 and len(numbers):
                found[label] = numbers.tolist()
    return found


def of_catboost(metrics: Mapping[str, Mapping[str, list[float]]]) -> Values:
    """Return CatBoost's metrics of each part by label."""
    names = {"learn": "train"}
    return {
        f"{names.get(part, part)}_{metric.lower()}": values
        for part, of_part in metrics.items()
        for metric, values in of_part.items()
    }


def rows(values: Values) -> Iterator[tuple[int, str, float]]:
    """Yield a row for each iteration and label."""
    for step in range(max(map(len, values.values()), default=0)):
        yield from ((step, label, of[step]) for label, of in values.items() if step < len(of))


@contextmanager
def written(curve: Curve, file: Growing, tick: Callable[[], None]) -> Iterator[None]:
    """Write to the file what the block adds to the curve, and call `tick` now and then, from a thread.

    Raises:
        CurveError: the environment says what is no time.
    """
    every = _seconds()
    ended = threading.Event()
    count = 0

    def write() -> None:
        nonlocal count
        curve.look()
        new = curve.points[count:]
        file.add(new)
        count += len(new)

    def watch() -> None:
        while not ended.wait(every):
            # A disk that is full stops the stage when the file is finished, with a word.
            with suppress(OSError):
                write()
            tick()

    file.add([HEADER])
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with suppress(OSError):
            write()


def _seconds() -> float:
    """Return how long what is new waits to be written."""
    given = os.environ.get(_EVERY, "0.5")
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1
    if not 0 < seconds <= 3600:
        raise CurveError(f"{_EVERY}: must be a number of seconds over 0 and up to 3600, got {given!r}")
    return seconds
