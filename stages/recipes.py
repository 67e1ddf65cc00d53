"""How a model is made: the train section of params.yaml, kept beside the model that it made."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from stages import params
from stages.errors import UserError

Impute = Literal["mean", "median", "most_frequent", "constant", "knn", "drop_rows", "none"]
Encode = Literal["none", "onehot", "ordinal", "target", "native"]
Part = Literal["year", "month", "day", "weekday", "hour"]


_SIZES = {"MB": 10**6, "GB": 10**9, "TB": 10**12}


def size_in_bytes(size: str) -> int:
    """Return the bytes of a size such as 500MB, 4GB or 1.5 TB.

    Raises:
        ValueError: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(MB|GB|TB)", size.strip())
    count = int(float(found[1]) * _SIZES[found[2]]) if found else 0
    if not count:
        raise ValueError("must be a size such as 500MB, 4GB or 1.5TB")
    return count


def _size(size: str) -> str:
    size_in_bytes(size)
    return size


class Treatment(params.Section):
    """What is done to a column before the estimator sees it. A key left out keeps the default of its type."""

    drop: bool = False  # no feature at all
    impute: Impute = "none"  # drop_rows leaves rows with a gap out of training
    fill_value: float | str | None = None  # with `impute: constant`
    clip: tuple[float, float] | None = Field(default=None, strict=False)  # quantiles outside which values are cut
    scale: Literal["none", "standard", "minmax", "robust"] = "none"
    bins: Annotated[int, Field(ge=2)] | None = None  # number of quantile bins
    encode: Encode = "none"  # native: CatBoost's own treatment of categories
    max_categories: Annotated[int, Field(ge=2)] | None = None  # levels beyond, the rarest, become one
    min_frequency: Annotated[int, Field(ge=1)] | None = None  # rows under which a level is rare
    parts: tuple[Part, ...] | None = Field(default=None, strict=False, min_length=1)  # None: those that vary
    cyclic: bool = False  # parts that come round, as sine and cosine

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if (self.impute == "constant") != (self.fill_value is not None):
            raise ValueError("impute: constant and fill_value go together")
        if self.clip and not 0 <= self.clip[0] < self.clip[1] <= 1:
            raise ValueError(f"clip must be two quantiles such as [0.01, 0.99], got {list(self.clip)}")
        return self


class Features(params.Section):
    """Treatments by type of column, and by column (a name or a glob; the last that matches wins)."""

    number: Treatment = Treatment()  # integers too
    category: Treatment = Treatment()
    date: Treatment = Treatment()
    text: Treatment = Treatment()
    columns: dict[str, Treatment] = {}
    include: tuple[str, ...] = Field(default=(), strict=False)  # group, time, key or row columns to learn from too
    pca: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)] | None = None  # components, or variance


class Recipe(params.Section):
    """The train section: an estimator, its hyperparameters, and what is done to rows and columns before."""

    estimator: str  # dotted name of a class with scikit-learn's interface
    hyperparameters: dict[str, Any] = {}
    features: Features = Features()
    resample: Literal["class_weight", "smote", "over", "under"] | None = None  # for rare classes, on train only
    calibrate: bool = False  # probabilities by cross-validation; the labels may change
    accelerate: bool = False  # by scikit-learn-intelex, where it supports the estimator
    allow_pickle: bool = False  # store an estimator that has no safe form
    seed: int = Field(default=0, ge=0, lt=2**32)  # for estimators that draw, unless random_state is given
    memory: Annotated[str, AfterValidator(_size)] | None = None  # such as 4GB; default a share of the machine's
    epochs: Annotated[int, Field(ge=1)] | None = None  # passes over a table that is learned in batches

    @property
    def catboost(self) -> bool:
        """Whether the estimator is CatBoost's."""
        return self.estimator.startswith("catboost.")


class TrainError(UserError):
    """A recipe and a table that do not make a model."""
