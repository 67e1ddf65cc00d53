"""A place for one trial at a time: its tree, and how far the trial in it is."""

import signal
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from trialtree.sweep import screen
from trialtree.sweep.engine.trial import Made, Reply, Tree, Work
from trialtree.sweep.records import Decision, Trial
from trialtree.sweep.stopping.tail import Tail
from trialtree.sweep.workers.jobs import Finished

_LOSSES = {"crashed": 1, "lost": 3}  # after which work is run again


@dataclass
class Slot:
    """A tree, and the trial in it."""

    number: int
    tree: Tree
    trial: Trial | None = None
    steps: Generator[Work, Reply, Made] | None = None
    work: Work | None = None  # that runs, or waits for another slot to make the same
    parked: bool = False  # it waits
    began: float = 0.0  # time.monotonic()
    computes: float | None = None  # time.monotonic() since when, without the wait for what imports
    tail: Tail | None = None  # of the curve that is watched
    decision: Decision | None = None  # to stop it
    losses: list[str] = field(default_factory=list)  # how its work ended by no fault of its own
    parts: dict[str, float] = field(default_factory=dict)  # seconds

    def give(self, trial: Trial, steps: Generator[Work, Reply, Made]) -> None:
        """Begin a trial."""
        self.trial, self.steps, self.began = trial, steps, time.monotonic()
        self.work, self.tail, self.decision, self.losses, self.parts = None, None, None, [], {}
        self.computes = None

    def go_on(self, reply: Reply | None) -> Work:
        """Let the trial go on until it has work to be run.

        Raises:
            StopIteration: it was made, with what came of it.
        """
        assert self.steps is not None  # noqa: S101  # it has a trial
        return next(self.steps) if reply is None else self.steps.send(reply)

    def ended(self, seconds: float) -> None:
        """Take that its work has ended, which has run so long."""
        if self.work is not None:
            self.add(f"stage {self.work.stage}", seconds)
        if self.computes is None:
            self.computes = time.monotonic() - seconds
        self.work = self.tail = None

    def lost(self, finished: Finished) -> bool:
        """Say whether work ended by no fault of its own, as far as anybody knows, and is to be run again.

        A stage that the system or a person has killed is given one more try: it may take all memory there is.
        """
        killed = finished.end == "crashed" and finished.status == -signal.SIGKILL
        if not killed and finished.end != "lost":
            return False
        self.losses.append(finished.end)
        return self.losses.count(finished.end) <= _LOSSES[finished.end]

    @property
    def seconds(self) -> float:
        """How long the trial has taken."""
        return round(time.monotonic() - self.began, 4)

    def leave(self) -> None:
        """Let go of the trial."""
        if self.steps is not None:
            self.steps.close()
        self.trial = self.steps = self.work = self.tail = None
        self.parked = False

    def add(self, part: str, seconds: float) -> None:
        """Add seconds to what the trial's time went into."""
        self.parts[part] = self.parts.get(part, 0.0) + seconds

    def shown(self, trial: Trial) -> screen.Slot:
        """Return what the screen shows of it."""
        stage = self.work.stage if self.work is not None else None
        return screen.Slot(trial.number, stage, self.began, trial.curve[-1] if trial.curve else None)


def shown(slots: "list[Slot]") -> list[Any]:
    """Return what the screen shows of the slots that have a trial."""
    return [slot.shown(slot.trial) for slot in slots if slot.trial is not None]
