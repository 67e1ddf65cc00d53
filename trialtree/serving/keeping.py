"""A sample of the requests as Parquet files, for drift later: rows as the model took them, and what it said."""

import os
import random
import threading
import time
from collections.abc import Callable, Container
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from stages.matrices import Matrix
from trialtree.serving.columns import Field
from trialtree.serving.scoring import Scorer

_ROWS = 5000  # that are written at once
_SECONDS = 60.0  # after which fewer are
_WAITING = 200_000  # rows in memory at most


class Keeper:
    """Keeps a share of the requests; what cannot be written is dropped, and said once."""

    def __init__(self, folder: str, share: float, say: Callable[..., None]) -> None:
        self.folder, self.share, self._say = Path(folder), share, say
        self._lock = threading.Lock()
        self._waiting: list[tuple[Scorer, str, str, float, Matrix, Any]] = []
        self._rows = self._files = 0
        self._since = time.monotonic()
        self._failing = False

    def drawn(self) -> bool:
        """Draw whether a request is one of the sample."""
        return random.random() < self.share  # noqa: S311  # a sample

    def take(self, scorer: Scorer, model: str, request: str, values: Matrix, figures: Any) -> bool:
        """Keep a request and what was predicted; whether there is room for it."""
        with self._lock:
            if self._rows + len(values) > _WAITING:
                return False
            self._waiting.append((scorer, model, request, time.time(), values, figures))
            self._rows += len(values)
        return True

    def due(self) -> bool:
        """Whether there is enough to write, or has been something for long."""
        return self._rows >= _ROWS or (self._rows > 0 and time.monotonic() - self._since >= _SECONDS)

    def write(self) -> None:
        """Write what waits, a file for each model."""
        with self._lock:
            waiting, self._waiting, self._rows = self._waiting, [], 0
            self._since = time.monotonic()
        by_model: dict[str, list[Any]] = {}
        for each in waiting:
            by_model.setdefault(each[1], []).append(each)
        for model, some in by_model.items():
            try:
                self._write(model, some)
                self._failing = False
            except Exception as error:  # a full disk most of all: requests go on, whatever it is
                if not self._failing:
                    why = getattr(error, "strerror", None) or type(error).__name__
                    self._say("requests are not kept", error=why, folder=self.folder.name)
                self._failing = True

    def _write(self, model: str, some: list[Any]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from stages.files import replacing

        scorer = some[0][0]
        values = np.concatenate([each[4] for each in some])
        counts = [len(each[4]) for each in some]
        moments = np.repeat(np.array([int(each[3] * 1e6) for each in some]), counts)
        taken = scorer.schema.places
        columns = {
            _free("request", taken): pa.array(np.repeat(np.array([each[2] for each in some], dtype=object), counts)),
            _free("time", taken): pa.array(moments, pa.int64()).cast(pa.timestamp("us")),
            _free("model", taken): pa.array([model] * len(values)),
            **{f.name: _column(f, values[:, place]) for place, f in enumerate(scorer.schema.fields)},
            _free("predicted", taken): pa.array(np.concatenate([each[5] for each in some]).tolist()),
        }
        self._files += 1
        day = datetime.now(UTC).strftime("%Y-%m-%d")
        name = f"{model.replace('/', '-')}-{os.getpid()}-{time.time_ns()}-{self._files}.parquet"
        (self.folder / day).mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(self.folder / day / name) as partial:
            pq.write_table(pa.table(columns), partial, compression="zstd")
            partial.chmod(0o600)  # they are what people asked


def _free(name: str, taken: Container[str]) -> str:
    """Return a name, after as many underscores as no column of the model has it."""
    return name if name not in taken else _free(f"_{name}", taken)


def _column(field: Field, values: Matrix) -> Any:
    """Return a column as it was asked: categories as texts, dates as such; a category that is not known is a gap."""
    import pyarrow as pa

    if field.type in ("category", "text"):
        texts = np.array([*field.categories, None, None], dtype=object)
        codes = np.where(np.isnan(values), len(field.categories), values).astype(int)
        return pa.array(texts[codes].tolist(), pa.string())
    if field.type == "date":
        missing = np.isnan(values)
        moments = np.where(missing, 0, np.round(values * 86_400_000_000)).astype("int64")
        return pa.array(moments, pa.int64(), mask=missing).cast(pa.timestamp("us"))
    return pa.array(values, pa.float64(), mask=np.isnan(values))
