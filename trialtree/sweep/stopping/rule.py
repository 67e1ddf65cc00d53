"""What all rules of early termination have in common: the keys, and what a rule is asked."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from stages import params

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Goal = Literal["maximize", "minimize"]


class Rule(params.Section):
    """`sweep.early_termination`, whatever the policy.

    A rule sees performances of which more is better: of a goal to minimize, the
    negative values. A trial performs as well as its best report so far; reports
    that are no finite number do not count, and a trial that has nothing else is
    worse than all others.
    """

    policy: str
    evaluation_interval: int = Field(default=1, ge=1)  # asked at every such report
    delay_evaluation: int = Field(default=0, ge=0)  # and not before this one
    curve: str | None = None  # label in reports/curves.csv; default that of the objective
    goal: Goal | None = None  # of the curve; default what the label is known for

    averaged: ClassVar[bool] = False  # trials are compared with the running averages of all, not with their best
    level: ClassVar[bool] = False  # only with trials that have come to t, not with what shorter ones had

    @model_validator(mode="before")
    @classmethod
    def _know_every_key(cls, section: Any) -> Any:
        unknown = [key for key in section if key not in cls.model_fields] if isinstance(section, Mapping) else []
        if unknown:
            near = params.nearest(str(unknown[0]), cls.model_fields)
            raise ValueError(f"{unknown[0]} is not a key of {section.get('policy')}; {near}")
        return section

    def bracket(self, number: int) -> int:  # noqa: ARG002  # few rules tell trials apart
        """Return the bracket of a trial: it is compared with those of its own only."""
        return 0

    def asks(self, t: int, bracket: int) -> bool:  # noqa: ARG002  # the same
        """Say whether the policy is asked at report t of a trial."""
        return t % self.evaluation_interval == 0 and t >= self.delay_evaluation

    def fault(self, best: float, goal: Goal) -> str | None:  # noqa: ARG002  # few rules have one
        """Return why the rule can say nothing, the best performance being this."""
        return None

    def threshold(self, performances: "Array", goal: Goal) -> float | None:
        """Return the performance under which a trial is stopped, by those (n,) of all trials; None stops nobody."""
        raise NotImplementedError
