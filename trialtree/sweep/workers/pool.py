"""The driver's side: a slot for each concurrent trial, with a warm stage server of its own.

    with Pool(setup) as pool:            # the importer begins at once, and the driver has 1 s for other work
        pool.run(0, job)                 # never waits, also not for the importer
        for finished in pool.poll(1.0):  # every job ends once, however it ends
            ...

Nothing here blocks but `poll`. `fileno` becomes readable when `poll` has
something to do, and `due` says when it wants to be called in any case.
"""

import selectors
import signal
import time
from contextlib import suppress
from typing import Self

from trialtree.sweep.workers import processes, shares, shells
from trialtree.sweep.workers.jobs import End, Finished, Job, Limits, PoolError, Setup
from trialtree.sweep.workers.parent import Parent
from trialtree.sweep.workers.slots import Slot

__all__ = ["Finished", "Job", "Limits", "Pool", "PoolError", "Setup"]

_LOOK = 0.2  # seconds between looks at the memory of what runs, where it is limited


class Pool:
    """Runs jobs, each in a slot, and ends what takes too long or too much."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._slots = [Slot(n, shares.of_slot(n, setup.slots, setup.estimators)) for n in range(setup.slots)]
        self._selector = selectors.DefaultSelector()
        self._importer = Parent(setup, self._selector)
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
        self._importer.start()
        for slot in self._slots:
            self._importer.order(slot)

    @property
    def ready(self) -> bool:
        """Whether all is imported."""
        return self._importer.ready

    @property
    def import_seconds(self) -> float | None:
        """Seconds that the importer took for it; None while it is not ready."""
        return self._importer.seconds

    def fileno(self) -> int:
        """Return a descriptor that is readable when `poll` has something to do."""
        return self._selector.fileno()

    def due(self) -> float | None:
        """Return in how many seconds `poll` must be called at the latest; None: when `fileno` is readable."""
        now, times = time.monotonic(), [slot.deadline for slot in self._slots if slot.deadline is not None]
        if self.setup.limits.memory is not None and any(slot.sent for slot in self._slots):
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
            self._importer.order(slot)
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
        if self._importer.fileno() < 0:
            self.start()  # which says it again, where two are lost
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if until is None else until - time.monotonic()
            waits = [0.0] if self._finished else [each for each in (self.due(), left) if each is not None]
            for key, _ in self._selector.select(max(0.0, min(waits)) if waits else None):
                if key.data is self._importer:
                    self._hear()
                elif key.fd == key.data.fileno():  # not closed meanwhile
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
        self._importer.leave()
        self._selector.close()
        self._importer.learned.save()

    def _worn(self, slot: Slot, job: Job | None) -> bool:
        """Say whether a slot's server is not for another job, or for another trial where `job` is None."""
        if slot.served == 0:
            return False
        if self.setup.isolation == "trial" and (job is None or job.trial != slot.trial):
            return True
        return slot.spent is not None or slot.served >= self.setup.recycle_after

    def _renew(self, slot: Slot) -> None:
        self._drop(slot)
        self._importer.order(slot)

    def _drop(self, slot: Slot) -> None:
        """Let go of a slot's server."""
        if slot.wire is not None:
            with suppress(KeyError, ValueError):
                self._selector.unregister(slot.wire)
            slot.leave()

    def _begin(self, slot: Slot) -> None:
        """Send a slot's job to its server; one that is gone is seen when it is listened to."""
        if slot.job is not None:
            with suppress(OSError):
                slot.begin(slot.job, shells.commands(slot.job), self.setup.limits.seconds)

    def _hear(self) -> None:
        """Take what the importer says of servers, or that it is gone."""
        for said in self._importer.said():
            slot = next((each for each in self._slots if each.order == said["number"]), None)
            if slot is None:
                continue
            if said["said"] == "ended":
                self._died(slot, said["status"])
            else:
                self._drop(slot)
                self._add(slot.ended("lost", f"no process could be started: {said['reason']}", None))
        if self._importer.lost:
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
                self._importer.learned.add(said["imported"])
                self._add(slot.answered(said))
                if slot.spent:
                    self._renew(slot)
                    return
        if slot.wire.over:  # the importer will say how it ended
            self._selector.unregister(slot.wire)

    def _died(self, slot: Slot, status: int) -> None:
        """Take that a server has ended, maybe with an answer that was not heard yet."""
        order = slot.order
        if slot.wire is not None and not slot.wire.over:
            self._listen(slot)
        if slot.order == order:
            self._drop(slot)
            self._add(slot.died(status))

    def _add(self, finished: Finished | None) -> None:
        if finished is not None:
            self._finished.append(finished)

    def _hold_limits(self) -> None:
        """End what takes longer or more than it may."""
        limits, now = self.setup.limits, time.monotonic()
        look = limits.memory is not None and now >= self._looked + _LOOK
        if look:
            self._looked = now
        for slot in self._slots:
            if reason := slot.late(limits, now):
                self._end(slot, "timeout", reason)
            elif look and (reason := slot.fat(limits)):
                self._end(slot, "memory", reason)

    def _end(self, slot: Slot, end: End, reason: str) -> None:
        """End a slot's job, and its server with it where that has begun."""
        if not slot.sent:
            self._add(slot.ended(end, reason, None))
            return
        if slot.pid is not None:
            processes.end(slot.pid)
        self._drop(slot)
        self._add(slot.ended(end, reason, -signal.SIGKILL))
        self._importer.order(slot)

    def _restart(self) -> None:
        """Start another importer where one was lost, and its servers with it.

        Raises:
            PoolError: it was not the first.
        """
        for slot in self._slots:
            if slot.pid is not None:
                processes.end(slot.pid)
            self._drop(slot)
            if slot.sent:
                self._add(slot.ended("lost", "its server was ended with the process that had forked it", None))
        self._importer.leave()
        self.start()
