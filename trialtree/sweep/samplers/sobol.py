"""Points that fill the space evenly: Sobol's sequence, shifted by the seed."""

import itertools
from collections.abc import Callable, Iterable, Iterator

from trialtree.sweep.samplers import joe_kuo, streams
from trialtree.sweep.samplers.base import Point
from trialtree.sweep.samplers.distinct import Distinct
from trialtree.sweep.space import Space
from trialtree.sweep.space.expressions import Raw
from trialtree.sweep.space.tree import Dimension


class Sobol(Distinct):
    """Gives each key that the space may draw a dimension; keys after the 40th are drawn by chance."""

    def __init__(self, space: Space, seed: int, known: Iterable[str] = ()) -> None:
        self.seed = seed
        self._places = {of.place: number for number, of in enumerate(space.dimensions[: joe_kuo.DIMENSIONS])}
        self._shifts = {place: streams.number(seed, "shift", place, bits=joe_kuo.BITS) for place in self._places}
        super().__init__(space, known)

    def draws(self) -> Iterator[Point]:
        """Yield the sequence."""
        return (self.space.draw(self.drawing(index)) for index in itertools.count())

    def drawing(self, index: int) -> Callable[[Dimension], Raw]:
        """Return what draws the keys of a point of the sequence."""

        def choose(of: Dimension) -> Raw:
            number = self._places.get(of.place)
            if number is None:
                return of.expression.draw(streams.uniform(self.seed, index, of.place))
            bits = joe_kuo.point(index, number) ^ self._shifts[of.place]
            return of.expression.draw((bits + 0.5) / (1 << joe_kuo.BITS))

        return choose
