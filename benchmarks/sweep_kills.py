"""Kill -9 at random moments of a sweep, and `--resume`; afterwards all must be as in a sweep that nobody disturbed.

    python benchmarks/sweep_kills.py [--trials 200] [--times 30] [--seed 0] [--concurrent 2] [--sweeps 1] [--publish]

What is killed is drawn, each kind as often as any other: the driver, the process that imports, a stage server, the
process that publishes, a git. When it is, too: while the sweep starts, or after one of equal slices of its trials, so
that all phases are hit. With `--sweeps 2` two run in one repository. In the end every point must be there once, the
same points as undisturbed, each an experiment with the same Git tree, and no worktree, lock, process or trial that
seems to run. Exit status 1 otherwise.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests import tinysweeps
from tests.conftest import Repo
from trialtree.sweep import journal
from trialtree.sweep.records import ENDED, Sweep

KINDS = ("driver", "importer", "server", "publisher", "git")
_STARTS = 1.2  # seconds in which a driver starts
_PAUSE = "0.2"  # seconds that a trial takes at most, where it may be killed
_PATIENCE = 300.0  # seconds for a trial to end


@dataclass
class Sweeper:
    """A sweep that is begun, and gone on with as often as it is left."""

    repo: Repo
    publish: bool
    pause: str
    id: str = ""
    said: list[str] = field(default_factory=list)
    process: "Popen[str] | None" = None

    def go_on(self) -> None:
        """Begin the sweep, or resume it."""
        known = {folder.name for folder in tinysweeps.folders(self.repo)}
        options = ["--resume", self.id] if self.id else []
        self.process = tinysweeps.begun(self.repo, *options, publish=self.publish, TINY_PAUSE=self.pause)
        while not self.id and self.process.poll() is None:
            self.id = next((f.name for f in tinysweeps.folders(self.repo) if f.name not in known), "")
            time.sleep(0.01)

    @property
    def folder(self) -> Path:
        """The sweep's folder."""
        return self.repo.path / journal.SWEEPS / self.id

    @property
    def sweep(self) -> Sweep:
        """The sweep, as its journal has it."""
        return journal.read(self.folder)

    @property
    def ended(self) -> int:
        """How many trials have ended."""
        return len(self.sweep.of(*ENDED)) if self.id else 0

    @property
    def over(self) -> bool:
        """Whether the sweep is at its end."""
        return bool(self.id and self.sweep.finished)

    def wait(self, ended: int) -> None:
        """Wait until so many trials have ended, or the driver has left."""
        until = time.monotonic() + _PATIENCE
        while self.process is not None and self.process.poll() is None and self.ended < ended:
            if time.monotonic() > until:
                raise RuntimeError(f"{self.id} stands still: {tinysweeps.states(self.sweep)}")
            time.sleep(0.005)

    def victims(self) -> dict[str, list[psutil.Process]]:
        """Return the processes of the sweep, by kind."""
        found: dict[str, list[psutil.Process]] = {kind: [] for kind in KINDS}
        assert self.process is not None
        with suppress(psutil.Error):
            driver = psutil.Process(self.process.pid)
            found["driver"] = [driver]
            for process in driver.children(recursive=True):
                with suppress(psutil.Error):
                    found[_kind(process, driver)].append(process)
        return found

    def collect(self) -> None:
        """Wait for the driver, and keep what it said."""
        assert self.process is not None
        self.said.append(self.process.communicate()[0])
        self.process = None

    def finish(self) -> None:
        """Let the sweep come to its end, resumed where it was left."""
        if self.over and self.process is None:
            return
        for _ in range(3):
            if self.process is None:
                self.go_on()
            self.collect()
            if self.over:
                return
        raise RuntimeError(f"{self.id} does not come to its end:\n{self.said[-1]}")


def _kind(process: psutil.Process, driver: psutil.Process) -> str:
    line = " ".join(process.cmdline())
    if "trialtree.sweep.publishing" in line:
        return "publisher"
    if "trialtree.sweep.workers.importer" in line:
        return "importer" if process.ppid() == driver.pid else "server"
    return "git" if process.name() == "git" else "server"


def kills(sweepers: list[Sweeper], trials: int, times: int, seed: int) -> Iterator[tuple[str, int]]:
    """Kill so many processes, and yield of each its kind and how many trials had ended; then let all come to an end."""
    draw = random.Random(seed)
    number = 0
    while number < times and (going := [one for one in sweepers if not one.over]):
        one = going[number % len(going)]
        for other in going:
            if other.process is None:
                other.go_on()
        if draw.random() < 0.25:
            time.sleep(draw.random() * _STARTS)
        else:
            one.wait(max(one.ended + 1, int(trials * (number + draw.random()) / times)))
            time.sleep(draw.random() * 0.05)
        if one.process is not None and one.process.poll() is not None:
            one.collect()  # by itself: it is over, or what was killed before was too much for it
        elif not one.over:
            number += 1
            yield _kill(one, draw), one.ended
    for one in sweepers:
        one.finish()


def _kill(one: Sweeper, draw: random.Random) -> str:
    """Kill a process of a sweep, and return its kind; another driver is begun when it is needed."""
    there = {kind: found for kind, found in one.victims().items() if found}
    kind = draw.choice([*there])
    with suppress(psutil.Error):
        draw.choice(there[kind]).kill()
    if kind == "driver":
        one.collect()
    return kind


def wrong(repo: Repo, sweepers: list[Sweeper], undisturbed: Sweep, trees: list[str]) -> list[str]:
    """Return in what the sweeps differ from an undisturbed one, whose experiments have these Git trees."""
    found = tinysweeps.left(repo)
    for one in sweepers:
        of = one.sweep
        count = Counter(trial.state for trial in of.trials.values())
        found += [f"{one.id}: {state}: {n}" for state, n in count.items() if state != "done"]
        found += [f"{one.id}/{trial.number}: {trial.reason}" for trial in of.of("failed")]
        if tinysweeps.values(of) != tinysweeps.values(undisturbed):
            found.append(f"{one.id}: other points")
        if tinysweeps.trees(repo, of) != trees:
            found.append(f"{one.id}: other trees")
        lines = [line for said in one.said for line in said.splitlines()]
        found += [f"{one.id}: {line}" for line in lines if line.startswith("Traceback")]
    found += repo.run("git", "fsck", "--no-dangling", "--no-progress", check=False).stderr.splitlines()
    return found


def run(folder: Path, asked: argparse.Namespace | Any) -> tuple[list[tuple[str, int]], list[str]]:
    """Return what was killed when, and what was wrong afterwards."""
    repo = tinysweeps.tiny(folder)
    limits = {"trials": asked.trials, "concurrent": asked.concurrent}
    tinysweeps.ask_for(repo, sampling=asked.sampling, limits=limits, **asked.more)
    repo.commit("Ask for a sweep")
    other = tinysweeps.copied(repo, folder / "undisturbed")
    tinysweeps.sweep(other)
    undisturbed = tinysweeps.last(other)
    trees = tinysweeps.trees(other, undisturbed)
    pause = _PAUSE if asked.times else "0"
    sweepers = [Sweeper(repo, asked.publish, pause) for _ in range(asked.sweeps)]
    done = list(kills(sweepers, asked.trials, asked.times, asked.seed))
    return done, wrong(repo, sweepers, undisturbed, trees)


def main() -> None:
    """Print what was killed, and what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("trials", 200), ("times", 30), ("seed", 0), ("concurrent", 2), ("sweeps", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--sampling", default="random")
    parser.add_argument("--publish", action="store_true", help="to MLflow as well")
    asked = parser.parse_args()
    asked.more = {}
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        done, found = run(Path(folder), asked)
    by_kind = Counter(kind for kind, _ in done)
    said = ", ".join(f"{count} {kind}" for kind, count in by_kind.most_common())
    print(f"{asked.sweeps} x {asked.trials} trials, {asked.concurrent} at once; {len(done)} killed: {said}")
    print(f"trials that had ended: {' '.join(str(ended) for _, ended in done)}")
    print(f"{time.perf_counter() - begun:.0f} s; wrong: {len(found)}")
    print(*found, sep="\n")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
