"""A place for one entry at a time, and how far the entry in it is."""

import time
from collections.abc import Generator
from dataclasses import dataclass

from trialtree.queue.entries import Entry
from trialtree.queue.messages import Message
from trialtree.sweep.engine.trial import Made, Reply, Tree, Work

Steps = Generator[Work, Reply, tuple[Made, str]]


@dataclass
class Place:
    """A place."""

    number: int
    message: Message | None = None  # of the entry in it
    entry: Entry | None = None
    tree: Tree | None = None
    steps: Steps | None = None  # None where DVC itself runs it
    work: Work | None = None  # that runs, or waits for another place to make the same
    parked: bool = False  # it waits
    again: bool = False  # whether its work was lost once by no fault of its own
    killed: bool = False  # by `dvc queue kill`
    began: float = 0.0  # time.monotonic()

    def give(self, message: Message) -> None:
        """Begin with an entry."""
        self.message, self.began = message, time.monotonic()
        self.parked = self.again = self.killed = False

    @property
    def seconds(self) -> float:
        """How long its entry has been at it."""
        return time.monotonic() - self.began

    def waits_for(self, key: str) -> bool:
        """Say whether it waits for the work of a key."""
        return self.parked and self.work is not None and self.work.key == key

    def leave(self) -> None:
        """Let go of the entry."""
        if self.steps is not None:
            self.steps.close()
        self.message = self.entry = self.tree = self.steps = self.work = None
        self.parked = False
