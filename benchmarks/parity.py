"""Compute the published figures of well-known examples again, through the whole pipeline.

    python benchmarks/parity.py [--write docs/parity.md]

Each case is an example's params.yaml in a repository of its own, run by
`dvc repro evaluate`. tests/test_parity.py runs the quick ones. The tables
are read from the project's shared folder and are not part of it.
"""

import argparse
import csv
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.conftest import PROJECT, SHARED, Repo, make_repo

# BLAS kernels differ in the last digits between processors, and liblinear's early stop makes the fourth digit of
# one figure of them: OpenBLAS takes one kernel everywhere (the one that the published figures were computed with).
KERNEL = {"OPENBLAS_CORETYPE": "Haswell"}
SEEDS = range(5)


@dataclass(frozen=True)
class Case:
    """An example with its published figures; a figure is (value, tolerance), and a tolerance of 0 is exact."""

    name: str
    example: str  # a file under examples/, or params.yaml for the default one
    tables: tuple[str, ...] = ()  # in the shared folder
    changes: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    least: Mapping[str, float] = field(default_factory=dict)
    confusion: list[list[int]] | None = None
    rows: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # part -> rows, files
    quick: bool = False
    files: tuple[str, ...] = ()  # beside the example's params.yaml, that it needs too


def iris() -> Iterator[Case]:
    """The twelve cells of Azure ML's article."""
    for kernel in ("linear", "rbf", "poly", "sigmoid"):
        for c in (0.5, 1.0, 1.5):
            good = kernel != "sigmoid"
            yield Case(
                f"iris, SVC, {kernel}, C = {c}",
                "params.yaml",
                changes={"train.hyperparameters.kernel": kernel, "train.hyperparameters.C": c},
                figures={"test.accuracy": (0.9736842105263158 if good else 0.23684210526315788, 0)},
                confusion=[[13, 0, 0], [0, 15, 1], [0, 0, 9]] if good else [[0, 0, 13], [0, 0, 16], [0, 0, 9]],
                rows={"train": (112, 1), "test": (38, 1)},
                quick=True,
            )


def california() -> Iterator[Case]:
    """The two trials of AWS's walk-through, at both learning rates, for the seed whose figures are published."""
    rows = {
        "single": {"train": (16512, 1), "validation": (3302, 1), "test": (826, 1)},
        "multi": {"train": (18576, 5), "validation": (1857, 3), "test": (207, 1)},
    }
    published = {
        ("single", 1): (0.2203, 0.8116),
        ("single", 0.1): (0.1831, 0.8483),
        ("multi", 1): (0.2176, 0.8338),
        ("multi", 0.1): (0.1758, 0.8748),
    }
    for (trial, rate), (median, r2) in published.items():
        yield Case(
            f"California {trial}, learning rate {rate}, seed 0",
            f"examples/california-{trial}/params.yaml",
            ("california_housing/cal_housing.data",),
            {"train.hyperparameters.learning_rate": rate},
            {"validation.ae_p50": (median, 5e-5), "test.r2": (r2, 5e-5)},
            rows=rows[trial],
            quick=(trial, rate) == ("single", 0.1),
        )


# Means over five seeds with their published spread: (trial, hyperparameters) -> AE 50th (sd), R2 (sd).
SPREADS: dict[tuple[str, str], tuple[float, float, float, float]] = {
    ("single", "1"): (0.224, 0.004, 0.807, 0.013),
    ("single", "0.1"): (0.182, 0.005, 0.850, 0.005),
    ("single", "CatBoost's own"): (0.185, 0.004, 0.851, 0.008),
    ("multi", "1"): (0.217, 0.004, 0.815, 0.041),
    ("multi", "0.1"): (0.174, 0.002, 0.858, 0.032),
}


def courses() -> Iterator[Case]:
    """The labs of the DP-100 course."""
    yield Case(
        "wine cultivar",
        "examples/wine-cultivar/params.yaml",
        ("wine_cultivar/wine.csv",),
        figures={
            "test.accuracy": (0.9814814814814815, 0),
            "test.precision_macro": (0.9855072463768115, 0),
            "test.recall_macro": (0.9743589743589745, 0),
            "test.roc_auc": (1.0, 0),
        },
        quick=True,
    )
    yield Case(
        "diabetes",
        "examples/diabetes-dp100/params.yaml",
        ("diabetes_dp100/diabetes.csv",),
        figures={"test.accuracy": (0.7740, 0), "test.roc_auc": (0.848444, 5e-7)},
        confusion=[[1739, 251], [427, 583]],
        quick=True,
    )
    plain = {"train.features": ...}
    yield Case(
        "bike rentals, linear",
        "examples/bike-rentals/params.yaml",
        ("bike_share/daily-bike-share.csv",),
        plain,
        {"test.rmse": (449.4136, 5e-5), "test.r2": (0.604045, 5e-7)},
        quick=True,
    )
    yield Case(
        "bike rentals, scaled and one-hot",
        "examples/bike-rentals/params.yaml",
        ("bike_share/daily-bike-share.csv",),
        figures={"test.rmse": (417.325, 5e-4), "test.r2": (0.658571, 5e-7)},
        quick=True,
    )
    for rate, trees, figure in ((0.1, 100, ("test.roc_auc", 0.98858)), (1.0, 100, ("test.accuracy", 0.94956))):
        yield Case(
            f"diabetes, both files, boosting, learning rate {rate}, {trees} trees",
            "examples/diabetes-dp100/params.yaml",
            ("diabetes_dp100/diabetes.csv", "diabetes_dp100/diabetes2.csv"),
            {
                "train.estimator": "sklearn.ensemble.GradientBoostingClassifier",
                "train.hyperparameters": {"learning_rate": rate, "n_estimators": trees},
                "evaluate.cross_validation": ...,
            },
            {figure[0]: (figure[1], 5e-6)},
        )


def of_scripts() -> Iterator[Case]:
    """Training scripts in the manner of Azure's article and of SageMaker's script mode, unmodified."""
    yield Case(
        "iris, Azure-like script",
        "examples/azure-iris/params.yaml",
        files=("dvc.yaml", "train_iris.py"),
        figures={"script.Accuracy": (0.9736842105263158, 0), "test.accuracy": (0.9736842105263158, 0)},
        confusion=[[13, 0, 0], [0, 15, 1], [0, 0, 9]],
        quick=True,
    )
    yield Case(
        "California single, script in SageMaker's manner, learning rate 0.1, seed 0",
        "examples/sagemaker-script/params.yaml",
        ("california_housing/cal_housing.data",),
        files=("dvc.yaml", "train_california.py"),
        figures={"script.median-AE": (0.1831, 5e-5), "validation.ae_p50": (0.1831, 5e-5), "test.r2": (0.8483, 5e-5)},
        quick=True,
    )


def cases() -> list[Case]:
    """Every case."""
    return [*iris(), *california(), *courses(), *raw(), *of_scripts()]


def run(case: Case, repo: Repo) -> dict[str, Any]:
    """Run a case in a fresh repository, and return its metrics, confusion matrix and sizes; see `outcome`."""
    prepare(case, repo)
    repo.dvc("repro", "evaluate", **KERNEL)
    return outcome(repo)


def raw() -> Iterator[Case]:
    """Raw files by params alone, which need only come as near as plain scripts do: `least`."""
    adult, messy = ("adult/adult.data", "adult/adult-test.csv"), ("california_housing_messy/housing.csv",)
    for example, tables, metric, least in (
        ("adult/params.yaml", adult, "test.roc_auc", 0.905),
        ("adult/catboost.yaml", adult, "test.roc_auc", 0.925),
        ("california-messy/params.yaml", messy, "test.r2", 0.63),
        ("california-messy/catboost.yaml", messy, "test.r2", 0.84),
    ):
        name = example.replace("/params.yaml", ", linear").replace("/catboost.yaml", ", CatBoost")
        yield Case(name, f"examples/{example}", tables, least={metric: least}, quick=True)


def prepare(case: Case, repo: Repo) -> None:
    """Make a repository the case's."""
    (repo.path / "params.yaml").write_text((PROJECT / case.example).read_text(encoding="utf-8"), encoding="utf-8")
    for name in case.files:
        (repo.path / name).write_bytes((PROJECT / case.example).with_name(name).read_bytes())
    if case.tables:
        repo.run("trialtree", "data", "add", *(str(SHARED / table) for table in case.tables))
    repo.params(case.changes)


def outcome(repo: Repo) -> dict[str, Any]:
    """Return what a run has left: metrics, confusion matrix, rows and files of each part."""
    import pyarrow.parquet as pq

    parts = json.loads((repo.path / "reports/metrics.json").read_text(encoding="utf-8"))
    parts |= json.loads((repo.path / "reports/script.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = {
        f"{part}.{name}": value for part, metrics in parts.items() for name, value in metrics.items()
    }
    predictions = pq.read_table(repo.path / "reports/predictions.parquet", columns=["actual", "predicted"]).to_pydict()
    pairs = Counter(zip(predictions["actual"], predictions["predicted"], strict=True))
    labels = sorted({label for pair in pairs for label in pair})
    if len(labels) <= 10:
        found["confusion"] = [[pairs[actual, predicted] for predicted in labels] for actual in labels]
    for part in ("train", "validation", "test"):
        files = sorted((repo.path / "data/split" / part).glob("part-*.parquet"))
        if files:
            found[f"rows.{part}"] = (sum(pq.read_metadata(file).num_rows for file in files), len(files))
    return found


def compared(case: Case, found: Mapping[str, Any]) -> Iterator[tuple[str, str, str, bool]]:
    """Yield each figure's name, the published value, ours, and whether they agree."""
    for name, (value, tolerance) in case.figures.items():
        ours = found[name]
        yield name, repr(value), f"{ours!r}", ours == value if tolerance == 0 else abs(ours - value) <= tolerance
    for name, bound in case.least.items():
        yield name, f"at least {bound}", f"{found[name]:.4f}", found[name] >= bound
    if case.confusion is not None:
        yield "confusion matrix", str(case.confusion), str(found["confusion"]), found["confusion"] == case.confusion
    for part, expected in case.rows.items():
        ours = found.get(f"rows.{part}")
        yield f"{part}: rows, files", str(expected), str(ours), ours == expected


def spread(trial: str, rate: str, folder: Path) -> Iterator[tuple[str, str, str, str, bool]]:
    """Yield the means over five seeds against their published mean and spread."""
    median, median_sd, r2, r2_sd = SPREADS[trial, rate]
    own = {"train.hyperparameters.learning_rate": ..., "train.hyperparameters.depth": ...}
    changes = own if rate == "CatBoost's own" else {"train.hyperparameters.learning_rate": float(rate)}
    example = f"examples/california-{trial}/params.yaml"
    case = Case("", example, ("california_housing/cal_housing.data",), changes)
    repo = make_repo(folder / "repo", folder / "home")
    prepare(case, repo)
    runs = []
    for seed in SEEDS:
        repo.params({"split.seed": seed})
        repo.dvc("repro", "evaluate", **KERNEL)
        runs.append(outcome(repo))
    name = f"California {trial}, learning rate {rate}, seeds 0 to 4, mean"
    for key, value, sd in (("validation.ae_p50", median, median_sd), ("test.r2", r2, r2_sd)):
        ours = mean(run[key] for run in runs)
        yield name, key, f"{value} (sd {sd})", f"{ours:.4f}", abs(ours - value) <= sd


def all_rows(folder: Path) -> Iterator[tuple[str, str, str, str, bool]]:
    """Yield every figure: case, name, published, ours, whether they agree."""
    for number, case in enumerate(cases()):
        repo = make_repo(folder / str(number) / "repo", folder / str(number) / "home")
        for row in compared(case, run(case, repo)):
            yield case.name, *row
    for trial, rate in SPREADS:
        yield from spread(trial, rate, folder / f"{trial}-{rate}".replace(" ", "-"))


PAGE = """# Parity

Figures that others have published, or that plain scikit-learn and CatBoost scripts give, computed again through the
whole pipeline (`make parity`, which writes this page). "Published" with all its digits means equal to the last one.
Computed with `OPENBLAS_CORETYPE=Haswell`: liblinear stops before it has converged on the unscaled diabetes table, so
that figure's fourth digit depends on the processor's BLAS kernel; no other figure here does.

| case | figure | published | here | |
|---|---|---|---|---|
"""


def main() -> None:
    """Print every figure as it comes, write the page, and fail where one differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="the page to write")
    args = parser.parse_args()
    if not SHARED.exists():
        sys.exit(f"the tables are not on this machine: {SHARED} is absent")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for row in all_rows(Path(folder)):
            rows.append(row)
            writer = csv.writer(sys.stdout, delimiter="\t", lineterminator=os.linesep)
            writer.writerow([*row[:-1], "equal" if row[-1] else "DIFFERS"])
            sys.stdout.flush()
    if args.write:
        lines = [f"| {' | '.join(row[:-1])} | {'yes' if row[-1] else '**no**'} |" for row in rows]
        args.write.write_text(PAGE + "\n".join(lines) + "\n", encoding="utf-8")
    sys.exit(0 if all(row[-1] for row in rows) else 1)


if __name__ == "__main__":
    main()
