"""The things that a chain is made of."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["model version", "trial", "data"]


@dataclass(frozen=True)
class Commit:
    """A commit that holds a trial."""

    id: str
    here: bool  # whether this repository has it
    subject: str = ""
    author: str = ""
    date: str = ""  # of the commit, ISO 8601
    time: int = 0  # of the commit, seconds


@dataclass(frozen=True)
class Run:
    """A run of MLflow, with what it said of its origin when it was made."""

    id: str
    name: str
    experiment: str
    branch: str | None
    user: str | None
    started: int  # milliseconds
    dvc_experiment: str | None
    uncommitted_changes: bool
    tags: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Version:
    """A version of a registered model."""

    name: str
    number: str
    aliases: list[str]
    digest: str | None
    key: str | None  # of the trial that it was registered from
    run_id: str | None
    commits: list[str]


@dataclass(frozen=True)
class Data:
    """A version of the data: a raw table and the split of it."""

    raw: str | None  # DVC's hash
    split: str | None  # DVC's hash
    source: list[str]  # what fetch read
    first_commit: Commit | None  # that has them
    storage: Mapping[str, str]  # addresses by part


@dataclass(frozen=True)
class Trial:
    """A trial with all that is known of it."""

    key: str
    commits: list[Commit]
    runs: list[Run]
    versions: list[Version]
    data: Data
    params: Mapping[str, Any]
    metrics: Mapping[str, float]

    @property
    def order(self) -> tuple[int, str]:
        """When the trial came to be, as far as is known."""
        times = [commit.time for commit in self.commits if commit.here] + [run.started // 1000 for run in self.runs]
        return min(times, default=0), self.key


@dataclass(frozen=True)
class Chain:
    """What was asked about, and the trials that it came from or that came of it."""

    asked: str
    kind: Kind
    trials: list[Trial]
    version: Version | None = None
    data: list[Data] = field(default_factory=list)
    warning: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the chain as JSON has it."""
        found = asdict(self)
        for trial in found["trials"]:
            for run in trial["runs"]:
                del run["tags"]
        return found
