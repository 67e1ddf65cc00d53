"""Hyperband: successive halving in as many brackets as the longest trial has rungs."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trialtree.sweep.stopping.asha import Halving


class Hyperband(Halving):
    """Successive halving in `floor(log(max_resource / min_resource) / log(reduction_factor)) + 1` brackets.

    References:
        L. Li et al., Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization (2018),
        https://www.jmlr.org/papers/v18/16-558.html
    """

    policy: Literal["hyperband"] = "hyperband"
    max_resource: Annotated[int, Field(ge=1)] | None = None  # reports of a whole trial; default the curve's length

    @model_validator(mode="after")
    def _leave_room(self) -> Self:
        if self.max_resource is not None and self.max_resource < self.min_resource:
            raise ValueError(f"max_resource ({self.max_resource}) must not be under min_resource ({self.min_resource})")
        return self

    @property
    def count(self) -> int:
        """The number of brackets: by multiplication, because a logarithm of 243 to 3 is under 5."""
        brackets, rung = 1, self.min_resource * self.reduction_factor
        while rung <= (self.max_resource or 0):
            brackets, rung = brackets + 1, rung * self.reduction_factor
        return brackets
