"""Run what `dvc exp run --queue` has queued.

    trialtree queue run [-j N] [--json | --lines]

Reads   DVC's queue, and what its entries start from
Writes  DVC experiments, their results in DVC's cache, DVC's own notes of the queue
"""

import os
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trialtree.queue import claims, entries, messages
from trialtree.queue.claims import Claims, mend
from trialtree.queue.draining import Drain, Parts
from trialtree.queue.entries import Entry, QueueError
from trialtree.queue.groups import Groups
from trialtree.queue.ledger import Ledger
from trialtree.queue.messages import Message
from trialtree.queue.state import State
from trialtree.queue.telling import Teller
from trialtree.sweep.engine import DVC_VERSION, trees
from trialtree.sweep.screen import Kind
from trialtree.sweep.workers import shares
from trialtree.sweep.workers.pool import Pool, Setup
from trialtree.tracking import git

_STAGES = ("train", "evaluate")  # that most entries run


def run(jobs: int | None, kind: Kind) -> int:
    """Run the entries of DVC's queue, `jobs` at once, and return the exit status.

    Raises:
        UserError: DVC is not the version whose queue this knows, or a process cannot be started.
    """
    if (dvc := version("dvc")) != DVC_VERSION:
        raise QueueError(f"DVC is {dvc}, and the queue known here is that of {DVC_VERSION}; `dvc queue start` runs it")
    root, prefix = Path.cwd(), git.prefix()
    state, teller = State(root, prefix), Teller(kind)
    if back := mend(state):
        teller.note(f"queued again after a process was killed: {', '.join(back)}")
    waiting = deque(messages.queued(state.queued, {}))
    if not waiting:
        teller.note("nothing is queued; `dvc exp run --queue` and `trialtree sweep --queue` queue experiments")
        return 0
    trees.tidy(root)
    with Claims(root) as own:
        stopped = _drained(jobs, prefix, Ledger(state, own, teller), waiting)
    teller.end(len(messages.queued(state.queued, {})), stopped=stopped)
    return 130 if stopped else 1 if teller.failures else 0


def _drained(jobs: int | None, prefix: str, ledger: Ledger, waiting: deque[Message]) -> bool:
    """Run the queue, and say whether somebody has stopped that."""
    import pygit2

    root, repository = ledger.state.root, pygit2.Repository(str(ledger.state.root))
    with ExitStack() as stack:
        groups = Groups(root)
        stack.callback(groups.close)
        setup = _setup(jobs, ledger.state.root, _first(repository, waiting, prefix, groups), len(waiting))
        setup = replace(setup, estimators=entries.estimators(repository, waiting, prefix))
        pool = stack.enter_context(Pool(setup))  # its imports take longest: they begin first
        drain = Drain(Parts(root, prefix, repository, ledger, groups, pool, _by_dvc(root)), waiting)
        drain.run()
    return drain.stops.some


def _first(repository: Any, waiting: deque[Message], prefix: str, groups: Groups) -> tuple[Entry, Path] | None:
    """Return the first entry that the engine can run, and a worktree with its code; None where there is none."""
    for message in waiting:
        with suppress(QueueError):
            entry = entries.read(repository, message, prefix)
            if entry.odd is None:
                tree = groups.take(entry)
                groups.give(entry, tree)
                return entry, tree.path
    return None


def _setup(jobs: int | None, root: Path, first: tuple[Entry, Path] | None, count: int) -> Setup:
    """Return what the processes are for: first of all the stages of the first entry."""
    folder = root / claims.FOLDER  # not the sweeps': the imports of register, once learned, would delay their beginning
    log = folder / "workers.log"
    log.unlink(missing_ok=True)
    slots = jobs or min(len(shares.processors()), count)
    # MLflow starts no thread then as it is imported, which a process that is forked would lack.
    environment = {"MLFLOW_DISABLE_TELEMETRY": "true", **os.environ}
    if first is None:
        return Setup(root, slots, (), (), folder, log, environment=environment)
    entry, tree = first
    last = () if entry.targets and "register" not in entry.targets else ("register",)
    return Setup(tree, slots, (*_STAGES, *last), (), folder, log, entry.code, environment)


def _by_dvc(root: Path) -> str | None:
    """Return why DVC itself must run every entry, if it must."""
    from dvc.config import Config
    from dvc.env import DVC_EXP_AUTO_PUSH
    from dvc.utils import env2bool

    pushes = env2bool(DVC_EXP_AUTO_PUSH, Config(str(root / ".dvc"))["exp"].get("auto_push", False))
    return "exp.auto_push is on" if pushes else None
