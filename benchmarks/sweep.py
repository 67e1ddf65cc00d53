"""What a sweep over iris costs from shell to shell, beside DVC's own ways and a script that keeps no lineage.

    python benchmarks/sweep.py [--trials 12 1000] [--rounds 3] [--only a,d]

(a) `trialtree sweep`
(b) `dvc exp run --queue`, then `dvc queue start -j 2` until all have ended
(c) `xargs -P 2 dvc --wait-for-lock exp run --temp`
(d) iris_optuna.py: Optuna and MLflow, the same fits, the same five folds
(e) `dvc exp run --queue` as in (b), then `trialtree queue run -j 2`

12 trials are Azure's grid; of more, which only (a) and (d) run, the penalty is
drawn at random. Each round is run in a fresh copy of a repository in which the
pipeline has run once and MLflow's store is there; the variants take turns.
"""

import argparse
import contextlib
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.conftest import Repo, isolated, make_repo

GRID = {
    "train.hyperparameters.kernel": ["linear", "rbf", "poly", "sigmoid"],
    "train.hyperparameters.C": [0.5, 1.0, 1.5],
}
CELLS = 12
QUARTER = 250  # trials whose time is compared at the beginning and the end
SCRIPT = Path(__file__).with_name("iris_optuna.py")
PATIENCE = 120.0  # seconds without a trial after which DVC's workers are taken for dead


@dataclass
class Took:
    """What a run took."""

    seconds: float
    trials: int  # that are there at the end
    parts: dict[str, float] = field(default_factory=dict)  # seconds of its steps


def seconds(command: Callable[[], object]) -> float:
    """Return the wall time of a call."""
    start = time.perf_counter()
    command()
    return time.perf_counter() - start


def experiments(repo: Repo) -> int:
    """Return how many DVC experiments a repository has."""
    said = repo.git("for-each-ref", "--format=%(refname)", "refs/exps")
    return sum(line.count("/") == 4 for line in said.splitlines())


def ours(repo: Repo, _trials: int) -> Took:
    """Run `trialtree sweep`."""
    took = seconds(lambda: repo.run("trialtree", "sweep", "--lines"))
    return Took(took, experiments(repo))


def queue(repo: Repo) -> float:
    """Queue the grid, and return how long that took."""
    values = [part for key, items in GRID.items() for part in ("-S", f"{key}={','.join(map(str, items))}")]
    return seconds(lambda: repo.dvc("exp", "run", "--queue", *values))


def dvc_queue(repo: Repo, trials: int) -> Took:
    """Queue the grid, and have two workers of DVC's run it."""
    begun, queued = time.perf_counter(), queue(repo)
    # Not captured: the workers hold on to the streams of the command that starts them.
    silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["dvc", "queue", "start", "-j", "2"], cwd=repo.path, env=dict(repo.env), check=True, **silent)
    results, there, seen = repo.path / ".dvc/tmp/exps/celery/result", 0, time.perf_counter()
    while there < trials and time.perf_counter() - seen < PATIENCE:
        time.sleep(0.1)
        if (now := len(list(results.glob("celery-task-meta-*")))) > there:
            there, seen = now, time.perf_counter()
    took = seen - begun
    repo.dvc("queue", "stop", "--kill", check=False)
    return Took(took, experiments(repo), {"queueing": queued})


def xargs(repo: Repo, _trials: int) -> Took:
    """Run a command a trial, two at once."""
    lines = (" ".join(f"-S {key}={value}" for key, value in zip(GRID, cell, strict=True)) for cell in cells())
    command = "xargs -P 2 -L 1 dvc --wait-for-lock exp run --temp"
    script = f"{command} <<'END'\n{chr(10).join(lines)}\nEND"
    took = seconds(lambda: repo.run("sh", "-c", script, check=False))
    return Took(took, experiments(repo))


def cells() -> Iterator[tuple[object, ...]]:
    """Yield the cells of the grid."""
    return itertools.product(*GRID.values())


def optuna(repo: Repo, trials: int) -> Took:
    """Run the script, in the repository, whose split and folding it uses."""
    grid = ["--grid"] if trials == CELLS else []
    store = f"sqlite:///{repo.path}/mlflow.db"
    command = ["python", str(SCRIPT), "--trials", str(trials), *grid]
    took = seconds(lambda: repo.run(*command, MLFLOW_TRACKING_URI=store, PYTHONPATH=str(repo.path)))
    return Took(took, trials)


def our_queue(repo: Repo, _trials: int) -> Took:
    """Queue the grid, and run the queue."""
    queued = queue(repo)
    ran = seconds(lambda: repo.run("trialtree", "queue", "run", "-j", "2"))
    return Took(queued + ran, experiments(repo), {"queueing": queued, "running": ran})


VARIANTS: dict[str, tuple[str, Callable[[Repo, int], Took]]] = {
    "a": ("`trialtree sweep`", ours),
    "b": ("`dvc exp run --queue`, `dvc queue start -j 2`", dvc_queue),
    "c": ("`xargs -P 2 dvc --wait-for-lock exp run --temp`", xargs),
    "d": ("Optuna and MLflow, no lineage", optuna),
    "e": ("`dvc exp run --queue`, `trialtree queue run -j 2`", our_queue),
}


class Memory:
    """Looks at the processes that this one has started, twice a second."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._seen: list[dict[int, int]] = []  # resident bytes by process, a look after the other
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        own = psutil.Process()
        while not self._over.wait(0.5):
            found = {}
            for process in own.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    found[process.pid] = process.memory_info().rss
            self._seen.append(found)

    def peaks(self) -> tuple[float, float, float]:
        """Return in MB: the first process's peak, and the largest other's in the first and in the last quarter."""
        first = min((pid for look in self._seen for pid in look), default=0)
        some = max(len(self._seen) // 4, 1)
        others = [max((rss for pid, rss in look.items() if pid != first), default=0) for look in self._seen]
        driver = max((look.get(first, 0) for look in self._seen), default=0)
        return driver / 1e6, max(others[:some], default=0) / 1e6, max(others[-some:], default=0) / 1e6


def prepare(folder: Path) -> Repo:
    """Return a repository in which the pipeline has run."""
    repo = make_repo(folder / "model" / "repo", folder / "model" / "home")
    repo.params({"sweep.limits.concurrent": 2})
    repo.dvc("repro")
    repo.commit("Run")
    return repo


def copied(model: Repo, folder: Path, trials: int) -> Repo:
    """Return a copy of a repository, with a sweep of so many trials."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(model.path.parent, folder, symlinks=True)
    repo = Repo(folder / "repo", isolated(folder / "home"))
    if trials != CELLS:
        kernel, penalty = GRID
        space = {kernel: {"choice": GRID[kernel]}, penalty: {"loguniform": {"min_value": -3, "max_value": 3}}}
        repo.params({"sweep.limits.trials": trials, "sweep.space": space})
        repo.commit("Search at random")
    return repo


def flatness(repo: Repo) -> str:
    """Return what the first and the last trials of the sweep took, by its journal."""
    journal = next(repo.path.glob(".dvc/tmp/trialtree/sweeps/*/journal.jsonl"))
    events = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    began = [event["time"] for event in events if event["event"] == "began"]
    end = next(event["time"] for event in events if event["event"] == "finished")
    if len(began) < 2 * QUARTER:
        return ""
    first, last = (began[QUARTER] - began[0]) / QUARTER, (end - began[-QUARTER]) / QUARTER
    return f"; the first {QUARTER} {first:.1f} ms each, the last {QUARTER} {last:.1f} ms"


def measure(model: Repo, folder: Path, trials: int, rounds: int, names: list[str]) -> None:
    """Run the variants in turns, and print a table."""
    found: dict[str, list[Took]] = {name: [] for name in names}
    notes = []
    for number, name in itertools.product(range(rounds), names):
        repo = copied(model, folder / name, trials)
        with Memory() as memory:
            found[name].append(VARIANTS[name][1](repo, trials))
        driver, first, last = memory.peaks()
        if number == rounds - 1:
            flat = flatness(repo) if name == "a" else ""
            notes.append(
                f"({name}) first process {driver:.0f} MB; largest other {first:.0f} MB, at the end {last:.0f}{flat}"
            )
    own = median(took.seconds for took in found[names[0]])
    print(
        f"\n| {trials:,} trials, median of {rounds} | seconds | ms a trial | of ({names[0]}) | trials that are there |"
    )
    print("|---|---|---|---|---|")
    for name, each in found.items():
        middle, there = median(took.seconds for took in each), ", ".join(str(took.trials) for took in each)
        cost = f"{middle:.1f} | {1000 * middle / trials:.0f} | {middle / own:.2f}"
        print(f"| ({name}) {VARIANTS[name][0]} | {cost} | {there} |")
        for part in each[0].parts:
            print(f"| {part} | {median(took.parts[part] for took in each):.1f} | | | |")
    print("\n" + "\n".join(notes), flush=True)


def main() -> None:
    """Measure, and print a table for each number of trials."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[CELLS, 1000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="a,b,c,d,e")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        model = prepare(Path(temporary))
        for trials in asked.trials:
            names = [name for name in asked.only.split(",") if trials == CELLS or name in "ad"]
            measure(model, Path(temporary), trials, asked.rounds if trials == CELLS else 1, names)


if __name__ == "__main__":
    main()
