"""What early termination saves, and whether it keeps the best trial, on curves of CatBoost that were recorded once.

    python benchmarks/stopping.py [--data ../shared/data] [--seeds 6] [--orders 4] [--curves FILE]

A set is one table, dealt out by one seed, and 50 trials drawn at random: their whole curves of the validation part's
loss, recorded on one thread. A sweep is a set in an order of its trials, played again with 4 workers at once and an
iteration of each running trial in turn, with one policy after the other. Saved are iterations that were not run; the
best trial was kept if the one whose best iteration is the best of all was not stopped.
"""

import argparse
import heapq
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from stages.files import write_json
from trialtree.sweep import stopping
from trialtree.sweep.stopping import Rule
from trialtree.sweep.stopping.asha import Asha
from trialtree.sweep.stopping.bandit import Bandit
from trialtree.sweep.stopping.hyperband import Hyperband
from trialtree.sweep.stopping.median_stopping import MedianStopping
from trialtree.sweep.stopping.truncation_selection import TruncationSelection

ROOT = Path(__file__).resolve().parent.parent
TRIALS, ITERATIONS, WORKERS = 50, 100, 4
ROWS = 3000  # of a table at most
VALIDATION = 0.3  # share of the rows

Curves = list[list[float]]  # of each trial of a set, by iteration


@dataclass(frozen=True)
class Table:
    """A table to fit."""

    file: str  # below the folder of the data, or `sklearn:NAME`
    target: str
    classes: bool
    header: bool = True
    drop: tuple[str, ...] = ()


TABLES = {
    "california": Table("california_housing/cal_housing_with_header.csv", "median_house_value", classes=False),
    "california, messy": Table("california_housing_messy/housing.csv", "median_house_value", classes=False),
    "bike rentals": Table("bike_share/daily-bike-share.csv", "rentals", classes=False, drop=("dteday", "instant")),
    "adult": Table("adult/adult.data", "column14", classes=True, header=False),
    "diabetes (course)": Table("diabetes_dp100/diabetes.csv", "Diabetic", classes=True, drop=("PatientID",)),
    "wine cultivars": Table("wine_cultivar/wine.csv", "WineVariety", classes=True),
    "diabetes (progress)": Table("sklearn:diabetes", "target", classes=False),
    "breast cancer": Table("sklearn:breast_cancer", "target", classes=True),
}


def read(table: Table, data: Path) -> Any:
    """Return a table as a frame: texts as categories, at most `ROWS` rows, always the same."""
    import duckdb
    import sklearn.datasets

    if table.file.startswith("sklearn:"):
        load = getattr(sklearn.datasets, f"load_{table.file.partition(':')[2]}")
        frame = load(as_frame=True).frame
    else:
        frame = duckdb.read_csv(str(data / table.file), header=table.header).df()
    frame = frame.drop(columns=list(table.drop)).dropna(subset=[table.target])
    frame = frame.sample(n=min(ROWS, len(frame)), random_state=0)
    texts = frame.drop(columns=table.target).select_dtypes(exclude="number").columns
    frame[texts] = frame[texts].astype(str)
    return frame


def drawn(seed: int) -> Iterator[dict[str, Any]]:
    """Yield the hyperparameters of the trials of a set."""
    draw = Random(seed)
    for _ in range(TRIALS):
        yield {
            "learning_rate": 10 ** draw.uniform(-2.3, -0.3),
            "depth": draw.randint(2, 8),
            "l2_leaf_reg": 10 ** draw.uniform(-1, 1.5),
            "random_strength": 10 ** draw.uniform(-1, 1),
            "subsample": draw.uniform(0.4, 1),
            "rsm": draw.uniform(0.4, 1),
        }


def record(table: Table, frame: Any, seed: int) -> Curves:
    """Return the curves of a set."""
    from catboost import CatBoostClassifier, CatBoostRegressor, Pool

    order = list(range(len(frame)))
    Random(seed).shuffle(order)
    held = round(len(order) * VALIDATION)
    features, target = frame.drop(columns=table.target), frame[table.target]
    texts = list(features.select_dtypes(exclude="number").columns)
    parts = [Pool(features.iloc[some], target.iloc[some], texts) for some in (order[held:], order[:held])]
    cls = CatBoostClassifier if table.classes else CatBoostRegressor
    curves = []
    for settings in drawn(seed):
        model = cls(
            iterations=ITERATIONS, thread_count=1, random_seed=seed, verbose=0, allow_writing_files=False,
            bootstrap_type="Bernoulli", border_count=32, **settings,
        )  # fmt: skip
        model.fit(parts[0], eval_set=parts[1], use_best_model=False)
        (values,) = model.get_evals_result()["validation"].values()
        curves.append([round(value, 9) for value in values])
    return curves


def recorded(file: Path, data: Path, seeds: int) -> dict[str, Curves]:
    """Return the curves of all sets, those of the file as they are; what is new is added to it."""
    known: dict[str, Curves] = json.loads(file.read_text()) if file.exists() else {}
    for name, table in TABLES.items():
        missing = [seed for seed in range(seeds) if f"{name} {seed}" not in known]
        frame = read(table, data) if missing else None
        for seed in missing:
            print(f"recording {name}, seed {seed}", file=sys.stderr)
            known[f"{name} {seed}"] = record(table, frame, seed)
            write_json(file, known)
    return {name: curves for name, curves in known.items() if int(name.split()[-1]) < seeds}


@dataclass(frozen=True)
class Outcome:
    """What came of a set with a policy."""

    saved: float  # share of the iterations
    kept: bool  # the best trial ran to its end
    lost: float  # how much worse the best that was found is, as a share of what the best is better than the median


def played(curves: Curves, rule: Rule) -> Outcome:
    """Return what comes of a set: each worker takes the next trial when its own has ended, and all go on in step."""
    policy = stopping.make(rule, "minimize", ITERATIONS)
    assert policy is not None
    waiting = iter(range(len(curves)))
    running = [(1, number, 1) for number in (next(waiting) for _ in range(WORKERS))]  # time, trial, report
    heapq.heapify(running)
    ran, stopped = 0, set()
    while running:
        time, number, t = heapq.heappop(running)
        ran += 1
        policy.report(number, t, curves[number][t - 1])
        if policy.decide(number) is not None:
            stopped.add(number)
        if number not in stopped and t < len(curves[number]):
            heapq.heappush(running, (time + 1, number, t + 1))
        elif (following := next(waiting, None)) is not None:
            heapq.heappush(running, (time + 1, following, 1))
    best = [min(curve) for curve in curves]
    found = min(value for number, value in enumerate(best) if number not in stopped)
    whole = sum(map(len, curves))
    return Outcome(1 - ran / whole, found == min(best), (found - min(best)) / (median(best) - min(best)))


POLICIES: dict[str, Rule] = {
    "median_stopping": MedianStopping(),
    "median_stopping, from report 5 on": MedianStopping(delay_evaluation=5),
    "median_stopping, from report 10 on": MedianStopping(delay_evaluation=10),
    "median_stopping, every 10": MedianStopping(evaluation_interval=10),
    "truncation_selection 20 %": TruncationSelection(truncation_percentage=20),
    "truncation_selection 20 %, every 10": TruncationSelection(truncation_percentage=20, evaluation_interval=10),
    "bandit, slack_factor 0.1": Bandit(slack_factor=0.1),
    "bandit, slack_factor 0.1, from report 10 on": Bandit(slack_factor=0.1, delay_evaluation=10),
    "asha (2, 3)": Asha(min_resource=2, reduction_factor=3),
    "asha (10, 3)": Asha(min_resource=10, reduction_factor=3),
    "asha (4, 4)": Asha(min_resource=4, reduction_factor=4),
    "hyperband (2, 3)": Hyperband(min_resource=2, reduction_factor=3),
    "hyperband (10, 3)": Hyperband(min_resource=10, reduction_factor=3),
}


def orders(curves: Curves, count: int) -> Iterator[Curves]:
    """Yield a set in the order in which it was drawn, then in others."""
    for seed in range(count):
        order = list(curves)
        if seed:
            Random(seed).shuffle(order)
        yield order


def rows(sweeps: Sequence[Curves]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield "| policy | iterations saved | best trial kept | best that was found is worse by |"
    yield "|---|---|---|---|"
    for name, rule in POLICIES.items():
        of = [played(curves, rule) for curves in sweeps]
        saved, kept, lost = (fmean(getattr(each, value) for each in of) for value in ("saved", "kept", "lost"))
        yield f"| {name} | {saved:.1%} | {kept:.1%} | {lost:.2%} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--orders", type=int, default=4)
    parser.add_argument("--curves", type=Path, default=Path(tempfile.gettempdir()) / "trialtree-curves.json")
    args = parser.parse_args()
    sets = recorded(args.curves, args.data, args.seeds)
    sweeps = [order for curves in sets.values() for order in orders(curves, args.orders)]
    print(
        f"{len(sweeps)} sweeps of {TRIALS} trials of {ITERATIONS} iterations: {len(sets)} sets in {args.orders} orders"
    )
    print("\n".join(rows(sweeps)))


if __name__ == "__main__":
    main()
