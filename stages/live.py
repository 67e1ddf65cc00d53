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
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Self, cast

from stages.errors import UserError

_AFTER = "TRIALTREE_LIVE_AFTER"
_MODULE = "trialtree.tracking.live"
_PATIENCE = 2.0  # seconds that the end of a fit waits for the last points
_SILENT = 5.0  # seconds after which a store that has not answered is said not to
_NO_ANSWER = "MLflow does not answer"
_LATER = "register publishes the trial all the same"


class LiveError(UserError):
    """A setting that cannot be used."""


class Live:
    """Has a fit shown when it has lasted long enough; a block that ends without `done` is a fit that failed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begun = time.monotonic()
        self._after = _seconds() if os.environ.get("TRIALTREE_LIVE") != "0" else float("inf")
        self._beside: _Beside | None = None
        self._asked: float | None = None  # when the process came to speak to MLflow
        self._warned = self._has_run = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._beside is not None:
            self._beside.tell({"ended": "FAILED" if kind and issubclass(kind, Exception) else "KILLED"})
            self._beside.leave()

    def tick(self) -> None:
        """Start the process when it is time, and pass on what it has to say; to be called now and then."""
        if self._beside is not None:
            self._hear(self._beside)
        elif time.monotonic() - self._begun >= self._after:
            self._after = float("inf")
            try:
                self._beside = _Beside(self._path, time.monotonic() - self._begun)
            except OSError as error:
                self._warn(str(error))

    def done(self, digest: str) -> None:
        """Say that the model is saved, and wait a little for the last points where there is a run to add them to."""
        beside, self._beside = self._beside, None
        if beside is None:
            return
        beside.tell({"done": digest})
        until = time.monotonic() + _PATIENCE
        while self._hear(beside) and self._has_run and not self._warned:
            if not beside.speaks_within(until - time.monotonic()):
                self._warn(_NO_ANSWER)
        if self._asked is not None and not self._has_run and time.monotonic() - self._asked > _SILENT:
            self._warn(_NO_ANSWER)
        beside.leave()

    def _hear(self, beside: "_Beside") -> bool:
        """Take what the process says, and return whether it may say more."""
        for message in beside.messages():
            self._has_run |= "run" in message
            if "asked" in message:
                self._asked = time.monotonic()
            if "warning" in message:
                self._warn(message["warning"])
        if beside.status:
            self._warn(f"{_MODULE} ended with status {beside.status}")
        return beside.status is None

    def _warn(self, reason: str) -> None:
        """Say once that the fit is not seen in MLflow."""
        if not self._warned:
            self._warned = True
            print(f"not shown in MLflow while it runs: {reason}; {_LATER}", file=sys.stderr, flush=True)


class _Beside:
    """The process beside the fit, and the two pipes to it, at which the fit never waits."""

    def __init__(self, path: Path, since: float) -> None:
        self.status: int | None = None  # None as long as it may say something
        # A group of its own: a Ctrl-C ends train, and the process says so in MLflow. Not a session of its own, which
        # Linux may give as much time as all of another, however low its priority.
        self._process = subprocess.Popen(
            [sys.executable, "-m", _MODULE, str(os.getpid()), str(path), f"{since:.3f}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0, process_group=0,
        )  # fmt: skip
        self._to, self._from = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        os.set_blocking(self._from.fileno(), False)
        self._said = b""

    def messages(self) -> Iterator[dict[str, str]]:
        """Yield what it has said since."""
        while self.status is None:
            some = self._from.read(65536)
            if some is None:
                return
            if not some:
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_PATIENCE)
                self.status = self._process.returncode or 0
            *lines, self._said = (self._said + some).split(b"\n")
            yield from map(json.loads, lines)

    def speaks_within(self, seconds: float) -> bool:
        """Wait until it says something or ends; False when the time is over."""
        return seconds > 0 and bool(select.select([self._from], [], [], seconds)[0])

    def tell(self, message: dict[str, str]) -> None:
        """Say a line, which the pipe holds even if nobody reads it, and that it was the last."""
        with suppress(OSError):
            self._to.write(json.dumps(message).encode() + b"\n")
        self._to.close()

    def leave(self) -> None:
        """Let go of the process, which ends by itself."""
        self._from.close()


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
