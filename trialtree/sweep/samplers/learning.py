"""What samplers have in common that learn from the trials before.

What such a sampler asks for is a function of the seed, the trial's number and
what it was told so far. It begins with points that fill the space evenly, and
when the model only gives points that are known, takes one by chance.
"""

from collections.abc import Iterable, Sequence

from trialtree.sweep.records import State
from trialtree.sweep.samplers import streams
from trialtree.sweep.samplers.base import Point
from trialtree.sweep.samplers.random import Random
from trialtree.sweep.samplers.sobol import Sobol
from trialtree.sweep.space import Space

TRIES = 20  # draws in a row of points that are known, until one is taken by chance


class Learning:
    """Asks a model for points, each cell once."""

    def __init__(self, space: Space, seed: int, startup: int, known: Iterable[str] = ()) -> None:
        self.space, self.seed, self.startup = space, seed, startup
        self.repeats = self.started = 0
        self.notes: tuple[str, ...] = ()
        self.learned = 0  # trials that there was something to learn from
        self._evenly = Sobol(space, seed)
        self._points: dict[int, Point] = {}
        self._known = set(known)  # cells

    def model(self, number: int, attempt: int) -> Point:
        """Return the point that the model gives; attempts after the first follow points that are known."""
        raise NotImplementedError(number, attempt)

    def take(self, number: int, point: Point) -> None:
        """Take in that a trial has a point, and runs."""

    def learn(self, point: Point, objective: tuple[float, ...]) -> None:
        """Take in what an earlier trial gave, which is none of this sweep's."""
        raise NotImplementedError(point, objective)

    def tell(
        self, number: int, state: State, objective: tuple[float, ...] | None, curve: Sequence[tuple[int, float]]
    ) -> None:
        """Take what came of a trial."""
        raise NotImplementedError(number, state, objective, curve)

    def ask(self, number: int) -> Point | None:
        """Return the point of a trial; None where nothing new is left."""
        if number not in self._points:
            point = self._new(number)
            if point is None:
                return None
            self.restore(number, point)
        return self._points[number]

    def restore(self, number: int, point: Point) -> None:
        """Take a point that was asked for before."""
        if number not in self._points:
            self._points[number] = point = self.space.again(point)
            self._known.add(point.cell)
            self.take(number, point)

    @property
    def _tries(self) -> int:
        """How often the model is asked: not often where few cells are left, which chance finds as soon."""
        left = TRIES if self.space.size is None else self.space.size - len(self._known)
        return min(TRIES, max(left, 1))

    def _new(self, number: int) -> Point | None:
        """Return a point that is not known: an even one, one of the model, or one by chance."""
        learned = self.learned >= self.startup
        for attempt in range(self._tries if learned else 1):
            point = self.model(number, attempt) if learned else self.space.draw(self._evenly.drawing(number))
            if self.space.allows(point):
                if point.cell not in self._known:
                    return point
                self.repeats += 1
        return Random(self.space, streams.number(self.seed, number), self._known).ask(0)
