"""Params by dotted keys: what stands there, and what stands there after a point."""

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any

from trialtree.sweep.space.finding import MISSING

ESTIMATOR, HYPERPARAMETERS = "train.estimator", "train.hyperparameters"


def value_at(content: Mapping[str, Any], key: str) -> Any:
    """Return the value at a dotted key, or MISSING."""
    inner: Any = content
    for name in key.split("."):
        if not isinstance(inner, Mapping) or name not in inner:
            return MISSING
        inner = inner[name]
    return inner


def applied(content: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return all of params.yaml as it is with the values of a point.

    An estimator brings its own hyperparameters: those that stand there are another's.
    """
    result = deepcopy(dict(content))
    if ESTIMATOR in values and isinstance(result.get("train"), dict):
        result["train"]["hyperparameters"] = {}
    for key, value in values.items():
        *parents, name = key.split(".")
        inner = result
        for parent in parents:
            if not isinstance(inner.get(parent), dict):
                inner[parent] = {}
            inner = inner[parent]
        inner[name] = deepcopy(value)
    return result


def seen(content: Mapping[str, Any], values: Mapping[str, Any], key: str) -> Any:
    """Return what stands at a key with the values of a point, or MISSING: `value_at` of `applied`, at no cost."""
    if key in values:
        return values[key]
    for set_key, value in values.items():
        if key.startswith(f"{set_key}."):
            return value_at(value, key[len(set_key) + 1 :]) if isinstance(value, Mapping) else MISSING
    if ESTIMATOR in values and is_below(key, HYPERPARAMETERS):
        return MISSING
    return value_at(content, key)


def is_below(key: str, other: str) -> bool:
    """Say whether a key is another, or below it."""
    return key == other or key.startswith(f"{other}.")


def all_keys(content: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Yield the dotted keys of params, with those that hold others."""
    for name, value in content.items():
        yield f"{before}{name}"
        if isinstance(value, Mapping):
            yield from all_keys(value, f"{before}{name}.")


def clash(keys: Iterable[str], others: Iterable[str]) -> tuple[str, str] | None:
    """Return a key and another that are the same, or one below the other."""
    others = list(others)
    return next(((k, o) for k in keys for o in others if is_below(k, o) or is_below(o, k)), None)
