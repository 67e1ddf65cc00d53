"""A stored model as MLflow's pyfunc: what a registered version runs.

The registry holds copies of this module and of those it imports, under a
package name of their own, so that a version loads where neither this
repository nor trialtree is, and two versions with other code side by side.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from stages import models
from stages.models import Model
from stages.tables import Column, DataError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_PACKAGE = "stages"  # by which stored models name the repository's own classes
# One for the process, whichever copies of this module are in it.
_LOADING: threading.RLock = sys.__dict__.setdefault("_trialtree_loading", threading.RLock())


class Predictor:
    """A model over data frames."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def predict(self, frame: "pd.DataFrame", params: dict[str, Any] | None = None) -> Any:
        """Return the predictions (rows,), or with the param `probabilities` a frame of p_<label> (rows, labels).

        Raises:
            DataError: a column has values of another type, or the estimator has no probabilities.
        """
        table = as_table(frame, self.model)
        if not (params or {}).get("probabilities"):
            values = self.model.predict(table)
            return values.astype(object) if values.dtype.kind == "U" else values
        import pandas as pd

        probabilities = self.model.probabilities(table)
        if probabilities is None:
            raise DataError(f"{self.model.recipe.estimator} has no probabilities; train.calibrate: true makes them")
        return pd.DataFrame(probabilities, columns=[f"p_{label}" for label in self.model.labels], index=frame.index)


def as_table(frame: "pd.DataFrame", model: Model) -> "pa.Table":
    """Return the columns that a model takes; one that the frame does not have is all gaps.

    MLflow refuses a frame without a column that had no gaps in the model's table.
    """
    import pyarrow as pa

    return pa.table({column.name: _values(frame, column) for column in model.columns})


def _values(frame: "pd.DataFrame", column: Column) -> "pa.Array":
    """Return a column's values in the type that the model was fitted on; NaN and None are gaps."""
    import pyarrow as pa

    stored = {
        "integer": pa.float64(),  # what the model computes with; int64 has no room for a gap in a frame
        "number": pa.float64(),
        "date": pa.timestamp("us"),
        "category": pa.string(),
        "text": pa.string(),
    }[column.type]
    if column.name not in frame:
        return pa.nulls(len(frame), stored)
    try:
        values = pa.array(frame[column.name], from_pandas=True)
        values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        return values.cast(stored, safe=False)
    except pa.ArrowException as error:
        said = " ".join(str(error).split())
        raise DataError(f"column {column.name!r} cannot be taken as {column.type}: {said}") from None


def _load_pyfunc(data_path: str) -> Predictor:
    """Return the model of a folder, its digests checked; MLflow calls this.

    A pickle, which only train.allow_pickle makes, is refused where
    MLFLOW_ALLOW_PICKLE_DESERIALIZATION is false.
    """
    forbidden = os.environ.get("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "").lower() in ("false", "0")
    with _known_as_stages():
        return Predictor(models.load(Path(data_path), allow_pickle=False if forbidden else None))


@contextmanager
def _known_as_stages() -> Iterator[None]:
    """Let the name `stages`, which stored models use, lead to this copy, and to what it led to before after that."""
    own = __name__.rpartition(".")[0]
    if own == _PACKAGE:
        yield
        return
    with _LOADING:
        before = _modules()
        for name in before:
            del sys.modules[name]
        package = import_module(own)
        copies = {f"{_PACKAGE}.{m.name}": import_module(f"{own}.{m.name}") for m in iter_modules(package.__path__)}
        sys.modules.update({_PACKAGE: package, **copies})
        try:
            yield
        finally:
            for name in _modules():
                del sys.modules[name]
            sys.modules.update(before)


def _modules() -> dict[str, Any]:
    return {n: m for n, m in sys.modules.items() if n == _PACKAGE or n.startswith(f"{_PACKAGE}.")}
