"""Estimators by their dotted names: which may run, checked before they do, seeded.

A name such as sklearn.svm.SVC is looked up only in packages known to hold
estimators; everything else in params.yaml that looks like code stays text.
"""

import difflib
import importlib
import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Literal

from stages.accelerating import accelerated, fell_back, plain
from stages.constraints import catboost_faults, satisfied, sklearn_fault
from stages.params import PATH, ParamsError, nearest

__all__ = ["accelerated", "check", "fell_back", "find", "make", "parameters", "plain", "task"]

Task = Literal["classification", "regression"]

# Packages that hold estimators with scikit-learn's interface; `stages` is the repository's own.
PACKAGES = ("sklearn", "catboost", "imblearn", "xgboost", "lightgbm", "skorch", "stages")

_INSTALL = {"sklearn": "scikit-learn", "imblearn": "imbalanced-learn"}  # where a package's own name is another
_NAME = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+")  # public names only: private ones move between releases
_SEEDS = ("random_seed", "random_state", "seed")  # by these names, in this order, estimators take a seed
_CATBOOST_TALK = ("verbose", "silent", "logging_level", "verbose_eval")  # of which CatBoost takes one


def find(name: str) -> type:
    """Return the estimator class of a dotted name such as sklearn.svm.SVC.

    Only the module that the name says is imported, and only from `PACKAGES`.

    Raises:
        ParamsError: the package is not on the list or not installed, or the name is no classifier or regressor.
    """
    package = name.partition(".")[0]
    if package not in PACKAGES:
        raise _refused(name, f"must be from {', '.join(PACKAGES)}")
    if not _NAME.fullmatch(name):
        raise _refused(name, "must be a public dotted name such as sklearn.svm.SVC")
    module_name, _, class_name = name.rpartition(".")
    found = getattr(_module(name, module_name), class_name, None)
    if found is None:
        raise ParamsError(f"{PATH}: train.estimator: there is no {name}; {_near(name)}")
    home = getattr(found, "__module__", None) or ""
    if not inspect.isclass(found) or home.partition(".")[0] not in PACKAGES:
        raise _refused(name, f"must be a class defined in {', '.join(PACKAGES)}")
    if not _usable(found):
        raise _refused(name, "must be a classifier or a regressor, with fit and predict")
    return found


def task(estimator: Any) -> Task:
    """Return what a class or object that `find` lets through predicts."""
    kind = _kind(estimator if inspect.isclass(estimator) else type(estimator))
    return "classification" if kind == "classifier" else "regression"


def check(name: str, cls: type, hyperparameters: Mapping[str, Any]) -> None:
    """Refuse hyperparameters that the class does not have, and values outside what it declares.

    Raises:
        ParamsError: every fault, one line each.
    """
    known = parameters(cls)
    lines = [_unknown(name, key, known) for key in hyperparameters if not _takes(cls, key, known)]
    needed = [key for key, p in _signature(cls).items() if p.default is p.empty and key not in hyperparameters]
    if needed:
        lines.append(f"{PATH}: train.hyperparameters: {name} needs {', '.join(needed)}")
    known_values = {key: value for key, value in hyperparameters.items() if _takes(cls, key, known)}
    lines += catboost_faults(known_values) if _is_catboost(cls) else _sklearn_faults(cls, known_values)
    if lines:
        raise ParamsError("\n".join(lines))


def make(name: str, hyperparameters: Mapping[str, Any], seed: int) -> Any:
    """Return an unfitted estimator that draws by `seed`, unless the hyperparameters hold another one.

    A seed of null in the hyperparameters is none: a trial gives the same model twice.
    """
    cls = find(name)
    known = parameters(cls)
    settings = {key: _as_declared(cls, key, value) for key, value in hyperparameters.items()}
    seeds = [key for key in _SEEDS if key in known]
    if seeds and all(settings.get(key) is None for key in seeds):
        settings = {key: value for key, value in settings.items() if key not in seeds} | {seeds[0]: seed}
    if _is_catboost(cls):
        settings["allow_writing_files"] = False
        if not any(key in settings for key in _CATBOOST_TALK):
            settings["verbose"] = 0
    elif _is_lightgbm(cls):
        settings.setdefault("verbosity", -1)
    return cls(**settings)


def parameters(cls: type) -> list[str]:
    """Return the names of the hyperparameters of a class, in order."""
    own = list(_signature(cls))
    if _keywords(cls) and hasattr(cls, "get_params"):
        with suppress(TypeError):  # it cannot be made without arguments
            own += [key for key in cls().get_params(deep=False) if key not in own]
    return own + _lightgbm_aliases() if _is_lightgbm(cls) else own


def _refused(name: str, rule: str) -> ParamsError:
    return ParamsError(f"{PATH}: train.estimator: {rule}, got {name!r}")


def _module(name: str, module_name: str) -> Any:
    """Import a module of an allowed package."""
    package = module_name.partition(".")[0]
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if missing == package:
            install = _INSTALL.get(package, package)
            message = f"{PATH}: train.estimator: {package} is not installed; pip install {install}"
        elif f"{module_name}.".startswith(f"{missing}."):
            message = f"{PATH}: train.estimator: there is no {name}; {_near(name)}"
        else:
            message = f"{PATH}: train.estimator: {name} needs {missing}, which is not installed"
        raise ParamsError(message) from None


def _usable(cls: type) -> bool:
    """Return whether a class can be fitted and predicts classes or numbers."""
    able = callable(getattr(cls, "fit", None)) and callable(getattr(cls, "predict", None))
    return able and not inspect.isabstract(cls) and _kind(cls) in ("classifier", "regressor")


def _kind(cls: type) -> str | None:
    """Return scikit-learn's word for what a class predicts."""
    kind: str | None = getattr(cls, "_estimator_type", None)
    base = sys.modules.get("sklearn.base")
    if kind is None and base is not None:
        kinds = {"classifier": base.ClassifierMixin, "regressor": base.RegressorMixin}
        kind = next((word for word, mixin in kinds.items() if issubclass(cls, mixin)), None)
    return kind


def _near(name: str) -> str:
    """Return `did you mean OTHER?` for a name that stands for nothing."""
    package, _, rest = name.partition(".")
    if package == "sklearn":
        from sklearn.utils import all_estimators

        # A class is public in the last of its modules that has no underscore.
        known = {n: f"{c.__module__.partition('._')[0]}.{n}" for n, c in all_estimators() if _usable(c)}
    else:
        module = sys.modules.get(name.rpartition(".")[0]) or sys.modules[package]
        known = {n: f"{module.__name__}.{n}" for n, c in inspect.getmembers(module, inspect.isclass) if _usable(c)}
    near = difflib.get_close_matches(rest.rpartition(".")[2], known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {known[near[0]]}?"
    return f"known: {', '.join(known.values())}" if 0 < len(known) < 20 else f"see the documentation of {package}"


@lru_cache(64)
def _parameters(cls: type) -> Mapping[str, inspect.Parameter]:
    """Return what a class is made with."""
    return inspect.signature(cls).parameters


def _signature(cls: type) -> dict[str, inspect.Parameter]:
    """Return the named parameters of a class."""
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {key: p for key, p in _parameters(cls).items() if p.kind not in variable}


def _keywords(cls: type) -> bool:
    """Return whether a class takes keywords that it does not name."""
    return any(p.kind is p.VAR_KEYWORD for p in _parameters(cls).values())


def _takes(cls: type, key: str, known: list[str]) -> bool:
    """Return whether a class has a hyperparameter; where it takes any keyword, a near miss is still one."""
    if key in known or not _keywords(cls) or _is_lightgbm(cls):
        return key in known
    return not difflib.get_close_matches(key, known, n=1, cutoff=0.85)


def _unknown(name: str, key: str, known: Iterable[str]) -> str:
    return f"{PATH}: train.hyperparameters.{key} is not a parameter of {name}; {nearest(key, known)}"


def _is_catboost(cls: type) -> bool:
    return any(base.__module__.startswith("catboost.") for base in cls.__mro__)


def _is_lightgbm(cls: type) -> bool:
    return cls.__module__.startswith("lightgbm.")


def _lightgbm_aliases() -> list[str]:
    """Return all names of LightGBM's own parameters, which its classes take as keywords."""
    aliases = importlib.import_module("lightgbm.basic")._ConfigAliases._get_all_param_aliases()
    return [name for main, others in aliases.items() for name in (main, *others)]


def _sklearn_faults(cls: type, hyperparameters: Mapping[str, Any]) -> list[str]:
    """Return a line for each value outside the constraints that a class declares, as scikit-learn's do."""
    declared = getattr(cls, "_parameter_constraints", {})
    return [
        line
        for key, value in hyperparameters.items()
        if key in declared and (line := sklearn_fault(key, value, declared[key]))
    ]


def _as_declared(cls: type, key: str, value: Any) -> Any:
    """Return a list as a tuple where only a tuple will do: YAML has no tuples."""
    declared = getattr(cls, "_parameter_constraints", {}).get(key)
    if not isinstance(value, list) or not isinstance(declared, list):
        return value
    return tuple(value) if not satisfied(value, declared) and satisfied(tuple(value), declared) else value
