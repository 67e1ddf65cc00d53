"""The importer: a process that imports what stages need, computes nothing, and forks a stage server when asked.

    python -m trialtree.sweep.workers.importer DESCRIPTOR

Over the socket of that number it is told, a line of JSON each,

    begin     root, stages, estimators, modules: what to import, and from whose stages/
    import    modules: more of it, for servers to come
    fork      number, processors, code: with it comes the server's socket

and says

    ready     seconds: all is imported
    refused   number, reason: no process could be forked
    ended     number, status: of a server; of a signal its number below 0

It ends when the driver's end of the socket is closed, and no server outlives
it. To compute before a fork would break what is forked: OpenMP's and DuckDB's
threads do not come along.
"""

import gc
import os
import select
import signal
import socket
import sys
import time
import warnings
from contextlib import suppress
from typing import Any

from trialtree.sweep.workers import learning, processes, server
from trialtree.sweep.workers.wire import Wire


class Importer:
    """What the process holds."""

    def __init__(self, control: socket.socket) -> None:
        self._wire = Wire(control)
        self._servers: dict[int, int] = {}  # the number of its order, by its process
        # Written to by the system as soon as a child has ended.
        self._ended, self._wakeup = os.pipe()
        os.set_blocking(self._ended, False)
        os.set_blocking(self._wakeup, False)

    def run(self) -> None:
        """Do what the driver says until it is gone."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        processes.adopt_orphans()
        gc.disable()  # to look imported libraries over for garbage, again and again, takes a sixth of their import
        try:
            while not self._wire.over:
                ready, _, _ = select.select([self._wire.fileno(), self._ended], [], [])
                if self._ended in ready:
                    os.read(self._ended, 65536)
                    self._reap()
                if self._wire.fileno() in ready:
                    for order in self._wire.receive():
                        self._obey(order)
        finally:
            for pid in self._servers:
                processes.end(pid)
            self._reap()
            for pid in processes.children(os.getpid()):  # what has left its session, and was left behind
                processes.end(pid)

    def _obey(self, order: dict[str, Any]) -> None:
        if order["do"] == "fork":
            self._fork(order)
            return
        begun = time.monotonic()
        if order["do"] == "begin":
            sys.path[0] = order["root"]
            learning.import_first(order["stages"], order["estimators"])
        learning.import_all(order["modules"])
        gc.freeze()  # libraries stay, and a server's pages of them are shared until it writes to them
        if order["do"] == "begin":
            self._say("ready", seconds=time.monotonic() - begun)

    def _fork(self, order: dict[str, Any]) -> None:
        """Fork a server, which takes over the socket that came with the order."""
        with socket.socket(fileno=self._wire.fd()) as end:
            parent = os.getpid()
            try:
                with warnings.catch_warnings(action="ignore"):  # of OpenBLAS's threads, which it ends before a fork
                    pid = os.fork()
            except OSError as error:
                self._say("refused", number=order["number"], reason=os.strerror(error.errno or 0))
                return
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                self._wire.close()
                for descriptor in (self._ended, self._wakeup):
                    os.close(descriptor)
                server.serve(end, parent, order["processors"], order["code"])
        self._servers[pid] = order["number"]

    def _reap(self) -> None:
        """Ask for the status of what has ended; what a server left behind is asked for too, and ended with it."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._servers:
                processes.end(pid)
                self._say("ended", number=self._servers.pop(pid), status=os.waitstatus_to_exitcode(status))

    def _say(self, what: str, **more: Any) -> None:
        """Tell the driver; whether it is gone is seen when it is listened to."""
        with suppress(OSError):
            self._wire.send({"said": what, **more})


def main() -> None:
    """Run the process."""
    Importer(socket.socket(fileno=int(sys.argv[1]))).run()
    sys.stderr.flush()
    os._exit(0)  # to take down all that was imported takes 0.05 s


if __name__ == "__main__":
    main()
