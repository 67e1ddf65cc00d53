"""Show what the stages of a trial printed: as text, as JSON, and while they run."""

import codecs
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from stages.logs import LIMIT, ORDER
from trialtree.logs import finding, sweeps
from trialtree.logs.finding import Found, LogsError, Part
from trialtree.logs.linking import Kept
from trialtree.logs.records import Execution, Invocation, plain

_POLL = 0.2  # seconds between looks at what runs


def chosen(found: Found, stage: str | None) -> list[Part]:
    """Return the parts to show.

    Raises:
        LogsError: the stage is none of them.
    """
    if stage is None:
        return found.parts
    parts = [part for part in found.parts if part.stage == stage]
    if not parts and any(part.stage == sweeps.STAGE for part in found.parts):
        raise LogsError(f"{found.trial}: all that a sweep's trial printed is one log; leave --stage out")
    if not parts and stage not in ORDER:
        raise LogsError(f"--stage: must be one of {', '.join(ORDER)}, got {stage!r}")
    if not parts:
        raise LogsError(f"{found.trial}: {stage} has not run; there are: {', '.join(p.stage for p in found.parts)}")
    return parts


def header(part: Part) -> str:
    """Return the line above a stage's output: when, how long, how it ended, or whose result it is."""
    of = part.execution
    if of is None:
        return f"==> {part.stage}: {'cached; ' if part.cached else ''}what it printed is not kept on this machine"
    when = of.when.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if part.cached:
        return f"==> {part.stage}: cached; made by {of.of}, {when}, {took(of)}"
    return f"==> {part.stage}: {when}, {took(of)}"


def took(of: Execution) -> str:
    """Return how long an execution took and how it ended."""
    if of.outcome is not None:
        return of.outcome if of.seconds is None else f"{of.seconds:.1f} s, {of.outcome}"
    if of.status is not None:
        return f"{of.seconds or 0:.1f} s, exit {of.status}"
    words = {"running": "running", "killed": "killed", "unknown": "killed, or running on another machine"}
    return words[of.state]


def show(parts: Sequence[Part]) -> None:
    """Print the stages one after the other."""
    for number, part in enumerate(parts):
        print(("\n" if number else "") + header(part))
        if part.execution:
            text = part.execution.output()
            print(text, end="" if text.endswith("\n") or not text else "\n")


def follow(found: Found, stage: str | None) -> None:
    """Print the stages, and what those that run print, until the last of them ends."""
    if found.invocation is None and [part.stage for part in chosen(found, stage)] == [sweeps.STAGE]:
        _follow_sweep(found)
        return
    if found.invocation is None or found.invocation.over:
        show(chosen(found, stage))
        return
    tails: dict[str, Tail] = {}
    kept, over = Kept(), False
    while not over:
        # Asked first: what was printed before the end is then there to be read.
        over = found.invocation.over
        found = finding.of_invocation(Invocation(found.invocation.path), kept)
        assert found.invocation  # noqa: S101  # it was made from one
        for part in found.parts:
            if stage in (None, part.stage):
                if part.stage not in tails:
                    print(("\n" if tails else "") + header(part))
                    tails[part.stage] = Tail(part)
                tails[part.stage].go_on(part)
        over = over or (stage in tails and tails[stage].ended)
        if not over:
            time.sleep(_POLL)
    if stage is not None and stage not in tails:
        chosen(found, stage)


def _follow_sweep(found: Found) -> None:
    """Print what a trial of a sweep prints, until it ends."""
    (part,) = found.parts
    print(header(part))
    tail = Tail(part)
    while True:
        tail.go_on(part)
        if tail.ended:
            return
        time.sleep(_POLL)
        (part,) = finding.find(found.trial).parts


class Tail:
    """The output of a stage, as it grows."""

    def __init__(self, part: Part) -> None:
        self._place = 0
        self._decode: Callable[..., str] = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._line = ""
        self.ended = False
        self._was_running = part.execution is not None and part.execution.state == "running"

    def go_on(self, part: Part) -> None:
        """Print the lines that are new, and how it ended."""
        if self.ended:
            return
        of = part.execution
        self.ended = of is None or of.state != "running"
        text = self._line + (self._decode(self._read(of), final=self.ended) if of else "")
        whole, end, self._line = text.rpartition("\n")
        sys.stdout.write(plain(whole) + end)
        if self.ended and self._line:
            print(plain(self._line))
        if self.ended and self._was_running and of:
            print(f"==> {part.stage}: {took(of)}")
        sys.stdout.flush()

    def _read(self, of: Execution) -> bytes:
        try:
            with of.log.open("rb") as file:
                if file.seek(0, 2) < self._place:  # too long, and cut in the middle
                    self._place = LIMIT // 2
                file.seek(self._place)
                content = file.read()
        except OSError:
            return b""
        self._place += len(content)
        return content


def as_json(found: Found, parts: Sequence[Part]) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {"trial": found.trial, "stages": [_stage(part) for part in parts]}


def _stage(part: Part) -> dict[str, Any]:
    of = part.execution
    known: dict[str, Any] = {"stage": part.stage, "cached": part.cached, "kept": of is not None}
    if of is None:
        return known
    return known | {
        "state": of.state,
        "started": of.when.isoformat(timespec="milliseconds"),
        "seconds": of.seconds,
        "exit": of.status,
        "experiment": of.experiment,
        "commit": of.commit,
        "branch": of.branch,
        "folder": of.folder,
        "invocation": of.invocation,
        "log": str(of.log),
        "output": of.output(),
    }
