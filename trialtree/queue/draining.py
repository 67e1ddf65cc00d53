"""The loop that empties the queue: takes entries, has their stages run, and makes experiments of them.

One process and one thread. What it has taken and not ended when it leaves is
queued again; where it is killed, its claims say what that was.
"""

import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages import command
from stages.errors import UserError
from trialtree.queue import bydvc, entries, messages
from trialtree.queue.groups import Groups
from trialtree.queue.ledger import Ledger
from trialtree.queue.messages import Message
from trialtree.queue.place import Place
from trialtree.sweep.engine.trial import BY_DVC, Made, Reply, Work
from trialtree.sweep.interruptions import Interruptions
from trialtree.sweep.workers.jobs import Finished, Job
from trialtree.sweep.workers.pool import Pool

_WAIT = 0.25  # seconds
_PACKED = 500  # experiments after which Git's references are packed
_KILLED = "ended by `dvc queue kill`"


@dataclass(frozen=True)
class Parts:
    """All that the loop works with."""

    root: Path
    prefix: str  # of the DVC repository in Git's
    git: Any  # pygit2.Repository
    ledger: Ledger
    groups: Groups
    pool: Pool
    by_dvc: str | None  # why DVC itself must run every entry


class Drain:
    """Empties the queue."""

    def __init__(self, parts: Parts, waiting: deque[Message]) -> None:
        self._of, self._ledger, self._waiting = parts, parts.ledger, waiting
        self._places = [Place(number) for number in parts.pool.free()]
        self._known = dict.fromkeys(message.file for message in waiting)
        self._keys: set[str] = set()  # of the work that runs
        self._count = 0  # experiments that were made
        self.stops = Interruptions(
            "stopping: what runs is finished, the rest stays queued; Ctrl-C again stops that too"
        )

    def run(self) -> None:
        """Run entries until none is left, or somebody stops it.

        Raises:
            UserError: it cannot go on; what has not ended is queued again.
        """
        try:
            with self.stops.counted():
                self._loop()
        finally:
            for place in self._places:
                if (message := place.message) is not None:
                    self._of.pool.stop(place.number)
                    self._ledger.back(message)
            self._ledger.drop(last=True)

    def _loop(self) -> None:
        while True:
            self._fill()
            if self.stops.stop or not any(place.message for place in self._places):
                return
            for finished in self._of.pool.poll(_WAIT):
                self._finished(self._places[finished.slot], finished)
            for place in self._places:
                self._end_if_killed(place)
            for line in self.stops.news():
                self._ledger.teller.note(line)
            self._ledger.drop()

    def _fill(self) -> None:
        """Give each free place an entry, as long as there are any, those too that were queued meanwhile."""
        new = messages.queued(self._ledger.state.queued, self._known)
        self._known |= dict.fromkeys(message.file for message in new)
        self._waiting += new
        for place in self._places:
            while place.message is None and self._waiting and not self.stops.some:
                self._begin(place, self._waiting.popleft())

    def _begin(self, place: Place, message: Message) -> None:
        """Take an entry, unless another process has, and begin it."""
        of = self._of
        if not self._ledger.take(message):
            return
        place.give(message)
        with self._faults(place, message):
            entry = place.entry = entries.read(of.git, message, of.prefix)
            if (reason := of.by_dvc or entry.odd) is not None:
                self._ledger.teller.note(f"{message.name}: DVC itself runs it: {reason}")
                self._run(place, message, Work(BY_DVC, bydvc.line(message, of.root), False, "", {}))
                return
            of.groups.keep({each.entry.group for each in self._places if each.entry is not None})
            place.tree = of.groups.take(entry)
            self._ledger.state.runs_in(message, place.tree.path)
            place.steps = of.groups.engine(entry, place.tree).make(place.tree, entry)
            self._go_on(place, message, None)

    def _go_on(self, place: Place, message: Message, reply: Reply | None) -> None:
        """Let an entry go on until it has work to be run, or has ended."""
        assert place.steps is not None  # noqa: S101  # DVC itself runs the others
        with self._faults(place, message):
            try:
                work = next(place.steps) if reply is None else place.steps.send(reply)
            except StopIteration as end:
                self._made(place, message, *end.value)
            else:
                self._run(place, message, work)

    def _run(self, place: Place, message: Message, work: Work) -> None:
        """Have work run, unless another place is at the same."""
        place.work = work
        place.parked = bool(work.key) and work.key in self._keys
        if place.parked:
            return
        self._keys.add(work.key)
        path, code = bydvc.HOME, None
        if place.tree is not None and place.entry is not None:
            path, code = place.tree.path, place.entry.code
        if "DVC_STAGE" in work.env:  # else DVC says it itself
            said = work.cmd if isinstance(work.cmd, str) else json.dumps(work.cmd)
            self._ledger.log(message, f"Running stage '{work.stage}':\n> {said}")
        log, environment = self._ledger.state.log(message.rev), {**work.env, "TRIALTREE_SYNC": "0"}
        self._of.pool.run(place.number, Job(self._count, work.stage, work.cmd, path, log, environment, code))

    def _finished(self, place: Place, finished: Finished) -> None:
        """Take how work ended."""
        message, work = place.message, place.work
        if message is None or work is None:
            return
        place.work = None
        self._keys.discard(work.key)
        if place.killed:
            self._failed(place, message, _KILLED)
        elif finished.end == "lost" and not place.again:
            place.again = True
            self._run(place, message, work)
        elif finished.end != "done":
            self._failed(place, message, str(finished.reason))
        elif place.steps is None and place.entry is not None:
            self._ledger.teller.unpublished += bool(place.entry.targets) and "register" not in place.entry.targets
            self._end(place, message, self._ledger.state.digest(message.rev))
        else:
            self._go_on(place, message, "done")
        for other in self._places:
            if other.message is not None and other.waits_for(work.key):
                other.parked = False
                self._go_on(other, other.message, "again")

    def _made(self, place: Place, message: Message, made: Made, digest: str) -> None:
        """Make an entry's commit the experiment of its name.

        Raises:
            SweepError: there is another one of this name.
        """
        assert place.entry is not None and place.tree is not None  # noqa: S101, PT018  # it has begun
        engine = self._of.groups.engine(place.entry, place.tree)
        engine.keep(message.name, made)
        self._count += 1
        if self._count % _PACKED == 0:
            engine.tidy()
        self._ledger.teller.unpublished += not engine.publishes
        self._end(place, message, digest)

    def _end(self, place: Place, message: Message, digest: str) -> None:
        """Note that an entry is done."""
        self._ledger.done(message, digest, place.seconds)
        self._leave(place)

    def _failed(self, place: Place, message: Message, reason: str) -> None:
        """Note that an entry has failed."""
        self._ledger.failed(message, reason)
        if place.tree is not None and place.entry is not None:
            self._of.groups.clean(place.entry, place.tree)
        self._leave(place)

    def _leave(self, place: Place) -> None:
        """Free a place whose entry has ended."""
        if place.tree is not None and place.entry is not None:
            self._of.groups.give(place.entry, place.tree)
        place.leave()
        self._of.pool.rest(place.number)

    def _end_if_killed(self, place: Place) -> None:
        """End what `dvc queue kill` was called of."""
        message = place.message
        if message is None or place.killed or not self._ledger.state.killed(message.rev):
            return
        place.killed = True
        if place.parked:
            self._failed(place, message, _KILLED)
        else:
            self._of.pool.stop(place.number)

    @contextmanager
    def _faults(self, place: Place, message: Message) -> Iterator[None]:
        """Let an entry fail by what is its own fault."""
        try:
            yield
        except UserError as error:
            self._failed(place, message, str(error).splitlines()[0])
        except OSError as error:
            said = command.refused(error)
            if said is None:
                raise
            self._failed(place, message, said)
