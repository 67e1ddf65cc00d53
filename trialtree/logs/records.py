"""Read what stages/logs.py keeps: the invocations, and the executions of stages in them."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from stages import invocations
from stages.logs import ORDER

State = Literal["ended", "running", "killed", "unknown"]
_GOING = ("waiting", "running")  # outcomes of a trial that has not ended


@dataclass(frozen=True)
class Execution:
    """One execution of a stage."""

    stage: str
    started: int  # milliseconds since 1970
    seconds: float | None  # None while it runs, and of one that was killed
    status: int | None  # with which it ended; None likewise
    log: Path
    folder: str
    experiment: str | None  # of DVC
    commit: str | None  # that was checked out; the baseline of an experiment
    branch: str | None
    pid: int
    process: str  # when the process was started, in the system's ticks
    machine: str
    cached: bool = False  # it ran in another invocation than the trial's, which took its result
    outcome: str | None = None  # of a sweep's trial, all of whose stages it is: how that ended

    @property
    def invocation(self) -> str:
        """The folder of logs that it is in."""
        return self.log.parent.name

    @property
    def state(self) -> State:
        """Whether it has ended; `unknown` of another machine's, which may be at work."""
        if self.outcome is not None:
            return "running" if self.outcome in _GOING else "ended"
        if self.status is not None:
            return "ended"
        if self.machine != invocations.machine():
            return "unknown"
        known = invocations.process(self.pid)
        return "running" if known is not None and known[0] == self.process else "killed"

    @property
    def when(self) -> datetime:
        """When it started, UTC."""
        return datetime.fromtimestamp(self.started / 1000, UTC)

    @property
    def of(self) -> str:
        """The trial that it ran for, in words."""
        if self.experiment:
            return f"experiment {self.experiment}"
        at = self.commit[:7] if self.commit else "no commit"
        return f"{self.branch}@{at}" if self.branch else at

    def output(self) -> str:
        """Return what it printed; of a line that was written over again and again, as bars do, the last state."""
        try:
            text = self.log.read_bytes().decode(errors="replace")
        except OSError:  # removed meanwhile
            return ""
        return plain(text)


def plain(text: str) -> str:
    """Return text with each line as a terminal would leave it."""
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))


@dataclass(frozen=True)
class Invocation:
    """The stages that one process of DVC ran for one trial."""

    path: Path

    @cached_property
    def files(self) -> list[str]:
        """The names of its files."""
        try:
            return sorted(os.listdir(self.path))  # noqa: PTH208  # ten times as quick, for a thousand folders
        except OSError:
            return []

    @cached_property
    def executions(self) -> dict[str, Execution]:
        """The stages that ran, in the order in which they did."""
        found = [e for name in self.files if name.endswith(".json") and (e := _read(self.path / name))]
        return {execution.stage: execution for execution in sorted(found, key=lambda e: e.started)}

    @cached_property
    def keys(self) -> dict[str, str]:
        """The keys of the entries of dvc.lock that a later stage found, by stage."""
        parts = (name.split(".") for name in self.files if name.endswith(".entry"))
        return {part[0]: part[1] for part in parts if len(part) == 3}

    @property
    def first(self) -> Execution | None:
        """The stage that ran first."""
        return next(iter(self.executions.values()), None)

    @property
    def over(self) -> bool:
        """Whether nothing more will run in it."""
        if any(e.status or (e.status == 0 and e.stage == ORDER[-1]) for e in self.executions.values()):
            return True
        if self.first is None or self.first.machine != invocations.machine():
            return True
        # One process may run one trial after the other.
        same = f"-{'-'.join(self.path.name.split('-')[1:3])}-"
        later = any(same in path.name and path.name > self.path.name for path in self.path.parent.iterdir())
        return later or invocations.over(self.path.name)


def _read(path: Path) -> Execution | None:
    """Return the execution of a record; None of one that is damaged or half written."""
    known: dict[str, Any] = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            known |= json.loads(line)
    except (OSError, ValueError, TypeError):
        pass
    fields = ("folder", "experiment", "commit", "branch", "pid", "process", "machine")
    if not {"stage", "started", *fields} <= known.keys():
        return None
    of = {name: known[name] for name in fields}
    log = path.with_suffix(".log")
    return Execution(known["stage"], known["started"], known.get("seconds"), known.get("status"), log, **of)


def every() -> Iterator[Invocation]:
    """Yield the invocations of the repository around the working folder, the newest first."""
    place = invocations.place(Path.cwd())
    names = os.listdir(place) if place and place.is_dir() else []  # noqa: PTH208  # as above
    for name in sorted(filter(invocations.FORM.fullmatch, names), reverse=True):
        yield Invocation(Path(place or "", name))
