"""A trial of a sweep to what it printed, which the sweep keeps: also one that failed or was stopped, and has no commit.

`ID/7`, or `ID-0007` as its experiment is called.
"""

import re
from pathlib import Path

from stages import invocations
from stages.errors import UserError
from trialtree.logs.records import Execution
from trialtree.sweep import journal
from trialtree.sweep.records import Sweep, Trial
from trialtree.sweep.screen import words

_NAME = re.compile(r"(?P<sweep>[^/]+)(?:/|-0*(?=\d))(?P<number>\d+)")
STAGE = "trial"  # in place of a stage's name: one log has them all


class NoLogError(UserError):
    """A trial of a sweep that has printed nothing that is kept."""


def find(name: str) -> tuple[str, Execution | None] | None:
    """Return a trial's name and what it printed; None where the name is of no sweep, without an execution where
    the trial is an experiment whose log the sweep does not keep.

    Raises:
        NoLogError: there is no such trial, or its log is not kept and it is no experiment.
    """  # fmt: skip
    found = _NAME.fullmatch(name)
    folder = _folder(found["sweep"], loose="/" in name) if found else None
    if found is None or folder is None:
        return None
    sweep, number = journal.read(folder), int(found["number"])
    trial = sweep.trials.get(number)
    if trial is None:
        raise NoLogError(f"sweep {folder.name} has no trial {number}; it has {_known(sweep)}")
    log = folder / (trial.log or f"logs/{number:05}.log")
    if log.is_file():
        return f"{folder.name}/{number}", _execution(sweep, trial, log)
    if trial.name is None:
        raise NoLogError(f"trial {number} of {folder.name}, {outcome(trial)}: what it printed is not kept")
    return trial.name, None


def _folder(name: str, *, loose: bool) -> Path | None:
    """Return the folder of a sweep by its id, or `loose` its beginning; None where there is none."""
    exact = journal.place() / name
    if (exact / journal.FILE).is_file():
        return exact
    begun = [folder for folder in journal.folders() if folder.name.startswith(name)] if loose else []
    return begun[0] if len(begun) == 1 else None


def _known(sweep: Sweep) -> str:
    return f"0 to {max(sweep.trials)}" if sweep.trials else "none yet"


def _execution(sweep: Sweep, trial: Trial, log: Path) -> Execution:
    """Return a trial of a sweep as an execution."""
    status = {"running": None, "waiting": None, "done": 0}.get(trial.state, trial.status)
    return Execution(
        stage=STAGE,
        started=trial.began or sweep.head.time,
        seconds=trial.seconds,
        status=status,
        log=log,
        folder=str(log.parent),
        experiment=trial.name,
        commit=sweep.head.baseline,
        branch=None,
        pid=0,
        process="",
        machine=invocations.machine(),
        outcome=outcome(trial),
    )


def outcome(trial: Trial) -> str:
    """Return in words how a trial ended."""
    return trial.state + (f": {words.ended(trial)}" if trial.state in ("failed", "pruned") else "")
