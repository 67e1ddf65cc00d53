"""The driver's side of the importer: started, told what to do, and left."""

import os
import selectors
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import trialtree
from trialtree.sweep.workers import jobs, shares
from trialtree.sweep.workers.jobs import PoolError, Setup
from trialtree.sweep.workers.learning import Learned
from trialtree.sweep.workers.slots import Slot
from trialtree.sweep.workers.wire import Wire

_HOME = Path(trialtree.__file__).parents[1]  # from which the importer is to import this package, and no other
_MODULE = "trialtree.sweep.workers.importer"
_STARTS = 2  # one importer may be lost
_PATIENCE = 0.1  # seconds that the importer has to leave


class Parent:
    """The importer of a pool, the parent of its servers; another one where the first is lost."""

    def __init__(self, setup: Setup, selector: selectors.BaseSelector) -> None:
        self.ready = False  # all is imported
        self.seconds: float | None = None  # that this took
        self.learned = Learned(setup.folder, setup.root, setup.stages, setup.estimators)
        self._setup, self._selector = setup, selector
        self._process: subprocess.Popen[bytes] | None = None
        self._wire: Wire | None = None
        self._has: set[str] = set()  # modules that it was told to import
        self._starts = self._orders = 0

    def start(self) -> None:
        """Start the process, and have it import.

        Raises:
            PoolError: no process can be started, or two are lost already.
        """
        if self._starts == _STARTS:
            said = jobs.last_line(self._setup.log)
            raise PoolError(f"the process that imports for the stages has ended twice{f': {said}' if said else ''}")
        self._starts += 1
        own, other = socket.socketpair()
        try:
            with other:
                self._process = self._started(other.fileno())
        except OSError as error:
            own.close()
            raise PoolError(f"no process can be started for the stages: {error}") from None
        self.ready, self._wire = False, Wire(own, wait=False)
        self._selector.register(own, selectors.EVENT_READ, self)
        setup, modules = self._setup, [*self.learned.modules]
        self._has = set(modules)
        self._tell({
            "do": "begin", "root": str(setup.root), "stages": [*setup.stages], "estimators": [*setup.estimators],
            "modules": modules,
        })  # fmt: skip

    def _started(self, descriptor: int) -> "subprocess.Popen[bytes]":
        setup = self._setup
        given = os.environ if setup.environment is None else setup.environment
        with setup.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", _MODULE, str(descriptor)], cwd=_HOME, pass_fds=[descriptor],
                env=shares.environment(given, setup.slots), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def order(self, slot: Slot) -> None:
        """Order a server for a slot, with all that was learned by now."""
        if more := [name for name in self.learned.modules if name not in self._has]:
            self._has.update(more)
            self._tell({"do": "import", "modules": more})
        self._orders += 1
        own, other = socket.socketpair()
        slot.order, slot.wire = self._orders, Wire(own, wait=False)
        self._selector.register(own, selectors.EVENT_READ, slot)
        order = {"do": "fork", "number": slot.order, "processors": slot.processors, "code": self._setup.code}
        with other:
            self._tell(order, [other.fileno()])

    def fileno(self) -> int:
        """Return the descriptor of its socket, below 0 without one."""
        return -1 if self._wire is None else self._wire.fileno()

    def said(self) -> Iterator[dict[str, Any]]:
        """Yield what it has said of orders."""
        for said in self._wire.receive() if self._wire is not None else ():
            if said["said"] == "ready":
                self.ready, self.seconds = True, said["seconds"]
            else:
                yield said

    @property
    def lost(self) -> bool:
        """Whether the process has ended without being left."""
        return self._wire is not None and self._wire.over

    def leave(self) -> None:
        """Let the process end, which ends what it has forked."""
        if self._wire is None or self._process is None:
            return
        self._selector.unregister(self._wire)
        self._wire.close()
        if self.ready:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE)
        self._process.kill()
        self._process.wait()
        self._wire = self._process = None

    def _tell(self, order: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Tell it something; that it is gone is seen when it is listened to."""
        if self._wire is not None:
            with suppress(OSError):
                self._wire.send(order, fds)
