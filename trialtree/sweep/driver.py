"""The loop of a sweep: has trials run, stops what falls behind, and writes down what comes of them.

One process and one thread; it waits for nothing but the stages. What has ended
is in the journal before anything is built on it, so that a driver that is
killed loses no trial that had ended.
"""

from contextlib import suppress
from typing import Any

from stages import command
from stages.errors import UserError
from trialtree.sweep import ranking, slots
from trialtree.sweep.engine.trial import Made, Reply, Work
from trialtree.sweep.interruptions import Interruptions
from trialtree.sweep.journal import SweepError
from trialtree.sweep.parts import Parts
from trialtree.sweep.records import Trial
from trialtree.sweep.slots import Slot
from trialtree.sweep.workers.jobs import Finished, Job

_LOOK = 0.02  # seconds between looks at the curves of what runs
_WAIT = 0.25  # seconds without them
_PACKED = 500  # trials after which Git's references are packed
_NOT_KEPT = "it could not be kept: {}"  # a trial that was stopped


class Driver:
    """Runs a sweep to its end."""

    def __init__(self, parts: Parts) -> None:
        self._of, self._ledger = parts, parts.ledger
        self._pool, self._watched = parts.pool, parts.watched
        self._slots = [Slot(number, tree) for number, tree in enumerate(parts.trees)]
        self._keys: set[str] = set()  # of the work that runs
        self._interruptions = Interruptions()
        self._kept = 0  # experiments made
        self._ready = False

    def run(self) -> None:
        """Run trials until the sweep is over, or somebody stops it.

        Raises:
            SweepError: it cannot go on; what has ended is kept.
        """
        sweep = self._ledger.sweep
        with self._interruptions.counted():
            try:
                self._ledger.leave(self._loop())
            except (OSError, UserError) as error:
                said = str(error) if isinstance(error, UserError) else command.refused(error)
                if said is None:
                    raise
                raise SweepError(f"{said}; `trialtree sweep --resume {sweep.head.id}` goes on") from error
            finally:
                self._stop()
        if self._kept:
            self._of.runner.tidy(objects=len(sweep.trials) >= _PACKED)

    def _loop(self) -> str | None:
        """Return why the sweep is over; None where it was stopped."""
        while True:
            began = not self._interruptions.some and self._fill()
            runs = any(slot.trial for slot in self._slots)
            if self._interruptions.stop:
                return None
            if not runs and not began:
                return None if self._interruptions.some and self._ledger.more else self._ledger.over()
            self._poll(0.0 if began and self._free() else _WAIT if self._watched is None else _LOOK)
            self._watch()
            if said := self._ledger.limits.timed_out():
                self._cut(said)
                return said
            for line in (*self._of.news(), *self._interruptions.news()):
                self._of.screen.note(line)
            with self._ledger.timed("screen"):
                self._of.screen.update(self._ledger.sweep, slots.shown(self._slots))

    def _free(self) -> list[Slot]:
        """Return the slots without a trial."""
        return [slot for slot in self._slots if slot.trial is None]

    def _fill(self) -> bool:
        """Give each free slot a trial, as long as there are any, and say whether one began; it may have ended too."""
        began = False
        for slot in self._free():
            trial = self._ledger.next()
            if trial is None:
                break
            began = True
            self._begin(slot, trial)
        return began

    def _poll(self, seconds: float) -> None:
        """Take what has ended, after a wait for it."""
        for finished in self._pool.poll(seconds):
            self._finished(self._slots[finished.slot], finished)
        if self._pool.ready and not self._ready:
            self._ready = True
            self._of.ready()

    def _cut(self, reason: str) -> None:
        """Let what runs fail: the sweep has had its time."""
        for slot in self._slots:
            if slot.trial is not None:
                self._pool.stop(slot.number)
                self._failed(slot, slot.trial, reason, stage=slot.work.stage if slot.work else None)

    def _stop(self) -> None:
        """Stop what runs."""
        for slot in self._slots:
            if slot.trial is not None:
                self._pool.stop(slot.number)
                with suppress(UserError, OSError):  # the tree goes with the sweep
                    slot.leave()

    def _begin(self, slot: Slot, trial: Trial) -> None:
        """Begin a trial in a slot."""
        self._ledger.begin(trial)
        if self._watched is not None:
            self._watched.begin(trial)
        slot.give(trial, self._of.runner.run(slot.tree, trial.values, str(trial.name), trial.number))
        self._go_on(slot, trial, None)

    def _go_on(self, slot: Slot, trial: Trial, reply: Reply | None) -> None:
        """Let a trial go on until it has work to be run, or has ended."""
        try:
            work = slot.go_on(reply)
        except StopIteration as end:
            self._made(slot, trial, end.value)
        except Exception as error:
            self._failed(slot, trial, self._ledger.fault(trial, error))
        else:
            self._give(slot, trial, work)

    def _give(self, slot: Slot, trial: Trial, work: Work) -> None:
        """Have a trial's work run, unless another slot is at the same."""
        slot.work = work
        slot.parked = bool(work.key) and work.key in self._keys
        if slot.parked:
            return
        self._keys.add(work.key)
        environment = {"TRIALTREE_LIVE": "0", "TRIALTREE_SYNC": "0"}
        if self._watched is not None and (tail := self._watched.tail(slot.tree, work)):
            slot.tail = tail
            environment["TRIALTREE_CURVE_EVERY"] = str(_LOOK)
        log, env = self._ledger.log(trial), {**work.env, **environment}
        self._pool.run(
            slot.number,
            Job(trial.number, work.stage, work.cmd, slot.tree.path, log, env, params=work.params, began=slot.computes),
        )

    def _finished(self, slot: Slot, finished: Finished) -> None:
        """Take how a trial's work ended."""
        trial, work = slot.trial, slot.work
        if trial is None or work is None or trial.number != finished.job.trial:
            return
        self._read_curve(slot, trial)
        slot.ended(finished.seconds)
        self._keys.discard(work.key)
        if slot.decision is not None:
            self._pruned(slot, trial, work)
        elif finished.end == "done":
            self._go_on(slot, trial, "done")
        elif slot.lost(finished):
            self._go_on(slot, trial, "again")
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
            slot.decision = self._watched.read(slot.tail, trial, self._ledger.settled(trial))
            if slot.decision is not None:
                self._ledger.stop(trial, slot.decision)

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
            if self._watched is not None and not trial.curve:
                self._watched.take(trial, self._of.runner.output(made, self._watched.file) or b"")
            with self._ledger.timed("reference"):
                trial.commit = self._of.runner.keep(str(trial.name), made)
        except Exception as error:
            self._failed(slot, trial, self._ledger.fault(trial, error))
            return
        self._kept += 1
        if self._kept % _PACKED == 0:
            with self._ledger.timed("pack references"):
                self._of.runner.tidy()
        self._end(slot, trial, state="done", objective=values)

    def _pruned(self, slot: Slot, trial: Trial, work: Work) -> None:
        """Take a trial that was stopped by the policy; where that is asked for it is kept as far as it came."""
        reason = None
        try:
            if self._of.section.keep_pruned:
                slot.go_on("stopped")
        except StopIteration as end:
            reason = self._kept_early(trial, end.value)
        except Exception as error:
            reason = _NOT_KEPT.format(error)
        slot.tree.here.clear()  # a stage that was cut off may have written anything
        self._end(slot, trial, state="pruned", decision=slot.decision, stage=work.stage, reason=reason)

    def _kept_early(self, trial: Trial, made: Made) -> str | None:
        """Make an experiment of a trial that was stopped, and return why it is none."""
        try:
            trial.commit = self._of.runner.keep(str(trial.name), made)
        except SweepError as error:
            return _NOT_KEPT.format(error)
        return None

    def _failed(self, slot: Slot, trial: Trial, reason: str, **how: Any) -> None:
        """Take a trial that failed."""
        trial.commit = None
        slot.tree.here.clear()  # the same
        self._end(slot, trial, state="failed", reason=reason, **how)

    def _end(self, slot: Slot, trial: Trial, **how: Any) -> None:
        """Write down how a trial ended, and free its slot."""
        trial.seconds = slot.seconds
        self._ledger.end(trial, slot.parts, **how)
        slot.leave()
        self._pool.rest(slot.number)
