"""What the iris pipeline costs, in whole processes on one machine, beside its floor and the usual script.

    python benchmarks/repro.py [--runs 5]

(a) DVC's floor: the same dvc.yaml with commands that only put back the outputs.
(b) A script of the usual kind: iris_script.py, with MLflow's autolog, log_model and registration.
Every MLflow store is made before anything is timed, and the variants take turns.
"""

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from ruamel.yaml import YAML

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.conftest import Repo, make_repo

STAGES = ("fetch", "split", "train", "evaluate", "register")
SCRIPT = Path(__file__).with_name("iris_script.py")


def seconds(command: Callable[[], object]) -> float:
    """Return the wall time of a call."""
    start = time.perf_counter()
    command()
    return time.perf_counter() - start


def ours(folder: Path) -> Repo:
    """Return a repository in which the pipeline has run."""
    repo = make_repo(folder / "ours" / "repo", folder / "ours" / "home")
    repo.dvc("repro")
    repo.commit("Run")
    return repo


def floor(folder: Path, model: Repo) -> Repo:
    """Return a copy of it whose stages copy back what they made and do nothing else."""
    shutil.copytree(model.path.parent, folder / "floor", symlinks=True)
    repo = Repo(folder / "floor" / "repo", {**model.env, "HOME": str(folder / "floor" / "home")})
    yaml, path = YAML(), repo.path / "dvc.yaml"
    content = yaml.load(path.read_text(encoding="utf-8"))
    for name, stage in content["stages"].items():
        outs = [
            out if isinstance(out, str) else next(iter(out))
            for key in ("outs", "metrics")
            for out in stage.get(key, [])
        ]
        for out in outs:
            kept = folder / "kept" / out
            kept.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (repo.path / out).is_dir() else shutil.copy
            copy(repo.path / out, kept)
        stage["cmd"] = " && ".join(f"cp -r {folder / 'kept' / out} {out}" for out in outs) or "true"
        if name == "register":
            del stage["always_changed"]
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
    repo.dvc("repro")
    return repo


def script(folder: Path) -> Callable[[], None]:
    """Return a call of the usual script, with a store of its own."""
    home = folder / "script"
    home.mkdir()
    env = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db", "MLFLOW_DISABLE_TELEMETRY": "true"}
    env.pop("PYTHONDONTWRITEBYTECODE", None)

    def run() -> None:
        subprocess.run([sys.executable, str(SCRIPT)], cwd=home, env=env, check=True, capture_output=True)

    return run


def changed(repo: Repo) -> Callable[[], object]:
    """Return a call of the whole pipeline with params that it has never seen: a new run and a new version each time."""
    penalties = (1 + 0.001 * number for number in itertools.count(1))

    def run() -> None:
        repo.params({"train.hyperparameters.C": next(penalties)})
        repo.dvc("repro", "--force")

    return run


def main() -> None:
    """Print the medians, the ratios, and what each stage costs alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        repo, other = ours(folder / "same"), ours(folder / "new")
        lowest = floor(folder, repo)
        plain = script(folder)
        variants: dict[str, Callable[[], object]] = {
            "ours: dvc repro --force": lambda: repo.dvc("repro", "--force"),
            "ours: dvc repro --force, new params each time": changed(other),
            "(a) DVC's floor: dvc repro --force": lambda: lowest.dvc("repro", "--force"),
            "(b) the usual script": plain,
            "ours: dvc repro, nothing changed": lambda: repo.dvc("repro"),
            "(a) DVC's floor: dvc repro, nothing changed": lambda: lowest.dvc("repro"),
            **{f"python -m stages.{name}": lambda name=name: repo.stage(name) for name in STAGES},
            "python -c 'import sklearn.svm'": lambda: repo.run("python", "-c", "import sklearn.svm"),
            "python -c 'import sklearn.svm, skops.io'": lambda: repo.run(
                "python", "-c", "import sklearn.svm, skops.io"
            ),
            "python -c 'import mlflow'": lambda: repo.run("python", "-c", "import mlflow"),
        }
        for command in variants.values():
            command()
        times: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(runs):
            for name, command in variants.items():
                times[name].append(seconds(command))
    middle = {name: median(values) for name, values in times.items()}
    print(f"| median of {runs}, store already made | seconds |\n|---|---|")
    for name, value in middle.items():
        print(f"| {name} | {value:.2f} |")
    whole, new, least, usual, nothing, least_nothing = list(middle.values())[:6]
    print(f"\nours - floor: {whole - least:.2f} s, with new params {new - least:.2f} s; ", end="")
    print(f"ours / script: {whole / usual:.2f}, with new params {new / usual:.2f}; ", end="")
    print(f"nothing changed, ours - floor: {nothing - least_nothing:.2f} s")


if __name__ == "__main__":
    main()
