"""The driver's side: a slot for each concurrent trial, with a warm stage server of its own.

    with Pool(setup) as pool:            # the importer begins at once, and the driver has 1 s for other work
        pool.run(0, job)                 # never waits, also not for the importer
        for finished in pool.poll(1.0):  # every job ends once, however it ends
            ...

Nothing here blocks but `poll`. `fileno` becomes readable when `poll` has
something to do, and `due` says when it wants to be called in any case.
"""

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import trialtree
from trialtree.sweep.workers import jobs, processes, shares, shells
from trialtree.sweep.workers.jobs import End, Finished, Job, Limits, PoolError
from trialtree.sweep.workers.learning import Learned
from trialtree.sweep.workers.slots import Slot
from trialtree.sweep.workers.wire import Wire

__all__ = ["Finished", "Job", "Limits", "Pool", "PoolError", "Setup"]

_LOOK = 0.2  # seconds between looks at the memory of what runs, where it is limited
_STARTS = 2  # of the importer
_PATIENCE = 0.1  # seconds that the importer has to leave
_HOME = Path(trialtree.__file__).parents[1]  # from which the importer is to import this package, and no other


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


class Pool:
    """Runs jobs, each in a slot, and ends what takes too long or too much."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.ready = False  # all is imported
        self.import_seconds: float | None = None  # that the importer took
        self.learned = Learned(setup.folder, setup.root, setup.stages, setup.estimators)
        self._slots = [Slot(n, shares.of_slot(n, setup.slots, setup.estimators)) for n in range(setup.slots)]
        self._selector = selectors.DefaultSelector()
        self._importer: subprocess.Popen[bytes] | None = None
        self._control: Wire | None = None
        self._taught: set[str] = set()  # modules that this importer has
        self._starts = self._orders = 0
        self._finished: list[Finished] = []
        self._looked = 0.0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the importer, and order a server for each slot.

        Raises:
            PoolError: no process can be started.
        """
        setup, self._starts = self.setup, self._starts + 1
        own, other = socket.socketpair()
        command = [sys.executable, "-m", "trialtree.sweep.workers.importer", str(other.fileno())]
        given = os.environ if setup.environment is None else setup.environment
        with other, setup.log.open("ab") as log:
            try:
                self._importer = subprocess.Popen(
                    command, cwd=_HOME, env=shares.environment(given, setup.slots), stdin=subprocess.DEVNULL,
                    stdout=log, stderr=log, pass_fds=[other.fileno()], start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                own.close()
                raise PoolError(f"no process can be started for the stages: {error}") from None
        self._control, self.ready = Wire(own, wait=False), False
        self._selector.register(own, selectors.EVENT_READ, None)
        modules = self.learned.modules
        self._taught = set(modules)
        self._tell(do="begin", root=str(setup.root), stages=[*setup.stages], estimators=[*setup.estimators],
                   modules=modules)  # fmt: skip
        for slot in self._slots:
            self._order(slot)

    def fileno(self) -> int:
        """Return a descriptor that is readable when `poll` has something to do."""
        return self._selector.fileno()

    def due(self) -> float | None:
        """Return in how many seconds `poll` must be called at the latest; None: when `fileno` is readable."""
        now, times = time.monotonic(), [slot.deadline for slot in self._slots if slot.deadline is not None]
        if self.setup.limits.memory is not None and any(slot.sent and slot.job for slot in self._slots):
            times.append(self._looked + _LOOK)
        return max(0.0, min(times) - now) if times else None

    def free(self) -> list[int]:
        """Return the slots that have no job."""
        return [slot.number for slot in self._slots if slot.job is None]

    def run(self, number: int, job: Job) -> None:
        """Have a job run in a slot that is free; it begins as soon as the slot has a server."""
        slot = self._slots[number]
        if slot.job is not None:
            raise ValueError(f"slot {number} has a job")
        if self._worn(slot, job):
            self._renew(slot)
        slot.give(job)
        if slot.wire is None:
            self._order(slot)
        elif slot.pid is not None:
            self._begin(slot)

    def rest(self, number: int) -> None:
        """Say that a slot's trial is over: a new server that its next trial needs is made meanwhile."""
        slot = self._slots[number]
        if slot.job is None and self._worn(slot, None):
            self._renew(slot)

    def stop(self, number: int, reason: str = "stopped") -> None:
        """End the job of a slot, and whatever it has started; `poll` gives it with this reason."""
        slot = self._slots[number]
        if slot.job is not None:
            self._end(slot, "stopped", reason)

    def poll(self, timeout: float | None = None) -> list[Finished]:
        """Return the jobs that have ended: as soon as one has, or when so many seconds have passed.

        Raises:
            PoolError: the importer has ended twice.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if until is None else until - time.monotonic()
            waits = [0.0] if self._finished else [each for each in (self.due(), left) if each is not None]
            for key, _ in self._selector.select(max(0.0, min(waits)) if waits else None):
                if key.data is None:
                    self._hear()
                elif key.fd == key.data.fileno():
                    self._listen(key.data)
            self._hold_limits()
            idle = until is None and len(self.free()) == len(self._slots)
            if self._finished or idle or (until is not None and time.monotonic() >= until):
                finished, self._finished = self._finished, []
                return finished

    def close(self) -> None:
        """End every process, whatever it does, and keep what was learned."""
        for slot in self._slots:
            if slot.pid is not None:
                processes.end(slot.pid)
            self._drop(slot)
            slot.job = None
        self._leave_importer()
        self._selector.close()
        self.learned.save()

    def _worn(self, slot: Slot, job: Job | None) -> bool:
        """Say whether a slot's server is not for another job, or for another trial where `job` is None."""
        if slot.served == 0:
            return False
        if self.setup.isolation == "trial" and (job is None or job.trial != slot.trial):
            return True
        return slot.spent is not None or slot.served >= self.setup.recycle_after

    def _renew(self, slot: Slot) -> None:
        self._drop(slot)
        self._order(slot)

    def _drop(self, slot: Slot) -> None:
        """Let go of a slot's server."""
        if slot.wire is not None:
            with suppress(KeyError, ValueError):
                self._selector.unregister(slot.wire)
            slot.leave()

    def _order(self, slot: Slot) -> None:
        """Order a server for a slot, with all that was learned by now."""
        if more := [name for name in self.learned.modules if name not in self._taught]:
            self._taught.update(more)
            self._tell(do="import", modules=more)
        self._orders += 1
        own, other = socket.socketpair()
        slot.order, slot.wire = self._orders, Wire(own, wait=False)
        self._selector.register(own, selectors.EVENT_READ, slot)
        with other:
            self._tell([other.fileno()], do="fork", number=slot.order, processors=slot.processors,
                       code=self.setup.code)  # fmt: skip

    def _tell(self, fds: Sequence[int] = (), **order: Any) -> None:
        """Tell the importer something; one that is gone is seen when it is listened to."""
        if self._control is not None:
            with suppress(OSError):
                self._control.send(order, fds)

    def _begin(self, slot: Slot) -> None:
        """Send a slot's job to its server; one that is gone is seen when it is listened to."""
        if slot.job is not None:
            with suppress(OSError):
                slot.begin(slot.job, shells.commands(slot.job), self.setup.limits.seconds)

    def _hear(self) -> None:
        """Take what the importer says."""
        if self._control is None:
            return
        for said in self._control.receive():
            slot = next((each for each in self._slots if each.order == said.get("number")), None)
            if said["said"] == "ready":
                self.ready, self.import_seconds = True, said["seconds"]
            elif slot is not None and said["said"] == "ended":
                self._died(slot, said)
            elif slot is not None and said["said"] == "refused":
                self._drop(slot)
                self._add(slot.ended("lost", f"no process could be started: {said['reason']}", None))
        if self._control.over:
            self._restart()

    def _listen(self, slot: Slot) -> None:
        """Take what a server says: first that it is there, then the answers to its jobs."""
        if slot.wire is None:
            return
        for said in slot.wire.receive():
            if "pid" in said:
                slot.pid = said["pid"]
                self._begin(slot)
            else:
                self.learned.add(said["imported"])
                self._add(slot.answered(said))
                if slot.spent:
                    self._renew(slot)
                    return
        if slot.wire.over:  # the importer will say how it ended
            self._selector.unregister(slot.wire)

    def _died(self, slot: Slot, said: Mapping[str, Any]) -> None:
        """Take that a server has ended, maybe with an answer that was not heard yet."""
        order = slot.order
        if slot.wire is not None and not slot.wire.over:
            self._listen(slot)
        if slot.order != order:
            return
        self._drop(slot)
        if slot.sent:
            self._add(slot.died(said))
        else:
            self._add(slot.ended("lost", f"its server {jobs.told(said['status'])} before it began", None))

    def _add(self, finished: Finished | None) -> None:
        if finished is not None:
            self._finished.append(finished)

    def _hold_limits(self) -> None:
        """End what takes longer or more than it may."""
        limits, now = self.setup.limits, time.monotonic()
        for slot in self._slots:
            if slot.deadline is not None and now >= slot.deadline:
                self._end(slot, "timeout", f"timeout after {limits.seconds:g} s")
        if limits.memory is None or now < self._looked + _LOOK:
            return
        self._looked = now
        for slot in self._slots:
            if slot.job is not None and slot.pid is not None:
                took = processes.memory(slot.pid, limits.memory)
                if took > limits.memory:
                    most = jobs.in_words(limits.memory)
                    self._end(slot, "memory", f"took {jobs.in_words(took)}, limits.memory is {most}")

    def _end(self, slot: Slot, end: End, reason: str) -> None:
        """End a slot's job, and its server with it where that has begun."""
        if not slot.sent:
            self._add(slot.ended(end, reason, None))
            return
        if slot.pid is not None:
            processes.end(slot.pid)
        self._drop(slot)
        self._add(slot.ended(end, reason, -signal.SIGKILL))
        self._order(slot)

    def _restart(self) -> None:
        """Start another importer where one has ended, with which its servers have.

        Raises:
            PoolError: it was not the first.
        """
        for slot in self._slots:
            if slot.pid is not None:
                processes.end(slot.pid)
            self._drop(slot)
            if slot.sent:
                self._add(slot.ended("lost", "its server was ended with the process that had forked it", None))
        status = self._leave_importer()
        if self._starts >= _STARTS:
            said = jobs.last_line(self.setup.log)
            raise PoolError(
                f"the process that imports for the stages {jobs.told(status)}, twice{f': {said}' if said else ''}"
            )
        self.start()

    def _leave_importer(self) -> int:
        """Let the importer end, which ends what it has forked, and return its status."""
        if self._control is None or self._importer is None:
            return 0
        with suppress(KeyError, ValueError):
            self._selector.unregister(self._control)
        self._control.close()
        if self.ready:
            with suppress(subprocess.TimeoutExpired):
                self._importer.wait(_PATIENCE)
        self._importer.kill()
        status = self._importer.wait()
        self._control = self._importer = None
        return status
