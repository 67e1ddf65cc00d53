"""The pipes between a long fit and the process that shows it in MLflow."""

import json
import os
import threading
from contextlib import suppress
from typing import IO, Any

_LAST = 30.0  # seconds after the fit in which all must be done


class Fit:
    """The fit at the other end: what it says last, and what it is told."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.last: dict[str, Any] = {"ended": "KILLED"}  # where it says nothing
        # Whatever else prints must not come between.
        self._out = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        source = os.fdopen(os.dup(0), "rb")
        threading.Thread(target=self._listen, args=(source,), daemon=True).start()

    def _listen(self, source: IO[bytes]) -> None:
        for line in source:
            with suppress(ValueError):
                self.last = json.loads(line)
        # A store that hangs does not keep this process for ever.
        timer = threading.Timer(_LAST, os._exit, [1])
        timer.daemon = True
        timer.start()
        self.ended.set()

    def tell(self, **message: str) -> None:
        """Tell it something, if it still listens."""
        with suppress(OSError):
            self._out.write(json.dumps(message).encode() + b"\n")
