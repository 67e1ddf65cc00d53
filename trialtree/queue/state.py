"""What DVC's own commands know of an entry: `dvc queue status`, `dvc queue logs`, `dvc exp show`.

Below .dvc/tmp/exps:

    celery/broker/in          messages of what is queued
    celery/broker/processed   of what runs or has ended
    celery/result             a file for each that has ended
    run/REV/REV.run           DVC's `ExecutorInfo`: where it runs, and what came of it
    run/REV/REV.json          dvc_task's `ProcessInfo`: its log, its exit status
    run/REV/REV.out           the log

and in Git the stashes refs/exps/celery/stash, of what is queued, and
refs/exps/celery/failed. DVC takes an entry out of its stash when it begins;
here that is the last that happens to it.
"""

import json
import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trialtree.queue.entries import QueueError
from trialtree.queue.messages import Message
from trialtree.tracking import git

STASH, FAILED = "refs/exps/celery/stash", "refs/exps/celery/failed"
WHERE = "trialtree"  # as `dvc exp show --json` has who runs an entry; of DVC's own workers it is dvc-task
# DVC's `dvc queue kill` notes in the file of a process that is none that it was asked to end it.
_NO_PROCESS = 1 << 30
_RUNNING, _HAS_FAILED, _FINISHED = 2, 4, 6  # DVC's `TaskStatus`
_EXIT_FAILED = 255  # of every dvc that fails


class State:
    """DVC's notes of the entries of a repository."""

    def __init__(self, root: Path, prefix: str) -> None:
        """Take the folder of the DVC repository, and the way to it from Git's top."""
        self.root, self.exps = root, root / ".dvc" / "tmp" / "exps"
        self._prefix = prefix
        broker = self.exps / "celery" / "broker"
        self.queued, self.processed = broker / "in", broker / "processed"
        self._written: dict[str, int] = {}  # when the notes of a process were, in nanoseconds

    def log(self, rev: str) -> Path:
        """Return the log of an entry."""
        return self._notes(rev, "out")

    def take(self, message: Message) -> bool:
        """Take an entry out of the queue, and say whether it was there: another may have been quicker."""
        self.processed.mkdir(parents=True, exist_ok=True)
        try:
            (self.queued / message.file).rename(self.processed / message.file)
        except FileNotFoundError:
            return False
        return True

    def runs_in(self, message: Message, tree: Path) -> None:
        """Note that an entry runs, in a tree of the DVC repository."""
        depth = len(Path(self._prefix).parts)
        top = str(tree.parents[depth - 1] if depth else tree)
        info = {
            "git_url": f"file://{top}", "baseline_rev": message.entry["baseline_rev"], "location": WHERE,
            "root_dir": top, "dvc_dir": f"{self._prefix}.dvc", "name": message.name,
            "wdir": self._prefix.rstrip("/") or ".", "result_hash": None, "result_ref": None, "result_force": False,
            "status": _RUNNING,
        }  # fmt: skip
        _write(self._notes(message.rev, "run"), info)
        self._write_process(message.rev, None)

    def killed(self, rev: str) -> bool:
        """Say whether `dvc queue kill` was called of an entry that runs."""
        with suppress(FileNotFoundError):
            return self._notes(rev, "json").stat().st_mtime_ns != self._written.get(rev)
        return True

    def done(self, message: Message, digest: str) -> None:
        """Note that an entry's experiment is there; `digest` is DVC's hash of its stages."""
        base = str(message.entry["baseline_rev"])
        ref = f"refs/exps/{base[:2]}/{base[2:]}/{message.name}"
        self._end(message, 0, status=_FINISHED, result_hash=digest, result_ref=ref)

    def failed(self, message: Message) -> None:
        """Note that an entry has failed, and keep it where DVC keeps those."""
        head, base = message.entry["head_rev"], message.entry["baseline_rev"]
        said = f"commit: dvc-exp:{head}:{base}:{message.name}"
        git.run("update-ref", "--create-reflog", "-m", said, FAILED, message.rev)
        self._end(message, _EXIT_FAILED, status=_HAS_FAILED, result_hash=None, result_ref=None)

    def lost(self, message: Message) -> None:
        """Forget an entry whose commit is gone: DVC's commands fail as long as they know of it."""
        shutil.rmtree(self.log(message.rev).parent, ignore_errors=True)
        (self.processed / message.file).unlink(missing_ok=True)

    def back(self, message: Message) -> None:
        """Put an entry that has not ended back into the queue, where it was."""
        with suppress(OSError, ValueError, KeyError):
            where = Path(self._info(message.rev)["root_dir"])
            if where.parent == self.exps:  # a copy that DVC made
                shutil.rmtree(where, ignore_errors=True)
        shutil.rmtree(self.log(message.rev).parent, ignore_errors=True)
        with suppress(FileNotFoundError):
            (self.processed / message.file).rename(self.queued / message.file)

    def digest(self, rev: str) -> str:
        """Return DVC's hash of the stages of an experiment that DVC itself has made."""
        return str(self._info(rev)["result_hash"])

    def has_ended(self, task: str) -> bool:
        """Say whether an entry has ended, by celery's id."""
        return self._result(task).exists()

    def runs_elsewhere(self, rev: str) -> bool:
        """Say whether a worker of DVC's has begun an entry."""
        with suppress(OSError, ValueError, KeyError):
            return bool(self._info(rev)["location"] != WHERE)
        return False

    def drop(self, revs: Collection[str]) -> bool:
        """Take entries that have ended out of the stash; False where another process is at it, for a later time.

        Raises:
            QueueError: Git cannot.
        """
        from dvc.config import Config
        from dvc.fs import localfs
        from dvc.lock import LockError
        from dvc.rwlock import _check_blockers, _edit_rwlock

        hardlink = bool(Config(str(self.root / ".dvc"))["core"].get("hardlink_lock"))
        own = {"pid": os.getpid(), "cmd": "trialtree queue run"}
        try:
            # Not `get_exp_rwlock`: who wants what another holds by that fails, who wants this waits.
            with _edit_rwlock(str(self.exps), localfs, hardlink) as lock:
                for mode in ("write", "read"):
                    _check_blockers(str(self.exps), lock, own, mode=mode, waiters=[STASH])
                _take_out(STASH, revs)
        except LockError:
            return False
        return True

    def _end(self, message: Message, exit_status: int, **info: Any) -> None:
        """Note how an entry ended; celery's result comes last, for by it the entry has ended."""
        with suppress(OSError, ValueError):
            _write(self._notes(message.rev, "run"), {**self._info(message.rev), **info})
        self._write_process(message.rev, exit_status)
        now = datetime.now(UTC).isoformat()
        result: dict[str, Any] = {
            "status": "SUCCESS",
            "result": None,
            "traceback": None,
            "children": [],
            "date_done": now,
        }
        _write(self._result(message.task), {**result, "task_id": message.task})

    def _info(self, rev: str) -> dict[str, Any]:
        """Return DVC's `ExecutorInfo` of an entry."""
        found: dict[str, Any] = json.loads(self._notes(rev, "run").read_bytes())
        return found

    def _write_process(self, rev: str, status: int | None) -> None:
        path, log = self._notes(rev, "json"), str(self.log(rev))
        _write(path, {"pid": _NO_PROCESS, "stdin": None, "stdout": log, "stderr": None, "returncode": status})
        self._written[rev] = path.stat().st_mtime_ns

    def _notes(self, rev: str, ending: str) -> Path:
        return self.exps / "run" / rev / f"{rev}.{ending}"

    def _result(self, task: str) -> Path:
        return self.exps / "celery" / "result" / f"celery-task-meta-{task}"


def _write(path: Path, content: Any) -> None:
    """Write a file of JSON: whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(content), encoding="utf-8")
    partial.rename(path)


def _take_out(ref: str, revs: Collection[str]) -> None:
    """Take commits out of a stash.

    Raises:
        QueueError: Git cannot.
    """
    said = git.run("reflog", "show", "--format=%H", ref)
    there = said.split("\n") if said else []
    places = [place for place, rev in enumerate(there) if rev in revs]
    if not places:
        return
    if len(places) == len(there):
        done = git.run("update-ref", "-d", ref)
    else:
        names = (f"{ref}@{{{place}}}" for place in reversed(places))
        done = git.run("reflog", "delete", "--rewrite", "--updateref", *names)
    if done is None:
        raise QueueError(f"Git cannot take {len(places)} entries out of {ref}")
