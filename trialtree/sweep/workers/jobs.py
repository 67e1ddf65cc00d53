"""What a slot is given to run, and how that ended: plain values."""

import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from stages.errors import UserError

End = Literal["done", "failed", "crashed", "timeout", "memory", "stopped", "lost"]

_MODULE = re.compile(r"python -m stages\.([A-Za-z]\w*)")
CHECK = "python -m trialtree.sweep.checking"  # of this program, with what was imported for the stages
_TAIL = 4000  # bytes of a log in which its last lines are looked for


class PoolError(UserError):
    """Processes that cannot be started or kept."""


@dataclass(frozen=True)
class Limits:
    """What a trial may take."""

    seconds: float | None = None  # from its beginning, limits.trial_timeout
    memory: int | None = None  # bytes, limits.memory


@dataclass(frozen=True)
class Job:
    """One stage of one trial."""

    trial: int  # its number
    stage: str  # as dvc.yaml names it
    command: str | list[str]  # its cmd, as dvc.yaml has it
    tree: Path  # working folder, absolute
    log: Path  # to which all that it prints is added, absolute
    environment: Mapping[str, str] = field(default_factory=dict)  # added to the pool's own
    code: str | None = None  # digest of the tree's stages/; where it is another one, its modules are imported anew
    params: str | None = None  # text of its params.yaml and what it says, as JSON: the stage need not parse it
    began: float | None = None  # of its trial, by time.monotonic(), for the time limit; None: now

    @property
    def module(self) -> str | None:
        """The module of stages/ that the command runs, and nothing else; None for what a shell must run."""
        if self.command == CHECK:
            return CHECK.rpartition(" ")[2]
        found = _MODULE.fullmatch(self.command) if isinstance(self.command, str) else None
        return found[1] if found else None


@dataclass(frozen=True)
class Finished:
    """How a job ended. Every job that a pool takes ends once."""

    slot: int
    job: Job
    end: End  # lost: by no fault of its own, and may be run again
    status: int | None  # exit status; of a signal its number below 0; None where nobody knows it
    reason: str | None = None  # one line on why, unless it is done
    seconds: float = 0.0
    cpu: float = 0.0  # seconds, user and system, of the server and of what the stage started and waited for
    peak: int = 0  # bytes: largest resident size of the server meanwhile
    imported: tuple[str, ...] = ()  # modules that were imported for it, and will not be for those after it


@dataclass(frozen=True)
class Setup:
    """What a pool is for."""

    root: Path  # whose stages/ the importer imports: a tree with the code that the trials have
    slots: int  # trials at once
    stages: Sequence[str]  # modules of stages/ that will run, as train and evaluate
    estimators: Sequence[str]  # dotted names, of all that the space may choose
    folder: Path  # .dvc/tmp/trialtree, where what imports were needed is kept
    log: Path  # of the importer itself; of a stage only what it prints outside of its job
    code: str | None = None  # digest of root's stages/, see `Job`
    environment: Mapping[str, str] | None = None  # that stages find; None: this process's own
    limits: Limits = field(default_factory=Limits)
    isolation: Literal["warm", "trial"] = "warm"  # trial: a server for each trial, that has run no other
    recycle_after: int = 200  # jobs of one server


def told(status: int) -> str:
    """Return an exit status in words."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def size(path: Path) -> int:
    """Return the size of a file, 0 for one that is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def last_line(log: Path, start: int = 0) -> str | None:
    """Return the last line of a log behind `start` that is not empty: what an error says comes last."""
    try:
        with log.open("rb") as file:
            file.seek(max(start, size(log) - _TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), None)


def in_words(count: int) -> str:
    """Return bytes as a person reads them."""
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def message(job: Job, commands: list[list[str]]) -> dict[str, Any]:
    """Return what a server is told of a job; `commands` are those of a shell."""
    return {
        "module": job.module,
        "commands": commands,
        "tree": str(job.tree),
        "log": str(job.log),
        "environment": dict(job.environment),
        "code": job.code,
        "params": job.params,
    }
