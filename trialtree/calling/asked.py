"""What `trialtree call` is asked for."""

from dataclasses import dataclass
from pathlib import Path

from stages.errors import UserError

BATCH = 1_000  # rows
WRITTEN = (".csv", ".parquet")


class CallError(UserError):
    """A call that cannot be made, or that an endpoint refuses."""


@dataclass(frozen=True)
class Asked:
    """The options of a call; paths are whole."""

    url: str  # or the name of an endpoint of this machine
    table: str  # a file, `-`, or REV:PATH
    here: Path  # what the table's path is relative to
    probabilities: bool = False
    compare: str | None = None  # a column
    key_file: Path | None = None
    out: Path | None = None
    rows: int = 10  # to print
    batch: int = BATCH
    timeout: float = 30.0  # seconds for an answer
    ca: Path | None = None  # certificates that are trusted

    def __post_init__(self) -> None:
        """Refuse what cannot be written."""
        if self.out and self.out.suffix.lower() not in WRITTEN:
            raise CallError(f"--out: must end in {' or '.join(WRITTEN)}, got {self.out.name}")
