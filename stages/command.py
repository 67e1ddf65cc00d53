"""Run a stage's main as a command: one line for what a person can mend, a traceback for the rest."""

import errno
import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from stages import logs
from stages.errors import UserError

# What the machine refuses, in words; any other OSError is a fault of ours and keeps its traceback.
_REFUSED = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file would be larger than is allowed here",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "not permitted",
}
_STOPPED = "stopped; what was finished is kept, and `dvc repro` goes on from there"


def run(main: Callable[[], None], streams: bool = False) -> None:
    """Call `main`, and end the process with status 1 and a clear line where it cannot go on.

    `streams`: rows go through memory in batches of much the same size.
    """
    with logs.kept(Path(main.__code__.co_filename).stem) as ended:
        _call(main, streams, ended)


def _call(main: Callable[[], None], streams: bool, ended: Callable[[int], None]) -> None:
    """Call `main`; what leaves at once says before with which status it has `ended`."""
    if streams:
        # Else Arrow's allocator gives memory back at once, and asks for it again: a fifth of split's time.
        os.environ.setdefault("MIMALLOC_PURGE_DELAY", "-1")
    # Imported libraries are hundreds of thousands of objects that stay. Looking them over for garbage, again and again
    # and once more on leaving, is a tenth of a small stage's time.
    gc.set_threshold(1_000_000)
    try:
        main()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done: a Ctrl-C while Python leaves would be a traceback
        # Not where DuckDB is, whose binding takes frozen objects for leaked, and says so at length. fetch and split,
        # which have it and neither of the others, leave at once: they have closed all, and to look it over takes 0.1 s.
        if "duckdb" not in sys.modules:
            gc.freeze()
        elif not {"joblib", "mlflow"} & set(sys.modules) and _flush():
            ended(0)
            os._exit(0)
    except UserError as error:
        _stop(str(error), error.status)
    except MemoryError:
        _stop("out of memory: the table and the model do not fit; take fewer rows or columns", 1)
    except KeyboardInterrupt:
        _stop(_STOPPED, 130)
    except Exception as error:
        if str(error) == "Query interrupted":  # what DuckDB sometimes makes of a Ctrl-C
            _stop(_STOPPED, 130)
        said = refused(error)
        if said is None:
            raise
        _stop(said, 1)


def refused(error: Exception) -> str | None:
    """Return what the machine refused; DuckDB and Arrow say it in their own errors' text."""
    for number, words in _REFUSED.items():
        if getattr(error, "errno", None) == number or os.strerror(number) in str(error):
            return f"{words}: {getattr(error, 'filename', None) or ' '.join(str(error).split())}"
    return None


def _stop(message: str, status: int) -> None:
    """Print `message` and leave."""
    print(message, file=sys.stderr, flush=True)
    if not _flush():
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # no traceback after a clear line
    sys.exit(status)


def _flush() -> bool:
    """Say whether what was printed could be given to whoever reads."""
    try:
        sys.stdout.flush()
    except OSError:
        return False
    return True
