"""Where a server has its plan from: which models it answers by."""

import math
from dataclasses import dataclass
from typing import Protocol

from trialtree.serving.settings import Plan


class Source(Protocol):
    """What says by which models a server answers; its plans are numbered by whoever takes them."""

    @property
    def pace(self) -> float:
        """Seconds between two calls of `poll`."""

    def first(self) -> Plan:
        """Return the plan as it is now; asked again when a setting or a file of a model may have changed.

        Raises:
            UserError: there is none.
        """

    def poll(self) -> Plan | None:
        """Return the plan where it has changed since the last call.

        Raises:
            UserError: that cannot be told now.
        """


@dataclass(frozen=True)
class Fixed:
    """A plan that never changes."""

    plan: Plan
    pace: float = math.inf

    def first(self) -> Plan:
        """Return it."""
        return self.plan

    def poll(self) -> Plan | None:
        """Return nothing: it does not change."""
        return None
