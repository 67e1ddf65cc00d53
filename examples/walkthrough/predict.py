"""Predict the test table that a registered model was scored on, with that model, and compare with its metrics.json.

    python examples/walkthrough/predict.py california@champion   # or california/1

The version of the model names its commit, the commit its test table: nothing has to be named twice.
"""

import json
import subprocess
import sys

import mlflow
import numpy as np

import trialtree

TARGET = "med_house_val"
PERCENTILES = {"ae_p10": 10, "ae_p50": 50, "ae_p90": 90}


def main() -> None:
    """Print rows and percentiles; status 1 if the percentiles are not those of metrics.json."""
    client, asked = mlflow.MlflowClient(), sys.argv[1]
    if "@" in asked:
        version = client.get_model_version_by_alias(*asked.split("@"))
    else:
        version = client.get_model_version(*asked.split("/"))
    commit = version.tags["trialtree.commit"]
    test = trialtree.data_at(commit, "data/split/test").to_pandas()
    predicted = mlflow.pyfunc.load_model(f"models:/{asked}").predict(test.drop(columns=["row", TARGET]))
    errors = np.abs(predicted - test[TARGET])
    scored = json.loads(subprocess.check_output(["git", "show", f"{commit}:reports/metrics.json"]))["test"]
    print(f"{version.name} version {version.version}, {len(test)} test rows of commit {commit[:7]}")
    shown = test.assign(actual=test[TARGET], predicted=predicted)[["row", "actual", "predicted"]]
    print(shown.head().to_string(index=False))
    ours = {key: float(np.percentile(errors, at)) for key, at in PERCENTILES.items()}
    for key, value in ours.items():
        print(f"{key} {value:.4f}, in metrics.json {scored[key]:.4f}")
    if any(abs(value - scored[key]) > 1e-12 for key, value in ours.items()):
        sys.exit("the percentiles differ from those of metrics.json")


if __name__ == "__main__":
    main()
