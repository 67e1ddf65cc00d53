"""Covariance matrix adaptation, of the package cmaes: many trials, numbers that depend on each other.

Hansen, The CMA evolution strategy: a tutorial, 2016, https://doi.org/10.48550/arXiv.1604.00772

A generation is over when as many trials as it takes have ended, whichever they
are: nobody waits for the slowest. Failed trials do not count, and pruned ones
count as worse than all others.
"""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from trialtree.sweep.records import State
from trialtree.sweep.samplers import streams, units
from trialtree.sweep.samplers.base import Point
from trialtree.sweep.samplers.learning import Learning
from trialtree.sweep.section import SweepParams
from trialtree.sweep.space import Space
from trialtree.sweep.space.expressions import Raw
from trialtree.sweep.space.tree import Dimension

if TYPE_CHECKING:
    from cmaes import CMA  # type: ignore[import-untyped]  # it ships no types

STARTUP = 10  # trials
_WIDTH = 0.2  # standard deviation of the first generation, as a share of each range


class Evolution(Learning):
    """Draws around the best trials, in a shape that the generations before give."""

    def __init__(self, space: Space, section: SweepParams, known: Iterable[str] = ()) -> None:
        super().__init__(space, section.seed, section.sampler.startup or STARTUP, known)
        self._sign = 1 if section.objectives[0].goal == "minimize" else -1
        self._places = [of for of in space.dimensions if of.expression.size != 1]
        self._optimizer: CMA | None = None
        self._told: list[tuple[list[float], float]] = []  # of the generation so far: coordinates and loss

    def tell(
        self, number: int, state: State, objective: tuple[float, ...] | None, curve: Sequence[tuple[int, float]]
    ) -> None:
        """Take what came of a trial."""
        del curve
        point = self._points.get(number)
        if point is None or not point.raw:
            return
        if state == "done" and objective is not None and math.isfinite(objective[0]):
            self.learn(point, objective)
        elif state == "pruned":
            self._learn(point, math.inf)

    def learn(self, point: Point, objective: tuple[float, ...]) -> None:
        """Take in what a trial gave."""
        self._learn(point, self._sign * objective[0])

    def _learn(self, point: Point, loss: float) -> None:
        self.learned += 1
        self._told.append(([units.unit(of.expression, point.raw[of.place]) for of in self._places], loss))
        if self._optimizer is None and self.learned >= self.startup:
            self._optimizer = self._strategy(min(self._told, key=lambda told: told[1])[0], None)
            self._told = []
        elif self._optimizer is not None and len(self._told) >= self._optimizer.population_size:
            self._optimizer = self._next(self._optimizer)
            self._told = []

    def _next(self, optimizer: "CMA") -> "CMA":
        """Return the strategy with its next generation; one that has come to its end starts anew, twice as broad."""
        import numpy as np

        optimizer.tell([(np.array(place), loss) for place, loss in self._told])
        if not optimizer.should_stop():
            return optimizer
        mean = [streams.uniform(self.seed, "anew", self.learned, of.place) for of in self._places]
        return self._strategy(mean, 2 * optimizer.population_size)

    def _strategy(self, mean: list[float], population: int | None) -> "CMA":
        """Return a strategy at its first generation."""
        import numpy as np
        from cmaes import CMA

        bounds = np.array([[0.0, 1.0]] * len(mean))
        return CMA(np.array(mean), _WIDTH, bounds=bounds, population_size=population, seed=0)

    def model(self, number: int, attempt: int) -> Point:
        """Return a point of the generation."""
        optimizer = self._optimizer
        assert optimizer is not None  # noqa: S101  # it is there as soon as enough was learned
        optimizer.reseed_rng(streams.number(self.seed, number, attempt, bits=32))
        found = dict(zip((of.place for of in self._places), optimizer.ask().tolist(), strict=True))

        def choose(of: Dimension) -> Raw:
            return units.drawn(of.expression, found[of.place]) if of.place in found else of.expression.at(0)

        return self.space.draw(choose)
