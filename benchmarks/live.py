"""What showing a fit in MLflow while it runs adds to it: whole train processes, with and without, taking turns.

    python benchmarks/live.py [--seconds 60] [--runs 5] [--rows 200000]

CatBoost is given both cores (all there are), and as many iterations as fill the seconds on this machine. The store is
the embedded one, made before anything is timed. The difference is that of the medians; beside it stands how far runs
of one kind lie apart, for nothing smaller than that is seen, and what the process that logs took of the cores' time,
which it can slow the fit by at most.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import fitting
from tests.conftest import Repo, make_repo
from trialtree.tracking import stores

KINDS = {"without": {"TRIALTREE_LIVE": "0"}, "with": {}}
SHORT = 40  # iterations, to see how long one takes


def made(folder: Path, rows: int) -> Repo:
    """Return a repository with a split table and a store."""
    repo = make_repo(folder / "repo", folder / "home")
    fitting.make(repo.path, rows)
    with stores.Store(f"sqlite:///{repo.path}/mlflow.db", repo.path).opened():
        return repo


def trained(repo: Repo, iterations: int, env: dict[str, str]) -> tuple[float, float]:
    """Return the seconds of a train stage, and the processor's seconds of the process that logs it."""
    settings = {"iterations": iterations, "thread_count": os.cpu_count()}
    repo.params({"train.estimator": "catboost.CatBoostRegressor", "train.hyperparameters": settings})
    start, used = time.perf_counter(), 0.0
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(["python", "-m", "stages.train"], cwd=repo.path, env={**repo.env, **env}, **quiet) as train:
        while train.poll() is None:
            time.sleep(0.1)
            used = max(used, logging(train.pid))
    if train.returncode:
        sys.exit(f"train exited {train.returncode}")
    return time.perf_counter() - start, used


def logging(train: int) -> float:
    """Return the processor's seconds so far of the process that logs a train stage; 0 without one."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = place.read_bytes().split(b"\0")
            if b"trialtree.tracking.live" in words and str(train).encode() in words:
                fields = place.with_name("stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
                return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def shown(repo: Repo) -> tuple[int, int]:
    """Return how many runs the store has, and how many points."""
    with closing(sqlite3.connect(repo.path / "mlflow.db")) as database:
        asked = "SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM metrics)"
        runs, points = database.execute(asked).fetchone()
        return runs, points


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rows", type=int, default=200_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        repo = made(Path(folder), given.rows)
        short, long = (trained(repo, SHORT * times, KINDS["without"])[0] for times in (1, 5))
        each = (long - short) / (4 * SHORT)
        iterations = max(SHORT, round((given.seconds - short) / each) + SHORT)
        print(
            f"{given.rows:,} rows, {iterations} iterations of {1000 * each:.1f} ms, {os.cpu_count()} cores", flush=True
        )
        took: dict[str, list[float]] = {kind: [] for kind in KINDS}
        logged: list[float] = []
        for run in range(given.runs):
            for kind in sorted(KINDS, reverse=run % 2 == 0):
                seconds, used = trained(repo, iterations, KINDS[kind])
                took[kind].append(seconds)
                logged.append(used)
                print(f"{kind:8}{seconds:8.2f} s, {used:.2f} s of the processor to log it", flush=True)
        runs, points = shown(repo)
    middle = {kind: median(seconds) for kind, seconds in took.items()}
    apart = max((max(seconds) - min(seconds)) / min(seconds) for seconds in took.values())
    result = {kind: round(seconds, 2) for kind, seconds in middle.items()}
    result |= {"added_percent": round(100 * (middle["with"] / middle["without"] - 1), 2)}
    cores = os.cpu_count() or 1
    result |= {"at_most_percent": round(100 * max(logged) / (cores * middle["without"]), 2)}
    print(json.dumps(result | {"apart_percent": round(100 * apart, 2), "runs": runs, "points": points}))


if __name__ == "__main__":
    main()
