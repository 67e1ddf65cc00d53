"""Rows as JSON has them: lists, objects, or columns of values."""

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np

from trialtree.serving import cells
from trialtree.serving.cells import Faults, Taken
from trialtree.serving.columns import Schema
from trialtree.serving.faults import shown

_NUMBERS = {int, float}


def from_lists(schema: Schema, rows: Sequence[Any], limit: int | None, names: Sequence[Any] | None = None) -> Taken:
    """Return rows that are lists of values, in the order of `names` or of the model's columns.

    At most `limit` faults are kept.
    """
    faults = Faults(limit)
    if names is not None and tuple(names) == schema.names:
        names = None
    if names is not None and not cells.check_names(schema, names, faults):
        return _none(schema, faults)
    width = len(schema.names if names is None else names)
    if set(map(type, rows)) - {list, tuple} or set(map(len, rows)) - {width}:
        for row, values in enumerate(rows):
            if not isinstance(values, list | tuple):
                faults.add(row, None, f"must be a list of {width} values, got {shown(values)}")
            elif len(values) != width:
                faults.add(row, None, f"must have {width} values, has {len(values)}")
        return _none(schema, faults)
    if names is None and schema.numeric:
        flat = list(chain.from_iterable(rows))
        if set(map(type, flat)) <= _NUMBERS:
            values = np.array(flat, dtype=np.float64).reshape(len(rows), width)
            if schema.all_numbers and np.isfinite(values).all():
                return Taken(values, faults)
    columns = list(zip(*rows, strict=True)) if rows else [()] * width
    return _of_columns(
        schema, dict(zip(schema.names if names is None else names, columns, strict=True)), len(rows), faults
    )


def from_records(schema: Schema, rows: Sequence[Any], limit: int | None) -> Taken:
    """Return rows that are objects of values by name; a column that may have gaps may be left out."""
    if len(schema.names) > 1 and set(map(type, rows)) <= {dict} and set(map(len, rows)) <= {len(schema.names)}:
        try:
            return from_lists(schema, list(map(itemgetter(*schema.names), rows)), limit)
        except KeyError:
            pass
    faults = Faults(limit)
    optional = {each.name for each in schema.fields if each.gaps}
    needed = set(schema.names) - optional
    for row, values in enumerate(rows):
        if not isinstance(values, dict):
            faults.add(row, None, f"must be an object, got {shown(values)}")
        elif not (needed <= values.keys() <= schema.places.keys()):
            _check_keys(schema, row, values, faults)
    if faults.total:
        return _none(schema, faults)
    columns = {name: [values.get(name) for values in rows] for name in schema.names}
    return _of_columns(schema, columns, len(rows), faults)


def from_columns(schema: Schema, columns: Mapping[Any, Any], limit: int | None) -> Taken:
    """Return rows that are given column by column, by name."""
    faults = Faults(limit)
    if not cells.check_names(schema, list(columns), faults):
        return _none(schema, faults)
    for name, values in columns.items():
        if not isinstance(values, list):
            faults.add(None, name, f"must be a list of values, got {shown(values)}")
    if faults.total:
        return _none(schema, faults)
    lengths = {name: len(values) for name, values in columns.items()}
    longest = max(lengths.values(), default=0)
    for name, length in lengths.items():
        if length != longest:
            faults.add(None, name, f"has {length} values, and another column has {longest}")
    return _none(schema, faults) if faults.total else _of_columns(schema, columns, longest, faults)


def _of_columns(schema: Schema, columns: Mapping[str, Sequence[Any]], rows: int, faults: Faults) -> Taken:
    """Return rows of columns, all there but those that may have gaps."""
    values = np.full((rows, len(schema.fields)), np.nan)
    for place, each in enumerate(schema.fields):
        if each.name in columns:
            values[:, place] = cells.column(each, columns[each.name], faults, schema.unknown)
    return Taken(values, faults)


def _check_keys(schema: Schema, row: int, values: Mapping[str, Any], faults: Faults) -> None:
    found = Faults(0 if faults.full else faults.limit)
    cells.check_names(schema, list(values), found)
    faults.total += found.total - len(found)
    for fault in found:
        faults.add(row, fault.column, fault.reason)


def _none(schema: Schema, faults: Faults) -> Taken:
    return Taken(np.empty((0, len(schema.fields))), faults)
