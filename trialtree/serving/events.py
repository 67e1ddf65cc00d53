"""What happens to a server, as lines of JSON on standard error."""

import json
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any


def now() -> str:
    """Return the time as ISO 8601 has it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def log(event: str, **more: Any) -> None:
    """Write a line; a log that nobody takes any more ends nothing."""
    line = json.dumps({"time": now(), "event": event, **more}, ensure_ascii=False, default=str)
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
