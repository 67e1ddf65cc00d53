"""What happens to a server and its workers, as lines of JSON on standard error; never what a request holds."""

import json
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson


def now() -> str:
    """Return the time as ISO 8601 has it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def log(event: str, **more: Any) -> None:
    """Write a line; a log that nobody takes any more, or a full disk, ends nothing."""
    said = {"time": now(), "event": event, **more}
    try:
        line = orjson.dumps(said, default=str)
    except TypeError:  # a name that is no UTF-8
        line = json.dumps(said, default=str).encode()
    with suppress(OSError, ValueError):
        sys.stderr.buffer.write(line + b"\n")
        sys.stderr.buffer.flush()
