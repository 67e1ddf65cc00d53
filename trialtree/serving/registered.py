"""A server's plan from the registry, and from what it answered by last where the registry is away."""

from collections.abc import Callable
from dataclasses import dataclass, field

from trialtree.serving import events
from trialtree.serving.registry import caching
from trialtree.serving.registry.asking import Asked
from trialtree.serving.registry.resolving import Resolver, resolver
from trialtree.serving.settings import Plan, Planned
from trialtree.serving.traffic import Part
from trialtree.tracking.addresses import StoreError

_AWAY = 10.0  # seconds between two tries to reach a registry that is away


@dataclass
class Registered:
    """What the registry says of the models that are wanted."""

    wanted: Callable[[], tuple[Part, ...]]
    last: Callable[[], Plan | None] = lambda: None  # what was answered by before, if the registry is away at the start
    _resolver: Resolver | None = None
    _parts: tuple[Part, ...] = ()
    _seen: dict[Asked, str] = field(default_factory=dict)  # the version that each part meant

    @property
    def pace(self) -> float:
        """Seconds between two looks at the registry."""
        return self._resolver.pace if self._resolver else _AWAY

    def first(self) -> Plan:
        """Return the plan of what is wanted now.

        Raises:
            UserError: a model is not there or cannot be used, or the registry is away and nothing was served before.
        """
        parts = self.wanted()
        try:
            found = resolver()
            plan, seen = _resolved(found, parts)
        except StoreError as error:
            plan_before = self.last() if not self._seen else None
            if plan_before is None or not _whole(plan_before):
                raise
            events.log("registry away", error=str(error), models=[model.label for model in plan_before.models])
            self._parts = parts
            return plan_before
        self._resolver, self._parts, self._seen = found, parts, seen
        return plan

    def poll(self) -> Plan | None:
        """Return the plan where an alias has moved; one that cannot be taken up is not tried again.

        Raises:
            UserError: the registry is away, or what it has now cannot be used.
        """
        if self._resolver is None:
            return self.first()
        now = {part.asked: self._resolver.current(part.asked) for part in self._parts}
        if now == self._seen:
            return None
        try:
            plan, self._seen = _resolved(self._resolver, self._parts)
        except StoreError:
            raise
        except Exception:
            self._seen = now
            raise
        return plan


def _resolved(found: Resolver, parts: tuple[Part, ...]) -> tuple[Plan, dict[Asked, str]]:
    planned: list[Planned] = []
    seen: dict[Asked, str] = {}
    for part in parts:
        resolved = found.resolve(part.asked)
        planned.append(part.planned(resolved))
        seen[part.asked] = resolved.version
    return Plan(0, parts[0].asked.name, tuple(planned)), seen


def _whole(plan: Plan) -> bool:
    """Say whether the models of a plan are still on this machine."""
    return all(caching.found(model.digest) is not None for model in plan.models)
