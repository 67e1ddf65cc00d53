"""Lines of JSON over a socket, with a file descriptor beside a line where one is sent."""

import json
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any

_CHUNK = 65536
_FDS = 8  # that one read takes


class Wire:
    """One end of a socket that carries lines of JSON."""

    def __init__(self, end: socket.socket, wait: bool = True) -> None:
        self.socket = end
        self._flags = 0 if wait else socket.MSG_DONTWAIT
        self.over = False  # the other side has closed its end
        self._rest = b""
        self._fds: list[int] = []

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self.socket.fileno()

    def send(self, content: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Send a line whole.

        Raises:
            OSError: the other side is gone.
        """
        data = json.dumps(content).encode() + b"\n"
        if fds:
            data = data[socket.send_fds(self.socket, [data], list(fds)) :]
        self.socket.sendall(data)

    def receive(self) -> Iterator[dict[str, Any]]:
        """Yield the lines that have come whole, after a wait for something where one was asked for; see `over`."""
        some: bytes = b""
        fds: list[int] = []
        try:
            some, fds, _, _ = socket.recv_fds(self.socket, _CHUNK, _FDS, self._flags)
        except BlockingIOError:
            return
        except ConnectionError:
            pass
        for fd in fds:
            os.set_inheritable(fd, False)  # what a stage starts must not hold a socket open
        self._fds += fds
        self.over = not some
        *lines, self._rest = (self._rest + some).split(b"\n")
        yield from map(json.loads, lines)

    def fd(self) -> int:
        """Return the next descriptor that came: they keep the order of their lines."""
        return self._fds.pop(0)

    def close(self) -> None:
        """Close this end, and what came and was not taken."""
        self.socket.close()
        while self._fds:
            os.close(self.fd())
