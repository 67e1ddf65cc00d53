"""The loop of a sweep: has trials run, stops what falls behind, and writes down what comes of them.

One process and one thread; it waits for nothing but the stages. What has ended
is in the journal before anything is built on it, so that a driver that is
killed loses no trial that had ended.
"""

import errno
import signal
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from stages import command
from stages.errors import UserError
from trialtree.sweep import ranking, slots
from trialtree.sweep.engine.trial import BY_DVC, Made, Reply, Tree, Work
from trialtree.sweep.journal import SweepError
from trialtree.sweep.ledger import Ledger, now
from trialtree.sweep.records import Trial
from trialtree.sweep.screen import Screen
from trialtree.sweep.section import SweepParams
from trialtree.sweep.slots import Slot
from trialtree.sweep.stopping.tail import Tail
from trialtree.sweep.watched import Watched
from trialtree.sweep.workers.jobs import Finished, Job
from trialtree.sweep.workers.pool import Pool

_LOOK = 0.02  # seconds between looks at the curves of what runs
_WAIT = 0.25  # seconds without them
_PACKED = 500  # trials after which Git's references are packed


class Runner(Protocol):
    """Makes trials: the engine, or DVC's own command."""

    def run(self, tree: Tree, values: Mapping[str, Any], name: str, number: int) -> Generator[Work, Reply, Made]:
        """Make a trial."""
        ...

    def keep(self, name: str, made: Made) -> str:
        """Make it an experiment, and return its commit."""
        ...

    def tidy(self, *, objects: bool = False) -> None:
        """Keep Git quick."""
        ...


@dataclass(frozen=True)
class Parts:
    """All that a driver drives."""

    ledger: Ledger
    section: SweepParams
    runner: Runner
    pool: Pool
    screen: Screen
    watched: Watched | None
    trees: list[Tree]
    ready: Callable[[], object]  # called once all is imported


class Driver:
    """Runs a sweep to its end."""

    def __init__(self, parts: Parts) -> None:
        self._of, self._ledger = parts, parts.ledger
        self._pool, self._watched = parts.pool, parts.watched
        self._slots = [Slot(number, tree) for number, tree in enumerate(parts.trees)]
        self._keys: set[str] = set()  # of the work that runs
        self._interrupted = 0  # how often
        self._kept = 0  # experiments made
        self._ready = False

    def run(self) -> None:
        """Run trials until the sweep is over, or somebody stops it.

        Raises:
            SweepError: it cannot go on; what has ended is kept.
        """
        sweep = self._ledger.sweep
        with self._interruptions():
            try:
                reason = self._loop()
                event = "left" if reason is None else "finished"
                self._ledger.note(event, reason=reason or "stopped", time=now())
            except OSError as error:
                said = command.refused(error) or str(error)
                raise SweepError(f"{said}; `trialtree sweep --resume {sweep.head.id}` goes on") from error
        if self._kept:
            self._of.runner.tidy(objects=len(sweep.trials) >= _PACKED)

    def _loop(self) -> str | None:
        """Return why the sweep is over; None where it was stopped."""
        while True:
            self._fill()
            if self._interrupted > 1:
                return None
            if not any(slot.trial for slot in self._slots):
                return None if self._interrupted else self._ledger.over()
            for finished in self._pool.poll(_WAIT if self._watched is None else _LOOK):
                self._finished(self._slots[finished.slot], finished)
            if self._pool.ready and not self._ready:
                self._ready = True
                self._of.ready()
            self._watch()
            if said := self._ledger.limits.timed_out():
                return said
            with self._ledger.timed("screen"):
                self._of.screen.update(self._ledger.sweep, slots.shown(self._slots))

    def _fill(self) -> None:
        """Give each free slot a trial, as long as there are any to run."""
        for slot in self._slots:
            while slot.trial is None and not self._interrupted and not self._ledger.limits.over:
                trial = self._ledger.next()
                if trial is None:
                    return
                self._begin(slot, trial)

    def _begin(self, slot: Slot, trial: Trial) -> None:
        """Begin a trial in a slot."""
        self._ledger.begin(trial)
        if self._watched is not None:
            self._watched.policy.forget(trial.number)
        slot.give(trial, self._of.runner.run(slot.tree, trial.values, str(trial.name), trial.number))
        self._go_on(slot, trial, None)

    def _go_on(self, slot: Slot, trial: Trial, reply: Reply | None) -> None:
        """Let a trial go on until it has work to be run, or has ended."""
        try:
            work = slot.go_on(reply)
        except StopIteration as end:
            self._made(slot, trial, end.value)
        except UserError as error:
            self._failed(slot, trial, str(error).splitlines()[0])
        except OSError as error:
            said = command.refused(error)
            if said is None:
                raise
            self._failed(slot, trial, said)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                self._check_room()
        else:
            self._give(slot, trial, work)

    def _check_room(self) -> None:
        """Stop where the disk has no room for the journal either.

        Raises:
            OSError: it has none.
        """
        probe = self._ledger.journal.folder / ".room"
        probe.write_bytes(b"\0" * 65536)
        probe.unlink()

    def _give(self, slot: Slot, trial: Trial, work: Work) -> None:
        """Have a trial's work run, unless another slot is at the same."""
        slot.work = work
        slot.parked = bool(work.key) and work.key in self._keys
        if slot.parked:
            return
        self._keys.add(work.key)
        environment = {"TRIALTREE_LIVE": "0", "TRIALTREE_SYNC": "0"}
        if self._watched is not None and work.stage in (self._watched.stage, BY_DVC):
            slot.tail = Tail(slot.tree.path, self._watched.source)
            environment["TRIALTREE_CURVE_EVERY"] = str(_LOOK)
        log = self._ledger.journal.folder / str(trial.log)
        log.parent.mkdir(exist_ok=True)
        job = Job(
            trial.number, work.stage, work.cmd, slot.tree.path, log, {**work.env, **environment}, began=slot.began
        )
        self._pool.run(slot.number, job)

    def _finished(self, slot: Slot, finished: Finished) -> None:
        """Take how a trial's work ended."""
        trial, work = slot.trial, slot.work
        if trial is None or work is None or trial.number != finished.job.trial:
            return
        self._read_curve(slot, trial)
        slot.work = slot.tail = None
        slot.add(f"stage {work.stage}", finished.seconds)
        self._keys.discard(work.key)
        if slot.decision is not None:
            self._pruned(slot, trial, work)
        elif finished.end == "done":
            self._go_on(slot, trial, "done")
        elif finished.end == "lost" and not slot.again:
            slot.again = True
            self._give(slot, trial, work)
        else:
            self._failed(slot, trial, str(finished.reason), stage=work.stage, status=finished.status)
        for other in self._slots:
            if other.parked and other.trial and other.work and other.work.key == work.key:
                other.parked = False
                self._go_on(other, other.trial, "again")

    def _watch(self) -> None:
        """Read the curves of what runs, and stop what falls behind."""
        for slot in self._slots:
            if slot.trial is not None and slot.tail is not None and slot.decision is None:
                self._read_curve(slot, slot.trial)
                if slot.decision is not None:
                    self._pool.stop(slot.number, slot.decision.text)

    def _read_curve(self, slot: Slot, trial: Trial) -> None:
        """Take in the reports that are new, and what the policy says of each."""
        if slot.tail is None or self._watched is None or slot.decision is not None:
            return
        with self._ledger.timed("policy"):
            for t, value in slot.tail.read():
                trial.curve.append((t, value))
                slot.decision = self._watched.decide(trial.number, t, value, self._ledger.settled(trial))
                if slot.decision is not None:
                    self._ledger.stop(trial, slot.decision)
                    return

    def _made(self, slot: Slot, trial: Trial, made: Made) -> None:
        """Take a trial that was made: done, unless its metrics lack the objective."""
        values, reason = ranking.values(made.metrics, self._of.section.objectives)
        trial.metrics, trial.model_bytes = made.metrics, made.model_bytes
        trial.ran, trial.restored = tuple(made.ran), tuple(made.restored)
        for part, seconds in made.parts.items():
            slot.add(part, seconds)
        try:
            if values is None:
                raise SweepError(str(reason))
            with self._ledger.timed("reference"):
                trial.commit = self._of.runner.keep(str(trial.name), made)
        except SweepError as error:
            self._failed(slot, trial, str(error))
            return
        self._kept += 1
        if self._kept % _PACKED == 0:
            with self._ledger.timed("pack references"):
                self._of.runner.tidy()
        self._end(slot, trial, state="done", objective=values)

    def _pruned(self, slot: Slot, trial: Trial, work: Work) -> None:
        """Take a trial that was stopped by the policy; where that is asked for it is kept as far as it came."""
        if self._of.section.keep_pruned:
            try:
                slot.go_on("stopped")
            except StopIteration as end:
                with suppress(SweepError):
                    trial.commit = self._of.runner.keep(str(trial.name), end.value)
        self._end(slot, trial, state="pruned", decision=slot.decision, stage=work.stage)

    def _failed(self, slot: Slot, trial: Trial, reason: str, **how: Any) -> None:
        """Take a trial that failed."""
        trial.commit = None
        slot.tree.here.clear()  # a stage that was cut off may have written anything
        self._end(slot, trial, state="failed", reason=reason, **how)

    def _end(self, slot: Slot, trial: Trial, **how: Any) -> None:
        """Write down how a trial ended, and free its slot."""
        trial.seconds = slot.seconds
        self._ledger.end(trial, slot.parts, **how)
        slot.leave()
        self._pool.rest(slot.number)

    @contextmanager
    def _interruptions(self) -> Iterator[None]:
        """Count the Ctrl-C of the block, and take an order to end for two."""

        def interrupt(number: int, _frame: Any) -> None:
            self._interrupted += 1 if number == signal.SIGINT else 2
            if self._interrupted == 1:
                self._of.screen.note("stopping: what runs is finished; Ctrl-C again stops that too")

        before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
