"""The loop of a sweep: asks for points, has them run, and writes down what comes of them.

One process and one thread; it waits for nothing but the stages. What it knows
is in the journal before anything is built on it, so that a driver that is
killed loses no trial that had ended.
"""

import errno
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from stages import command
from stages.errors import UserError
from trialtree.sweep import ranking, slots, telling
from trialtree.sweep.engine.trial import BY_DVC, Made, Reply, Tree, Work
from trialtree.sweep.journal import Journal, SweepError, apply
from trialtree.sweep.limits import Limits
from trialtree.sweep.records import Decision, Sweep, Trial
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

    def run(self, tree: Tree, values: dict[str, Any], name: str, number: int) -> Any: ...

    def keep(self, name: str, made: Made) -> str: ...

    def tidy(self, *, objects: bool = False) -> None: ...


@dataclass
class Parts:
    """All that a driver drives."""

    journal: Journal
    sweep: Sweep
    section: SweepParams
    teller: telling.Teller
    runner: Runner
    pool: Pool
    screen: Screen
    watched: Watched | None
    trees: list[Tree]
    ready: Callable[[], object]  # called once all is imported


class Driver:
    """Runs a sweep to its end."""

    def __init__(self, parts: Parts) -> None:
        self._of, self._sweep, self._section = parts, parts.sweep, parts.section
        self._pool, self._watched = parts.pool, parts.watched
        self._slots = [Slot(number, tree) for number, tree in enumerate(parts.trees)]
        self._limits = Limits(parts.section, parts.sweep)
        self._waiting = deque(trial.number for trial in parts.sweep.of("waiting"))
        self._keys: dict[str, int] = {}  # of the work that runs, and the slot that it runs in
        self._interrupted = 0  # how often
        self._kept = 0  # experiments since the references were packed
        self._ready = False
        self._exhausted = False
        self.parts: dict[str, float] = {}  # seconds that went into the driver's own work

    def run(self) -> None:
        """Run trials until the sweep is over, or somebody stops it.

        Raises:
            SweepError: it cannot go on; what has ended is kept.
        """
        with self._interruptions():
            try:
                reason = self._loop()
            except OSError as error:
                said = command.refused(error) or str(error)
                raise SweepError(f"{said}; `trialtree sweep --resume {self._sweep.head.id}` goes on") from error
        if reason is not None:
            self._note("finished", reason=reason, time=_now())
        else:
            self._note("left", reason="stopped", time=_now())
        if self._kept:
            self._of.runner.tidy(objects=len(self._sweep.trials) >= _PACKED)

    def _loop(self) -> str | None:
        """Return why the sweep is over; None where it was stopped."""
        while True:
            self._fill()
            running = [slot for slot in self._slots if slot.trial is not None]
            if self._interrupted > 1:
                return None
            if not running:
                return self._over()
            for finished in self._pool.poll(_WAIT if self._watched is None else _LOOK):
                self._finished(self._slots[finished.slot], finished)
            if self._pool.ready and not self._ready:
                self._ready = True
                self._of.ready()
            self._watch()
            if self._limits.timed_out():
                return f"limits.timeout: {self._section.limits.timeout:g} s are over"
            self._show()

    def _over(self) -> str | None:
        """Return why the sweep is over when nothing runs any more; None where it was stopped."""
        if self._interrupted:
            return None
        if self._limits.over:
            return self._limits.over
        if self._exhausted:
            return f"the space is exhausted: all of its {len(self._sweep.trials)} points were tried"
        return self._limits.ended_by()

    def _show(self) -> None:
        with self._timed("screen"):
            self._of.screen.update(self._sweep, slots.shown(self._slots))

    # Beginning trials

    def _fill(self) -> None:
        """Give each free slot a trial, as long as there are any to run."""
        for slot in self._slots:
            while slot.trial is None and not self._interrupted and not self._limits.over:
                trial = self._next()
                if trial is None:
                    return
                self._begin(slot, trial)

    def _next(self) -> Trial | None:
        """Return the next trial to run; None where there is none now, or never."""
        if self._waiting:
            return self._sweep.trials[self._waiting.popleft()]
        if self._exhausted or self._limits.full() or not self._of.teller.may_ask():
            return None
        number = len(self._sweep.trials)
        with self._timed("ask"):
            point, repeats = self._of.teller.ask(number)
        if repeats:
            self._note("repeat", count=repeats)
        if point is None:
            self._exhausted = True
            return None
        self._note("asked", number=number, values=point.values, raw=point.raw, source=self._of.teller.source(number))
        return self._sweep.trials[number]

    def _begin(self, slot: Slot, trial: Trial) -> None:
        """Begin a trial in a slot."""
        self._note("began", number=trial.number, attempt=trial.attempt + 1, time=_now())
        trial.curve, trial.decision = [], None
        if self._watched is not None:
            self._watched.policy.forget(trial.number)
        trial.log = f"logs/{trial.number:05}.log"
        name = f"{self._sweep.head.id}-{trial.number:04}"
        slot.give(trial, self._of.runner.run(slot.tree, trial.values, name, trial.number))
        trial.name = name
        self._go_on(slot, None)

    # Running them

    def _go_on(self, slot: Slot, reply: Reply | None) -> None:
        """Let a trial go on until it has work to be run, or has ended."""
        assert slot.steps is not None  # noqa: S101  # it has a trial
        try:
            work = next(slot.steps) if reply is None else slot.steps.send(reply)
        except StopIteration as end:
            self._made(slot, end.value)
        except UserError as error:
            self._failed(slot, str(error).splitlines()[0])
        except OSError as error:
            said = command.refused(error)
            if said is None:
                raise
            self._failed(slot, said)
            if error.errno in (errno.ENOSPC, errno.EDQUOT) and self._limits.over is None:
                self._check_room()
        else:
            self._give(slot, work)

    def _check_room(self) -> None:
        """Stop where the disk has no room for the journal either.

        Raises:
            OSError: it has none.
        """
        probe = self._of.journal.folder / ".room"
        probe.write_bytes(b"\0" * 65536)
        probe.unlink()

    def _give(self, slot: Slot, work: Work) -> None:
        """Have a trial's work run, unless another slot is at the same."""
        assert slot.trial is not None  # noqa: S101  # it has one
        slot.work = work
        if work.key and work.key in self._keys:
            slot.parked = True
            return
        if work.key:
            self._keys[work.key] = slot.number
        if self._watched is not None and work.stage in (self._watched.stage, BY_DVC):
            slot.tail = Tail(slot.tree.path, self._watched.source)
        log = self._of.journal.folder / str(slot.trial.log)
        log.parent.mkdir(exist_ok=True)
        job = Job(
            slot.trial.number, work.stage, work.cmd, slot.tree.path, log, {**work.env, **self._environment()},
            began=slot.began,
        )  # fmt: skip
        self._pool.run(slot.number, job)

    def _environment(self) -> dict[str, str]:
        """Return what all stages of a sweep find in their environment."""
        watched = {} if self._watched is None else {"TRIALTREE_CURVE_EVERY": str(_LOOK)}
        return {"TRIALTREE_LIVE": "0", **watched}

    def _finished(self, slot: Slot, finished: Finished) -> None:
        """Take how a trial's work ended."""
        if slot.trial is None or slot.work is None or slot.trial.number != finished.job.trial:
            return
        self._read_curve(slot)
        work, slot.work = slot.work, None
        slot.add(f"stage {work.stage}", finished.seconds)
        self._keys.pop(work.key, None)
        if slot.decision is not None:
            self._pruned(slot, work)
        elif finished.end == "done":
            self._go_on(slot, "done")
        elif finished.end == "lost" and not slot.again:
            slot.again = True
            self._give(slot, work)
        else:
            self._failed(slot, f"{work.stage}: {finished.reason}", work, finished.status)
        self._unpark(work.key)

    def _unpark(self, key: str) -> None:
        """Let those go on that waited for work of this key."""
        for slot in self._slots:
            if slot.parked and slot.work is not None and slot.work.key == key:
                slot.parked = False
                self._go_on(slot, "again")

    # Watching curves

    def _watch(self) -> None:
        """Read the curves of what runs, and stop what falls behind."""
        for slot in self._slots:
            if slot.tail is not None and slot.work is not None and slot.decision is None:
                self._read_curve(slot)
                if slot.decision is not None:
                    self._pool.stop(slot.number, slot.decision.text)

    def _read_curve(self, slot: Slot) -> None:
        """Take in the reports that are new, and what the policy says of each."""
        if slot.tail is None or slot.trial is None or self._watched is None or slot.decision is not None:
            return
        with self._timed("policy"):
            for t, value in slot.tail.read():
                slot.trial.curve.append((t, value))
                among = self._of.teller.settled(slot.trial.number)
                if decision := self._watched.decide(slot.trial.number, t, value, among):
                    self._stop(slot, slot.trial, decision)
                    return

    def _stop(self, slot: Slot, trial: Trial, decision: Decision) -> None:
        slot.decision = decision
        self._note("stop", number=trial.number, **asdict(decision))

    # Ending trials

    def _made(self, slot: Slot, made: Made) -> None:
        """Take a trial that was made: done, unless its metrics lack the objective."""
        trial = slot.trial
        assert trial is not None  # noqa: S101  # it has one
        values, reason = ranking.values(made.metrics, self._section.objectives)
        trial.metrics, trial.model_bytes = made.metrics, made.model_bytes
        trial.ran, trial.restored = tuple(made.ran), tuple(made.restored)
        for part, seconds in made.parts.items():
            slot.add(part, seconds)
        if values is None:
            self._failed(slot, reason or "")
            return
        try:
            with self._timed("reference"):
                trial.commit = self._of.runner.keep(str(trial.name), made)
        except SweepError as error:
            self._failed(slot, str(error))
            return
        self._kept += 1
        if self._kept % _PACKED == 0:
            with self._timed("pack references"):
                self._of.runner.tidy()
        self._end(slot, state="done", objective=values)

    def _pruned(self, slot: Slot, work: Work) -> None:
        """Take a trial that was stopped by the policy."""
        assert slot.trial is not None  # noqa: S101  # it has one
        if self._section.keep_pruned and slot.steps is not None:
            self._keep_pruned(slot)
        self._end(slot, state="pruned", decision=slot.decision, stage=work.stage)

    def _keep_pruned(self, slot: Slot) -> None:
        """Save a stopped trial as an experiment, as far as it came."""
        trial = slot.trial
        assert trial is not None and slot.steps is not None  # noqa: S101, PT018  # it has one
        try:
            slot.steps.send("stopped")
        except StopIteration as end:
            with suppress(SweepError):
                trial.commit = self._of.runner.keep(str(trial.name), end.value)

    def _failed(self, slot: Slot, reason: str, work: Work | None = None, status: int | None = None) -> None:
        """Take a trial that failed, to be tried again where that is asked for."""
        trial = slot.trial
        assert trial is not None  # noqa: S101  # it has one
        trial.commit = None
        again = trial.attempt <= self._section.limits.retries
        self._end(slot, state="failed", reason=reason, stage=work and work.stage, status=status)
        slot.tree.here.clear()  # a stage that was cut off may have written anything
        if again and not self._limits.over:
            trial.state = "waiting"
            self._waiting.append(trial.number)

    def _end(self, slot: Slot, **how: Any) -> None:
        """Write down how a trial ended, and free its slot."""
        trial = slot.trial
        assert trial is not None  # noqa: S101  # it has one
        trial.seconds = round(time.monotonic() - slot.began, 4)
        kept = ("seconds", "metrics", "name", "commit", "model_bytes", "ran", "restored", "curve", "log")
        said = {name: getattr(trial, name) for name in kept}
        if trial.commit is None:
            said["name"] = None
        log = self._of.journal.folder / str(trial.log)
        if not log.exists():
            said["log"] = None
        parts = {part: round(seconds, 5) for part, seconds in slot.parts.items()}
        cleared = {"objective": None, "reason": None, "status": None, "stage": None, "decision": None}
        with self._timed("journal"):
            self._note("ended", number=trial.number, **{**said, **cleared, "parts": parts, **how})
        slot.leave()
        self._pool.rest(slot.number)
        with self._timed("tell"):
            self._of.teller.tell(trial)
        self._limits.take(trial)

    # Being told and telling

    def _note(self, event: str, **said: Any) -> None:
        """Write an event down, and only then know it."""
        self._of.journal.add(event, **said)
        apply(self._sweep, event, said)

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

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.parts[part] = self.parts.get(part, 0.0) + time.perf_counter() - begun


def _now() -> int:
    return int(time.time() * 1000)
