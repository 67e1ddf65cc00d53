"""What is known of a sweep that runs: in the journal first, then here, then told to the sampler and the limits."""

import time
import traceback
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stages import command
from stages.errors import UserError
from trialtree.sweep.journal import Journal, apply
from trialtree.sweep.limits import Limits
from trialtree.sweep.records import Decision, Sweep, Trial
from trialtree.sweep.section import SweepParams
from trialtree.sweep.telling import Teller
from trialtree.sweep.timing import Timed

# Of a trial as it ended, beside what is said of how.
_KEPT = ("seconds", "metrics", "commit", "model_bytes", "ran", "restored", "curve")
_ROOM = 65536  # bytes that the journal should be able to grow by
_CLEARED: Mapping[str, Any] = dict.fromkeys(("objective", "reason", "status", "stage", "decision"))


class Ledger(Timed):
    """A sweep, written down."""

    def __init__(self, journal: Journal, sweep: Sweep, section: SweepParams, teller: Teller) -> None:
        super().__init__()
        self.journal, self.sweep = journal, sweep
        self.limits = Limits(section, sweep)
        self.exhausted = False  # nothing new is left to be asked for
        self._retries, self._teller = section.limits.retries, teller
        # Of an earlier driver: what had failed and is to be run again, then what had not ended.
        self._again = deque(trial.number for trial in sweep.of("waiting") if trial.reason is not None)
        self._waiting = deque(trial.number for trial in sweep.of("waiting") if trial.reason is None)

    def note(self, event: str, **said: Any) -> None:
        """Write an event down, and only then know it.

        Raises:
            OSError: the disk is full; then it is not known either.
        """
        self.journal.add(event, **said)
        apply(self.sweep, event, said)

    def next(self) -> Trial | None:
        """Return the next trial to run; None where there is none now, or never."""
        if self._again:
            return self.sweep.trials[self._again.popleft()]
        if self.limits.over:
            return None
        if self._waiting:
            return self.sweep.trials[self._waiting.popleft()]
        if not self.more or not self._teller.may_ask():
            return None
        number = len(self.sweep.trials)
        with self.timed("ask"):
            point, repeats = self._teller.ask(number)
        if repeats:
            self.note("repeat", count=repeats)
        if point is None:
            self.exhausted = True
            return None
        self.note("asked", number=number, values=point.values, raw=point.raw, source=self._teller.source(number))
        return self.sweep.trials[number]

    @property
    def more(self) -> bool:
        """Whether trials are left to be run, as far as is known."""
        new = not self.exhausted and not self.limits.full()
        return bool(self._again) or (self.limits.over is None and (bool(self._waiting) or new))

    def begin(self, trial: Trial) -> None:
        """Write down that a trial begins."""
        self.note("began", number=trial.number, attempt=trial.attempt + 1, time=now())
        trial.curve, trial.decision, trial.commit = [], None, None
        trial.metrics, trial.model_bytes, trial.ran, trial.restored = {}, None, (), ()
        trial.name = f"{self.sweep.head.id}-{trial.number:04}"
        trial.log = f"logs/{trial.number:05}.log"

    def stop(self, trial: Trial, decision: Decision) -> None:
        """Write down that a policy stops a trial."""
        self.note("stop", number=trial.number, **asdict(decision))

    def settled(self, trial: Trial) -> set[int] | None:
        """Return the trials that a trial is compared with by a policy; None for all."""
        return self._teller.settled(trial.number)

    def end(self, trial: Trial, parts: Mapping[str, float], **how: Any) -> None:
        """Write down how a trial ended; one that failed is to be run again where that is asked for."""
        said = {name: getattr(trial, name) for name in _KEPT}
        said["name"] = trial.name if trial.commit else None
        said["log"] = trial.log if (self.journal.folder / str(trial.log)).exists() else None
        said["parts"] = {part: round(seconds, 5) for part, seconds in parts.items()}
        again = how["state"] == "failed" and trial.attempt <= self._retries and self.limits.over is None
        with self.timed("journal"):
            self.note("ended", number=trial.number, again=again, **{**said, **_CLEARED, **how})
        if again:
            self._waiting.append(trial.number)
            return
        with self.timed("tell"):
            self._teller.tell(trial)
        self.limits.take(trial)

    def log(self, trial: Trial) -> Path:
        """Return the file of what a trial prints; its folder is there."""
        log = self.journal.folder / str(trial.log)
        log.parent.mkdir(exist_ok=True)
        return log

    def fault(self, trial: Trial, error: Exception) -> str:
        """Return in a line why a trial could not be made; a fault of ours is whole in its log.

        Raises:
            OSError: the disk has no room for the journal either.
        """
        if isinstance(error, UserError):
            return str(error).partition("\n")[0]
        probe = self.journal.folder / ".room"
        try:
            probe.write_bytes(b"\0" * _ROOM)
        finally:
            probe.unlink(missing_ok=True)
        if said := command.refused(error):
            return said
        with self.log(trial).open("a", encoding="utf-8") as log:
            log.write("".join(traceback.format_exception(error)))
        return f"{type(error).__name__}: {' '.join(str(error).split())}"

    def leave(self, reason: str | None) -> None:
        """Write down that the sweep is over and why, or with None that it was stopped."""
        if reason is None:
            self.note("left", reason="stopped", time=now())
            return
        for trial in self.sweep.of("waiting"):
            if trial.reason is not None:  # it failed, and there will be no other attempt
                self.note("ended", number=trial.number, state="failed", again=False)
        self.note("finished", reason=reason, time=now())

    def over(self) -> str:
        """Return why a sweep is over that runs nothing any more."""
        if self.limits.over:
            return self.limits.over
        if self.exhausted:
            return f"the space is exhausted: all of its {len(self.sweep.trials)} points were tried"
        return f"limits.trials: {len(self.sweep.trials)} trials"


def now() -> int:
    """Return the time, in milliseconds since 1970."""
    return int(time.time() * 1000)
