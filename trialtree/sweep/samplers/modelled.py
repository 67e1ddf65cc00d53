"""What samplers have in common that learn through Optuna.

Optuna's study holds the trials in the order in which they were asked for; a
draw that equalled a known point stays there as a failed trial, of which
nothing is learned.
"""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from trialtree.sweep.records import State
from trialtree.sweep.samplers import coordinates, streams
from trialtree.sweep.samplers.base import Point
from trialtree.sweep.samplers.learning import Learning
from trialtree.sweep.space import Space, tree
from trialtree.sweep.space.expressions import Raw
from trialtree.sweep.space.tree import Dimension

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial, TrialState


class Modelled(Learning):
    """Asks an Optuna sampler, made afresh for each draw."""

    jointly = True  # keys are drawn together, not one by one
    curve_sign = 1  # -1 where a curve's goal is not the objective's

    def __init__(self, space: Space, seed: int, startup: int, goals: Sequence[str], known: Iterable[str] = ()) -> None:
        import optuna

        super().__init__(space, seed, startup, known)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study(directions=list(goals), sampler=optuna.samplers.RandomSampler(seed=0))
        self._running: dict[int, int] = {}  # numbers in the study, by ours
        self._distributions = {
            of.place: coordinates.distribution(of.expression) for of in space.dimensions if of.expression.size != 1
        }
        self._beside = {  # the keys that are drawn whenever one is
            of.place: {d.place: self._distributions[d.place] for d in group if d.place in self._distributions}
            for group in tree.groups(space.root)
            for of in group
        }

    def sampler(self, seed: int, attempt: int) -> "BaseSampler":
        """Return Optuna's sampler for a draw; see `model`."""
        raise NotImplementedError(seed, attempt)

    def tell(
        self, number: int, state: State, objective: tuple[float, ...] | None, curve: Sequence[tuple[int, float]]
    ) -> None:
        """Take what came of a trial.

        One that failed is worse than all others to a model that takes trials without a value (TPE): a family whose
        fits run out of time would else be drawn for ever. It does not count towards the first points.
        """
        from optuna.trial import TrialState

        if number not in self._running:
            return
        told = self._running.pop(number)
        if state == "done" and objective is not None and all(map(math.isfinite, objective)):
            self._study.tell(told, list(objective))
            self.learned += 1
        elif state == "pruned" and curve and len(self._study.directions) == 1:
            self._report(told, curve[-1][0], self.curve_sign * curve[-1][1])
            self._study.tell(told, state=TrialState.PRUNED)
            self.learned += 1
        elif len(self._study.directions) == 1:
            self._study.tell(told, state=TrialState.PRUNED)
        else:
            self._study.tell(told, state=TrialState.FAIL)

    def _report(self, told: int, t: int, value: float) -> None:
        """Take the last report of a trial that was stopped."""
        from optuna.trial import Trial

        Trial(self._study, self._frozen(told)._trial_id).report(value, t)

    def take(self, number: int, point: Point) -> None:
        """Take a trial that runs into the study; one outside of the space is none that a model can take."""
        from optuna.trial import TrialState

        if point.raw:
            self._running[number] = self._add(point, TrialState.RUNNING)

    def learn(self, point: Point, objective: tuple[float, ...]) -> None:
        """Take in what an earlier trial gave."""
        from optuna.trial import TrialState

        self._add(point, TrialState.COMPLETE, list(objective))
        self.learned += 1

    def _add(self, point: Point, state: "TrialState", values: list[float] | None = None) -> int:
        """Take a point into the study, and return its number there."""
        from optuna.trial import create_trial

        drawn = [of for of in self.space.dimensions if of.place in point.raw and of.place in self._distributions]
        params = {of.place: coordinates.coordinate(of.expression, point.raw[of.place]) for of in drawn}
        distributions = {of.place: self._distributions[of.place] for of in drawn}
        self._study.add_trial(create_trial(state=state, values=values, params=params, distributions=distributions))
        return len(self._study.get_trials(deepcopy=False)) - 1

    def _frozen(self, number: int) -> "FrozenTrial":
        return self._study.get_trials(deepcopy=False)[number]

    def model(self, number: int, attempt: int) -> Point:
        """Return the point that Optuna's sampler gives; a choice before what it brings."""
        from optuna.trial import TrialState

        sampler = self.sampler(streams.number(self.seed, number, attempt, bits=32), attempt)
        asked = self._study.ask().number
        trial = self._frozen(asked)
        found: dict[str, int | float] = {}

        def choose(of: Dimension) -> Raw:
            if of.place not in self._distributions:
                return of.expression.at(0)
            if of.place not in found and self.jointly:
                found.update(sampler.sample_relative(self._study, trial, self._beside[of.place]))
            if of.place not in found:
                distribution = self._distributions[of.place]
                found[of.place] = sampler.sample_independent(self._study, trial, of.place, distribution)
            return coordinates.drawn(of.expression, found[of.place])

        point = self.space.draw(choose)
        self._study.tell(asked, state=TrialState.FAIL)
        return point
