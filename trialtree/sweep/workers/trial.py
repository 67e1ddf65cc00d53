"""One job in a process that runs many: what it finds and leaves is as in a process of its own."""

import contextvars
import json
import os
import random
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Any

from trialtree.sweep.workers import stagecode
from trialtree.sweep.workers.stagecode import Stages

_OUT, _ERROR = 1, 2
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_FLUSH_FAILED = 120  # the status that Python exits with where its last words cannot be written


def run(job: Mapping[str, Any], stages: Stages) -> int:
    """Run a job in its folder, environment and log, and return the exit status of a process of its own.

    Raises:
        OSError: there is no such folder or shell, or the log cannot be opened.
    """
    with ExitStack() as stack:
        for part in (_log(job["log"]), _folder(job["tree"]), _environment(job["environment"]), _interpreter()):
            stack.enter_context(part)
        if job["module"] is None:
            return _shell(job["commands"])
        # Settings of numpy and decimal are kept in the context.
        return contextvars.copy_context().run(_module, job, stages)


def _module(job: Mapping[str, Any], stages: Stages) -> int:
    """Run a stage's module."""
    status = 1
    try:
        stages.enter(job["tree"], job["code"])
        sys.path[0] = job["tree"]
        if job["params"] is not None:
            stages.know(*json.loads(job["params"]))
        stages.run(job["module"])
        status = 0
    except SystemExit as left:
        status = _status(left)
    except BaseException as error:  # what ends a process ends the job
        traceback.print_exception(error.with_traceback(_of_stage(error.__traceback__)))
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        threading._shutdown()  # type: ignore[attr-defined]  # waits for them, as Python does before it leaves
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # a full disk, a stream that the stage has closed
        return status or _FLUSH_FAILED
    return status


def _of_stage(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback from where the stage's own code begins."""
    own = {__file__, stagecode.__file__}
    while trace is not None and trace.tb_frame.f_code.co_filename in own:
        trace = trace.tb_next
    return trace


def _status(left: SystemExit) -> int:
    """Return what Python makes of an exit."""
    if left.code is None or isinstance(left.code, int):
        return (left.code or 0) & 0xFF
    print(left.code, file=sys.stderr)
    return 1


def _shell(commands: list[list[str]]) -> int:
    """Run commands one after the other, until one fails."""
    for command in commands:
        status = subprocess.run(command, check=False).returncode
        if status:
            return status
    return 0


@contextmanager
def _log(path: str) -> Iterator[None]:
    """Have all that is printed, also by C code and by what is started, added to a file."""
    streams = sys.stdout, sys.stderr
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    own = os.dup(_OUT), os.dup(_ERROR)
    for number in (_OUT, _ERROR):
        os.dup2(log, number)
    os.close(log)
    # Line by line: what a crash cuts off is at most a line. A log is text for people: what is no Unicode is shown.
    made = [open(n, "w", 1, "utf-8", "backslashreplace", closefd=False) for n in (_OUT, _ERROR)]  # noqa: SIM115  # closed below
    sys.stdout, sys.stderr = made
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        for stream in made:
            with suppress(OSError):
                stream.close()
        for saved, number in zip(own, (_OUT, _ERROR), strict=True):
            os.dup2(saved, number)
            os.close(saved)


@contextmanager
def _folder(path: str) -> Iterator[None]:
    before = os.getcwd()  # noqa: PTH109  # a text is enough
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _environment(added: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(added)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        for name, value in before.items():
            if os.environ.get(name) != value:
                os.environ[name] = value


@contextmanager
def _interpreter() -> Iterator[None]:
    """Keep what a stage may change of this process: paths, signals, warnings; and draw by no seed of another's."""
    path, argv, main = sys.path[:], sys.argv[:], sys.modules["__main__"]
    handlers = [(number, signal.getsignal(number)) for number in _SIGNALS]
    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    try:
        with warnings.catch_warnings():  # and each warning is shown again
            yield
    finally:
        sys.path[:], sys.argv[:], sys.modules["__main__"] = path, argv, main
        for number, handler in handlers:
            signal.signal(number, handler)
