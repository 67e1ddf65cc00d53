"""A stage server: a process forked from the importer that runs one stage after the other.

It leads a session of its own, so that it and whatever a stage has started can
be ended together, and the system ends it with the importer. Over its socket it
says its `pid`, then reads jobs, a line of JSON each, and answers with a line:

    status      as a process of its own would exit
    reason      why it did not begin, or null
    seconds, cpu, peak
    imported    modules that it did not have before
    spent       why no other job should run here, or null
"""

import gc
import os
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from trialtree.sweep.workers import processes, trial
from trialtree.sweep.workers.stagecode import PACKAGE, Stages
from trialtree.sweep.workers.wire import Wire

_CLEAR = Path("/proc/self/clear_refs")  # Linux
_PEAK_BEGINS_ANEW = "5"  # proc(5)
_freeze = gc.freeze


def serve(end: socket.socket, importer: int, processors: Sequence[int], code: str | None) -> NoReturn:
    """Run the jobs that come over a socket until its other side is closed; `code` is what stages/ is loaded of."""
    try:
        os.setsid()
        processes.end_with_parent(importer)
        _settle(processors)
        _loop(Wire(end), Stages(code))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _settle(processors: Sequence[int]) -> None:
    """Be a process in which stages run one after the other."""
    # A handler, and not SIG_IGN, which what a stage starts would inherit.
    signal.signal(signal.SIGINT, _ignore)
    if processors and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, processors)
    # A stage's command freezes all there is, to leave sooner; here that would be each trial's garbage, for ever.
    gc.freeze = _nothing
    gc.enable()


def _ignore(_number: int, _frame: object) -> None:
    pass


def _nothing() -> None:
    pass


def _loop(wire: Wire, stages: Stages) -> None:
    """Answer each job."""
    own = os.getpid()
    wire.send({"pid": own})
    while not wire.over:
        for job in wire.receive():
            modules = len(sys.modules)
            answer = _run(job, stages)
            if os.getpid() != own:  # a child that the stage forked, and that came out of it as its parent did
                os._exit(answer["status"])
            answer["imported"] = _new(modules, job["tree"])
            answer["spent"] = _left()
            wire.send(answer)
            gc.collect()
            if answer["imported"]:
                _freeze()  # libraries stay: nobody looks them over again


def _run(job: dict[str, Any], stages: Stages) -> dict[str, Any]:
    """Run a job, and return its status and what it took."""
    with suppress(OSError):
        _CLEAR.write_text(_PEAK_BEGINS_ANEW, encoding="ascii")
    begun, cpu = time.monotonic(), _cpu()
    reason = None
    try:
        status = trial.run(job, stages)
    except OSError as error:  # no log, no folder, no shell
        status, reason = 1, str(error)
    return {
        "status": status, "reason": reason, "seconds": time.monotonic() - begun, "cpu": _cpu() - cpu, "peak": _peak(),
    }  # fmt: skip


def _cpu() -> float:
    """Return the seconds of processor time that this process has had, and those that it waited for."""
    taken = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in taken)


def _peak() -> int:
    """Return the largest resident size, in bytes."""
    with suppress(OSError, IndexError):
        text = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
        return int(text.partition("VmHWM:")[2].split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _new(known: int, tree: str) -> list[str]:
    """Return the modules behind those known, as their import began; of a tree's own only those of stages/."""
    found = []
    for name, module in list(sys.modules.items())[known:]:
        spec = getattr(module, "__spec__", None)
        if spec is None or spec.name != name:
            continue
        if name.partition(".")[0] == PACKAGE or not (spec.origin or "").startswith(f"{tree}/"):
            found.append(name)
    return found


def _left() -> str | None:
    """Return what a stage has left behind that the next must not find."""
    if threading.active_count() > 1 or not threading.main_thread().is_alive():  # or it was waited for
        return "a thread"
    if not hasattr(os, "waitid"):
        return None
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return "a process"
