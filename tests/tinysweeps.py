"""Sweeps over a pipeline of two stages that compute nothing, and what must hold of a repository after any of them."""

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import Popen
from typing import Any

import psutil

from tests.conftest import YAML_12, Repo, isolated, make_repo
from tests.slow import until
from trialtree.sweep import journal
from trialtree.sweep.records import Sweep

PROJECT = Path(__file__).resolve().parent.parent
TREES = journal.SWEEPS.parent / "trees"

PIPELINE = """\
stages:
  train:
    cmd: python -m stages.train
    deps:
    - stages/train.py
    params:
    - train
    outs:
    - models/model
    - reports/curves.csv
  evaluate:
    cmd: python -m stages.evaluate
    deps:
    - models/model
    - stages/evaluate.py
    params:
    - evaluate
    outs:
    - reports/folds.csv
    metrics:
    - reports/metrics.json:
        cache: false
"""

# Writes a line of a curve for each step; `do` is what happens after them.
TRAIN = '''
"""Train nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import Popen
from typing import Any

from stages import params


class TrainParams(params.Section):
    estimator: str
    script: str | None = None
    hyperparameters: dict[str, Any] = {}


DO = {
    "nothing": lambda: None,
    "raise": lambda: json.loads("{"),
    "leave": lambda: os._exit(0),
    "leave with 3": lambda: os._exit(3),
    "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "be killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda: (print(Popen(["sleep", "1000"]).pid, flush=True), time.sleep(1000)),
    "eat": lambda: [bytearray(b"x" * 400_000_000), time.sleep(1000)],
    "write no curve": lambda: Path("reports/curves.csv").unlink(),
    "fill the disk": lambda: Path("models/model/large").write_bytes(b"x" * 50_000_000),
}


def main():
    of = params.load()["train"]["hyperparameters"]
    x = of["x"]
    time.sleep(float(os.environ.get("TINY_PAUSE", 0)) * (1000 * x % 1))
    for folder in ("models/model", "reports"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    with open("reports/curves.csv", "w") as file:
        file.write("step,label,value\\n")
        for step in range(of.get("steps", 0)):
            file.write(f"{step},validation_loss,{x + 1 / (1 + step)}\\n")
            file.flush()
    print(f"x is {x}")
    waits = of.get("wait_over", -1) < x < of.get("wait_under", 2)
    while waits and of.get("wait") and not Path(of["wait"]).exists():
        time.sleep(0.005)
    if of.get("once") and not Path(of["once"]).exists():
        Path(of["once"]).touch()
        raise RuntimeError("only once")
    DO[of.get("do", "nothing")]()
    Path("models/model/x").write_text(json.dumps(of))
    print("made")


if __name__ == "__main__":
    main()
'''

EVALUATE = '''
"""Evaluate nothing."""

import json
import time
from pathlib import Path
from subprocess import Popen
from typing import Any

from stages import params


class EvaluateParams(params.Section):
    cross_validation: dict[str, Any] | None = None
    written: str | None = None  # in the place of good metrics
    hang_over: float = 2.0


WRITTEN = {
    "damaged": \'{"cv": \', "NaN": \'{"cv": {"log_loss": NaN}}\', "another": \'{"cv": {"rmse": 1.0}}\', "nothing": "{}",
}


def main():
    of = params.load()["evaluate"]
    x = json.loads(Path("models/model/x").read_text())["x"]
    with open("reports/folds.csv", "w") as file:
        file.write("fold,log_loss\\n")
        for fold in range(of["cross_validation"]["folds"]):
            file.write(f"{fold},{x}\\n")
            file.flush()
            time.sleep(1000 if x > of.get("hang_over", 2) else 0)
    found = {"cv": {"log_loss": x, "log_loss_std": round(x, 1)}, "test": {"log_loss": x}}
    Path("reports/metrics.json").write_text(WRITTEN.get(of.get("written"), json.dumps(found)))


if __name__ == "__main__":
    main()
'''

ESTIMATOR = '''
"""An estimator that is never fitted."""


class Tiny:
    def __init__(self, x=0.5, y=0, do="nothing", steps=0, wait="", wait_over=-1.0, wait_under=2.0, once=""):
        pass
'''

X = "train.hyperparameters.x"
UNIFORM: Mapping[str, Any] = {X: {"uniform": {"min_value": 0, "max_value": 1}}}
UP_TO_DATE = "Data and pipelines are up to date.\n"
STOPPING = "stopping: what runs is finished; Ctrl-C again stops that too"
BANDIT = {"policy": "bandit", "slack_amount": 0.1, "curve": "validation_loss", "goal": "minimize"}

SECTION: Mapping[str, Any] = {
    "objective": {"metric": "cv.log_loss", "goal": "minimize"},
    "space": UNIFORM,
    "sampling": "random",
    "limits": {"trials": 6, "concurrent": 2},
}


def tiny(folder: Path, *, ran: bool = True) -> Repo:
    """Make a repository with the pipeline, which has run once."""
    repo = make_repo(folder / "repo", folder / "home")
    for name, text in (("train", TRAIN), ("evaluate", EVALUATE), ("tiny", ESTIMATOR)):
        (repo.path / f"stages/{name}.py").write_text(text, encoding="utf-8")
    (repo.path / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    # Nothing of it is used, and to import it takes half of a sweep's time.
    (repo.path / "sklearn.py").write_text("", encoding="utf-8")
    content = {
        "experiment": "tiny",
        "train": {"estimator": "stages.tiny.Tiny", "hyperparameters": {"x": 0.5}},
        "evaluate": {"cross_validation": {"folds": 2}},
        "sweep": dict(SECTION),
    }
    with (repo.path / "params.yaml").open("w", encoding="utf-8") as file:
        YAML_12.dump(content, file)
    if ran:
        repo.dvc("repro", "-q", "evaluate")
    repo.commit("Tiny")
    return repo


def copied(repo: Repo, folder: Path) -> Repo:
    """Return a copy of a repository and its home, to change."""
    shutil.copytree(repo.path.parent, folder, dirs_exist_ok=True, symlinks=True)
    return Repo(folder / "repo", isolated(folder / "home"))


def ask_for(repo: Repo, **changes: Any) -> None:
    """Set keys of the sweep section, over those of SECTION; `...` removes one."""
    section = {**SECTION, **changes}
    repo.params({"sweep": {name: value for name, value in section.items() if value is not ...}})


def sweep(repo: Repo, *options: str, check: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `trialtree sweep`."""
    return repo.run("trialtree", "sweep", "--lines", "--no-mlflow", *options, check=check, **env)


def begun(repo: Repo, *options: str, publish: bool = False, before: Sequence[str] = (), **env: str) -> "Popen[str]":
    """Begin `trialtree sweep` in a process group of its own, as a shell does."""
    command = [*before, "trialtree", "sweep", "--lines", *([] if publish else ["--no-mlflow"]), *options]
    return Popen(
        command, cwd=repo.path, env={**repo.env, **env}, text=True, process_group=0,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def folders(repo: Repo) -> list[Path]:
    """Return the folders of the sweeps of a repository, the oldest first."""
    found = {}
    for path in (repo.path / journal.SWEEPS).glob(f"*/{journal.FILE}"):
        first = path.read_bytes().partition(b"\n")
        if first[1]:  # not of one that just begins
            found[path.parent] = json.loads(first[0])["time"]
    return sorted(found, key=found.__getitem__)


def printed(repo: Repo, text: str) -> list[str]:
    """Return the logs of trials that have a text."""
    logs = (repo.path / journal.SWEEPS).glob("*/logs/*.log")
    return [log for log in (path.read_text(encoding="utf-8") for path in sorted(logs)) if text in log]


def last(repo: Repo) -> Sweep:
    """Return the latest sweep, as its journal has it."""
    return journal.read(folders(repo)[-1])


def states(of: Sweep) -> dict[str, int]:
    """Return how many trials there are in each state."""
    return dict(sorted(Counter(trial.state for trial in of.trials.values()).items()))


def values(of: Sweep) -> list[dict[str, Any]]:
    """Return the values of all trials, by number."""
    return [of.trials[number].values for number in sorted(of.trials)]


def experiments(repo: Repo) -> dict[str, str]:
    """Return the commit of each experiment, by name."""
    lines = repo.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/exps").splitlines()
    return {ref.rpartition("/")[2]: commit for ref, commit in (line.split() for line in lines)}


def trees(repo: Repo, of: Sweep) -> list[str]:
    """Return the Git tree of each experiment of a sweep, by number."""
    asked = "".join(f"{of.trials[number].commit}^{{tree}}\n" for number in sorted(of.trials))
    command = ["git", "cat-file", "--batch-check=%(objectname)"]
    return subprocess.run(
        command, cwd=repo.path, input=asked, capture_output=True, text=True, check=True
    ).stdout.split()


def processes(repo: Repo) -> list[str]:
    """Return the command lines of the processes that run with the repository's home."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("HOME") == repo.env["HOME"] and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
    return found


def left(repo: Repo) -> list[str]:
    """Return all that no sweep may leave: worktrees, locks, processes, trials that seem to run, experiments unknown."""
    git = repo.path / ".git"
    found = repo.git("worktree", "list").splitlines()[1:]
    found += [str(path) for path in (git / "worktrees").glob("*")]
    found += [str(path) for path in git.rglob("*.lock")]
    found += [str(path) for path in (repo.path / TREES).glob("*") if path.suffix != ".lock"]
    found += processes(repo)
    there = experiments(repo)
    for folder in folders(repo):
        of = journal.read(folder)
        known = {trial.name: trial.commit for trial in of.trials.values() if trial.name}
        found += [f"{of.head.id}/{trial.number} is running" for trial in of.of("running")]
        found += [f"{name} is not that of the journal" for name, commit in known.items() if there.get(name) != commit]
        found += [
            f"{name} is not in the journal" for name in there if name.startswith(of.head.id) and name not in known
        ]
        found += [f"{t.number} has no experiment" for t in of.of("done") if t.name is None]
        cells = Counter(json.dumps(trial.values, sort_keys=True) for trial in of.trials.values())
        found += [f"{cell} was tried {count} times" for cell, count in cells.items() if count > 1]
    return found


def choices(**keys: list[Any]) -> dict[str, Any]:
    """Return a space of choices of hyperparameters."""
    return {f"train.hyperparameters.{key}": {"choice": of} for key, of in keys.items()}


def wait(repo: Repo, **more: Any) -> None:
    """Ask for a sweep of five trials which wait until `go`."""
    space = {**UNIFORM, "train.hyperparameters.wait": {"fixed": str(repo.path.parent / "go")}}
    ask_for(repo, **{"space": space, "limits": {"trials": 5, "concurrent": 2}, **more})


def go(repo: Repo) -> None:
    """Let trials end that wait."""
    (repo.path.parent / "go").touch()


def held(repo: Repo, *options: str, trials: int = 2) -> "Popen[str]":
    """Begin a sweep, and return when so many trials run."""
    process = begun(repo, *options)
    until(lambda: process.poll() is not None or len(printed(repo, "x is")) >= trials)
    return process


def read_until(process: "Popen[str]", line: str) -> None:
    """Read what a sweep says up to a line."""
    assert process.stdout is not None
    said = []
    while line not in said:
        said.append(process.stdout.readline().rstrip("\n"))
        assert said[-1] or process.poll() is None, said


def behind(repo: Repo, **more: Any) -> None:
    """Run a sweep whose second and third trial never end, unless they are stopped."""
    never = {"wait": str(repo.path.parent / "never"), "wait_under": 1.0}
    space = {**choices(x=[0.25, 0.5, 0.75]), "train.hyperparameters.steps": {"fixed": 9}}
    space |= {f"train.hyperparameters.{key}": {"fixed": value} for key, value in never.items()}
    space["train.hyperparameters.wait_over"] = {"fixed": 0.3}
    policy = {**BANDIT, "delay_evaluation": 3}
    ask_for(repo, sampling="grid", space=space, limits={"concurrent": 1}, early_termination=policy, **more)
    sweep(repo)


def points(repo: Repo, pause: str, **more: Any) -> list[tuple[Any, ...]]:
    """Return what became of each trial of a sweep, whose stages take other times by `pause`."""
    ask_for(repo, **more)
    sweep(repo, TINY_PAUSE=pause)
    return [(t.values, t.state, t.decision, t.curve) for t in (last(repo).trials[n] for n in sorted(last(repo).trials))]
