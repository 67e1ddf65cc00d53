"""The journal of a sweep: one line of JSON an event, only ever added to, and by the driver alone.

In .dvc/tmp/trialtree/sweeps/ID/:

    journal.jsonl    the events; whatever else is said of the sweep is read from it
    driver.lock      held by the driver as long as it runs
    logs/00012.log   what trial 12 printed, a file for each trial that is kept

Events, each with its name under `event`:

    sweep      what the sweep is: the fields of `records.Head`
    asked      number, values, raw, source: a point was settled
    repeat     count: so many draws equalled a point that is known
    began      number, attempt, time
    stop       number, policy, step, value, threshold: a policy's decision
    ended      number, state, and the other fields of `records.Trial`; again: it failed, and waits for another attempt
    resumed    time, failed: a driver went on, with these failed trials to be run again
    note       text: for a person
    left       reason, time: the driver left, and the sweep can go on
    finished   reason, time

A trial that began and has not ended when nobody holds the lock is waiting
again. A line that a crash cut off is not there.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO, Any, Self

from stages import invocations
from stages.errors import UserError
from trialtree.sweep.records import Decision, Head, Sweep, Trial

SWEEPS = Path(".dvc/tmp/trialtree/sweeps")
FILE = "journal.jsonl"
LOCK = "driver.lock"

_PATIENCE = 0.5  # seconds

_OF_TRIAL = {field.name for field in fields(Trial)}
_TUPLES = ("objective", "ran", "restored")


class SweepError(UserError):
    """A sweep that is not there, or cannot go on."""


def place() -> Path:
    """Return the folder of all sweeps: in the main working tree, which worktrees share.

    Raises:
        SweepError: there is no Git repository with DVC around.
    """
    top, _, _ = invocations.repository(Path.cwd())
    if top is None:
        raise SweepError(f"{Path.cwd()} is not in a Git repository; `git init` and `dvc init` make it one")
    here = Path.cwd()
    own = next((parent for parent in (here, *here.parents) if (parent / ".dvc").is_dir()), None)
    return (top if (top / ".dvc").is_dir() or own is None else own) / SWEEPS


class Journal:
    """An open journal, for its one driver."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / LOCK).open("a+")
        if not _locked(self._lock, fcntl.LOCK_EX, _PATIENCE):
            self._lock.seek(0)
            pid = self._lock.read().strip()
            self._lock.close()
            raise SweepError(f"sweep {folder.name} is running already, in process {pid or 'unknown'}")
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()
        _mend(folder / FILE)
        self._file: IO[bytes] = (folder / FILE).open("ab", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, event: str, **said: Any) -> None:
        """Add an event: in the file when this returns, whatever comes after.

        Raises:
            OSError: the disk is full; then nothing of it is in the file.
        """
        line = json.dumps({"event": event, **said}, ensure_ascii=False, default=_plain).encode() + b"\n"
        size = os.fstat(self._file.fileno()).st_size
        written = 0
        try:
            while written < len(line):
                written += self._file.write(line[written:])
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(size)
            raise OSError(error.errno, error.strerror, str(self.folder / FILE)) from None

    def close(self) -> None:
        """Let the next driver in."""
        self._file.close()
        self._lock.close()


def _plain(value: Any) -> Any:
    """Return a value of numpy's or a dataclass as JSON has it."""
    if hasattr(value, "item"):
        return value.item()
    if hasattr(value, "__dataclass_fields__"):
        return asdict(value)
    raise TypeError(type(value).__name__)


def _mend(path: Path) -> None:
    """Take away a last line that a crash cut off."""
    with suppress(FileNotFoundError), path.open("rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


def _locked(lock: IO[str], how: int, patience: float = 0.0) -> bool:
    """Say whether a lock could be had; what only looks whether a driver runs holds it for a moment."""
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.01)
        else:
            return True


def running(folder: Path) -> bool:
    """Say whether a driver of the sweep runs."""
    try:
        with (folder / LOCK).open() as lock:
            return not _locked(lock, fcntl.LOCK_SH)
    except OSError:
        return False


def events(path: Path, start: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the events from a place in the file, each with the place behind it; a line without an end is not there."""
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            if not line.endswith(b"\n"):
                return
            start += len(line)
            with suppress(ValueError):  # a disk's damage costs that event alone
                yield json.loads(line), start


def read(folder: Path) -> Sweep:
    """Return a sweep as its journal has it.

    Raises:
        SweepError: there is no such sweep, or its journal has no beginning.
    """
    return Reader(folder).read()


class Reader:
    """Follows the journal of a sweep that may be running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._at = 0
        self.sweep: Sweep | None = None

    def read(self) -> Sweep:
        """Return the sweep, with what has been added since."""
        try:
            for event, at in events(self.folder / FILE, self._at):
                self._at = at
                self._take(event)
        except FileNotFoundError:
            pass
        if self.sweep is None:
            raise SweepError(f"there is no sweep {self.folder.name}; `trialtree sweeps` lists them")
        if not running(self.folder):
            for trial in self.sweep.of("running"):
                trial.state = "waiting"
        return self.sweep

    def _take(self, event: dict[str, Any]) -> None:
        kind = event.pop("event", None)
        if kind == "sweep":
            self.sweep = Sweep(Head(**{field.name: event[field.name] for field in fields(Head)}))
        elif self.sweep is not None:
            apply(self.sweep, kind, event)


def apply(sweep: Sweep, kind: str | None, event: Mapping[str, Any]) -> None:
    """Take an event into what is known of a sweep; one of a later form of the journal is passed over."""
    trials = sweep.trials
    if kind == "asked":
        trials[event["number"]] = Trial(event["number"], event["values"], event["raw"], event["source"])
    elif kind == "repeat":
        sweep.repeats += event["count"]
    elif kind == "began":
        trial = trials[event["number"]]
        trial.state, trial.attempt, trial.began = "running", event["attempt"], event["time"]
    elif kind == "stop":
        trials[event["number"]].decision = Decision(event["policy"], event["step"], event["value"], event["threshold"])
    elif kind == "ended":
        _end(trials[event["number"]], event)
        sweep.order = [number for number in sweep.order if number != event["number"]] + [event["number"]]
    elif kind == "resumed":
        sweep.finished = sweep.interrupted = None
        for trial in (*sweep.of("running"), *(trials[number] for number in event.get("failed", ()))):
            trial.state = "waiting"
    elif kind in ("left", "finished"):
        for trial in sweep.of("running"):
            trial.state = "waiting"
        setattr(sweep, "finished" if kind == "finished" else "interrupted", event["reason"])


def _end(trial: Trial, event: Mapping[str, Any]) -> None:
    """Take in how a trial ended."""
    for name, value in event.items():
        if name == "decision":
            trial.decision = Decision(**value) if isinstance(value, Mapping) else value
        elif name == "curve":
            trial.curve = [(step, number) for step, number in value]
        elif name in _TUPLES:
            setattr(trial, name, None if value is None else tuple(value))
        elif name in _OF_TRIAL:
            setattr(trial, name, value)
    if event.get("again"):
        trial.state = "waiting"


def folders() -> list[Path]:
    """Return the folders of the sweeps that are kept here, the newest last."""
    found = [path.parent for path in place().glob(f"*/{FILE}")]
    return sorted(found, key=lambda folder: (folder / FILE).stat().st_ctime if not _time(folder) else _time(folder))


def _time(folder: Path) -> float:
    """Return when a sweep began, in seconds."""
    first = next(events(folder / FILE), None)
    return float(first[0].get("time", 0)) / 1000 if first else 0.0


def find(name: str | None = None) -> Path:
    """Return the folder of a sweep, by its id or its beginning; without, of the latest.

    Raises:
        SweepError: there is none, or several that begin so.
    """
    there = folders()
    if not there:
        raise SweepError("no sweep has run here; `trialtree sweep` runs that of params.yaml")
    if name is None:
        return there[-1]
    found = [folder for folder in there if folder.name == name] or [f for f in there if f.name.startswith(name)]
    if len(found) != 1:
        ids = ", ".join(folder.name for folder in (found or there)[-8:])
        raise SweepError(f"{name} is {'no sweep' if not found else 'the beginning of several'}: {ids}")
    return found[0]
