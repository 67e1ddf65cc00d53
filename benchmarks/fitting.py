"""What train and evaluate take of large tables, in whole processes, beside pandas with the same estimators.

    python benchmarks/fitting.py [--rows 1000000 5000000 10000000] [--runs 3]

The table has the shape of the California housing table: eight numbers and the target, as five train files and one
test file of a quarter of the rows, made with DuckDB in a temporary folder that is deleted at the end. Ours is run with
memory for the matrix, and with so little that the matrix is in a file or the rows are learned in batches. The peak is
of the process's own memory (RssAnon), asked for every 20 ms: pages of a mapped file are the system's to drop.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from stages import databases, tables
from stages.tables import Column

ROOT = Path(__file__).resolve().parent.parent

FEATURES = ("med_inc", "house_age", "ave_rooms", "ave_bedrms", "population", "ave_occup", "latitude", "longitude")
TARGET = "med_house_val"
DRAWN = """
    SELECT (range * 7919 + {start}) % {all} AS row, 0.5 + 14 * random() AS med_inc,
        floor(1 + 51 * random()) AS house_age, 1 + 10 * random() AS ave_rooms, 0.5 + 2 * random() AS ave_bedrms,
        floor(3 + 3000 * random()) AS population, 1 + 5 * random() AS ave_occup,
        32 + 10 * random() AS latitude, -124 + 10 * random() AS longitude
    FROM range({rows})
"""
VALUE = "0.4 * med_inc + 0.01 * house_age - 0.1 * latitude + sin(longitude) + 5 + 0.3 * random()"
ESTIMATORS: dict[str, dict[str, Any]] = {
    "CatBoost, 50 iterations": {"estimator": "catboost.CatBoostRegressor", "hyperparameters": {"iterations": 50}},
    "HistGradientBoosting, 20 iterations": {
        "estimator": "sklearn.ensemble.HistGradientBoostingRegressor",
        "hyperparameters": {"max_iter": 20, "early_stopping": False},
    },
    "SGDRegressor": {
        "estimator": "sklearn.linear_model.SGDRegressor",
        "features": {"number": {"scale": "standard"}},
    },
}
# Bytes a row, beside 350 MB, that leave no room for the matrix.
TIGHT = {"CatBoost, 50 iterations": 210, "HistGradientBoosting, 20 iterations": 165, "SGDRegressor": 0}

STOCK = """
import glob, importlib, json, sys
import numpy as np, pandas as pd
what, section = sys.argv[1], json.loads(sys.argv[2])
module, _, name = section["estimator"].rpartition(".")
part = "train" if what == "train" else "test"
frame = pd.concat([pd.read_parquet(path) for path in sorted(glob.glob(f"data/split/{part}/*.parquet"))])
X, y = frame[json.loads(sys.argv[3])], frame["med_house_val"]
if what == "train":
    settings = section.get("hyperparameters", {})
    if module == "catboost":
        settings |= {"verbose": 0, "allow_writing_files": False}
    model = getattr(importlib.import_module(module), name)(**settings)
    if "features" in section:
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        model = make_pipeline(StandardScaler(), model)
    model.fit(X, y)
    import joblib
    joblib.dump(model, "stock.joblib")
else:
    import joblib
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
    predicted = joblib.load("stock.joblib").predict(X)
    print(root_mean_squared_error(y, predicted), mean_absolute_error(y, predicted), r2_score(y, predicted),
          np.percentile(np.abs(y - predicted), [10, 50, 90]))
    pd.DataFrame({"row": frame["row"], "actual": y, "predicted": predicted}).to_parquet("stock.parquet")
"""


def make(folder: Path, rows: int) -> None:
    """Write train and test parts of a drawn table, and its columns."""
    with databases.connection() as database:
        database.execute("SET threads = 1")
        database.execute("SELECT setseed(0.5)")
        start = 0
        for part, files, each in (("train", 5, rows // 5), ("test", 1, rows // 4)):
            place = folder / "data/split" / part
            place.mkdir(parents=True)
            for number in range(files):
                drawn = DRAWN.format(start=start, all=rows * 2 + 1, rows=each)
                database.execute(
                    f"COPY (SELECT row, {', '.join(FEATURES)}, {VALUE} AS {TARGET} FROM ({drawn})) "
                    f"TO '{place}/part-{number:03}.parquet' (FORMAT parquet, COMPRESSION zstd)"
                )
                start += each
    columns = [Column("row", "integer", "row"), *(Column(name, "number") for name in FEATURES)]
    tables.write_columns(folder / "data/split/columns.json", [*columns, Column(TARGET, "number", "target")])


def measured(command: Sequence[str], folder: Path) -> tuple[float, float]:
    """Return the seconds of a process and its own memory at its peak in MB.

    Raises:
        RuntimeError: it failed.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {"PYTHONPATH": str(ROOT)}
    start, peak = time.perf_counter(), 0
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        while process.poll() is None:
            status = Path(f"/proc/{process.pid}/status")
            lines = status.read_text().splitlines() if status.exists() else []
            peak = max([peak, *(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))])
            time.sleep(0.02)
    if process.returncode:
        raise RuntimeError(f"{command[1:3]}: {(folder / 'output').read_text()}")
    return time.perf_counter() - start, peak / 1000


def ways(name: str, rows: int) -> dict[str, dict[str, Any]]:
    """Return the train sections of an estimator that are measured."""
    section = ESTIMATORS[name]
    tight = f"{350 + TIGHT[name] * rows // 10**6}MB"
    label = "ours, in batches" if name == "SGDRegressor" else "ours, matrix in a file"
    return {"ours": section | {"memory": "100GB"}, label: section | {"memory": tight}, "pandas": section}


def once(folder: Path, rows: int) -> dict[tuple[str, str, str], tuple[float, float]]:
    """Return seconds and peak of each estimator, way and step, run once."""
    found = {}
    for name in ESTIMATORS:
        for way, section in ways(name, rows).items():
            sections = {"experiment": "b", "fetch": {}, "split": {}, "evaluate": {}, "register": {}}
            (folder / "params.yaml").write_text(json.dumps(sections | {"train": section}))
            for step in ("train", "evaluate"):
                if way == "pandas":
                    arguments = [step, json.dumps(section), json.dumps(FEATURES)]
                    command = [sys.executable, "-c", STOCK, *arguments]
                else:
                    command = [sys.executable, "-m", f"stages.{step}"]
                found[name, way, step] = measured(command, folder)
                print(f"{rows:>10,} {name}, {way}, {step}: {found[name, way, step]}", file=sys.stderr, flush=True)
    return found


def table(rows: int, runs: Sequence[dict[tuple[str, str, str], tuple[float, float]]]) -> list[str]:
    """Return the medians as lines of a Markdown table."""
    lines = []
    for name, way in dict.fromkeys((name, way) for name, way, _ in runs[0]):
        cells = [f"{rows:,}", name, way]
        for step in ("train", "evaluate"):
            seconds, peaks = zip(*(run[name, way, step] for run in runs), strict=True)
            cells += [f"{median(seconds):.1f}", f"{median(peaks):,.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 5_000_000, 10_000_000])
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    lines = [
        "| train rows | estimator | way | train, s | train, MB | evaluate, s | evaluate, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for rows in given.rows:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), rows)
            lines += table(rows, [once(Path(folder), rows) for _ in range(given.runs)])
    print("\n".join(lines))


if __name__ == "__main__":
    main()
