"""Run a command beside the stage: its output shown and kept while it runs, and no process of it left behind."""

import codecs
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

_LOOK = 0.2  # seconds between looks whether a silent process has ended
_PATIENCE = 5  # seconds that a process has to end after a Ctrl-C
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def run(command: Sequence[str], environment: Mapping[str, str], log: Path) -> int:
    """Run a command to its end, and return its exit status, of a signal its number below 0.

    What it prints, errors too, goes to the terminal and to `log`. A Ctrl-C or
    an order to end goes to the command and to all that it has started.
    """
    # A group of its own: with a Ctrl-C all of it can be ended. Nobody types into it then.
    process = subprocess.Popen(
        command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        process_group=0,
    )  # fmt: skip
    with _interrupted_by_signals(), _ended(process), log.open("wb") as file:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for some in _output(process):
            file.write(some)
            file.flush()
            _show(decoder.decode(some))
        return process.wait()


def _show(text: str) -> None:
    """Print a text as far as the terminal has its characters."""
    encoding = sys.stdout.encoding or "utf-8"
    with suppress(OSError):  # nobody looks on any more
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()


def _output(process: "subprocess.Popen[bytes]") -> Iterator[bytes]:
    """Yield what a process prints until it has ended; one that it leaves behind is not waited for."""
    out: Any = process.stdout
    while True:
        if select.select([out], [], [], _LOOK)[0]:
            some = os.read(out.fileno(), 65536)
            if not some:
                return
            yield some
        elif process.poll() is not None:
            return


@contextmanager
def _ended(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """See that nothing of the process's group is left after the block."""
    try:
        yield
    finally:
        try:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_PATIENCE)
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Let an order to end be a Ctrl-C for the time being."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
