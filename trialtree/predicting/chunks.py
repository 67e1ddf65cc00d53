"""Score some rows: those that the model takes, and what is wrong with the others."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.matrices import Matrix
from stages.tables import ROW
from trialtree.predicting import explaining, numerals
from trialtree.predicting.asked import Asked, PredictError
from trialtree.predicting.layout import FILE, Layout
from trialtree.predicting.pieces import Piece
from trialtree.serving import arrow
from trialtree.serving.faults import Fault, Refused
from trialtree.serving.scoring import Scorer

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Scored:
    """The output of a piece's good rows, and the faults of the others by their numbers in the file."""

    batch: "pa.RecordBatch"
    faults: list[Fault]
    read: int  # rows
    share: float  # of the file


def scoring(scorer: Scorer, asked: Asked, layout: Layout, shown: str) -> Callable[[Piece], Scored]:
    """Return a function that scores pieces of an input; it may be called by several threads."""
    explained = explaining.explainer(scorer) if asked.explain else None

    def score(piece: Piece) -> Scored:
        try:
            values, faults = _taken(scorer, layout, shown, piece)
            bad = np.unique([fault.row for fault in faults if fault.row is not None]).astype(np.int64)
            good = np.setdiff1d(np.arange(len(values)), bad, assume_unique=True)
            arrays = _carried(layout, shown, piece, good if len(bad) else None)
            arrays += _made(scorer, asked, values[good] if len(bad) else values, layout, explained)
        except Refused as error:
            first, last = piece.numbers[[0, -1]]
            raise PredictError(f"{shown}: rows {first} to {last}: {error.reason}") from error
        named = [Fault(int(piece.numbers[f.row or 0]), f.column, f.reason) for f in faults]
        found = sorted([*named, *piece.broken], key=lambda fault: fault.row or 0)
        return Scored(_batch(arrays, layout), found, piece.table.num_rows, piece.share)

    return score


def _taken(scorer: Scorer, layout: Layout, shown: str, piece: Piece) -> tuple[Matrix, list[Fault]]:
    """Return the rows as the model counts with them; a column that it cannot take ends it all."""
    table = piece.table.select(list(layout.taken))
    if layout.texts:
        table = numerals.read(table, scorer.schema)
    taken = arrow.taken(scorer.schema, table, texts=layout.texts)
    if whole := next((fault for fault in taken.faults if fault.row is None), None):
        raise PredictError(f"{shown}: {whole}")
    return taken.values, list(taken.faults)


def _carried(layout: Layout, shown: str, piece: Piece, good: Any) -> list[Any]:
    """Return the columns of the output that the input has; `good`: the places of the rows (None: all)."""
    import pyarrow as pa

    table = piece.table
    columns = {name: table.column(name) for name in layout.carried}
    columns[ROW] = table.column(ROW) if layout.own_rows else pa.chunked_array([pa.array(piece.numbers)])
    if layout.has_file:
        columns[FILE] = pa.chunked_array([pa.repeat(pa.scalar(shown), table.num_rows)])
    fields = list(layout.schema)[: len(columns)]
    places = None if good is None else pa.array(good)
    found = []
    for each in fields:
        column = columns[each.name].cast(each.type)
        found.append((column if places is None else column.take(places)).combine_chunks())
    return found


def _made(
    scorer: Scorer, asked: Asked, values: Matrix, layout: Layout, explained: explaining.Explainer | None
) -> list[Any]:
    """Return the columns of the output that the model makes."""
    import pyarrow as pa

    fields = list(layout.schema)[-_width(scorer, asked) :]
    if not len(values):
        return [pa.nulls(0, each.type) for each in fields]
    predicted = scorer.predict(values)
    matrices = [scorer.probabilities(values)] if asked.probabilities else []
    if explained is not None:
        matrices.append(explained(values, predicted))
    numbers = [np.ascontiguousarray(column) for matrix in matrices for column in matrix.T]
    labels = predicted.astype(object) if predicted.dtype.kind == "U" else predicted
    return [pa.array(labels, fields[0].type), *map(pa.array, numbers)]


def _width(scorer: Scorer, asked: Asked) -> int:
    """Return how many columns the model makes."""
    return 1 + asked.probabilities * len(scorer.labels) + asked.explain * (len(scorer.schema.names) + 1)


def _batch(arrays: list[Any], layout: Layout) -> "pa.RecordBatch":
    import pyarrow as pa

    flat = [array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array for array in arrays]
    return pa.RecordBatch.from_arrays(flat, schema=layout.schema)
