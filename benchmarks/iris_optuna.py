"""What people write without lineage: a study of Optuna, each trial a nested run of MLflow; a yardstick of sweep.py.

    python benchmarks/iris_optuna.py --trials 12 [--grid]

The split and the folds are the repository's own, so the fits are those of the
pipeline; MLflow's store is that of MLFLOW_TRACKING_URI.
"""

import argparse

import mlflow
import numpy as np
import optuna
import pyarrow as pa
import pyarrow.dataset as ds
from sklearn.metrics import accuracy_score
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

from stages import folding, tables

parser = argparse.ArgumentParser()
parser.add_argument("--trials", type=int, default=12)
parser.add_argument("--grid", action="store_true")  # Azure's 12 cells; else C at random from exp(-3) to exp(3)
args = parser.parse_args()

KERNELS = ["linear", "rbf", "poly", "sigmoid"]
PENALTIES = [0.5, 1.0, 1.5]


columns = tables.read_columns()


def load(part: str) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    """Return a part of the split, its features (rows, 4) and its labels (rows,)."""
    table = ds.dataset(f"data/split/{part}").to_table()
    X = np.column_stack([table[name].to_numpy() for name in columns.features.names])
    return table, X, np.array(table[columns.target.name].to_pylist())


train, X, y = load("train")
_, X_test, y_test = load("test")
folds = [(fold.train, fold.test) for fold in folding.folds(columns, train, y, 5, seed=0)]


def objective(trial: optuna.Trial) -> float:
    """Fit and score one trial."""
    kernel = trial.suggest_categorical("kernel", KERNELS)
    penalty = (
        trial.suggest_categorical("C", PENALTIES)
        if args.grid
        else trial.suggest_float("C", np.exp(-3), np.exp(3), log=True)
    )
    with mlflow.start_run(nested=True, run_name=f"trial-{trial.number}"):
        mlflow.log_params(trial.params)
        scores = cross_val_score(SVC(kernel=kernel, C=penalty), X, y, cv=folds)
        model = SVC(kernel=kernel, C=penalty).fit(X, y)
        found = {
            "cv.accuracy": scores.mean(),
            "cv.accuracy_std": scores.std(),
            "test.accuracy": accuracy_score(y_test, model.predict(X_test)),
        }
        mlflow.log_metrics(found)
    return float(found["cv.accuracy"])


optuna.logging.set_verbosity(optuna.logging.WARNING)
sampler = (
    optuna.samplers.GridSampler({"kernel": KERNELS, "C": PENALTIES})
    if args.grid
    else optuna.samplers.RandomSampler(seed=0)
)
mlflow.set_experiment("iris-optuna")
with mlflow.start_run(run_name="sweep"):
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=args.trials)
    mlflow.log_params({f"best.{name}": value for name, value in study.best_params.items()})
    mlflow.log_metric("cv.accuracy", study.best_value)
print(f"best: {study.best_value:.6f}", study.best_params)
