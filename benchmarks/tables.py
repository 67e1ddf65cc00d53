"""What fetch and split cost on long tables, beside DuckDB alone and pandas, in whole processes that take turns.

    python benchmarks/tables.py [--millions 1 10 50] [--runs 3] [--pandas 10]

The table is California-shaped: nine columns of numbers, 60 bytes a row. It is made by the benchmark and deleted
after. Every way reads the same CSV and writes the same rows to the same parts in the same order; only ours also checks
every cell, counts, describes, and looks for rows that are on both sides.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import duckdb
from ruamel.yaml import YAML

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.conftest import Repo, make_repo

HERE = Path(__file__).resolve().parent
# Ranges as in the California table; u is a number in [0, 1) that the row's number decides.
COLUMNS = {
    "longitude": "printf('%.2f', -124.35 + 10.04 * {u})",
    "latitude": "printf('%.2f', 32.54 + 9.41 * {u})",
    "housing_median_age": "printf('%.1f', 1 + floor(52 * {u}))",
    "total_rooms": "printf('%.1f', floor(2 + 39318 * pow({u}, 4)))",
    "total_bedrooms": "printf('%.1f', floor(1 + 6444 * pow({u}, 4)))",
    "population": "printf('%.1f', floor(3 + 35679 * pow({u}, 4)))",
    "households": "printf('%.1f', floor(1 + 6081 * pow({u}, 4)))",
    "median_income": "printf('%.4f', 0.4999 + 14.5 * pow({u}, 2))",
    "median_house_value": "printf('%.1f', floor(14999 + 485002 * {u}))",
}


@dataclass(frozen=True)
class Cost:
    """Of one process, or of several one after the other."""

    seconds: float
    peak: float  # MB

    def __add__(self, other: "Cost") -> "Cost":
        """Return the cost of both, one after the other."""
        return Cost(self.seconds + other.seconds, max(self.peak, other.peak))


def make(path: Path, rows: int) -> None:
    """Write the table."""
    columns = ", ".join(
        f"{text.format(u=f'((hash(i * 16 + {place}) % 1000003) / 1000003.0)')} AS {name}"
        for place, (name, text) in enumerate(COLUMNS.items())
    )
    with duckdb.connect() as database:
        database.execute(f"COPY (SELECT {columns} FROM range({rows}) r(i)) TO '{path}' (FORMAT csv, QUOTE '')")


def ours(folder: Path, table: Path) -> Repo:
    """Return a repository whose source is the table."""
    repo = make_repo(folder / "repo", folder / "home")
    source = Path("data/source") / table.name
    (repo.path / source).parent.mkdir(parents=True)
    (repo.path / source).hardlink_to(table)
    yaml, path = YAML(), repo.path / "dvc.yaml"
    content = yaml.load(path.read_text(encoding="utf-8"))
    content["stages"]["fetch"]["deps"].append(str(source))
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
    repo.params({"fetch": {"source": str(source)}, "split": {"target": "median_house_value", "test": 0.25}})
    return repo


def cost(command: Sequence[str], folder: Path, env: dict[str, str]) -> Cost:
    """Run a process to its end."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read().decode() if process.stderr else ""
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed\n{said}")
    return Cost(time.perf_counter() - start, used.ru_maxrss / 1000)


def measure(folder: Path, rows: int, runs: int, with_pandas: bool) -> None:
    """Print a line for each way, at one length."""
    table = folder / "table.csv"
    make(table, rows)
    repo = ours(folder / "ours", table)
    other = folder / "other"
    other.mkdir()
    env = dict(repo.env)

    def stage(name: str) -> Cost:
        return cost([sys.executable, "-m", f"stages.{name}"], repo.path, env)

    def script(name: str) -> Cost:
        return cost([sys.executable, str(HERE / f"tables_{name}.py"), str(table), str(rows)], other, env)

    ways: dict[str, Callable[[], Cost]] = {
        "ours: fetch": lambda: stage("fetch"),
        "ours: split": lambda: stage("split"),
        "DuckDB alone": lambda: script("duckdb"),
    }
    if with_pandas:
        ways["pandas"] = lambda: script("pandas")
    found: dict[str, list[Cost]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, way in ways.items():
            found[name].append(way())
    middle = {name: Cost(median(c.seconds for c in of), max(c.peak for c in of)) for name, of in found.items()}
    both = middle["ours: fetch"] + middle["ours: split"]
    allowed = 500 + 24 * rows / 1e6
    for name, its in {**middle, "ours: both": both}.items():
        ratio = f"{both.seconds / its.seconds:.2f}" if name in ("DuckDB alone", "pandas") else ""
        print(f"| {rows:,} | {name} | {its.seconds:.1f} | {rows / its.seconds:,.0f} | {its.peak:.0f} | {ratio} |")
    print(f"| {rows:,} | allowed | | | {allowed:.0f} | |", flush=True)
    shutil.rmtree(folder / "ours")
    shutil.rmtree(other)
    table.unlink()


def main() -> None:
    """Print medians of the seconds, and the largest peaks of memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 10, 50])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--pandas", type=float, default=10, help="millions of rows up to which pandas is measured")
    asked = parser.parse_args()
    print("| rows | way | seconds | rows a second | peak MB | ours / it |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for millions in asked.millions:
            measure(Path(folder), int(millions * 1e6), asked.runs, millions <= asked.pandas)


if __name__ == "__main__":
    main()
