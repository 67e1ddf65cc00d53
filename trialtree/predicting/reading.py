"""Open an input, whatever kind of file it is."""

import re

from trialtree.predicting.asked import PredictError
from trialtree.predicting.columnar import Arrow, Parquet
from trialtree.predicting.csvfiles import Csv
from trialtree.predicting.inputs import Input
from trialtree.predicting.pieces import Source

_INDEX = re.compile(r"__index_level_\d+__")  # pandas's name for an index without one


def opened(of: Input) -> Source:
    """Return an input that is open.

    Raises:
        UserError: it is damaged, without columns, or has a name twice.
    """
    source: Source = Csv(of) if of.kind == "csv" else Parquet(of) if of.kind == "parquet" else Arrow(of)
    names = source.schema.names
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise PredictError(f"{of.shown}: has the column {twice!r} twice")
    if source.rows == 0:
        raise PredictError(f"{of.shown}: has no row")
    return source


def names(of: Source) -> list[str]:
    """Return the names of an input's columns; the index of a data frame is none."""
    return [name for name in of.schema.names if not _INDEX.fullmatch(name)]
