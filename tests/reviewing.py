"""A repository with pull requests to review: a bank's table, and branches that change params, data, code or leak."""

import csv
import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.conftest import Repo, isolated, make_repo

COLUMNS = ("age", "income", "city", "default")
CITIES = ("Aix", "Bonn", "Cádiz")


def rows(count: int = 600, seed: int = 0, extra: Callable[[Any, Any], Any] | None = None) -> list[list[Any]]:
    """Return the table: a default is the likelier the lower the income; gaps in age."""
    draw = np.random.default_rng(seed)
    found = []
    for number in range(count):
        age, income = int(draw.integers(18, 90)), round(float(draw.lognormal(8, 0.5)), 2)
        city = CITIES[int(draw.integers(3))]
        default = "yes" if draw.random() < 1 / (1 + np.exp((income - 2500) / 500)) else "no"
        line = ["" if number % 37 == 5 else age, income, city, default]
        found.append([*line[:3], *([extra(number, default)] if extra else []), default])
    return found


def write(repo: Repo, lines: Sequence[Sequence[Any]], columns: Sequence[str] = COLUMNS) -> None:
    """Write the table and put it under DVC."""
    target = io.StringIO()
    csv.writer(target, lineterminator="\n").writerows([columns, *lines])
    there = repo.path / "data/source/bank.csv"
    if there.exists():
        there.unlink()  # a link into the cache
        there.write_text(target.getvalue(), encoding="utf-8")
        repo.dvc("add", "-q", str(there))
        return
    path = repo.path.parent / "bank.csv"
    path.write_text(target.getvalue(), encoding="utf-8")
    repo.run("trialtree", "data", "add", str(path))


def made(folder: Path, section: Mapping[str, Any] | None = None) -> Repo:
    """Make the repository, with a trial on main."""
    repo = make_repo(folder / "repo", folder / "home")
    repo.params({
        "experiment": "bank", "split.target": "default", "split.by": "stratified", "sweep": ...,
        "train": {"estimator": "sklearn.linear_model.LogisticRegression", "hyperparameters": {"C": 1.0}},
        "evaluate": {"positive": "yes", "cross_validation": {"folds": 3}},
        "register": {"name": "bank", "gates": {"roc_auc": {"min": 0.6}}},
        "review": dict(section or {"metric": "roc_auc"}),
    })  # fmt: skip
    write(repo, rows())
    return trial(repo, "Start")


def trial(repo: Repo, message: str) -> Repo:
    """Run the pipeline, and commit."""
    repo.dvc("repro", "-q", "evaluate")
    repo.commit(message)
    return repo


def copied(repo: Repo, folder: Path) -> Repo:
    """Return a copy of a repository and its home, to change."""
    shutil.copytree(repo.path.parent, folder, dirs_exist_ok=True, symlinks=True)
    return Repo(folder / "repo", isolated(folder / "home"))


def branch(repo: Repo, name: str, params: Mapping[str, Any] | None = None) -> Repo:
    """Begin a branch at main, with other params."""
    repo.git("switch", "-q", "-c", name, "main")
    repo.dvc("checkout", "-q")
    repo.params(params or {})
    return repo


def report(repo: Repo, *args: str, check: bool = True) -> str:
    """Return what `trialtree report` prints."""
    return repo.run("trialtree", "report", *args, check=check).stdout
