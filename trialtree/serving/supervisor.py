"""The parent of the workers of a server: small, and alive whatever happens to them.

It has the socket, starts workers on it, gives them the plan and every later
one, and starts one again that died. It needs no registry, MLflow or DVC: its
plans come from a `Source`. Signals:

    TERM, INT    workers finish what they have begun; a second INT ends them at once
    HUP          settings and plan are read anew
"""

import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from stages.errors import UserError
from trialtree.serving import binding, events
from trialtree.serving.settings import Settings
from trialtree.serving.sources import Source
from trialtree.serving.status import Status
from trialtree.serving.team import Team, shown
from trialtree.serving.watching import PROVE, News, Watcher

WORKER = (sys.executable, "-m", "trialtree.serving.worker")
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_LATE = 2.0  # seconds that workers get beyond the grace that they keep themselves


@dataclass(frozen=True)
class Wanted:
    """How a server is run."""

    settings: Callable[[], Settings]  # read at the start, and again at a HUP
    host: str = "127.0.0.1"
    port: int = 5001
    workers: int = 1
    grace: float = 30.0  # seconds to finish what has begun
    command: Sequence[str] = WORKER
    prove: Sequence[str] | None = PROVE  # gets a model as JSON; None: models are not tried before
    status: Path | None = None  # a file


def run(wanted: Wanted, source: Source, say: Callable[[str], None]) -> None:
    """Serve until a signal. `say` gets the line with the address.

    Raises:
        BindingError: the host or port cannot be had.
        UserError: of the settings, or workers never became ready.
    """
    settings = wanted.settings()
    with binding.listening(wanted.host, wanted.port) as listener, selectors.DefaultSelector() as selector:
        status = Status(wanted.status, binding.address(listener, wanted.host, settings.tls_cert is not None))
        status.inputs = dict(settings.inputs)
        team = Team(wanted.workers, wanted.command, listener.fileno(), settings, selector)
        Supervisor(wanted, source, team, status, selector, say).run()


class Supervisor:
    """A running server."""

    def __init__(  # noqa: PLR0913, PLR0917  # made in one place
        self,
        wanted: Wanted,
        source: Source,
        team: Team,
        status: Status,
        selector: selectors.BaseSelector,
        say: Callable[[str], None],
    ) -> None:
        self._wanted, self._team, self._status, self._selector, self._say = wanted, team, status, selector, say
        self._woken, self._wake = socket.socketpair()
        self._news: SimpleQueue[News] = SimpleQueue()
        self._watcher = Watcher(source, self._posted, wanted.prove, allow_pickle=team.settings.allow_pickle)
        self._until: float | None = None  # on the monotonic clock: when workers that still run are ended
        self._failed: str | None = None  # why the server ends, where it never was ready
        self._terminal = _has_terminal()

    def run(self) -> None:
        """Serve until a signal.

        Raises:
            UserError: workers never became ready.
        """
        with self._woken, self._wake, self._signalled():
            try:
                self._team.start()
                self._watcher.start()
                self._write()
                while self._until is None or self._team.alive:
                    self._turn()
            finally:
                self._team.kill()
                self._status.state = "stopped"
                self._write()
        if self._failed is not None:
            raise UserError(self._failed)

    def _turn(self) -> None:
        """Wait for something to happen, and do what it asks for."""
        times = [time_ for time_ in (self._team.next_start, self._until) if time_ is not None]
        pause = max(0.0, min(times) - time.monotonic()) if times else None
        for key, _ in self._selector.select(pause):
            if key.data is not None:
                self._team.attend(key.data)
        self._take_signals()
        with suppress(Empty):
            while True:
                self._take(self._news.get_nowait())
        self._team.bury()
        self._take_faults()
        self._announce()
        if self._until is not None and time.monotonic() >= self._until:
            self._team.kill()
            self._until = time.monotonic() + _LATE
        self._team.start()
        self._write()

    @contextmanager
    def _signalled(self) -> Iterator[None]:
        """Have signals wake the loop in the block."""
        for end in (self._woken, self._wake):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
        awake = signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(awake)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _posted(self, news: News) -> None:
        """Take the news of the watcher's thread."""
        self._news.put(news)
        with suppress(OSError):
            self._wake.send(b"\0")

    def _take_signals(self) -> None:
        got = b""
        with suppress(BlockingIOError):
            got = self._woken.recv(4096)
        for number in got:
            if number == signal.SIGHUP and not (self._terminal and not _has_terminal()):
                self._reread()
            elif number == signal.SIGINT and self._until is not None:
                self._team.kill()
            elif number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # the last: the terminal is gone
                self._stop()

    def _reread(self) -> None:
        """Read the settings anew, and have the plan read anew."""
        try:
            settings = self._wanted.settings()
        except Exception as error:
            self._fault(" ".join(str(error).split()))
            self._status.answered += 1
        else:
            events.log("settings read")
            self._team.settings = settings
            # Only the keys: workers go on with the certificate of their start.
            self._status.inputs |= {name: digest for name, digest in settings.inputs if name == "keys"}
            self._watcher.again(hangups=1)

    def _take(self, news: News) -> None:
        """Take what the watcher found."""
        self._status.answered += news.hangups
        if news.fault is not None:
            self._fault(news.fault)
            if self._team.plan is None:
                self._stop(news.fault)
            elif news.hangups and self._until is None:
                self._team.change(self._team.plan)  # so that workers have the new settings all the same
            return
        if self._status.state != "failing":
            self._status.error = None
        if news.plan is not None and self._until is None:
            self._team.change(news.plan)

    def _take_faults(self) -> None:
        """Note what went wrong with workers."""
        faults, self._team.faults = self._team.faults, []
        for fault in faults:
            self._fault(fault.line)
            if fault.ends:
                self._stop(fault.line)
            elif fault.mend and self._until is None:
                self._watcher.again()

    def _announce(self) -> None:
        """Say once where the server is, and in its status whether any worker answers."""
        if self._status.state == "starting" and self._team.generation and self._team.plan:
            self._status.state = "ready"
            where = self._status.address
            with suppress(OSError):  # nobody listens any more
                self._say(f"{shown(self._team.plan)} at {where}  (documentation: {where}/docs)")
        if self._status.state in ("ready", "failing"):
            self._status.state = "ready" if self._team.ready else "failing"

    def _stop(self, failed: str | None = None) -> None:
        """Have all workers end; at once where they failed to start."""
        if self._until is not None:
            return
        events.log("stopping")
        self._until = time.monotonic() + (self._wanted.grace + _LATE if failed is None else 0.0)
        self._failed, self._status.state = failed, "stopping"
        self._team.stop(self._wanted.grace)

    def _fault(self, line: str) -> None:
        """Note what went wrong."""
        events.log("fault", error=line)
        self._status.failed(line)

    def _write(self) -> None:
        self._status.write(self._team.plan, self._team.generation, self._team.workers)


def _has_terminal() -> bool:
    """Say whether a terminal controls this process."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
