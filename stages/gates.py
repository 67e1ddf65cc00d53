"""Gates: what a model must reach on the test part before it is registered."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import model_validator

from stages import params
from stages.params import PATH, ParamsError

_LOWER = ("rmse", "mae", "mape", "log_loss")  # and the percentiles of the absolute error
_PLAIN = "test."  # a gate's metric without a part is of the test part


class Gate(params.Section):
    """Bounds of one metric, both included; `better_than: champion` compares on this trial's test part."""

    min: float | None = None
    max: float | None = None
    better_than: Literal["champion"] | None = None

    @model_validator(mode="after")
    def _ask_for_something(self) -> Self:
        if self.min is None and self.max is None and self.better_than is None:
            raise ValueError("must have min, max or better_than")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min must be at most max, got {self.min} and {self.max}")
        return self


@dataclass(frozen=True)
class Champion:
    """The registered champion, scored on this trial's test part."""

    version: str
    metrics: Mapping[str, float]
    reason: str | None = None  # why it could not be scored


@dataclass(frozen=True)
class Result:
    """What came of one bound of a gate."""

    metric: str
    rule: str
    value: float
    bound: float | None
    rows: int | None
    holds: bool
    note: str | None = None

    def __str__(self) -> str:
        """Say which gate, by how much, on how many rows."""
        on = f" on {self.rows} rows" if self.rows is not None else ""
        if self.bound is None:
            return f"gate {'holds' if self.holds else 'fails'}: {self.metric} {self.rule}: {self.note}"
        verdict, note = "holds" if self.holds else "fails", f" ({self.note})" if self.note else ""
        by = f"{abs(self.value - self.bound):.4g}"
        return f"gate {verdict} by {by}: {self.metric} is {self.value:.6g}{on}, {self.rule}{note}"


def lower_is_better(metric: str) -> bool:
    """Say whether a smaller value of a metric is the better one."""
    name = metric.rpartition(".")[2]
    return name in _LOWER or name.startswith("ae_")


def asked_of_champion(gates: Mapping[str, Gate]) -> list[str]:
    """Return the metrics, without their part, that are compared with the champion's."""
    return [name.removeprefix(_PLAIN) for name, gate in gates.items() if gate.better_than]


def check(gates: Mapping[str, Gate], metrics: Mapping[str, float], champion: Champion | None) -> list[Result]:
    """Return what came of each gate; `metrics` are by dotted name.

    `champion` is None where none is registered, or this very model is: both hold.

    Raises:
        ParamsError: a gate is on a metric that the trial does not have.
    """
    results = []
    for name, gate in gates.items():
        value, rows = _value(name, gate, metrics)
        if gate.min is not None:
            results.append(Result(name, f"min {gate.min:g}", value, gate.min, rows, value >= gate.min))
        if gate.max is not None:
            results.append(Result(name, f"max {gate.max:g}", value, gate.max, rows, value <= gate.max))
        if gate.better_than:
            results.append(_against(name, value, rows, champion))
    return results


def _value(name: str, gate: Gate, metrics: Mapping[str, float]) -> tuple[float, int | None]:
    """Return a gate's metric and its number of rows."""
    full = name if "." in name else _PLAIN + name
    if full not in metrics or (gate.better_than and not full.startswith(_PLAIN)):
        known = [k.removeprefix(_PLAIN) for k in metrics if not (gate.better_than and not k.startswith(_PLAIN))]
        raise ParamsError(
            f"{PATH}: register.gates.{name}: {_where(full)} has no such metric{_of_test(full)}; "
            f"{params.nearest(name, known)}"
        )
    rows = metrics.get(full.rpartition(".")[0] + ".rows")
    return metrics[full], None if rows is None else int(rows)


def _where(metric: str) -> str:
    """Return the file that holds a metric."""
    return "reports/script.json" if metric.startswith("script.") else "reports/metrics.json"


def _of_test(metric: str) -> str:
    return "" if metric.startswith("script.") else " of the test part"


def _against(name: str, value: float, rows: int | None, champion: Champion | None) -> Result:
    """Return what came of the comparison with the champion."""
    rule = "better than champion"
    if champion is None:
        return Result(name, rule, value, None, rows, True, "there is no other champion")
    rule += f" (version {champion.version})"
    bound = champion.metrics.get(name.removeprefix(_PLAIN))
    if bound is None:
        return Result(name, rule, value, None, rows, False, champion.reason or "it has no such metric on these rows")
    better = value < bound if lower_is_better(name) else value > bound
    return Result(name, f"{rule}: {bound:.6g}", value, bound, rows, better, champion.reason)


def as_json(results: list[Result]) -> list[dict[str, Any]]:
    """Return results for reports/register.json."""
    return [vars(result) | {"said": str(result)} for result in results]
