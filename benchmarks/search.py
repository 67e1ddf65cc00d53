"""What a search finds: California and CatBoost, by random draws, TPE, and TPE that stops trials early.

    python benchmarks/search.py [--trials 60] [--seeds 3] [--plot docs/pictures/search.png]

300 iterations, depth up to 8, no cross-validation, two trials at once; the
objective is the median of the absolute error on the validation part. Each
sweep runs in a repository of its own, so that none finds another's results in
DVC's cache; the ways take turns. The table is read from the project's shared
folder and is not part of it.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.conftest import SHARED, Repo, isolated, make_repo

ITERATIONS = 300
WAYS: Mapping[str, Mapping[str, Any]] = {
    "random": {"sampling": "random"},
    "TPE": {"sampling": "bayesian"},
    "TPE + ASHA": {
        "sampling": "bayesian",
        "early_termination": {"policy": "asha", "min_resource": 60, "reduction_factor": 3},
    },
}
COLUMNS = ["longitude", "latitude", "housing_median_age", "total_rooms", "total_bedrooms", "population", "households",
           "median_income", "median_house_value"]  # fmt: skip
BASE: Mapping[str, Any] = {
    "experiment": "california",
    "fetch.columns": COLUMNS,
    "fetch.derive": {
        "target": "median_house_value / 100000",
        "rooms": "total_rooms / households",
        "bedrooms": "total_bedrooms / households",
        "occupation": "population / households",
    },
    "fetch.drop": ["median_house_value", "total_rooms", "total_bedrooms", "households"],
    "split": {"target": "target", "validation": 0.16, "test": 0.04, "seed": 0},
    "train": {"estimator": "catboost.CatBoostRegressor", "hyperparameters": {"iterations": ITERATIONS}},
    "evaluate": {"metrics": ["ae_p50", "rmse", "r2"]},
    "register": {"name": ...},
}
SPACE: Mapping[str, Any] = {
    "train.hyperparameters.learning_rate": {"float": {"low": 0.005, "high": 1.0, "log": True}},
    "train.hyperparameters.depth": {"int": {"low": 3, "high": 8}},
    "train.hyperparameters.l2_leaf_reg": {"float": {"low": 0.5, "high": 30.0, "log": True}},
    "train.hyperparameters.random_strength": {"float": {"low": 0.1, "high": 10.0, "log": True}},
}


@dataclass(frozen=True)
class Point:
    """A trial that ended: how many had ended, after how many seconds, and the best value by then."""

    trials: int
    seconds: float
    best: float


def prepared(folder: Path) -> Repo:
    """Return a repository with the table split, and one plain trial of it."""
    repo = make_repo(folder / "repo", folder / "home")
    repo.run("trialtree", "data", "add", str(SHARED / "california_housing/cal_housing.data"))
    repo.params({"sweep": ..., "register": {}, **{key: value for key, value in BASE.items() if key != "register"}})
    repo.dvc("repro", "--quiet", "evaluate")
    repo.commit("Start")
    return repo


def swept(like: Repo, folder: Path, way: Mapping[str, Any], seed: int, trials: int) -> list[Point]:
    """Run one sweep in a copy of a repository, and return how its best value went down."""
    shutil.copytree(like.path.parent, folder, symlinks=True)
    repo = Repo(folder / "repo", {**isolated(folder / "home"), "PYTHONDONTWRITEBYTECODE": ""})
    section = {"objective": {"metric": "validation.ae_p50", "goal": "minimize"}, "space": dict(SPACE), "seed": seed,
               "limits": {"trials": trials, "concurrent": 2}, **way}  # fmt: skip
    repo.params({"sweep": section})
    repo.commit("Sweep")
    subprocess.run(["trialtree", "sweep", "--lines", "--no-mlflow"], cwd=repo.path, env=dict(repo.env), check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    (journal,) = (repo.path / ".dvc/tmp/trialtree/sweeps").glob("*/journal.jsonl")
    points = list(_points([json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]))
    shutil.rmtree(folder)
    return points


def _points(events: list[dict[str, Any]]) -> Iterator[Point]:
    start, began, best = events[0]["time"], {}, float("inf")
    for event in events:
        if event["event"] == "began":
            began[event["number"]] = event["time"]
    for count, event in enumerate((event for event in events if event["event"] == "ended"), start=1):
        if event["state"] == "done":
            best = min(best, event["objective"][0])
        yield Point(count, (began[event["number"]] - start) / 1000 + event["seconds"], best)


def reached(points: list[Point], value: float) -> float | None:
    """Return after how many seconds a search was as good as a value; None if it never was."""
    return next((point.seconds for point in points if point.best <= value), None)


def table(found: Mapping[str, list[list[Point]]]) -> str:
    """Return the figures as Markdown: means over the seeds."""
    finals = [points[-1].best for points in found["random"]]
    lines = [
        "| way | ae_p50 after 20 trials | after 60 | seconds | seconds to random's final value |",
        "|---|---|---|---|---|",
    ]
    for way, runs in found.items():
        early = mean(points[min(20, len(points)) - 1].best for points in runs)
        last = mean(points[-1].best for points in runs)
        seconds = mean(points[-1].seconds for points in runs)
        times = [reached(points, final) for points, final in zip(runs, finals, strict=True)]
        there = [time for time in times if time is not None]
        said = f"{mean(there):.0f} ({len(there)} of {len(times)} seeds)" if there else "never"
        lines.append(f"| {way} | {early:.4f} | {last:.4f} | {seconds:.0f} | {said} |")
    return "\n".join(lines)


def draw(found: Mapping[str, list[list[Point]]], path: Path) -> None:
    """Draw the best value against trials and against seconds: a line a seed, one colour a way."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for (way, runs), colour in zip(found.items(), ("tab:gray", "tab:blue", "tab:orange"), strict=True):
        for number, points in enumerate(runs):
            shown = [point for point in points if point.best < float("inf")]
            label = way if number == 0 else None
            for axis, along in zip(axes, ("trials", "seconds"), strict=True):
                values = [getattr(point, along) for point in shown]
                axis.step(values, [point.best for point in shown], where="post", color=colour, label=label, alpha=0.8)
    lowest = min(points[-1].best for runs in found.values() for points in runs)
    axes[0].set_ylim(lowest * 0.995, lowest * 1.12)
    axes[0].set_ylabel("best validation ae_p50 so far")
    for axis, along in zip(axes, ("trials", "seconds"), strict=True):
        axis.set_xlabel(along)
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run all ways with all seeds, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--plot", type=Path)
    asked = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    found: dict[str, list[list[Point]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        like = prepared(Path(folder) / "like")
        for seed in range(asked.seeds):
            for way, section in WAYS.items():
                points = swept(like, Path(folder) / f"{seed}-{way.replace(' ', '')}", section, seed, asked.trials)
                found[way].append(points)
                print(f"{way}, seed {seed}: {points[-1].best:.4f} in {points[-1].seconds:.0f} s", flush=True)
    print(table(found))
    if asked.plot:
        draw(found, asked.plot)


if __name__ == "__main__":
    main()
