"""What it costs to publish a thousand trials from Git to MLflow, and to find that nothing is new.

    python benchmarks/tracking.py [--trials 1000] [--runs 3]

Whole processes of `trialtree track --all`, on sqlite and on PostgreSQL (where
TRIALTREE_TEST_POSTGRES or this machine has one), beside a script of the usual
kind that logs the same params, metrics, tags and files with MLflow's own calls.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests import many
from tests.conftest import Repo, make_repo
from tests.postgres import database

# The usual way: one run after another, each call a request of its own.
_USUAL = """
import json, sys, mlflow
from pathlib import Path
mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment("usual")
trial = json.loads(Path(sys.argv[3]).read_text())
for number in range(int(sys.argv[2])):
    with mlflow.start_run(run_name=f"run-{number}"):
        mlflow.log_params(trial["params"])
        mlflow.log_metrics(trial["metrics"])
        mlflow.set_tags(trial["tags"])
        mlflow.log_artifacts(trial["files"])
"""


def seconds(repo: Repo, *command: str, **environment: str) -> float:
    """Return the wall time of a command."""
    start = time.perf_counter()
    repo.run(*command, **environment)
    return time.perf_counter() - start


def usual(repo: Repo, folder: Path, trials: int) -> float:
    """Return the wall time of the usual script, on a new sqlite store with tables."""
    folder.mkdir()
    made = "from mlflow import MlflowClient; import sys; MlflowClient(sys.argv[1]).search_experiments()"
    uri = f"sqlite:///{folder}/mlflow.db"
    repo.run("python", "-c", made, uri)
    shutil.copytree(
        repo.path / "reports", folder / "files", ignore=shutil.ignore_patterns("*.parquet", "register.json")
    )
    printed = repo.run("python", "-c", _TRIAL).stdout
    (folder / "trial.json").write_text(json.dumps(json.loads(printed) | {"files": str(folder / "files")}))
    (folder / "usual.py").write_text(_USUAL)
    command = ("python", str(folder / "usual.py"), uri, str(trials), str(folder / "trial.json"))
    return seconds(Repo(folder, repo.env), *command)


_TRIAL = """
import json
from trialtree.tracking import runs, trials
trial = trials.workspace()
params = runs.mlflow_params(trial.params)[0]
print(json.dumps({"params": params, "metrics": trial.metrics, "tags": trial.tags}))
"""


def forget(repo: Repo) -> None:
    """Put away the embedded store, and what is remembered of dvc.lock files.

    Not deleted: ext4 makes new files five times as slowly for some seconds after thousands were deleted.
    """
    away = Path(tempfile.mkdtemp(dir=repo.path.parent))
    for path in (
        *repo.path.glob("mlflow.db*"),
        *repo.path.glob("mlartifacts"),
        *repo.path.glob(".git/trialtree/keys-*"),
    ):
        path.rename(away / path.name)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    names = (
        "sqlite, all new",
        "sqlite, nothing new",
        "PostgreSQL, all new",
        "PostgreSQL, nothing new",
        "usual, sqlite",
    )
    times: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        repo = make_repo(folder / "repo", folder / "home")
        repo.dvc("repro")
        repo.commit("Run")
        many.experiments(repo, asked.trials - 1)
        for number in range(asked.runs):
            forget(repo)
            track = ("trialtree", "track", "--all")
            times[names[0]].append(seconds(repo, *track))
            times[names[1]].append(seconds(repo, *track))
            with database("trialtree_benchmark") as uri:
                made = "from mlflow import MlflowClient; import sys; MlflowClient(sys.argv[1]).search_experiments()"
                repo.run("python", "-c", made, uri)
                forget(repo)
                times[names[2]].append(seconds(repo, *track, MLFLOW_TRACKING_URI=uri))
                times[names[3]].append(seconds(repo, *track, MLFLOW_TRACKING_URI=uri))
            times[names[4]].append(usual(repo, folder / f"usual{number}", asked.trials))
    print(f"| {asked.trials:,} trials, median of {asked.runs} | seconds | ms a trial | of the script |")
    print("|---|---|---|---|")
    stock = median(times[names[4]])
    for name, found in times.items():
        middle = median(found)
        print(f"| {name} | {middle:.1f} | {1000 * middle / asked.trials:.1f} | {middle / stock:.2f} |")


if __name__ == "__main__":
    try:
        main()
    except subprocess.SubprocessError as error:
        sys.exit(str(error))
