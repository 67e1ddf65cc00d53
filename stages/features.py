"""From a recipe and a table's columns to the preprocessing that is fitted with the estimator.

The preprocessing is scikit-learn's own (a ColumnTransformer over the matrix
of `matrices`), so that it is stored, checked and read like any estimator.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import numpy as np

from stages.matrices import Matrix
from stages.params import PATH, ParamsError
from stages.recipes import Features, Recipe, Treatment
from stages.tables import Column, Columns

Kind = Literal["number", "category", "date", "text"]

# A type's treatment where the recipe says nothing: as little as lets any estimator take the column.
_DEFAULTS: dict[Kind, dict[str, Any]] = {
    "number": {"impute": "median"},
    "category": {"encode": "onehot", "max_categories": 100},
    "date": {"impute": "median"},
    "text": {"drop": True},
}
# CatBoost takes gaps and categories as they are.
_CATBOOST: dict[Kind, dict[str, Any]] = {
    **_DEFAULTS,
    "number": {},
    "category": {"encode": "native"},
    "date": {},
}

# Keys that mean nothing for a kind of column.
_STRANGE: dict[Kind, set[str]] = {
    "number": {"parts", "cyclic"},
    "category": {"clip", "scale", "bins", "parts", "cyclic"},
    "date": {"encode", "max_categories", "min_frequency", "bins"},
    "text": {"clip", "scale", "bins", "parts", "cyclic"},
}


@dataclass(frozen=True)
class Group:
    """Columns with the same treatment, by their places in the matrix."""

    kind: Kind
    treatment: Treatment
    places: tuple[int, ...]
    names: tuple[str, ...]


def chosen(columns: Columns, features: Features, catboost: bool) -> tuple[Columns, list[Group]]:
    """Return the columns that the estimator learns from, and their treatments.

    Raises:
        ParamsError: a pattern matches no column, or a treatment does not fit a column's type.
    """
    _refuse_unmatched(columns, features)
    groups: dict[tuple[Kind, Treatment, str], list[Column]] = {}
    kept = []
    for column in columns:
        if column.role != "feature" and column.name not in features.include:
            continue
        kind: Kind = "number" if column.type == "integer" else column.type
        treatment = _treatment(column, kind, features, catboost)
        if not treatment.drop:
            kept.append(column)
            # A constant text has another place in each column's categories.
            alone = column.name if treatment.fill_value is not None and kind in ("category", "text") else ""
            groups.setdefault((kind, treatment, alone), []).append(column)
    if not kept:
        raise ParamsError(f"{PATH}: train.features: leaves no column to learn from")
    place = {column.name: i for i, column in enumerate(kept)}
    return Columns(kept), [
        Group(kind, treatment, tuple(place[c.name] for c in members), tuple(c.name for c in members))
        for (kind, treatment, _), members in groups.items()
    ]


def _refuse_unmatched(columns: Columns, features: Features) -> None:
    """Refuse names and patterns that stand for no column."""
    names = [c.name for c in columns if c.role != "target"]
    lines = [
        f"{PATH}: train.features.columns.{pattern}: no column has this name; there are: {', '.join(names)}"
        for pattern in features.columns
        if not any(_matches(name, pattern) for name in names)
    ]
    lines += [
        f"{PATH}: train.features.include: {name!r} is no column; there are: {', '.join(names)}"
        for name in features.include
        if name not in names
    ]
    if lines:
        raise ParamsError("\n".join(lines))


def _matches(name: str, pattern: str) -> bool:
    """Whether a pattern is a name itself, brackets and all, or stands for it."""
    return name == pattern or fnmatchcase(name, pattern)


def _treatment(column: Column, kind: Kind, features: Features, catboost: bool) -> Treatment:
    """Return a column's treatment: the default of its type, then the recipe's, then the column's own."""
    settings = dict((_CATBOOST if catboost else _DEFAULTS)[kind])
    sections = {f"train.features.{kind}": getattr(features, kind)}
    for pattern, treatment in features.columns.items():
        if _matches(column.name, pattern):
            sections[f"train.features.columns.{pattern}"] = treatment
    for section, treatment in sections.items():
        given = treatment.model_dump(exclude_unset=True)
        for key in sorted(_STRANGE[kind] & given.keys()):
            raise ParamsError(f"{PATH}: {section}.{key}: means nothing for {column.name!r}, a {kind} column")
        if "impute" in given and given["impute"] != "constant":
            settings.pop("fill_value", None)
        settings |= {"drop": False} if kind == "text" and "encode" in given else {}
        settings |= given
    result = Treatment.model_validate(settings)
    _refuse_unusable(result, column, kind, catboost)
    return result


def _refuse_unusable(treatment: Treatment, column: Column, kind: Kind, catboost: bool) -> None:
    """Refuse what would leave the estimator with something it cannot take."""
    where = f"{PATH}: train.features: column {column.name!r}"
    if treatment.drop:
        return
    if treatment.encode == "native" and not catboost:
        raise ParamsError(f"{where}: encode: native is CatBoost's; take onehot, ordinal or target")
    if kind in ("category", "text") and treatment.encode == "none":
        raise ParamsError(f"{where}: is {kind} and needs encode: onehot, ordinal or target")
    if kind in ("category", "text") and treatment.impute in ("mean", "median", "knn"):
        raise ParamsError(f"{where}: is {kind}; impute must be most_frequent, constant, drop_rows or none")
    if isinstance(treatment.fill_value, str) and kind not in ("category", "text"):
        raise ParamsError(f"{where}: fill_value must be a number, got {treatment.fill_value!r}")


def preprocessing(
    recipe: Recipe, regression: bool, groups: Sequence[Group], categories: Mapping[str, Sequence[str]]
) -> Any:
    """Return the unfitted transformer of the matrix."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    transformer = ColumnTransformer(parts(recipe, regression, groups, categories), sparse_threshold=0)
    if recipe.features.pca is None:
        return transformer
    from sklearn.decomposition import PCA

    return Pipeline([("columns", transformer), ("pca", PCA(recipe.features.pca, svd_solver="full"))])


def parts(
    recipe: Recipe, regression: bool, groups: Sequence[Group], categories: Mapping[str, Sequence[str]]
) -> list[tuple[str, Any, list[int]]]:
    """Return a name, the unfitted steps and the places in the matrix of each group."""
    return [
        (f"{group.kind}{number}", _steps(group, categories, recipe.seed, regression), list(group.places))
        for number, group in enumerate(groups)
    ]


def _steps(group: Group, categories: Mapping[str, Sequence[str]], seed: int, regression: bool) -> Any:
    """Return one group's transformer: cut, fill, then bin, encode or take apart, then scale."""
    from sklearn.pipeline import Pipeline

    t = group.treatment
    steps: list[tuple[str, Any]] = []
    if t.clip:
        from stages.transformers import Clip

        steps.append(("clip", Clip(*t.clip)))
    if group.kind == "date":
        from stages.transformers import DateParts

        steps.append(("parts", DateParts(list(t.parts) if t.parts else None, t.cyclic)))
    if t.impute != "none":
        steps.append(("impute", _imputer(group, categories)))
    if t.bins:
        from sklearn.preprocessing import KBinsDiscretizer

        steps.append(("bins", KBinsDiscretizer(t.bins, encode="ordinal", quantile_method="averaged_inverted_cdf")))
    if t.encode not in ("none", "native"):
        steps.append(("encode", _encoder(t, seed, regression)))
    if t.scale != "none":
        steps.append(("scale", _scaler(t.scale)))
    return Pipeline(steps) if steps else "passthrough"


def _imputer(group: Group, categories: Mapping[str, Sequence[str]]) -> Any:
    """Return what fills gaps. Rows without a value still get a prediction where training dropped such rows."""
    from sklearn.impute import KNNImputer, SimpleImputer

    t, text = group.treatment, group.kind in ("category", "text")
    if t.impute == "knn":
        return KNNImputer(keep_empty_features=True)
    if t.impute == "constant":
        fill = t.fill_value
        if text:
            # The matrix holds places: the text's own, or the next free one, a level of its own.
            known = categories[group.names[0]]
            fill = known.index(str(fill)) if str(fill) in known else len(known)
        return SimpleImputer(strategy="constant", fill_value=float(fill or 0), keep_empty_features=True)
    strategy = ("most_frequent" if text else "median") if t.impute == "drop_rows" else t.impute
    return SimpleImputer(strategy=strategy, keep_empty_features=True)


def _encoder(t: Treatment, seed: int, regression: bool) -> Any:
    """Return what makes numbers of categories."""
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

    if t.encode == "target":
        from sklearn.model_selection import KFold, StratifiedKFold

        # "auto" would take a target of whole numbers for classes.
        folds = (KFold if regression else StratifiedKFold)(5, shuffle=True, random_state=seed)
        return TargetEncoder(target_type="continuous" if regression else "auto", cv=folds)
    rare = {"max_categories": t.max_categories, "min_frequency": t.min_frequency}
    if t.encode == "ordinal":
        return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2, **rare)
    unknown = "infrequent_if_exist" if t.max_categories or t.min_frequency else "ignore"
    return OneHotEncoder(handle_unknown=unknown, sparse_output=False, **rare)


def _scaler(scale: str) -> Any:
    """Return the scaler of a name."""
    from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

    return {"standard": StandardScaler, "minmax": MinMaxScaler, "robust": RobustScaler}[scale]()


def whole_rows(values: Matrix, groups: Sequence[Group]) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Return which rows (rows,) training keeps: those without a gap in a column of `impute: drop_rows`."""
    places = [place for group in groups if group.treatment.impute == "drop_rows" for place in group.places]
    return np.logical_not(np.isnan(values[:, places]).any(axis=1))
