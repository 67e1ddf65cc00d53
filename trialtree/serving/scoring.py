"""A model over matrices of float64: the same figures for a row, bit for bit, whatever rows are asked for with it.

BLAS adds in another order for one row than for a thousand. Rows are therefore
given to an estimator eight at a time or a multiple of that, and where that is
found not to be enough, in blocks of one size.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cached_property
from json import loads
from pathlib import Path
from typing import Any

import numpy as np

from stages import models
from stages.errors import UserError
from stages.matrices import Matrix
from stages.models import Label, Model, Prepared
from trialtree.serving import loading
from trialtree.serving.columns import Schema
from trialtree.serving.faults import Refused

_PAD = 8  # rows: what vectors of the kernels of BLAS hold, so that no row is a remainder
_MOST = 4096  # rows that are given to an estimator at once
_BLOCK = 64  # rows of a block where figures depend on how many there are
_PROBED = (8, 40, 512)  # rows at once that must give the figures that _MOST give

Values = np.ndarray[Any, Any]


@dataclass(frozen=True)
class _Threaded:
    """A CatBoost model that predicts with a number of threads."""

    estimator: Any
    threads: int

    def __getattr__(self, name: str) -> Any:
        return getattr(self.estimator, name)

    def predict(self, rows: Any) -> Any:
        return self.estimator.predict(rows, thread_count=self.threads)

    def predict_proba(self, rows: Any) -> Any:
        return self.estimator.predict_proba(rows, thread_count=self.threads)


class Scorer:
    """A model, and what it takes of a row."""

    def __init__(self, model: Model, schema: Schema, digest: str) -> None:
        self.model, self.schema, self.digest = model, schema, digest
        self.labels: list[Label] = model.labels
        self.has_probabilities = model.task == "classification" and hasattr(model.estimator, "predict_proba")
        self._catboost = model.recipe.estimator.startswith("catboost.")
        self._threaded: dict[int, Model] = {}
        # CatBoost takes rows one by one; what is before it may not.
        self._by_row = self._catboost and isinstance(model.preparation.fitted, loading.Passed)
        self._block = 0
        if not self._by_row and not self._steady():
            self._block = _BLOCK

    @property
    def task(self) -> models.Task:
        """Whether it predicts labels or numbers."""
        return self.model.task

    @property
    def target(self) -> str:
        """Name of what it predicts."""
        return self.model.target.name

    @property
    def estimator(self) -> str:
        """The class of its estimator, as params.yaml has it."""
        return self.model.recipe.estimator

    @cached_property
    def probability_names(self) -> list[str]:
        """A name for each of the probabilities."""
        return [f"p_{label}" for label in self.labels]

    def predict(self, values: Matrix, threads: int = 1) -> Values:
        """Return labels or float64 (rows,) of the model's columns (rows, columns); `threads` are CatBoost's.

        Raises:
            Refused: the estimator does not take the rows.
        """
        model = self._with(threads)
        found: Values = self._each(values, lambda rows: model.predict(self.prepared(rows)))
        return found

    def probabilities(self, values: Matrix, threads: int = 1) -> Matrix:
        """Return a probability for each label (rows, labels).

        Raises:
            Refused: the estimator has none, or does not take the rows.
        """
        if not self.has_probabilities:
            why = "it predicts numbers" if self.task == "regression" else "train.calibrate: true makes them"
            raise Refused(422, f"{self.estimator} has no probabilities; {why}")
        model = self._with(threads)
        found: Matrix = self._each(values, lambda rows: np.asarray(model.probabilities(self.prepared(rows))))
        return found

    def prepared(self, values: Matrix) -> Prepared:
        """Return rows as the estimator takes them."""
        preparation = self.model.preparation
        return Prepared(preparation.arranged(preparation.fitted.transform(values)), len(values))

    def _with(self, threads: int) -> Model:
        """Return the model, which predicts with so many threads if it is CatBoost's."""
        if not self._catboost:
            return self.model
        if threads not in self._threaded:
            estimator: Any = _Threaded(self.model.estimator, threads)
            self._threaded[threads] = replace(self.model, estimator=estimator)
        return self._threaded[threads]

    def _each(self, values: Matrix, method: Callable[[Matrix], Any]) -> Any:
        """Return what a method gives for rows, which it is given so that their number does not matter."""
        try:
            if self._by_row:
                return method(values)
            return _in_parts(values, method, self._block)
        except Refused:
            raise
        except ValueError as error:  # what scikit-learn says of rows that it does not take
            said = next((line for line in str(error).splitlines() if line.strip()), "")
            raise Refused(422, f"{self.estimator} refuses the rows: {said[:200]}") from error
        except Exception as error:
            if type(error).__name__ != "CatBoostError":
                raise
            raise Refused(422, "CatBoost refuses the rows") from error

    def _steady(self) -> bool:
        """Whether the figures of made-up rows are the same in parts of several sizes."""
        rows = made_up(self.schema, _MOST)
        method = self._raw
        try:
            whole = method(rows)
            return all(
                np.array_equal(np.concatenate([method(rows[i : i + size]) for i in range(0, 512, size)][: 512 // size]),
                               whole[: 512 // size * size], equal_nan=True)
                for size in _PROBED
            )  # fmt: skip
        except (ValueError, TypeError):  # rows that the estimator refuses, whatever their number
            return False

    def _raw(self, values: Matrix) -> Values:
        """Return the finest figures that the model gives."""
        prepared = self.prepared(values)
        for method in (self.model.probabilities, self.model.decision, self.model.predict):
            if (found := method(prepared)) is not None:
                return np.asarray(found)
        raise TypeError


def _in_parts(values: Matrix, method: Callable[[Matrix], Any], block: int) -> Any:
    """Return what a method gives for rows, asked in padded parts of `block` rows, or of _MOST at most."""
    most, pad = (block, block) if block else (_MOST, _PAD)
    found = []
    for start in range(0, len(values), most):
        part = values[start : start + most]
        count = len(part)
        if lacking := -count % pad:
            part = np.concatenate([part, np.repeat(part[-1:], lacking, axis=0)])
        found.append(method(part)[:count])
    return found[0] if len(found) == 1 else np.concatenate(found)


def made_up(schema: Schema, rows: int) -> Matrix:
    """Return rows (rows, columns) of values that each column may have."""
    drawn = np.random.RandomState(0)
    values = drawn.standard_normal((rows, len(schema.fields)))
    for place, field in enumerate(schema.fields):
        if field.type in ("category", "text"):
            values[:, place] = drawn.randint(0, max(1, len(field.categories)), rows)
        elif field.type == "integer":
            values[:, place] = np.round(10 * values[:, place])
        elif field.type == "date":
            values[:, place] = drawn.randint(0, 20_000, rows)
    return values


def load(
    folder: Path,
    digest: str | None = None,
    gaps: Collection[str] = (),
    unknown: bool = False,
    allow_pickle: bool = False,
) -> Scorer:
    """Return the scorer of a model's folder; `gaps` names the columns in which a gap is no fault.

    Raises:
        UserError: the folder is damaged, another model than `digest` says, or a pickle that is not allowed.
    """
    if models.by_script(folder):
        raise UserError(f"{folder} holds the model of a training script, which takes its own form of rows")
    model = loading.load(folder, digest, allow_pickle)
    columns = loads((folder / "columns.json").read_text(encoding="utf-8"))
    return Scorer(model, Schema.of(columns, gaps, unknown), models.digest(folder))
