"""Log the curve of a fit to MLflow while it runs: the process that `stages.live` starts beside a long fit.

    python -m trialtree.tracking.live PID CURVES.CSV SECONDS

Reads   CURVES.CSV, which grows, of a fit that began SECONDS ago
        a line on stdin when the fit ends: {"done": <model's digest>} or {"ended": <status>}
Writes  a run of MLflow; lines on stdout: {"asked": …} before a store is first spoken to, {"run": <id>}, {"warning": …}

Its run has the tag `trialtree.live`: "running", then the model's digest, by
which register finds it and makes it the trial's, or "ended" with the status
FAILED or KILLED. A store that fails is tried again as long as the fit runs.
"""

import os
import platform
import re
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages import invocations, params
from trialtree.tracking import git, locks, runs, stores, wishes
from trialtree.tracking.curves import Point, points
from trialtree.tracking.pipes import Fit
from trialtree.tracking.runs import LIVE
from trialtree.tracking.trials import DIGEST, EXPERIMENT, KEY, SOURCE

if TYPE_CHECKING:
    from mlflow import MlflowClient

_RUNNING = "running"
_HOST, _PID, _STARTED = f"{LIVE}.host", f"{LIVE}.pid", f"{LIVE}.started"  # tags: which process fits
_NICE = 10  # of two busy cores it gets a twentieth of one: seen soon enough, and the fit does not notice
_EVERY = 3.0  # seconds between lots of points
_LONGEST = 60.0  # seconds between tries of a store that fails
_PARAMS = 100  # at once
_LOT = 40  # points of a curve at once: enough to see it, and register adds the others
_AGAIN = "it is tried again"
# A store that hangs is found out sooner than where nobody waits to be shown something.
_SETTINGS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


class Tail:
    """The points of a file that grows, those first that were not taken yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.waiting: list[Point] = []
        self._header, self._offset = b"", 0

    def read(self) -> None:
        """Read what is new of whole lines; a file that is gone has nothing new."""
        with suppress(FileNotFoundError), self.path.open("rb") as file:
            file.seek(self._offset)
            new = file.read()
            new = new[: new.rfind(b"\n") + 1]
            self._offset += len(new)
            if not self._header:
                line, self._header = new.partition(b"\n")[0], new[: new.find(b"\n") + 1]
                new = new[len(line) + 1 :]
            self.waiting += points(self._header + new, b"")


class LiveRun:
    """The run of a fit, made when a store first takes it."""

    def __init__(self, fit: Fit, pid: int, tail: Tail, since: float) -> None:
        self._fit, self._tail = fit, tail
        self._store = stores.find()
        content = params.load()
        self._experiment, self._begun = wishes.experiment(content), int(1000 * (time.time() - since))
        self._name, tags = _told_by_git(pid)
        self._tags = {**tags, **wishes.of(content).tags}
        self._params = runs.mlflow_params(dict(locks.flat({"train": content.get("train") or {}})))[0]
        self._client: MlflowClient | None = None
        self._id: str | None = None
        self._experiment_id = ""

    def log(self) -> None:
        """Log the points that are new.

        Raises:
            StoreError: the store fails.
        """
        self._store.load()
        if self._id is None and self._fit.ended.is_set():
            return  # register makes the run
        if self._id is None:
            self._fit.tell(asked="a run")
            self._make()
        self._tail.read()
        lot = thinned(self._tail.waiting, _LOT)
        if lot:
            self._send(lot)
            self._tail.waiting.clear()

    def end(self) -> None:
        """Log the last points, and leave the run to register or say how the fit ended.

        Raises:
            StoreError: the store fails.
        """
        if self._id is None or self._client is None:
            return
        with suppress(stores.StoreError):
            self.log()  # what cannot be logged now, register logs
        digest = self._fit.last.get("done")
        if digest:
            self._hand_over(digest)
            return
        with self._store.told(_AGAIN):
            self._client.set_tag(self._id, LIVE, "ended")
            self._client.set_terminated(self._id, self._fit.last["ended"])

    def _make(self) -> None:
        """Make the run."""
        from mlflow.entities import Param

        with self._store.opened(_AGAIN) as client:
            pass  # no longer: this process has to wait for the fit, and others would wait for it
        with self._store.told(_AGAIN):
            self._experiment_id = runs.experiment_id(client, self._experiment, self._store.artifacts)
            _repair(client, self._experiment_id)
            made = client.create_run(self._experiment_id, start_time=self._begun, tags=self._tags, run_name=self._name)
            client.log_batch(made.info.run_id, params=[Param(*named) for named in self._params.items()][:_PARAMS])
        self._client, self._id = client, made.info.run_id
        self._fit.tell(run=made.info.run_id)

    def _send(self, lot: list[Point]) -> None:
        from mlflow.entities import Metric

        assert self._client  # noqa: S101  # there is a run
        now = int(time.time() * 1000)
        with self._store.told(_AGAIN):
            metrics = [Metric(runs.mlflow_name(name, {}), value, now, step) for name, value, step in lot]
            self._client.log_batch(self._id, metrics=metrics)

    def _hand_over(self, digest: str) -> None:
        """Let register take the run; one that it has made meanwhile, or of an equal trial before, is enough."""
        with self._store.opened(_AGAIN) as client:
            equal = client.search_runs([self._experiment_id], f"tags.`{DIGEST}` = '{digest}'")
            own = self._tags.get(EXPERIMENT)
            if any(KEY in run.data.tags and run.data.tags.get(EXPERIMENT) == own for run in equal):
                client.delete_run(self._id)
            else:
                client.set_tag(self._id, LIVE, digest)


def thinned(of: list[Point], most: int) -> list[Point]:
    """Return at most so many points of each curve, spread evenly, the last of all among them."""
    curves: dict[str, list[Point]] = {}
    for point in of:
        curves.setdefault(point[0], []).append(point)
    return [point for curve in curves.values() for point in curve[:: -max(1, -(-len(curve) // most))][::-1]]


def _told_by_git(pid: int) -> tuple[str, dict[str, str]]:
    """Return the name of the run and its tags.

    Raises:
        GitError: there is no commit.
    """
    commit, branch, name = git.head(), git.branch(), os.environ.get("DVC_EXP_NAME")
    tags: Mapping[str, str | None] = {
        LIVE: _RUNNING,
        SOURCE: commit,
        "mlflow.source.git.branch": branch,
        "branch": branch,
        EXPERIMENT: name,
        _HOST: invocations.machine() or platform.node(),
        _PID: str(pid),
        _STARTED: known[0] if (known := invocations.process(pid)) else None,
    }
    return name or branch or commit[:7], {tag: value for tag, value in tags.items() if value}


def _repair(client: "MlflowClient", experiment_id: str) -> None:
    """End the runs of this machine whose fits are gone, and could not say so."""
    here = invocations.machine() or platform.node()
    asked = f"attributes.status = 'RUNNING' and tags.`{LIVE}` = '{_RUNNING}' and tags.`{_HOST}` = '{here}'"
    for run in client.search_runs([experiment_id], asked):
        tags: dict[str, Any] = run.data.tags
        known = invocations.process(int(tags[_PID]))
        if known is None or known[0] != tags.get(_STARTED):
            client.set_tag(run.info.run_id, LIVE, "ended")
            client.set_terminated(run.info.run_id, "KILLED")


def follow(fit: Fit, run: LiveRun) -> None:
    """Log until the fit has ended."""
    pause = _EVERY
    while not fit.ended.is_set():
        try:
            run.log()
            pause = _EVERY
        except stores.StoreError as error:
            fit.tell(warning=str(error))
            pause = min(2 * pause, _LONGEST)
        fit.ended.wait(pause)
    run.end()


def main() -> None:
    """Show the fit of a process."""
    with suppress(OSError):
        os.nice(_NICE)
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    fit, pid, path, since = Fit(), int(sys.argv[1]), Path(sys.argv[2]).absolute(), float(sys.argv[3])
    try:
        follow(fit, LiveRun(fit, pid, Tail(path), since))
    except Exception as error:  # whatever it is, it is said, and stops nothing
        said = re.sub(r"://[^/\s@]*@", "://", " ".join(str(error).split()))
        fit.tell(warning=said[:300] or type(error).__name__)
    os._exit(0)  # the fit waits for the end, and Python takes its time to forget MLflow


if __name__ == "__main__":
    main()
