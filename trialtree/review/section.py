"""The review section of params.yaml: what a trial must hold to before it is merged."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from stages import params, scores
from stages.recipes import size_in_bytes

NAME = "review"

Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


def _size(size: str) -> str:
    size_in_bytes(size)
    return size


def _metric(name: str) -> str:
    if name not in scores.METRICS:
        raise ValueError(f"must be a metric of the test part ({params.nearest(name, scores.METRICS)})")
    return name


Metric = Annotated[str, AfterValidator(_metric)]


class Bounds(params.Section):
    """Bounds of a metric, both included."""

    min: Finite | None = None
    max: Finite | None = None

    @model_validator(mode="after")
    def _ask_for_something(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("must have min or max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min must be at most max, got {self.min} and {self.max}")
        return self


class NotWorse(params.Section):
    """How much worse than base a metric may be, on the rows that both have."""

    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    # False: refused where the interval shows that it is worse by more. True: unless it shows that it is not.
    proven: bool = False


class DataRules(params.Section):
    """What the data of a trial may be."""

    missing: Share | None = None  # of the rows of a column
    new_categories: Annotated[int, Field(ge=0)] | None = None  # values of a column that base does not have
    drift: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None  # population stability index of a column
    # Refuse a column that alone predicts the target almost perfectly; None: where the data are here to see it.
    leaks: bool | None = None
    repeated: Share | None = None  # of the test rows, those that equal a row of the train part in all features


class ReviewParams(params.Section):
    """The review section."""

    metric: Metric | None = None  # that decides; default the sweep's objective, else the first gate
    metrics: dict[str, Bounds] = {}  # by part.metric, or by metric of the test part
    not_worse: dict[Metric, NotWorse] | None = None  # default: the metric that decides, by no tolerance
    model_size: Annotated[str, AfterValidator(_size)] | None = None  # at most, such as 10MB
    prediction_time: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None  # seconds a row, at most
    data: DataRules = DataRules()
    in_remote: bool = False  # the default DVC remote must hold all of the trial
    up_to_date: bool = True  # dvc.lock must be that of the commit's code, params and data
