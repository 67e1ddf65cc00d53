"""How long a sweep will take, by the trials of earlier ones."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from trialtree.sweep import journal
from trialtree.sweep.journal import SweepError
from trialtree.sweep.records import Sweep, Trial
from trialtree.sweep.screen import words

_SWEEPS = 10  # that are looked at, the latest
_ENOUGH = 20  # trials


def said(total: int | None, concurrent: int, experiment: str, estimators: Sequence[str]) -> str:
    """Return in words how long so many trials take, so many at once."""
    found = _trials(experiment, set(estimators))
    if not found:
        return f"how long they take is unknown: no trial of {experiment} with {' or '.join(estimators)} has run here"
    each = median(trial.seconds or 0.0 for trial in found)
    by = f"{words.seconds(each)} a trial by the last {words.count(len(found), 'trial')}"
    return by if total is None else f"about {words.seconds(total * each / concurrent)}: {by}"


def _trials(experiment: str, estimators: set[str]) -> list[Trial]:
    """Return the latest trials of an experiment that ran stages, with one of these estimators."""
    found: list[Trial] = []
    for sweep in _sweeps():
        if len(found) >= _ENOUGH:
            break
        if sweep.head.experiment == experiment:
            found += [t for t in sweep.of("done") if t.ran and _estimator(sweep.head.params, t.values) in estimators]
    return found


def _sweeps() -> Iterator[Sweep]:
    for folder in reversed(journal.folders()[-_SWEEPS:]):
        try:
            yield journal.read(folder)
        except SweepError:  # its journal has no beginning
            continue


def _estimator(content: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """Return the estimator of a trial, or its script."""
    train = content.get("train") or {}
    given = (values.get(f"train.{key}", train.get(key)) for key in ("script", "estimator"))
    return str(next((each for each in given if each), ""))
