"""What a report costs: of two California revisions, and of two with a million test rows.

    python benchmarks/review.py [--rows 1000000] [--runs 3]

Whole processes of `trialtree report … --out DIR` with all data in the cache, the median of the runs, and the largest
resident set of the process and of those that it starts. California is read from the project's shared folder, and left
out without it; the large table is drawn.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import search
from tests.conftest import SHARED, Repo, make_repo


def california(folder: Path) -> Repo:
    """Return a repository with a trial on main and one with other params, data and split on the branch `head`."""
    repo = search.prepared(folder)
    repo.git("switch", "-q", "-c", "head")
    repo.params({"train.hyperparameters.depth": 8, "fetch.derive.occupation": "population / (households + 1)"})
    return _trial(repo)


def large(folder: Path, rows: int) -> Repo:
    """Return a repository with so many test rows, of twice as many; on the branch `head` another half is tested."""
    import duckdb

    repo = make_repo(folder / "repo", folder / "home")
    table = folder / "large.parquet"
    numbers = ", ".join(f"random() AS x{n}" for n in range(4))
    drawn = f"SELECT {numbers}, random() AS luck, ['a', 'b', 'c'][1 + (random() * 3)::INT % 3] AS kind"
    kept = "SELECT * EXCLUDE (luck), (luck + x0 > 1)::INT AS y"
    duckdb.execute(f"COPY ({kept} FROM ({drawn} FROM range({2 * rows}))) TO '{table}' (FORMAT parquet)")
    repo.run("trialtree", "data", "add", str(table))
    repo.params({
        "experiment": "large", "split": {"target": "y", "test": 0.5, "seed": 0}, "sweep": ..., "register": {},
        "train": {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "hyperparameters": {"max_iter": 20}},
        "evaluate": {},
    })  # fmt: skip
    repo.dvc("repro", "-q", "evaluate")
    repo.commit("Start")
    repo.git("switch", "-q", "-c", "head")
    repo.params({"split.seed": 1, "train.hyperparameters.max_iter": 30})
    return _trial(repo)


def _trial(repo: Repo) -> Repo:
    repo.dvc("repro", "-q", "evaluate")
    repo.commit("Head")
    return repo


def measured(repo: Repo, runs: int) -> tuple[float, float]:
    """Return the median of the seconds of a report, and the most that its processes held together, in GB."""
    seconds = []
    for number in range(runs):
        out = repo.path.parent / f"out-{number}"
        begun = time.perf_counter()
        command = ["trialtree", "report", "head", "--out", str(out)]
        subprocess.run(command, cwd=repo.path, env={**repo.env, "PYTHONDONTWRITEBYTECODE": ""}, check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        seconds.append(time.perf_counter() - begun)
        shutil.rmtree(out)
    return median(seconds), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6


def apart(repo: Repo, runs: int) -> tuple[float, float]:
    """Measure in a process of its own: what is held is the most of all children, and the pipeline's are larger."""
    code = "import sys; from pathlib import Path; from benchmarks.review import Repo, measured; "
    code += f"print(*measured(Repo(Path({str(repo.path)!r}), {dict(repo.env)!r}), {runs}))"
    top = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=top)
    seconds, held = map(float, done.stdout.split())
    return seconds, held


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    print("| report of | seconds | largest process, GB |")
    print("|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        if SHARED.exists():
            seconds, held = apart(california(Path(folder) / "california"), asked.runs)
            print(f"| two California revisions | {seconds:.1f} | {held:.2f} |", flush=True)
        seconds, held = apart(large(Path(folder) / "large", asked.rows), asked.runs)
        print(f"| two of {asked.rows:,} test rows | {seconds:.1f} | {held:.2f} |")


if __name__ == "__main__":
    main()
