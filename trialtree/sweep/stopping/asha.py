"""Asynchronous successive halving: at each rung the best share of the trials goes on."""

from itertools import accumulate
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from trialtree.sweep.stopping.rule import Goal, Rule

if TYPE_CHECKING:
    from trialtree.sweep.stopping.rule import Array


class Halving(Rule):
    """Stop a trial at a rung unless it is among the best `1 / reduction_factor` of those that have come there.

    Rungs are the reports `min_resource * reduction_factor ** k`, or the next at which the policy is asked. Nobody
    waits for others: of the n that have come to a rung so far, the best `max(1, floor(n / reduction_factor))` go on,
    so the first always does, and what ties with the worst of these.

    Trials of bracket b (from 0) skip the first b rungs and are compared with each other only. A trial's bracket is a
    function of its number; the brackets' shares are Hyperband's, with the most trials in the first.

    References:
        L. Li et al., A System for Massively Parallel Hyperparameter Tuning (2020), https://arxiv.org/abs/1810.05934
    """

    min_resource: int = Field(default=1, ge=1)  # reports before the first rung
    reduction_factor: int = Field(default=3, ge=2)

    level: ClassVar[bool] = True

    @property
    def count(self) -> int:
        """The number of brackets."""
        raise NotImplementedError

    def bracket(self, number: int) -> int:
        """Return the bracket of a trial, from 0: spread evenly over the numbers by the golden ratio."""
        sizes = [self.count / (s + 1) * self.reduction_factor**s for s in reversed(range(self.count))]
        place = number * 2654435769 % 2**32 / 2**32 * sum(sizes)
        return sum(place >= end for end in accumulate(sizes[:-1]))

    def asks(self, t: int, bracket: int) -> bool:
        """Say whether report t is a rung of the bracket."""
        rung = self.min_resource * self.reduction_factor**bracket
        while self._next(rung) < t:
            rung *= self.reduction_factor
        return self._next(rung) == t

    def _next(self, rung: int) -> int:
        """Return the first report from a rung on at which the policy is asked."""
        from_ = max(rung, self.delay_evaluation)
        return -(-from_ // self.evaluation_interval) * self.evaluation_interval

    def threshold(self, performances: "Array", goal: Goal) -> float | None:  # noqa: ARG002  # mirrored before
        """Return the performance of the worst that goes on."""
        import numpy as np

        best = max(1, len(performances) // self.reduction_factor)
        return float(np.partition(performances, -best)[-best])


class Asha(Halving):
    """Successive halving without an end, in one bracket or several."""

    policy: Literal["asha"] = "asha"
    brackets: int = Field(default=1, ge=1)

    @property
    def count(self) -> int:
        """The number of brackets."""
        return self.brackets
