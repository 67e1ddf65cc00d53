"""Which packages a served model needs, and no more: those that its code imports, its classes are of, and theirs."""

import json
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from stages.errors import UserError
from trialtree.packaging import locked
from trialtree.packaging.locked import Lock, Pin
from trialtree.serving import loading
from trialtree.tracking import packages

LOCK = Path("requirements.lock")
ARCHITECTURES = ("x86_64", "aarch64")
_SERVER = ("httptools", "pyarrow", "uvicorn", "uvloop")  # asked for by name, or where an import would not show it
# Imported by modules that a worker has, in functions that only training and the command line call.
_UNREACHED = {"boto3", "duckdb", "fsspec", "mlflow", "pandas", "psutil", "requests", "ruamel", "sqlalchemy"}
# Imported for the models that are of them only.
_BY_MODEL = {"catboost", "imblearn", "joblib", "lightgbm", "scipy", "sklearn", "sklearnex", "skops", "xgboost"}
# Drawing and frames, which catboost declares and prediction does without: 155 MB with theirs.
_UNNEEDED = {"catboost": {"graphviz", "matplotlib", "pandas", "plotly"}}


class LibraryError(UserError):
    """A package that the model needs and that cannot be pinned."""


def classes(model: Path) -> set[str]:
    """Return the modules of the classes that loading a model folder makes: its estimator's, and those of skops files.

    The preprocessing of a CatBoost model that takes columns as they are is not loaded by skops.
    """
    estimator = json.loads((model / "recipe.json").read_text(encoding="utf-8"))["estimator"]
    if (model / "model.cbm").exists() and loading.passed(model / "preprocess.skops") is not None:
        return {estimator.rpartition(".")[0]}
    return packages.classes(model, estimator) | ({"skops"} if any(model.glob("*.skops")) else set())


def pinned(model: Path, foreign: Iterable[str], python: str) -> list[Pin]:
    """Return the pins of all that serving a model folder needs; `foreign` are the packages that the code imports.

    Raises:
        LibraryError: the lock, this environment and the libraries that made the model are not of one version.
    """
    lock = locked.read(LOCK)
    made = json.loads((model / "versions.json").read_text(encoding="utf-8"))
    named = {name.partition(".")[0] for name in classes(model)} & _BY_MODEL
    roots = {*_SERVER, *_distributions({*foreign} - _UNREACHED - _BY_MODEL | named)}
    pins: dict[Pin, None] = {}
    for architecture in ARCHITECTURES:
        machine = locked.machine(python, architecture)
        for name in _closure(roots, machine):
            pins[_pin(name, lock, machine)] = None
    for pin in pins:
        _compare(pin, made.get(pin.name))
    return sorted(pins, key=lambda pin: (pin.name, pin.version))


def _distributions(names: Iterable[str]) -> Iterator[str]:
    """Yield the names by which the packages that are imported as `names` are installed."""
    known = packages_distributions()
    for name in names:
        yield canonicalize_name(known[name][0]) if name in known else name


def _closure(roots: Iterable[str], machine: Mapping[str, str]) -> set[str]:
    """Return packages and all that they require on a machine, extras and what is unneeded left out."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for requirement in map(Requirement, _requires(name)):
            wanted = requirement.marker is None or requirement.marker.evaluate(dict(machine))
            inner = canonicalize_name(requirement.name)
            if wanted and inner not in _UNNEEDED.get(name, ()):
                waiting.append(inner)
    return found


def _requires(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:
        raise LibraryError(f"{name}, which the model needs, is not installed here; `make setup`") from None


def _pin(name: str, lock: Lock, machine: Mapping[str, str]) -> Pin:
    """Return what the lock has of a package for a machine."""
    for pin in lock.get(name, ()):
        if pin.holds(machine):
            return pin
    raise LibraryError(f"{LOCK} does not have {name}, which the model needs; add it to pyproject.toml, `make lock`")


def _compare(pin: Pin, made: str | None) -> None:
    """Refuse a pin of another version than made the model, or than this environment has, whose needs were read."""
    if made is not None and made != pin.version:
        raise LibraryError(
            f"the model was made with {pin.name} {made}, and {LOCK} has {pin.version}, with which it may predict "
            "other numbers; package it in a checkout of its commit, or train it anew"
        )
    if pin.marker is None and version(pin.name) != pin.version:
        raise LibraryError(
            f"this environment has {pin.name} {version(pin.name)}, and {LOCK} has {pin.version}; `make setup`"
        )
