"""Batch prediction of California rows: `trialtree predict` beside MLflow's pyfunc on the whole frame.

    python benchmarks/predict.py [--rows 10000000] [--runs 3]

A CatBoost model of 500 trees is registered in a repository of its own. The rows
are those of the shared table, repeated with a little noise, in one Parquet file
with a key. Whole processes, the ways in turns, the median of the runs; memory is
the largest sum of what the process and those it starts have resident, looked at
fifty times a second, or the largest of a process if that is more. A quarter and
half of the rows tell whether time grows with them. Without the shared table
there is nothing to measure.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import search
from tests.conftest import SHARED, Repo, make_repo

GROUP = 250_000  # rows that are made at once
NOISE = 1e-3  # of a value
BY_MLFLOW = """
import sys
import mlflow
import pandas as pd
from trialtree.tracking import stores
mlflow.set_tracking_uri(stores.find().uri)
model = mlflow.pyfunc.load_model("models:/california/1")
frame = pd.read_parquet(sys.argv[1])
pd.DataFrame({"id": frame["id"], "predicted": model.predict(frame)}).to_parquet(sys.argv[2])
"""
SMALL = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@dataclass(frozen=True)
class Cost:
    """What a run took."""

    seconds: float
    megabytes: float


def prepared(folder: Path) -> Repo:
    """Return a repository with the registered model."""
    repo = make_repo(folder / "repo", folder / "home")
    repo.run("trialtree", "data", "add", str(SHARED / "california_housing/cal_housing.data"))
    repo.params({"sweep": ..., **search.BASE, "register": {"name": "california"}})
    repo.params({"train.hyperparameters.iterations": 500})
    repo.dvc("repro", "--quiet")
    repo.commit("Start")
    return repo


def write(repo: Repo, rows: int, path: Path) -> None:
    """Write so many rows of the repository's table, with noise and a key and without the target."""
    raw = pq.read_table(repo.path / "data/raw.parquet").drop_columns(["row", "target"])
    values = np.column_stack([column.to_numpy() for column in raw.columns]).astype(np.float64)
    drawn = np.random.RandomState(0)
    names = ["id", *raw.column_names]
    with pq.ParquetWriter(path, pa.schema([("id", pa.int64()), *((n, pa.float64()) for n in names[1:])])) as writer:
        for start in range(0, rows, GROUP):
            keys = np.arange(start, min(start + GROUP, rows))
            some = values[keys % len(values)]
            some *= 1 + NOISE * drawn.standard_normal(some.shape)
            writer.write_table(pa.table([keys, *(np.ascontiguousarray(c) for c in some.T)], schema=writer.schema))


def run(repo: Repo, command: Sequence[str]) -> Cost:
    """Run a command in the repository, started by a small process, for what starts one counts as its memory."""
    start, most = time.monotonic(), 0
    env = {k: v for k, v in repo.env.items() if k != "OMP_NUM_THREADS"} | {"PYTHONPATH": str(repo.path)}
    small = [sys.executable, "-c", SMALL, *command]
    with subprocess.Popen(small, cwd=repo.path, env=env, stdout=subprocess.PIPE, text=True) as process:
        starter = psutil.Process(process.pid)
        while process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                most = max(most, sum(each.memory_info().rss for each in starter.children(recursive=True)))
            time.sleep(0.02)
        said = process.stdout.read() if process.stdout else ""
    if process.returncode:
        sys.exit(f"{' '.join(command)[:200]} exited {process.returncode}")
    return Cost(time.monotonic() - start, max(most, int(said) * 1024) / 1e6)


def measured(repo: Repo, folder: Path, sizes: Sequence[int], runs: int) -> dict[tuple[str, int], list[Cost]]:
    """Return the costs of both ways for each number of rows; MLflow's for the most only."""
    found: dict[tuple[str, int], list[Cost]] = {}
    for rows in sizes:
        given = folder / f"{rows}.parquet"
        write(repo, rows, given)
        ways = {
            "trialtree predict": ["trialtree", "predict", "california", str(given), "--out", str(folder / "o.parquet")]
        }
        if rows == max(sizes):
            ways["mlflow.pyfunc"] = ["python", "-c", BY_MLFLOW, str(given), str(folder / "m.parquet")]
        for _ in range(runs):
            for way, command in ways.items():
                found.setdefault((way, rows), []).append(run(repo, command))
                cost = found[way, rows][-1]
                print(f"{way}, {rows:,} rows: {cost.seconds:.1f} s, {cost.megabytes:.0f} MB", flush=True)
        given.unlink()
    _compare(folder)
    return found


def _compare(folder: Path) -> None:
    """Stop where the two ways do not give the same predictions."""
    ours, theirs = (pq.ParquetFile(folder / name) for name in ("o.parquet", "m.parquet"))
    columns = ["id", "predicted"]
    for a, b in zip(
        ours.iter_batches(GROUP, columns=columns), theirs.iter_batches(GROUP, columns=columns), strict=True
    ):
        if a.to_pydict() != b.to_pydict():
            sys.exit("the predictions differ")


def table(found: Mapping[tuple[str, int], Sequence[Cost]]) -> str:
    """Return the figures as Markdown."""
    lines = ["| way | rows | seconds | rows a second | peak MB |", "|---|---|---|---|---|"]
    for (way, rows), costs in found.items():
        seconds, memory = median(c.seconds for c in costs), max(c.megabytes for c in costs)
        lines.append(f"| {way} | {rows:,} | {seconds:.1f} | {rows / seconds:,.0f} | {memory:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if not (SHARED / "california_housing").exists():
        sys.exit("the shared table california_housing is not on this machine: nothing to repeat")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        repo = prepared(folder / "model")
        sizes = [asked.rows // 4, asked.rows // 2, asked.rows]
        print(table(measured(repo, folder, sizes, asked.runs)))


if __name__ == "__main__":
    main()
