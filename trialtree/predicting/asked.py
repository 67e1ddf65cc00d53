"""What `trialtree predict` is asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stages import threads
from stages.errors import UserError

Format = Literal["parquet", "csv", "arrow"]

FORMATS: dict[str, Format] = {".parquet": "parquet", ".csv": "csv", ".arrow": "arrow"}  # by a file's suffix
_OTHERS = (".feather", ".gz", ".ipc", ".json", ".jsonl", ".pq", ".tsv", ".txt", ".xlsx", ".zip", ".zst")
MOST = 1024  # threads
CHUNK = 32_768  # rows: twice as many are no quicker, and take 40 MB more


class PredictError(UserError):
    """A prediction that cannot be made as it was asked for."""


class StoppedError(PredictError):
    """A prediction that was stopped and goes on when it is asked for again."""

    status = 130


@dataclass(frozen=True)
class Asked:
    """The options of a prediction."""

    model: str  # NAME, NAME@alias, NAME/version, or a model's folder
    inputs: tuple[str, ...]
    out: Path
    here: Path  # what paths are relative to
    probabilities: bool = False
    explain: bool = False
    keep: tuple[str, ...] | None = None  # None: all columns that the model does not take
    max_errors: int = 0  # rows
    chunk: int = CHUNK  # rows
    jobs: int | None = None  # None: all cores
    format: Format | None = None
    unknown: bool = False
    allow_pickle: bool = False
    endpoint: str | None = None
    fresh: bool = False
    quiet: bool = False

    @property
    def place(self) -> Path:
        """Where the output goes."""
        return self.here / self.out

    @property
    def is_one(self) -> bool:
        """Whether all inputs become one data set, and not an output each in a folder."""
        return self.out.suffix.lower() in FORMATS

    @property
    def workers(self) -> int:
        """How many threads score."""
        return self.jobs or threads.threads(MOST)


def checked(asked: Asked) -> Asked:
    """Return the options.

    Raises:
        PredictError: what they say of the output is not possible.
    """
    out, suffix = asked.out, asked.out.suffix.lower()
    names = ", ".join(FORMATS)
    if asked.is_one:
        if asked.place.is_dir():
            raise PredictError(f"--out: {out} is a folder, and its name is one of a file ({names})")
        if asked.format not in (None, FORMATS[suffix]):
            raise PredictError(f"--format: is {asked.format}, and --out names a file {suffix}")
    elif suffix in _OTHERS and not asked.place.is_dir():
        raise PredictError(f"--out: must be a file {names}, or a folder, got {out}")
    elif asked.place.exists() and not asked.place.is_dir():
        raise PredictError(f"--out: {out} is a file; one that is to be written ends in {names}")
    return asked
