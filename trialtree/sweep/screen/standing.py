"""How the trials of a sweep stand to each other: `ranking`, asked of a sweep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from trialtree.sweep import ranking
from trialtree.sweep.ranking import Best, Objective
from trialtree.sweep.records import Sweep, Trial


class Goals(Protocol):
    """What a sweep looks for; the section of params.yaml is one."""

    @property
    def objectives(self) -> Sequence[Objective]: ...

    @property
    def tie_break(self) -> Sequence[Objective]: ...


@dataclass(frozen=True)
class Goal:
    """A metric and where it should go."""

    metric: str
    goal: Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Recorded:
    """What a sweep of the past looked for, whatever else its section may have held."""

    objectives: Sequence[Goal]
    tie_break: Sequence[Goal]


def recorded(section: Mapping[str, Any]) -> Recorded:
    """Return the goals of a section as a journal has it."""
    given = section["objective"]
    return Recorded(_goals(given if isinstance(given, list) else [given]), _goals(section.get("tie_break") or []))


def _goals(given: Sequence[Mapping[str, Any]]) -> list[Goal]:
    return [Goal(each["metric"], each["goal"]) for each in given]


def best(sweep: Sweep, goals: Goals) -> Best | None:
    """Return the best trial; None where none is done."""
    return ranking.best(sweep.trials.values(), goals.objectives, goals.tie_break)


def ranked(sweep: Sweep, goals: Goals) -> list[Trial]:
    """Return the trials that are done, the best first."""
    return ranking.ranked(sweep.trials.values(), goals.objectives, goals.tie_break)


def explain(found: Best, goals: Goals) -> list[str]:
    """Return in lines for a person why a trial is the best."""
    return ranking.explain(found, goals.objectives, goals.tie_break)


def better(goals: Goals, one: Trial, other: Trial) -> bool:
    """Say whether a trial that is done goes before another."""
    return ranking.ranked([one, other], goals.objectives, goals.tie_break)[0] is one
