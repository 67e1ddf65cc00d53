"""Every cell of a finite space, one after another."""

from collections.abc import Iterator

from trialtree.sweep.samplers.base import Point
from trialtree.sweep.samplers.distinct import Distinct


class Grid(Distinct):
    """Goes through the space in its order, the last key changing first; items of a choice bring their own keys."""

    def draws(self) -> Iterator[Point]:
        """Yield every cell."""
        return self.space.cells()
