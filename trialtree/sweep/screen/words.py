"""Values, params and times of a trial as a person reads them."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stages import progress
from trialtree.sweep.ranking import Objective
from trialtree.sweep.records import Trial


def short(keys: Iterable[str]) -> dict[str, str]:
    """Return each key without its section and `hyperparameters`, or the whole where two are alike then."""
    distinct = list(dict.fromkeys(keys))
    ends = [key.partition(".")[2].removeprefix("hyperparameters.") or key for key in distinct]
    return {key: end if ends.count(end) == 1 else key for key, end in zip(distinct, ends, strict=True)}


def value(of: Any) -> str:
    """Return a value of params.yaml in short: as YAML has it, numbers to four digits."""
    if isinstance(of, float) and math.isfinite(of):
        return f"{of:.4g}"
    return of if isinstance(of, str) else json.dumps(of, ensure_ascii=False, default=str)


def params(values: Mapping[str, Any], names: Mapping[str, str] | None = None) -> str:
    """Return values of params as `C=0.5 kernel=rbf`; `names` are those to say, by key."""
    names = short(values) if names is None else names
    return " ".join(f"{names.get(key, key)}={value(of)}" for key, of in values.items())


def number(of: float | None) -> str:
    """Return a metric to six digits."""
    return "-" if of is None else f"{of:.6g}"


def numbers(of: Sequence[float] | None) -> str:
    """Return the values of an objective."""
    return "-" if of is None else " ".join(map(number, of))


def objective(of: Trial, goals: Sequence[Objective]) -> str:
    """Return a trial's objective as `cv.accuracy 0.973684`."""
    given = zip(goals, of.objective or (), strict=False)
    return ", ".join(f"{goal.metric} {number(value)}" for goal, value in given)


def seconds(of: float | None) -> str:
    """Return how long something took: `0.35 s`, `3.2 s`, `42 s`, `3 min 20 s`."""
    if of is None:
        return "-"
    return f"{of:.2g} s" if of < 1 else f"{of:.1f} s" if of < 10 else progress.duration(of)


def count(of: int, what: str, several: str | None = None) -> str:
    """Return `1 trial`, `1,000 trials`."""
    return f"{of:,} {what if of == 1 else several or what + 's'}"


def ended(trial: Trial) -> str:
    """Return in words why a trial failed or was stopped."""
    if trial.state == "pruned":
        return trial.decision.text if trial.decision else "stopped early"
    reason = " ".join((trial.reason or how(trial.status)).split())
    return reason if not trial.stage or reason.startswith(trial.stage) else f"{trial.stage}: {reason}"


def how(status: int | None) -> str:
    """Return in words how a process ended that did not say why."""
    if status is None:
        return "failed"
    if status < 0:
        import signal

        names = {member.value: member.name for member in signal.Signals}
        return f"killed by {names.get(-status, f'signal {-status}')}"
    return f"exit {status}"
