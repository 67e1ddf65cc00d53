"""Names of the columns that the estimator sees: `sex=female`, `day.month`, `pca0`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.features import Group
from stages.matrices import shown


def outputs(fitted: Any, groups: Sequence[Group], categories: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the names of the columns that the estimator sees, in order: `sex=female`, `day.month`, `pca0`."""
    if hasattr(fitted, "named_steps"):
        return [f"pca{i}" for i in range(fitted.named_steps["pca"].n_components_)]
    names: list[str] = []
    for group, (_, transformer, _) in zip(groups, fitted.transformers_, strict=False):
        steps = dict(getattr(transformer, "named_steps", {}))
        if "parts" in steps:
            names += steps["parts"].names(list(group.names))
        elif "encode" in steps and group.treatment.encode != "ordinal":
            names += _encoded(steps["encode"], group, categories)
        else:
            names += group.names
    return _distinct(names)


def _distinct(names: Sequence[str]) -> list[str]:
    """Return names of which none repeats: a table may have a column `a=b` beside a category `b` of `a`."""
    taken: dict[str, None] = {}
    for name in names:
        free, number = name, 2
        while free in taken:
            free, number = f"{name} ({number})", number + 1
        taken[free] = None
    return list(taken)


def natives(groups: Sequence[Group], names: Sequence[str]) -> dict[str, int]:
    """Return the columns left to CatBoost as categories, by name, with their places in the transformed matrix."""
    left = [name for group in groups if group.treatment.encode == "native" for name in group.names]
    return {name: list(names).index(name) for name in left}


def _encoded(encoder: Any, group: Group, categories: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the names of what a one-hot or target encoder gives."""
    if hasattr(encoder, "encodings_"):
        classes = encoder.classes_ if encoder.target_type_ == "multiclass" else None
        return [f"{name}={c}" for name in group.names for c in classes] if classes is not None else list(group.names)
    names = []
    rare = getattr(encoder, "infrequent_categories_", [None] * len(group.names))
    for name, values, infrequent in zip(group.names, encoder.categories_, rare, strict=True):
        hidden = set() if infrequent is None else {str(value) for value in infrequent}  # as text: NaN equals NaN
        names += [f"{name}={_level(value, categories.get(name))}" for value in values if str(value) not in hidden]
        names += [f"{name}=(rare)"] if hidden else []
    return names


def _level(value: float, known: Sequence[str] | None) -> str:
    """Return the text that a category's place stands for, or the number itself."""
    if np.isnan(value):
        return "(missing)"
    if known is None:
        return shown(value)
    return known[int(value)] if value < len(known) else "(other)"
