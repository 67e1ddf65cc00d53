"""Metrics of numbers and of probabilities by scikit-learn's own arithmetic, without its checks.

The checks take ten times as long as the arithmetic on the rows of a fold. What
they would refuse or warn of is left to scikit-learn; tests hold every figure to
scikit-learn's, bit for bit.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def rmse(actual: Array, predicted: Array) -> float:
    """Return the square root of the mean squared error."""
    return _checked("root_mean_squared_error", _rmse, actual, predicted)


def mae(actual: Array, predicted: Array) -> float:
    """Return the mean absolute error."""
    return _checked("mean_absolute_error", lambda a, p: np.average(np.abs(p - a), axis=0), actual, predicted)


def mape(actual: Array, predicted: Array) -> float:
    """Return the mean absolute error, as a share of the actual number."""
    return _checked("mean_absolute_percentage_error", _mape, actual, predicted)


def r2(actual: Array, predicted: Array) -> float:
    """Return the share of the spread of actual numbers, which are not all the same, that is predicted."""
    return _checked("r2_score", _r2, actual, predicted)


def log_loss(actual: Array, probabilities: Array, labels: Sequence[Any]) -> float:
    """Return the mean negative logarithm of the probability (rows, labels) of what was there."""
    names = np.asarray(labels)
    ascending = bool((names[1:] > names[:-1]).all())
    if not ascending or not _add_up(probabilities):
        import sklearn.metrics

        return float(sklearn.metrics.log_loss(actual, probabilities, labels=list(labels)))
    least = np.finfo(probabilities.dtype).eps
    logarithms = np.log(np.clip(probabilities, least, 1 - least))
    return float(np.average(-logarithms[np.arange(len(actual)), np.searchsorted(names, actual)]))


def _add_up(probabilities: Array) -> bool:
    """Whether the probabilities of each row (rows, labels) are what scikit-learn takes for such without a word."""
    if probabilities.dtype != np.float64 or probabilities.min() < 0 or probabilities.max() > 1:
        return False
    return bool((np.abs(probabilities.sum(axis=1) - 1) < 1e-9).all())


def _checked(name: str, metric: Callable[[Array, Array], Any], actual: Array, predicted: Array) -> float:
    """Return a metric of columns (rows, 1) of finite numbers; what else there is goes to scikit-learn's of the name."""
    plain = actual.dtype == predicted.dtype == np.float64 and actual.shape == predicted.shape == (len(actual),)
    if not plain or not np.isfinite(actual).all() or not np.isfinite(predicted).all():
        import sklearn.metrics

        return float(getattr(sklearn.metrics, name)(actual, predicted))
    return float(np.average(metric(actual[:, None], predicted[:, None])))


def _rmse(actual: Array, predicted: Array) -> Any:
    return np.sqrt(np.average((actual - predicted) ** 2, axis=0))


def _mape(actual: Array, predicted: Array) -> Any:
    return np.average(np.abs(predicted - actual) / np.maximum(np.abs(actual), np.finfo(np.float64).eps), axis=0)


def _r2(actual: Array, predicted: Array) -> Any:
    left = np.sum((actual - predicted) ** 2, axis=0)
    spread = np.sum((actual - np.average(actual, axis=0)) ** 2, axis=0)
    return 1 - left / spread if left.all() and spread.all() else np.where(left == 0, 1.0, 0.0)
