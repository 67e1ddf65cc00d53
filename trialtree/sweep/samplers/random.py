"""Points drawn by chance."""

import itertools
from collections.abc import Iterable, Iterator

from trialtree.sweep.samplers import streams
from trialtree.sweep.samplers.base import Point
from trialtree.sweep.samplers.distinct import Distinct
from trialtree.sweep.space import Space


def drawn(space: Space, seed: int, draw: object) -> Point:
    """Return the point that a seed gives at a draw of this number or name."""
    return space.draw(lambda dimension: dimension.expression.draw(streams.uniform(seed, draw, dimension.place)))


class Random(Distinct):
    """Draws every key by itself, as its expression says."""

    def __init__(self, space: Space, seed: int, known: Iterable[str] = ()) -> None:
        self.seed = seed
        super().__init__(space, known)

    def draws(self) -> Iterator[Point]:
        """Yield point after point, without end."""
        return (drawn(self.space, self.seed, draw) for draw in itertools.count())
