"""`--json`: an event a line, for scripts. docs/sweeps.md says what each holds."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from trialtree.sweep.records import Sweep, Trial
from trialtree.sweep.screen.base import Output
from trialtree.sweep.screen.tally import Slot, Tally

_LEFT_OUT = ("raw", "curve", "parts", "began")


class Events:
    """Prints what happens as JSON."""

    def __init__(self, sweep: Sweep, tally: Tally, stream: Any = None) -> None:
        self._output = Output(stream)
        self._tally, self._sweep = tally, sweep
        self._began: dict[int, int] = {}  # by number: the attempt that was told
        self._best: Trial | None = None
        head = sweep.head
        self._say(
            "sweep", sweep=head.id, experiment=head.experiment, baseline=head.baseline, changed=list(head.changed),
            seed=head.seed, executor=head.executor, trials=tally.total, section=head.section,
        )  # fmt: skip
        self._tell(tally.take(sweep))

    def update(self, sweep: Sweep, running: Sequence[Slot]) -> None:
        """Tell what has begun and ended since."""
        self._sweep = sweep
        for slot in running:
            self._begin(sweep.trials.get(slot.number))
        self._tell(self._tally.take(sweep))

    def note(self, line: str) -> None:
        """Tell something else."""
        self._say("note", text=line)

    def close(self, reason: str | None) -> None:
        """Tell how it ended."""
        self._tell(self._tally.take(self._sweep))
        counts = {state: self._tally.counts[state] for state in ("done", "pruned", "failed")}
        over = self._sweep.finished is not None
        best = self._tally.best
        self._say(
            "finished" if over else "left", sweep=self._sweep.head.id, reason=reason, **counts,
            repeats=self._sweep.repeats, seconds=round(self._tally.elapsed, 3),
            best=None if best is None else best.number,
        )  # fmt: skip

    def _begin(self, trial: Trial | None) -> None:
        if trial is not None and self._began.get(trial.number) != trial.attempt:
            self._began[trial.number] = trial.attempt
            self._say("began", number=trial.number, attempt=trial.attempt, source=trial.source, values=trial.values)

    def _tell(self, new: Sequence[Trial]) -> None:
        for trial in new:
            self._begin(trial)
            self._say("ended", **as_json(trial))
        best = self._tally.best
        if best is not None and best is not self._best:
            self._best = best
            self._say("best", number=best.number, objective=best.objective, values=best.values, name=best.name)

    def _say(self, event: str, **said: Any) -> None:
        self._output.line(json.dumps(finite({"event": event, **said}), default=str))


def as_json(trial: Trial) -> dict[str, Any]:
    """Return what a script wants to know of a trial."""
    return {name: value for name, value in asdict(trial).items() if name not in _LEFT_OUT}


def finite(value: Any) -> Any:
    """Return a value without NaN and infinity, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(inner) for key, inner in value.items()}
    return [finite(inner) for inner in value] if isinstance(value, list | tuple) else value
