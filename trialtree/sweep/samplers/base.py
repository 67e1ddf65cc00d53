"""What every sampler is."""

from collections.abc import Sequence
from typing import Protocol

from trialtree.sweep.records import State
from trialtree.sweep.space import Point

__all__ = ["Point", "Sampler"]


class Sampler(Protocol):
    """Says which point the next trial has."""

    repeats: int  # draws that equalled a known point so far
    started: int  # trials, the first ones, whose points start_from gives
    notes: tuple[str, ...]  # for a person, of what it starts from

    def ask(self, number: int) -> Point | None:
        """Return the point of a trial; None where nothing new is left."""
        ...

    def restore(self, number: int, point: Point) -> None:
        """Take a point that was asked for before, in another process."""
        ...

    def tell(
        self,
        number: int,
        state: State,
        objective: tuple[float, ...] | None,
        curve: Sequence[tuple[int, float]],
    ) -> None:
        """Take what came of a trial."""
        ...
