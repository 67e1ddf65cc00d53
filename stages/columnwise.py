"""Fit a preprocessing one column at a time: a large table is never in memory with all its columns.

Each transformer here treats its columns apart, so the state fitted on the
single columns, put side by side, is the state fitted on all of them at once:
the same bytes, but for the means of `scale: standard` and `impute: mean`,
whose last digits depend on the order in which rows are added up.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from stages import features
from stages.features import Group
from stages.recipes import Recipe

Fit = Callable[[Any, int], Any]  # fits a transformer on the column at a place, and returns it


def whole_key(recipe: Recipe, groups: Sequence[Group]) -> str | None:
    """Return the key of params.yaml that wants all columns, or the target, at once; None where there is none."""
    if recipe.features.pca is not None:
        return "train.features.pca"
    for group in groups:
        if group.treatment.impute == "knn":
            return "train.features: impute: knn"
        if group.treatment.encode == "target":
            return "train.features: encode: target"
        if group.treatment.encode == "native" and group.kind not in ("category", "text"):
            return "train.features: encode: native, of numbers"
    return None


def widths(groups: Sequence[Group], categories: Mapping[str, Sequence[str]]) -> list[int]:
    """Return about how many columns each column becomes."""
    return [_width(group, len(categories.get(name, ()))) for group in groups for name in group.names]


def _width(group: Group, known: int) -> int:
    t = group.treatment
    if group.kind == "date":
        return len(t.parts or ("year", "month", "day", "weekday")) * (2 if t.cyclic else 1)
    if t.encode != "onehot":
        return 1
    most = t.max_categories or 100
    return min(known + 1, most) if known else most


def fitted(
    recipe: Recipe,
    regression: bool,
    groups: Sequence[Group],
    categories: Mapping[str, Sequence[str]],
    fit: Fit,
) -> Any:
    """Return the fitted transformer of the matrix."""
    frame = features.preprocessing(recipe, regression, groups, categories)
    steps = frame.transformers
    # Set up by one row that nothing is done to; then the fitted state is put in.
    frame.transformers = [(name, "passthrough", places) for name, _, places in steps]
    frame.fit(np.zeros((1, sum(len(group.places) for group in groups))))
    frame.transformers = steps
    made = []
    start = 0
    for (name, unfitted, places), (_, passing, _) in zip(steps, frame.transformers_, strict=False):
        whole = passing if unfitted == "passthrough" else merged(_apart(unfitted, places, fit))
        width = whole.transform(np.zeros((1, len(places)))).shape[1]
        frame.output_indices_[name] = slice(start, start + width)
        start += width
        made.append((name, whole, places))
    frame.transformers_ = made + frame.transformers_[len(made) :]
    return frame


def _apart(unfitted: Any, places: Sequence[int], fit: Fit) -> list[Any]:
    """Return a group's transformer fitted on each of its columns."""
    from sklearn.base import clone

    found = [fit(clone(unfitted), place) for place in places]
    parts = [transformer.named_steps["parts"].parts_ for transformer in found if "parts" in transformer.named_steps]
    most: list[str] = max(parts, key=len, default=[])
    for number, own in enumerate(parts):
        if len(own) < len(most):  # an hour where any of the columns has one
            again = fit(clone(unfitted).set_params(parts__parts=most), places[number])
            found[number] = again.set_params(parts__parts=None)
    return found


def merged(parts: Sequence[Any]) -> Any:
    """Return one transformer of all columns from those fitted on each, a pipeline step by step."""
    first = parts[0]
    if hasattr(first, "steps"):
        steps = [(name, merged([part.steps[i][1] for part in parts])) for i, (name, _) in enumerate(first.steps)]
        first.steps = steps
        return first
    given = first.get_params(deep=False).keys()
    for name in vars(first).keys() - given:
        setattr(first, name, _side_by_side(name, [getattr(part, name) for part in parts]))
    return first


def _side_by_side(name: str, values: Sequence[Any]) -> Any:
    """Return the state of all columns from that of each."""
    first = values[0]
    if name == "n_features_in_":
        return sum(values)
    if name == "parts_":  # of dates, the same of all
        return first
    if name == "_n_features_outs" or isinstance(first, list):
        return [value for found in values for value in found]
    if isinstance(first, dict):  # by the column's place
        return {place: value for place, found in enumerate(values) for value in found.values()}
    if isinstance(first, np.ndarray) and first.ndim:
        return np.asfortranarray(np.concatenate(values, axis=-1))  # as NumPy lays out several quantiles
    same = all(value is first or value == first for value in values)
    return first if same else np.asarray(values)
