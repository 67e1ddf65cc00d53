"""The median stopping rule: a trial must come up to the median of the trials' running averages."""

from typing import TYPE_CHECKING, ClassVar, Literal

from trialtree.sweep.stopping.rule import Goal, Rule

if TYPE_CHECKING:
    from trialtree.sweep.stopping.rule import Array


class MedianStopping(Rule):
    """Stop a trial whose best so far is worse than the median over all trials of their averages up to t.

    All trials are those stopped, ended or still running, and the trial itself; of one with fewer reports the
    average is of these. The first trial is compared with its own average, which its best is never under.

    References:
        D. Golovin et al., Google Vizier: A Service for Black-Box Optimization (2017),
        https://doi.org/10.1145/3097983.3098043. Optuna's MedianPruner is another rule.
    """

    policy: Literal["median_stopping"] = "median_stopping"

    averaged: ClassVar[bool] = True

    def threshold(self, performances: "Array", goal: Goal) -> float | None:  # noqa: ARG002  # mirrored before
        """Return the median."""
        import numpy as np

        return float(np.median(performances))
