"""Write an output's batches one after the other: Parquet, CSV or an Arrow IPC file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trialtree.predicting.asked import Format, PredictError
from trialtree.predicting.layout import PREDICTED

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa


@contextmanager
def writing(path: Path, schema: "pa.Schema", form: Format, shown: str) -> "Iterator[Callable[[pa.RecordBatch], None]]":
    """Yield a function that writes a batch; the file is whole once the block has ended.

    Raises:
        PredictError: a column is of a type that the format does not have.
    """
    import pyarrow as pa

    try:
        with _opened(path, schema, form) as writer:

            def write(batch: "pa.RecordBatch") -> None:
                if len(batch):
                    writer.write_batch(batch)

            yield write
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        said = " ".join(str(error).split())[:200]
        raise PredictError(f"{shown}: {form} cannot hold a column, see --keep and --format: {said}") from None


def _opened(path: Path, schema: "pa.Schema", form: Format) -> Any:
    """Return a writer."""
    import pyarrow as pa

    if form == "csv":
        from pyarrow import csv

        return csv.CSVWriter(str(path), schema)
    if form == "arrow":
        return pa.ipc.new_file(str(path), schema)
    import pyarrow.parquet as pq

    return pq.ParquetWriter(path, schema, compression="zstd", **_encodings(schema))


def _encodings(schema: "pa.Schema") -> dict[str, Any]:
    """Return how columns are encoded: texts and labels by a dictionary, numbers that hardly repeat by their bytes."""
    import pyarrow as pa

    repeated, others = [], {}
    for each in schema:
        if pa.types.is_floating(each.type) and str(each.type) != "halffloat":
            others[each.name] = "BYTE_STREAM_SPLIT"
        elif str(each.type) in ("int32", "int64") and each.name != PREDICTED:
            others[each.name] = "DELTA_BINARY_PACKED"
        else:
            repeated.append(each.name)
    return {"use_dictionary": repeated, "column_encoding": others or None}
