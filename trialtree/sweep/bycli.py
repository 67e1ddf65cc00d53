"""Trials by DVC's own command, one process each: slow, and right whatever version of DVC this is.

dvc --wait-for-lock exp run --temp -n NAME -S KEY=VALUE ... evaluate
"""

import shlex
import subprocess
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from stages import params
from stages.errors import UserError
from trialtree.sweep.engine import metrics, paramsfile, pipeline, saving
from trialtree.sweep.engine.snapshot import Snapshot
from trialtree.sweep.engine.trial import BY_DVC, Made, Reply, Tree, Work
from trialtree.tracking import git, locks

_MESSAGE = "TRIALTREE_MESSAGE"  # variable that has the commit's message


class Cli:
    """Makes the trials of one sweep by DVC's command, in the stead of the engine."""

    def __init__(self, root: Path, of: Snapshot, sweep: str) -> None:
        self._root, self._sweep, self._baseline = root, sweep, of.baseline
        self._content = params.load(root / params.PATH)

    def run(self, tree: Tree, values: Mapping[str, Any], name: str, number: int) -> Generator[Work, Reply, Made]:  # noqa: ARG002  # as the engine
        """Make a trial, its reference too.

        Raises:
            UserError: DVC made no experiment of it, or a metrics file is damaged.
        """
        if self._ref(name) is None:
            line = command(self._content, values, name, f'"${_MESSAGE}"')
            work = Work(BY_DVC, line, False, "", {_MESSAGE: saving.message("", self._sweep, number)})
            while (yield work) == "again":
                pass  # its process was lost
        commit = self._ref(name)
        if commit is None:
            raise UserError(f"DVC made no experiment {name}; its log says why")
        with git.objects() as objects:
            lock = (locks.load(objects.read(f"{commit}:./{locks.LOCK}") or b"") or {}).get("stages") or {}
            files = (path for path in _metrics(lock))
            read = [metrics.parsed(path, objects.read(f"{commit}:./{path}") or b"{}") for path in files]
        return Made(commit, metrics.flat(read), metrics.size(lock, locks.MODEL), ran=[*lock])

    def keep(self, name: str, made: Made) -> str:  # noqa: ARG002  # DVC has named it
        """Return the trial's commit."""
        return made.commit

    def output(self, made: Made, path: str) -> bytes | None:  # noqa: ARG002  # as the engine
        """Return None: nothing is watched of what DVC runs in folders of its own."""
        return None

    def tidy(self, *, objects: bool = False) -> None:  # noqa: ARG002  # DVC's own commands see to them
        """Put references into one file."""
        subprocess.run(["git", "pack-refs", "--all"], cwd=self._root, check=False, capture_output=True)

    def _ref(self, name: str) -> str | None:
        """Return the commit of an experiment of the baseline."""
        base = self._baseline
        return git.run("rev-parse", "--verify", "--quiet", f"refs/exps/{base[:2]}/{base[2:]}/{name}^{{commit}}")


def _metrics(lock: Mapping[str, Any]) -> list[str]:
    outs = [out["path"] for stage in lock.values() for out in stage.get("outs", ())]
    return [path for path in outs if path.startswith("reports/") and path.endswith(".json")]


def command(content: Mapping[str, Any], values: Mapping[str, Any], name: str, message: str) -> str:
    """Return the command line of a trial; `message` as a shell takes it, for its lines are several."""
    sets = [part for override in paramsfile.overrides(content, values) for part in ("-S", override)]
    dvc = shlex.join([sys.executable, "-m", "dvc", "--wait-for-lock", "exp", "run", "--temp", "--name", name])
    return f"{dvc} --message {message} {shlex.join([*sets, pipeline.TARGET])}"
