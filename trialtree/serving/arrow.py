"""Rows as Arrow has them: an IPC stream or file, Parquet, or the batches of a table in files."""

from typing import TYPE_CHECKING, Any

import numpy as np

from stages.matrices import Matrix
from trialtree.serving import cells
from trialtree.serving.cells import GAP, Faults, Taken
from trialtree.serving.columns import KINDS, Field, Schema
from trialtree.serving.faults import Refused, cut

if TYPE_CHECKING:
    import pyarrow as pa

_DAY = 86_400_000_000.0  # microseconds
_UNITS = {"s": 1_000_000, "ms": 1_000, "date32[day]": 86_400_000_000, "date64[ms]": 1_000}  # the same


def taken(schema: Schema, table: "pa.Table", texts: bool = False, limit: int | None = None) -> Taken:
    """Return the rows of a table; columns beyond the model's are not looked at.

    `texts`: its columns are cells of a CSV file, to be read as the types of the
    model's columns. At most `limit` faults are kept.

    Raises:
        Refused: a column is missing that had no gaps, or is there twice.
    """
    faults = Faults(limit)
    names = [name for name in table.column_names if name in schema.places]
    if not cells.check_names(schema, names, faults):
        raise Refused.of(faults)
    values = np.full((table.num_rows, len(schema.fields)), np.nan)
    for place, each in enumerate(schema.fields):
        if each.name in names:
            values[:, place] = _column(each, table.column(each.name), faults, schema.unknown, texts)
    return Taken(values, faults)


def check(schema: Schema, found: "pa.Schema", limit: int | None = None) -> Faults:
    """Return the faults of a table's columns, before anything of them is read."""
    faults = Faults(limit)
    names = [name for name in found.names if name in schema.places]
    if cells.check_names(schema, names, faults):
        for name in names:
            each, type_ = schema.fields[schema.places[name]], found.field(name).type
            if _way(each, type_, texts=False) is None:
                faults.add(None, name, _misfit(each, type_))
    return faults


def _way(each: Field, type_: Any, texts: bool) -> str | None:
    """Return how a type of Arrow's is read as a column; None where it is not."""
    import pyarrow as pa

    types = pa.types
    kind = type_.value_type if types.is_dictionary(type_) else type_
    if types.is_null(kind):
        return "gaps"
    if each.numeric and (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)):
        return "numbers"
    if each.type == "date" and (types.is_timestamp(kind) or types.is_date(kind)):
        return "dates"
    if texts or not each.numeric:
        if types.is_string(kind) or types.is_large_string(kind):
            return "texts"
        if types.is_string_view(kind):
            return "views"
    return "booleans" if types.is_boolean(kind) and not each.numeric and each.type != "date" else None


def _misfit(each: Field, type_: Any) -> str:
    return f"must be {KINDS[each.type]}, and is of type {cut(str(type_))}"


def _column(each: Field, found: Any, faults: Faults, unknown: bool, texts: bool) -> Matrix:
    """Return the values (rows,) of a column."""
    way = _way(each, found.type, texts)
    if way is None:
        faults.add(None, each.name, _misfit(each, found.type))
        return np.full(len(found), np.nan)
    if way == "gaps":
        return _gaps(each, np.full(len(found), np.nan), np.ones(len(found), dtype=bool), faults)
    if way == "numbers":
        return _numbers(each, found, faults)
    if way == "dates":
        return _dates(each, found, faults)
    if way != "texts":  # views, which few of Arrow's functions take, and booleans
        found = _plain_texts(found)
    return _texts(each, found, faults, unknown, texts)


def _numbers(each: Field, found: Any, faults: Faults) -> Matrix:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(found.type):
        found = found.cast(found.type.value_type)
    # Beyond 2**53 float64 rounds: looked at before it does.
    if pa.types.is_integer(found.type) and each.type == "integer" and len(found):
        ends = pc.min_max(found)
        if any(end is not None and abs(end) > 2**53 for end in (ends["min"].as_py(), ends["max"].as_py())):
            return cells.column(each, found.to_pylist(), faults, unknown=False)
    values = np.array(found.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)  # a copy that may be written
    missing = np.isnan(values)
    if not missing.any():
        cells.check_numbers(each, values, faults)
        return values
    known = values[~missing]
    inner = Faults(faults.limit)
    cells.check_numbers(each, known, inner)
    places = np.flatnonzero(~missing)
    faults.total += inner.total - len(inner)
    for fault in inner:
        faults.add(int(places[fault.row or 0]), fault.column, fault.reason)
    values[~missing] = known
    return _gaps(each, values, missing, faults)


def _dates(each: Field, found: Any, faults: Faults) -> Matrix:
    """Return days since 1970-01-01, UTC, as `stages.matrices` counts them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(found.type):
        found = found.cast(found.type.value_type)
    unit = _UNITS.get(str(found.type)) or _UNITS.get(getattr(found.type, "unit", ""), 1)
    whole = found.cast(pa.int32()) if pa.types.is_date32(found.type) else found.cast(pa.int64())
    ends = pc.min_max(whole)
    if any(end is not None and abs(end) * unit >= 2**63 for end in (ends["min"].as_py(), ends["max"].as_py())):
        faults.add(None, each.name, "has a date that microseconds of 64 bits cannot tell")
        return np.full(len(found), np.nan)
    moments = found.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    values = pc.divide(moments.cast(pa.float64(), safe=False), _DAY)
    return _gaps(each, np.array(values.to_numpy(), dtype=np.float64), _null(found), faults)


def _texts(each: Field, found: Any, faults: Faults, unknown: bool, stripped: bool) -> Matrix:
    """Return what each text means, found out once for each different text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    coded = found if pa.types.is_dictionary(found.type) else found.dictionary_encode()
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
    if len(coded.dictionary) > len(coded):  # it may have many texts that no row has
        used = pc.drop_null(coded.indices.unique())
        coded = pa.DictionaryArray.from_arrays(pc.index_in(coded.indices, used), coded.dictionary.take(used))
    different = coded.dictionary.to_pylist()
    if stripped:
        different = [text if text is None or text in each.codes else text.strip() for text in different]
    inner = Faults()
    read = cells.texts if stripped else cells.column
    numbers = read(each, different, inner, unknown)
    codes = np.array(pc.fill_null(coded.indices, len(different)).to_numpy(zero_copy_only=False), dtype=np.int64)
    values: Matrix = np.append(numbers, np.nan)[codes]
    bad = {fault.row: fault.reason for fault in inner}
    empty = [place for place, text in enumerate(different) if text is None or (text == "" and "" not in each.codes)]
    wrong = [place for place in bad if place is not None and place not in empty]
    for row in np.flatnonzero(np.isin(codes, wrong)):
        faults.add(int(row), each.name, bad[int(codes[row])])
    return _gaps(each, values, np.isin(codes, [*empty, len(different)]), faults)


def _plain_texts(found: Any) -> Any:
    import pyarrow as pa

    dictionary = pa.types.is_dictionary(found.type)
    return found.cast(pa.dictionary(found.type.index_type, pa.large_string()) if dictionary else pa.large_string())


def _null(found: Any) -> "np.ndarray[Any, Any]":
    return np.asarray(found.is_null().to_numpy())


def _gaps(each: Field, values: Matrix, missing: Any, faults: Faults) -> Matrix:
    """Return the values, and add a fault for each gap where there may be none."""
    if not each.gaps:
        for row in np.flatnonzero(missing):
            faults.add(int(row), each.name, GAP)
    return values
