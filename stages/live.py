"""Show a fit of more than 5 s in MLflow while it runs, by a process beside it: train itself never waits for a tracker.

The process reads reports/curves.csv. All it is told is how the fit ended, and
it sees by the pipe that nobody tells it any more. Environment:

    TRIALTREE_LIVE=0            nothing is shown while it runs
    TRIALTREE_LIVE_AFTER=5      seconds of a fit before anything is

What fails here is one line on stderr: register publishes the trial in any case.
"""

import json
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from stages.errors import UserError

_AFTER = "TRIALTREE_LIVE_AFTER"
_MODULE = "trialtree.tracking.live"
_PATIENCE = 2.0  # seconds that the end of a fit waits for the last points
_SILENT = 5.0  # seconds after which a store that has not answered is said not to
_LATER = "register publishes the trial all the same"


class LiveError(UserError):
    """A setting that cannot be used."""


class Live:
    """The process beside a fit, started when the fit has lasted long enough; ending without `done`, it failed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begun = time.monotonic()
        self._after = _seconds() if os.environ.get("TRIALTREE_LIVE") != "0" else float("inf")
        self._process: subprocess.Popen[bytes] | None = None
        self._said = b""
        self._asked: float | None = None  # when the process came to speak to MLflow
        self._warned = self._has_run = self._is_done = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._process is not None and not self._is_done:
            self._tell({"ended": "FAILED" if kind and issubclass(kind, Exception) else "KILLED"})
            self._leave()

    def tick(self) -> None:
        """Start the process when it is time, and pass on what it has to say; to be called now and then."""
        if self._process is not None:
            self._listen()
        elif time.monotonic() - self._begun >= self._after:
            self._after = float("inf")
            self._start()

    def done(self, digest: str) -> None:
        """Say that the model is saved, and wait a little for the last points where there is a run to add them to."""
        if self._process is None:
            return
        self._is_done = True
        self._tell({"done": digest})
        until = time.monotonic() + _PATIENCE
        while self._listen() and self._has_run and not self._warned:
            left = until - time.monotonic()
            if left <= 0:
                self._warn("MLflow does not answer")
            elif self._process.stdout:
                select.select([self._process.stdout], [], [], left)
        if self._asked is not None and not self._has_run and time.monotonic() - self._asked > _SILENT:
            self._warn("MLflow does not answer")
        self._leave()

    def _start(self) -> None:
        command = [sys.executable, "-m", _MODULE, str(os.getpid()), str(self._path)]
        try:
            # A group of its own: a Ctrl-C ends train, and the process says so in MLflow. Not a session of its own,
            # which Linux gives as much time as all others together, however low its priority.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0
            )
            assert self._process.stdout  # noqa: S101  # it is a pipe
            os.set_blocking(self._process.stdout.fileno(), False)
        except OSError as error:
            self._warn(str(error))

    def _listen(self) -> bool:
        """Take what the process says, and return whether it may say more."""
        assert self._process  # noqa: S101  # it was started
        assert self._process.stdout  # noqa: S101  # it is a pipe
        while True:
            try:
                some = os.read(self._process.stdout.fileno(), 65536)
            except BlockingIOError:
                return True
            if not some:
                break
            *lines, self._said = (self._said + some).split(b"\n")
            for line in lines:
                self._heard(json.loads(line))
        with suppress(subprocess.TimeoutExpired):
            if self._process.wait(_PATIENCE):
                self._warn(f"{_MODULE} ended with status {self._process.returncode}")
        return False

    def _heard(self, message: dict[str, Any]) -> None:
        self._has_run |= "run" in message
        if "asked" in message:
            self._asked = time.monotonic()
        if "warning" in message:
            self._warn(message["warning"])

    def _warn(self, reason: str) -> None:
        """Say once that the fit is not seen in MLflow."""
        if not self._warned:
            self._warned = True
            print(f"not shown in MLflow while it runs: {reason}; {_LATER}", file=sys.stderr, flush=True)

    def _tell(self, message: dict[str, str]) -> None:
        """Say a line, which a pipe holds even if nobody reads it, and that it was the last."""
        assert self._process  # noqa: S101  # it was started
        assert self._process.stdin  # noqa: S101  # it is a pipe
        with suppress(OSError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        with suppress(OSError):
            self._process.stdin.close()

    def _leave(self) -> None:
        """Let go of the process, which ends by itself."""
        assert self._process  # noqa: S101  # it was started
        assert self._process.stdout  # noqa: S101  # it is a pipe
        self._process.stdout.close()


def _seconds() -> float:
    """Return how long a fit must last.

    Raises:
        LiveError: the environment says what is no number.
    """
    given = os.environ.get(_AFTER, "5")
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1
    if not seconds >= 0:
        raise LiveError(f"{_AFTER}: must be a number of seconds, got {given!r}")
    return seconds
