"""The driver's side of publishing: a process that it never waits for before the end of the sweep."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

MODULE = "trialtree.sweep.publishing"
LOG = "publishing.log"  # in the sweep's folder: a traceback, where there is one
_LATER = "the trials are kept, and `trialtree track --all` publishes them"


@dataclass(frozen=True)
class Published:
    """What is in MLflow at the end of a sweep."""

    count: int  # trials of the sweep below its run, failed and pruned ones too
    notes: tuple[str, ...]  # what a person should know, a line each
    where: str | None = None  # the store's address, without a password; None where nothing arrived


class Publishing:
    """Has the trials of a sweep published by a process beside the driver."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._from: IO[bytes] | None = None
        self._said = b""
        self._notes: list[str] = []
        self._last: dict[str, Any] = {}

    @property
    def pid(self) -> int | None:
        """The process, once there is one."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process, which imports MLflow first (1.5 s of a core, of low priority)."""
        if self._process is not None:
            return
        try:
            with (self._folder / LOG).open("ab") as log:
                # A group of its own: a Ctrl-C is for the driver, which then waits for what is still to be published.
                self._process = subprocess.Popen(
                    [sys.executable, "-m", MODULE, str(self._folder)],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0, process_group=0,
                )  # fmt: skip
        except OSError as error:
            self._notes.append(f"not published to MLflow: {error}; {_LATER}")
            return
        self._from = cast(IO[bytes], self._process.stdout)
        os.set_blocking(self._from.fileno(), False)

    def news(self) -> list[str]:
        """Return what a person should know and was not told yet; never waits."""
        while self._from is not None and (some := self._from.read(65536)):
            self._take(some)
        notes, self._notes = self._notes, []
        return notes

    def finish(self, progress: Callable[[int, int], None] | None = None) -> Published:
        """Wait until all that the journal holds is published; `progress` gets how many of how many trials are.

        After the journal says how the sweep ended. A Ctrl-C ends the waiting.
        """
        if self._process is not None and self._process.poll() is not None:
            self.leave()  # somebody killed it: another one publishes what is missing
        self.start()
        if self._process is None or self._from is None:
            return Published(0, tuple(self.news()))
        os.set_blocking(self._from.fileno(), True)
        with suppress(OSError):
            # Not only by the pipe's end: who was forked meanwhile may hold it open.
            cast(IO[bytes], self._process.stdin).write(b"end\n")
        try:
            while some := self._from.read(65536):
                self._take(some)
                if progress is not None and "of" in self._last:
                    progress(self._last["published"], self._last["of"])
            if self._process.wait():
                self._notes.append(f"publishing to MLflow broke off, see {self._folder / LOG}; {_LATER}")
        except KeyboardInterrupt:
            self._process.kill()
            self._notes.append(f"stopped publishing to MLflow; {_LATER}")
        self._process.wait()
        self.leave()
        return Published(self._last.get("published", 0), tuple(self.news()), self._last.get("where"))

    def leave(self) -> None:
        """Let go of the process: if it runs, it publishes what has ended and leaves, too."""
        if self._process is not None and self._from is not None:
            self._from.close()
            cast(IO[bytes], self._process.stdin).close()
            if self._process.poll() is not None:
                with suppress(OSError):
                    if not (self._folder / LOG).stat().st_size:
                        (self._folder / LOG).unlink()
        self._process = self._from = None

    def _take(self, some: bytes) -> None:
        """Take in what the process says."""
        *lines, self._said = (self._said + some).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "note" in message:
                self._notes.append(message["note"])
            self._last |= message
