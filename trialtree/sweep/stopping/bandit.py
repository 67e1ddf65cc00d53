"""The bandit policy: a trial must not be worse than the best by more than a slack."""

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from trialtree.sweep.stopping.rule import Goal, Rule

if TYPE_CHECKING:
    from trialtree.sweep.stopping.rule import Array


class Bandit(Rule):
    """Stop a trial whose best so far is under `best / (1 + slack_factor)` or `best - slack_amount`.

    `best` is that of all trials up to t. To minimize: over `best * (1 + slack_factor)` or `best + slack_amount`. A
    factor of a negative best would stop the best trial itself: then nobody is stopped, and a note says so.
    """

    policy: Literal["bandit"] = "bandit"
    slack_factor: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    slack_amount: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _have_one_slack(self) -> Self:
        if (self.slack_factor is None) == (self.slack_amount is None):
            given = "none" if self.slack_factor is None else "both"
            raise ValueError(f"bandit takes exactly one of slack_factor and slack_amount, got {given}")
        return self

    def fault(self, best: float, goal: Goal) -> str | None:
        """Return why a factor says nothing."""
        value = best if goal == "maximize" else -best
        if self.slack_factor is None or value >= 0:
            return None
        return f"slack_factor is for values from 0, and the best is {value:.6g}: nothing is stopped; take slack_amount"

    def threshold(self, performances: "Array", goal: Goal) -> float | None:
        """Return the best less the slack."""
        best = float(performances.max())
        if self.slack_amount is not None:
            return best - self.slack_amount
        factor = 1 + (self.slack_factor or 0)
        return best / factor if goal == "maximize" else best * factor
