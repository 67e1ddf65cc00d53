"""Whether a table fits into memory with its estimator, and how it is fitted where it does not.

An estimate, in bytes a row, is held against train.memory. How a matrix is
held (in memory, or in a file that the system maps) never changes a model;
fitting in batches does, so the output says which way was taken.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stages.params import PATH
from stages.recipes import Recipe, TrainError, size_in_bytes

Array = np.ndarray[Any, Any]
Way = Literal["memory", "file", "batches"]
Family = Literal["catboost", "trees", "histogram", "batches", "whole"]

SHARE = 0.6  # of the machine's memory, where train.memory is not given
_FOLDER = Path("models")  # where the file of a matrix is, on the disk that holds the model
STREAMED = 2**20  # cells of a table, from which it is read in batches and preprocessed column by column
_BASE = 300_000_000  # what Python and its libraries take, with the rows being read, in bytes

# These turn what they are given into float32 before they look at it, in fit and in predict: a matrix of float32 gives
# the same model. Histogram boosting takes float64, and linear models, neighbours and networks calculate in what they
# are given: for them float64 stays.
_TREES = tuple(
    f"sklearn.{name}{kind}"
    for name in (
        "ensemble.RandomForest", "ensemble.ExtraTrees", "ensemble.GradientBoosting", "tree.DecisionTree",
        "tree.ExtraTree",
    )
    for kind in ("Classifier", "Regressor")
)  # fmt: skip
_HISTOGRAM = tuple(f"sklearn.ensemble.HistGradientBoosting{kind}" for kind in ("Classifier", "Regressor"))


@dataclass(frozen=True)
class Plan:
    """How a table is held and fitted."""

    way: Way
    streamed: bool  # read in batches, preprocessed column by column
    dtype: Any  # of the matrix
    order: Literal["C", "F"] = "C"
    note: str | None = None  # for the person who runs it


def family(recipe: Recipe, cls: type) -> Family:
    """Return how an estimator takes its rows."""
    if recipe.catboost:
        return "catboost"
    if recipe.resample in ("smote", "over", "under") or recipe.calibrate or recipe.accelerate:
        return "whole"  # these copy rows
    if recipe.estimator in _TREES:
        return "trees"
    if recipe.estimator in _HISTOGRAM:
        return "histogram"
    return "batches" if hasattr(cls, "partial_fit") else "whole"


@dataclass(frozen=True)
class Size:
    """How large a table is."""

    rows: int
    columns: int
    width: int  # columns that the preprocessing makes of them
    labels: int  # 0 for numbers


def plan(recipe: Recipe, cls: type, size: Size, whole: str | None) -> Plan:
    """Return how to fit a table; `whole` is the key of a preprocessing that takes all rows at once, if there is one.

    Raises:
        TrainError: they do not fit, and there is no other way; the message says what can be done.
    """
    kind = family(recipe, cls)
    most = limit(recipe)
    matrix, working = _estimate(kind, size)
    streamed = size.rows * size.columns >= STREAMED and whole is None
    dtype: Any = np.float32 if kind in ("catboost", "trees") and whole is None else np.float64
    order: Literal["C", "F"] = "F" if kind == "catboost" else "C"
    key = whole or _copying(recipe)
    if key:
        matrix, working = size.rows * size.width * 8, max(working, size.rows * size.width * 24)
    needed = _BASE + matrix + working
    if needed <= most and recipe.epochs is None:
        return Plan("memory", streamed, dtype, order)
    about = f"{size.rows:,} rows x {size.width} columns take about {shown(needed)}, and train.memory is {shown(most)}"
    if key is None and kind in ("catboost", "trees", "histogram") and needed - matrix <= most:
        if recipe.epochs is not None:
            raise TrainError(f"{PATH}: train.epochs: {recipe.estimator} does not learn in batches; leave it out")
        return Plan("file", True, dtype, order, f"{about}: the matrix is in a file")
    if kind == "batches" and key is None:
        fits = needed <= most
        return Plan("batches", True, dtype, order, None if fits else f"{about}: learned in batches")
    if recipe.epochs is not None and needed <= most:
        raise TrainError(f"{PATH}: train.epochs: is for estimators with partial_fit, and without {key or 'copies'}")
    raise TrainError(_too_large(recipe, about, key, needed - (matrix if kind != "whole" else 0)))


def _copying(recipe: Recipe) -> str | None:
    """Return the key that makes copies of the rows, if there is one."""
    if recipe.resample in ("smote", "over", "under"):
        return f"train.resample: {recipe.resample}"
    return "train.calibrate" if recipe.calibrate else "train.accelerate" if recipe.accelerate else None


def _estimate(kind: Family, size: Size) -> tuple[int, int]:
    """Return the bytes of the matrix, and what the estimator takes beside it, as measured (docs/benchmarks.md)."""
    rows, width = size.rows, size.width
    values = 1 if size.labels <= 2 else size.labels  # predicted for each row
    beside = {
        "catboost": 2 * width + 80 + 110 * values,
        "trees": 100,
        "histogram": 9 * width + 50 + 40 * values,
        "batches": 8 * width + 50,
        "whole": 16 * width + 50,
    }
    return rows * width * (4 if kind in ("catboost", "trees") else 8), rows * beside[kind]


def _too_large(recipe: Recipe, about: str, key: str | None, least: int) -> str:
    """Return what to say of a table that cannot be fitted."""
    does = f"{key} takes all rows at once" if key else f"{recipe.estimator} takes all rows at once"
    ways = [
        f"raise train.memory (to {shown(least + least // 20)})",
        "take fewer columns (train.features) or rows (split)",
    ]
    if key:
        ways.append(f"leave {key.partition(':')[0]} out")
    elif not recipe.catboost:
        ways.append("an estimator that learns in batches, such as sklearn.linear_model.SGDRegressor, or CatBoost")
    return f"{PATH}: train.memory: {about}; {does}: {', or '.join(ways)}"


def limit(recipe: Recipe) -> int:
    """Return the memory that fitting may take, in bytes."""
    return size_in_bytes(recipe.memory) if recipe.memory else default()


def default() -> int:
    """Return the memory that training may take where params.yaml does not say, in bytes."""
    return int(SHARE * min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_group_limits()]))


@cache
def _group_limits() -> tuple[int, ...]:
    """Return the limits that containers and batch systems set on this process, by Linux's control groups."""
    found = []
    with suppress(OSError):
        root = Path("/sys/fs/cgroup")
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, names, group = line.split(":", 2)
            if names not in ("", "memory"):
                continue
            top = root / names
            inner = top / group.lstrip("/")
            for folder in (inner, *inner.parents):
                for name in ("memory.max", "memory.limit_in_bytes"):
                    with suppress(OSError, ValueError):  # "max" is no number
                        found.append(int((folder / name).read_text(encoding="ascii")))
                if folder == top:
                    break
    return tuple(found)


def empty(shape: tuple[int, int], made: Plan, folder: Path = _FOLDER) -> Array:
    """Return an array to fill: in memory, or in a file without a name, which goes when nobody holds the array."""
    if made.way == "memory":
        return np.empty(shape, made.dtype, order=made.order)
    import tempfile

    size = max(shape[0] * shape[1] * np.dtype(made.dtype).itemsize, 1)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder, prefix=".matrix.", suffix=".partial") as file:
        # Room is taken now: a disk that fills up later would end the process without a word.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        array: Array = np.memmap(file, made.dtype, "r+", shape=shape, order=made.order)
    return array


def released() -> None:
    """Give memory that Arrow keeps for later reading back to the machine, before an estimator wants it."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


def shown(count: int) -> str:
    """Return bytes as params.yaml takes them."""
    return f"{count / 1e9:.1f}GB" if count >= 1e9 else f"{-(-count // 10**6)}MB"
