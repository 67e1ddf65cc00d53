"""scikit-learn-intelex where it gives scikit-learn's own result, faster: support vector machines.

Its class fits, and the fitted state goes into a stock scikit-learn object, so
that a stored model needs scikit-learn alone. Nothing of scikit-learn is
patched.

Both libraries stop within the estimator's `tol` of the same optimum: decision
values between two classes agree to 100 times `tol` (the largest difference
measured is 82 times), and a label may differ for a row that is as near as
that to a boundary (at most 1 of 375 rows measured). The same machine gives
the same bytes; another number of cores sums in another order, and gives other
last digits.
"""

import inspect
import platform
import sys
from importlib import import_module, util
from importlib.metadata import version
from typing import Any

import numpy as np

_SUPPORTED = ("SVC", "NuSVC", "SVR", "NuSVR")  # of sklearn.svm
_KERNELS = ("linear", "poly", "rbf")

_OTHER_DRAWS = "draws other random numbers, so its forest is another one"
_LEFT_OUT = {
    "ElasticNet": "is a preview",
    "ExtraTreesClassifier": _OTHER_DRAWS,
    "ExtraTreesRegressor": _OTHER_DRAWS,
    "KNeighborsClassifier": "is faster in prediction only, and a stored model predicts with scikit-learn",
    "KNeighborsRegressor": "is faster in prediction only, and a stored model predicts with scikit-learn",
    "Lasso": "is a preview",
    "LinearRegression": "solves the normal equations, which go wrong for columns of unlike size",
    "LogisticRegression": "stops elsewhere: up to 10 of 450 labels differ",
    "RandomForestClassifier": _OTHER_DRAWS,
    "RandomForestRegressor": _OTHER_DRAWS,
    "Ridge": "solves the normal equations, which go wrong for columns far from zero",
}

# What scikit-learn's support vector machines know after fit and its predictions need.
_FITTED = (
    "classes_", "class_weight_", "dual_coef_", "_dual_coef_", "fit_status_", "_gamma", "intercept_", "_intercept_",
    "n_features_in_", "feature_names_in_", "n_iter_", "shape_fit_", "_sparse", "support_vectors_",
)  # fmt: skip


def accelerated(estimator: Any) -> tuple[Any, str]:
    """Return an unfitted estimator's counterpart in scikit-learn-intelex, or itself, and a line on which it is."""
    reason = _reason_against(estimator)
    if reason:
        return estimator, f"not accelerated: {reason}"
    counterpart = getattr(import_module("sklearnex.svm"), type(estimator).__name__)
    settings = estimator.get_params(deep=False)
    return counterpart(**settings), f"accelerated by scikit-learn-intelex {version('scikit-learn-intelex')}"


def plain(fitted: Any) -> Any:
    """Return a fitted estimator as scikit-learn's own, with the same state; one that is not accelerated as it is.

    A calibrated classifier's inner estimators are made plain in place.
    """
    for inner in getattr(fitted, "calibrated_classifiers_", ()):
        inner.estimator = plain(inner.estimator)
    if hasattr(fitted, "calibrated_classifiers_"):
        fitted.estimator = _stock(fitted.estimator)
    return _with_state(fitted) if _is_accelerated(fitted) else fitted


def fell_back(fitted: Any) -> str | None:
    """Return a line when scikit-learn-intelex left the fit to scikit-learn after all; ask before `plain`."""
    inner = [c.estimator for c in getattr(fitted, "calibrated_classifiers_", ())]
    if all(hasattr(e, "_onedal_estimator") for e in inner or [fitted] if _is_accelerated(e)):
        return None
    name = type(inner[0] if inner else fitted).__name__
    return f"not accelerated: scikit-learn-intelex left the fit of this {name} to scikit-learn"


def _reason_against(estimator: Any) -> str | None:
    """Return why an estimator is not accelerated, or None."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "scikit-learn-intelex has no wheels for this machine (needs x86-64 Linux)"
    if util.find_spec("sklearnex") is None:
        return "scikit-learn-intelex is not installed"
    name = type(estimator).__name__
    stock = type(estimator).__module__.startswith("sklearn.")
    if stock and name in _LEFT_OUT:
        return f"scikit-learn-intelex's {name} {_LEFT_OUT[name]}"
    if not stock or name not in _SUPPORTED:
        return f"scikit-learn-intelex has no {name}"
    return _reason_against_svm(estimator)


def _reason_against_svm(estimator: Any) -> str | None:
    """Return which hyperparameter has another result there, or None."""
    if estimator.kernel not in _KERNELS:
        return f"a kernel must be one of {', '.join(_KERNELS)} for its one optimum, got {estimator.kernel!r}"
    if getattr(estimator, "probability", False) is True:
        return "scikit-learn-intelex calibrates otherwise; leave probability out"
    return None


def _is_accelerated(estimator: Any) -> bool:
    return type(estimator).__module__.startswith("sklearnex.")


def _stock(accelerated: Any) -> Any:
    """Return scikit-learn's unfitted estimator with the parameters of an accelerated one; others as they are."""
    if not _is_accelerated(accelerated):
        return accelerated
    cls = getattr(import_module("sklearn.svm"), type(accelerated).__name__)
    known = inspect.signature(cls).parameters
    return cls(**{key: value for key, value in accelerated.get_params(deep=False).items() if key in known})


def _with_state(accelerated: Any) -> Any:
    """Return scikit-learn's estimator with the state of an accelerated one, in the types that its C code takes."""
    stock = _stock(accelerated)
    for name in _FITTED:
        if hasattr(accelerated, name):
            value = getattr(accelerated, name)
            setattr(stock, name, np.ascontiguousarray(value) if isinstance(value, np.ndarray) else value)
    support = np.asarray(accelerated.support_, dtype=np.int32)
    counts = accelerated.n_support_ if hasattr(accelerated, "classes_") else [len(support)] * 2
    stock.support_ = support
    stock._n_support = np.asarray(counts, dtype=np.int32)
    stock._probA = stock._probB = np.empty(0)
    stock._effective_probability = False
    stock._num_iter = np.atleast_1d(np.asarray(accelerated.n_iter_, dtype=np.int32))
    stock.n_iter_ = stock._num_iter if hasattr(accelerated, "classes_") else int(stock._num_iter[0])
    return stock
