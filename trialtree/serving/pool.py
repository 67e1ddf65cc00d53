"""A worker process as its parent sees it: started, spoken to, and started again when it dies.

A line of JSON each way over a pair of sockets. To the worker:

    {"do": "start", "settings", "plan"}   first: load the models, and answer
    {"do": "plan", "plan", "settings"}    answer by other models, limits and keys
    {"do": "stop", "grace"}               end, after what was begun, in so many seconds; so does the end of the socket

From the worker:

    {"said": "ready" or "planned", "generation"}   it answers by that plan
    {"said": "failed", "generation", "error"}      it cannot; after start it ends, after plan it goes on as before
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trialtree.serving import events

_SOON = 10  # seconds after its start in which a death makes the next start wait longer
_SHORTEST, _LONGEST = 0.5, 30.0  # seconds to wait


@dataclass
class Worker:
    """One place of a server: the process that has it now, and how often there was another."""

    number: int
    command: Sequence[str]
    listen: int  # file descriptor of the socket that all share
    state: str = "dead"  # or starting, told (its models), ready
    generation: int = 0  # of the plan that it answers by
    restarts: int = 0
    started: str = ""
    again: float = 0.0  # on the monotonic clock: when it may start
    process: "subprocess.Popen[bytes] | None" = None
    control: socket.socket | None = None
    gone: bool = False  # it has closed its end
    refused: bool = False  # it said at its start that it cannot load the models
    _delay: float = 0.0
    _born: float = 0.0
    _buffer: bytes = field(default=b"", repr=False)
    _unsent: bytes = field(default=b"", repr=False)

    @property
    def pid(self) -> int | None:
        """The id of its process."""
        return self.process.pid if self.process else None

    def start(self) -> socket.socket:
        """Start a process, and return the socket by which one speaks to it."""
        ours, theirs = socket.socketpair()
        with theirs:
            fds = (theirs.fileno(), self.listen)
            self.process = subprocess.Popen(
                [*self.command, "--control", str(fds[0]), "--listen", str(fds[1])],
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                process_group=0,  # Ctrl-C is for the parent
            )
        ours.setblocking(False)
        self.control, self.state, self.generation, self._buffer = ours, "starting", 0, b""
        self._unsent = b""
        self.gone = self.refused = False
        self.started, self._born = events.now(), time.monotonic()
        events.log("worker started", worker=self.number, pid=self.pid)
        return ours

    @property
    def waiting(self) -> bool:
        """Whether something is yet to be sent to it."""
        return bool(self._unsent)

    def tell(self, **message: Any) -> None:
        """Send a message, as much as it takes now; one that is dead or does not listen any more gets none."""
        if self.control is not None:
            self._unsent += json.dumps(message).encode() + b"\n"
            self.send()

    def send(self) -> None:
        """Send what is yet to be sent, as much as it takes now."""
        try:
            while self.control is not None and self._unsent:
                self._unsent = self._unsent[self.control.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:  # its end is closed
            self._unsent = b""

    def heard(self) -> Iterator[dict[str, Any]]:
        """Yield what it has said since the last time."""
        if self.control is None:
            return
        with suppress(BlockingIOError, ConnectionResetError):
            got = self.control.recv(2**16)
            self.gone = not got
            self._buffer += got
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            with suppress(ValueError):
                yield json.loads(line)

    def dead(self) -> bool:
        """Say whether its process has ended since it was started."""
        return self.process is not None and self.process.poll() is not None

    def buried(self) -> str:
        """Note that its process has ended, and when the next may start; return how it ended."""
        assert self.process is not None  # noqa: S101  # dead said so
        lived = time.monotonic() - self._born
        self._delay = min(_LONGEST, max(_SHORTEST, self._delay * 2)) if lived < _SOON else _SHORTEST
        self.again = time.monotonic() + self._delay
        self.restarts += 1
        how = ended(self.process.returncode)
        self.silence()
        self.process, self.state, self.generation = None, "dead", 0
        return how

    def silence(self) -> None:
        """Hear and tell no more."""
        if self.control is not None:
            self.control.close()
        self.control, self._unsent = None, b""

    def kill(self) -> None:
        """End its process at once."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()

    def as_json(self) -> dict[str, Any]:
        """Return what the server's status says of it."""
        return {"pid": self.pid, "state": self.state, "restarts": self.restarts, "started": self.started}


def ended(status: int) -> str:
    """Say how a process ended."""
    if status >= 0:
        return f"exit status {status}"
    with suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"


def forget(metrics: str | None, pid: int | None) -> None:
    """Let a dead worker's gauges of what is now be gone, as prometheus_client's mark_process_dead does."""
    if metrics is not None:
        for path in Path(metrics).glob(f"gauge_live*_{pid}.db"):
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108  # path.unlink would do the same
