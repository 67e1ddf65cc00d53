"""What a sweep knows of itself and its trials: plain values, as its journal has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["waiting", "running", "done", "failed", "pruned"]

ENDED: tuple[State, ...] = ("done", "failed", "pruned")


@dataclass(frozen=True)
class Head:
    """What a sweep is, settled before its first trial."""

    id: str  # iris-k3f9
    time: int  # milliseconds since 1970
    section: Mapping[str, Any]  # sweep: of params.yaml, as it was then
    params: Mapping[str, Any]  # all of params.yaml
    experiment: str
    baseline: str  # the commit that the trials stand on
    tree: str  # Git's tree that they start from: the baseline's, and uncommitted changes to tracked files
    changed: Sequence[str]  # the files with such changes
    seed: int
    executor: str  # "engine" or "cli"
    dvc: str  # version


@dataclass(frozen=True)
class Decision:
    """Why a policy stopped a trial."""

    policy: str
    step: int  # t: the number of the report, from 1
    value: float  # of the trial, as the policy compares it
    threshold: float  # that it had to reach

    @property
    def text(self) -> str:
        """One line for a person."""
        return f"{self.policy} at report {self.step}: {self.value:.6g} against {self.threshold:.6g}"


@dataclass
class Trial:
    """One trial of a sweep, as far as it has come."""

    number: int  # from 0, in the order asked for
    values: dict[str, Any]  # of params.yaml, by dotted key
    raw: dict[str, Any] = field(default_factory=dict)  # as drawn, before rounding
    source: str = "sampler"  # or "start_from"
    state: State = "waiting"
    attempt: int = 0  # from 1, once begun
    began: int | None = None  # milliseconds since 1970
    seconds: float | None = None
    objective: tuple[float, ...] | None = None  # of a trial that is done, in the order of sweep.objective
    metrics: dict[str, float] = field(default_factory=dict)  # by dotted name, as cv.accuracy
    name: str | None = None  # of the DVC experiment
    commit: str | None = None
    model_bytes: int | None = None  # size of models/model
    ran: tuple[str, ...] = ()  # stages that were run
    restored: tuple[str, ...] = ()  # stages whose results DVC's cache gave
    curve: list[tuple[int, float]] = field(default_factory=list)  # (t, value) as the policy saw it
    decision: Decision | None = None  # of a pruned trial
    reason: str | None = None  # why it failed, a line
    status: int | None = None  # exit status of the stage that failed; a signal's number below 0
    stage: str | None = None  # that failed or was stopped
    log: str | None = None  # file of what it printed, relative to the sweep's folder
    parts: dict[str, float] = field(default_factory=dict)  # seconds by what they went into, with --profile


@dataclass
class Sweep:
    """A sweep and its trials, as the journal has them."""

    head: Head
    trials: dict[int, Trial] = field(default_factory=dict)  # by number
    order: list[int] = field(default_factory=list)  # numbers in the order in which they ended
    repeats: int = 0  # draws of a point that was tried already, answered from what was known
    finished: str | None = None  # why it is over; None while it runs or can go on
    interrupted: str | None = None  # why the driver left without finishing

    def of(self, *states: State) -> list[Trial]:
        """Return the trials in these states, by number."""
        return [self.trials[n] for n in sorted(self.trials) if self.trials[n].state in states]
