"""Truncation selection: the worst share of the trials is stopped."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from trialtree.sweep.stopping.rule import Goal, Rule

if TYPE_CHECKING:
    from trialtree.sweep.stopping.rule import Array


class TruncationSelection(Rule):
    """Stop a trial that is among the worst `truncation_percentage` percent of those that have come to report t.

    Of n trials the worst `floor(n * percentage / 100)` are stopped: none of four at 20 percent, one of five. Trials
    that are as good as the worst that stays, stay.
    """

    policy: Literal["truncation_selection"] = "truncation_selection"
    truncation_percentage: int = Field(ge=1, le=99)

    level: ClassVar[bool] = True

    def threshold(self, performances: "Array", goal: Goal) -> float | None:  # noqa: ARG002  # mirrored before
        """Return the performance of the worst that stays."""
        import numpy as np

        worst = len(performances) * self.truncation_percentage // 100
        return float(np.partition(performances, worst)[worst]) if worst else None
