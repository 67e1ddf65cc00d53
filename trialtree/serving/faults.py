"""What is wrong with a request or with rows, in words for whoever sent them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_SHOWN = 40  # characters of a value in a message
_LISTED = 10  # faults in an answer


@dataclass(frozen=True)
class Fault:
    """One cell, row or column that a model does not take."""

    row: int | None  # counted from 0; None for the whole column
    column: str | None  # None for the whole row
    reason: str

    def __str__(self) -> str:
        """Return it in one line."""
        places = [f"row {self.row}"] if self.row is not None else []
        places += [f"column {self.column!r}"] if self.column is not None else []
        return f"{', '.join(places)}: {self.reason}" if places else self.reason


class Refused(Exception):  # noqa: N818  # said of a request
    """A request that is not answered, with the HTTP status that says so."""

    def __init__(self, status: int, reason: str, faults: Sequence[Fault] = (), headers: dict[str, str] | None = None):
        super().__init__(reason)
        self.status, self.reason, self.faults, self.headers = status, reason, list(faults), headers or {}

    @classmethod
    def of(cls, faults: Sequence[Fault], total: int | None = None) -> "Refused":
        """Return the refusal of rows with these faults, the first of which it lists; `total` counts all."""
        count = len(faults) if total is None else total
        more = f" (and {count - 1} more)" if count > 1 else ""
        return cls(422, f"{faults[0]}{more}", faults[:_LISTED])


def shown(value: Any) -> str:
    """Return a value of a request for a message: its kind, and the start of it."""
    if isinstance(value, str):
        return f"text {cut(value)!r}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return (
        "an object" if isinstance(value, dict) else "a list" if isinstance(value, list | tuple) else str(value)[:_SHOWN]
    )


def cut(text: str) -> str:
    """Return the start of a text."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
