"""Keep what a stage prints, and how it ended: `trialtree logs` shows it.

In .dvc/tmp/trialtree/logs/, the folder of an invocation (one `dvc repro` or
`dvc exp run`) has, of each stage that ran in it,

    train.json          what is known as it starts; a second line when it ends
    train.log           what it printed on stdout and stderr, line by line
    split.KEY.entry     the entry of dvc.lock of each stage before those that ran
    params.yaml         as the first of them found it

A stage with an entry and without a record was not run there. By KEY, an entry
of any commit's dvc.lock leads to the execution that made it.

Nothing of this stops a stage: where it cannot be written, it is not.
"""

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from stages import invocations

ORDER = ("fetch", "split", "train", "evaluate", "register")
LIMIT = 20_000_000  # bytes of a log; of one that is longer the first half stays, and the end
_CUT = "\n[trialtree: the log is too long, and what stood here is left out]\n"
_HASH = re.compile(rb"(?m)^ +md5: '?([0-9a-f]{32}(?:\.dir)?)'?$")
_FAULTS = (OSError, ValueError)  # of files, and of those that are closed or have odd names


def key(hashes: Iterable[str]) -> str:
    """Return what an entry of dvc.lock is found by, from the MD5s of its dependencies and outputs in their order."""
    return hashlib.md5(" ".join(hashes).encode(), usedforsecurity=False).hexdigest()


class Log:
    """The log and the record of one execution of a stage."""

    def __init__(self, folder: Path, stage: str, known: dict[str, Any]) -> None:
        self._pid, self._begun = os.getpid(), time.monotonic()
        self._record: IO[str] | None = (folder / f"{stage}.json").open("x", encoding="utf-8", buffering=1)
        self._record.write(json.dumps(known) + "\n")
        # A log is text for people: what is no Unicode is shown, not refused.
        self._text: IO[str] | None = (folder / f"{stage}.log").open(
            "w", encoding="utf-8", errors="backslashreplace", newline="", buffering=1
        )
        self._size = 0

    def write(self, text: str) -> None:
        """Add text; whole lines are in the file at once."""
        if self._text is None:
            return
        try:
            self._text.write(text)
            self._size += len(text)
            if self._size > LIMIT:
                self._text.truncate(LIMIT // 2)
                self._text.seek(0, os.SEEK_END)
                self._text.write(_CUT)
                self._size = LIMIT // 2
        except _FAULTS:
            self._end_text()  # the record may have room yet

    def end(self, status: int) -> None:
        """Say how the stage ended, once, and close the files."""
        self._end_text()
        # A child process that was forked has the record too.
        if self._record is not None and os.getpid() == self._pid:
            seconds = round(time.monotonic() - self._begun, 3)
            with suppress(*_FAULTS), self._record as record:
                record.write(json.dumps({"seconds": seconds, "status": status}) + "\n")
            self._record = None

    def _end_text(self) -> None:
        if self._text is not None:
            with suppress(*_FAULTS):
                self._text.close()
        self._text = None


class Copied:
    """A stream whose text goes to a log as well; all else is the stream's own."""

    def __init__(self, stream: Any, log: Log, name: str) -> None:
        self.stream, self.log, self._name = stream, log, name

    def write(self, text: str) -> Any:
        """Write to the log and to the stream."""
        self.log.write(text)
        return self.stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write them one after the other."""
        for line in lines:
            self.write(line)

    def __reduce__(self) -> Any:
        return getattr, (sys, self._name)  # in another process it is that one's own

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def bare(stream: Any) -> Any:
    """Return a stream for what is no text to keep: the control codes of a bar."""
    return stream.stream if isinstance(stream, Copied) else stream


def follow() -> None:
    """Copy to the log also what goes to the streams that a bar of rich's has just put over the copied ones."""
    for name in ("stdout", "stderr"):
        over = getattr(sys, name)
        under = getattr(over, "rich_proxied_file", None)
        if isinstance(under, Copied):
            setattr(sys, name, Copied(over, under.log, name))


@contextmanager
def kept(stage: str) -> Iterator[Callable[[int], None]]:
    """Keep what the block prints and how it ends; yield a function that says so before a process leaves at once."""
    log = None
    with suppress(*_FAULTS):
        log = _begin(stage)
    if log is None:
        yield lambda _: None
        return
    streams = sys.stdout, sys.stderr
    for name, stream in zip(("stdout", "stderr"), streams, strict=True):
        if stream is not None:
            setattr(sys, name, Copied(stream, log, name))
    try:
        yield log.end
        log.end(0)
    except SystemExit as left:
        if isinstance(left.code, str):
            log.write(f"{left.code}\n")
        log.end(left.code if isinstance(left.code, int) else int(left.code is not None))
        raise
    except BaseException as error:
        import traceback

        log.write(traceback.format_exc())
        log.end(130 if isinstance(error, KeyboardInterrupt) else 1)
        raise
    finally:
        sys.stdout, sys.stderr = streams


def _begin(stage: str) -> Log | None:
    """Start the log of a stage in the working folder; None where none can be kept."""
    here = Path.cwd()
    logs = invocations.place(here)
    if logs is None:
        return None
    experiment = os.environ.get("DVC_EXP_NAME")
    folder = invocations.folder(logs, here, experiment, f"{stage}.json")
    commit, branch = invocations.head(here)
    pid = os.getpid()
    known = {
        "stage": stage,
        "started": int(time.time() * 1000),
        "folder": str(here),
        "experiment": experiment,
        "commit": os.environ.get("DVC_EXP_BASELINE_REV") or commit,
        "branch": None if experiment else branch,
        "pid": pid,
        "process": (invocations.process(pid) or ("0", 0))[0],
        "machine": invocations.machine(),
        "by_dvc": "DVC_STAGE" in os.environ,
    }
    log = Log(folder, stage, known)
    if known["by_dvc"]:
        with suppress(*_FAULTS):
            _note_inputs(folder, stage)
    return log


def _note_inputs(folder: Path, stage: str) -> None:
    """Keep params.yaml, and the entries of dvc.lock of the stages before this one that are not kept yet."""
    there = {path.name.partition(".")[0] for path in folder.glob("*.entry")}
    if not (folder / "params.yaml").exists():
        (folder / "params.yaml").write_bytes(Path("params.yaml").read_bytes())
    wanted = [name for name in ORDER[: ORDER.index(stage) if stage in ORDER else 0] if name not in there]
    lock = Path("dvc.lock").read_bytes() if wanted else b""
    for name in wanted:
        found = re.search(rb"(?m)^  %b:\n((?:    .*\n)+)" % name.encode(), lock)
        if found:
            hashes = (md5.decode() for md5 in _HASH.findall(found[1]))
            (folder / f"{name}.{key(hashes)}.entry").write_bytes(found[1])
