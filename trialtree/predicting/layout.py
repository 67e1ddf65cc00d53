"""Which columns of an input are read, which are carried along, and what the output's columns are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from stages.tables import ROW
from trialtree.predicting import reading
from trialtree.predicting.asked import CHUNK, Asked, PredictError
from trialtree.predicting.pieces import Source
from trialtree.serving.scoring import Scorer

if TYPE_CHECKING:
    import pyarrow as pa

FILE = "file"
PREDICTED = "predicted"
BASE = "e_base"


@dataclass(frozen=True)
class Layout:
    """The columns of an input and of its output."""

    taken: tuple[str, ...]  # by the model
    carried: tuple[str, ...]
    own_rows: bool  # the input has a column of row numbers
    schema: "pa.Schema"  # of the output
    texts: bool
    whole_rows: Callable[[], bool] = lambda: False  # whether its own row numbers are texts of whole numbers

    @property
    def read(self) -> list[str]:
        """The columns that are read."""
        return list(dict.fromkeys([*([ROW] if self.own_rows else []), *self.carried, *self.taken]))

    @property
    def has_file(self) -> bool:
        """Whether each row of the output names its input."""
        return bool(self.schema.names[0] == FILE)


def of(source: Source, scorer: Scorer, asked: Asked, several: bool) -> Layout:
    """Return the layout of an input; `several`: others come into the same output.

    Raises:
        PredictError: a column is missing, or the output would have one twice.
    """
    import pyarrow as pa

    names = reading.names(source)
    taken = tuple(name for name in scorer.schema.names if name in names)
    _refuse_missing(source.shown, names, scorer)
    own_rows = ROW in names and ROW not in taken
    carried = _carried(source.shown, names, taken, asked.keep)
    made = _made(scorer, asked)
    fields = [pa.field(FILE, pa.string())] if several else []
    fields += [pa.field(ROW, _plain(source.schema.field(ROW).type) if own_rows else pa.int64())]
    fields += [pa.field(name, _plain(source.schema.field(name).type)) for name in carried]
    schema = pa.schema([*fields, *made], {"trialtree.model": scorer.digest})
    _refuse_twice(source.shown, schema.names, carried)
    whole_rows = partial(_whole_rows, source) if source.texts and own_rows else Layout.whole_rows
    return Layout(taken, carried, own_rows, schema, source.texts, whole_rows)


def _carried(shown: str, names: Sequence[str], taken: Sequence[str], keep: Sequence[str] | None) -> tuple[str, ...]:
    """Return the columns that are carried along: those of --keep, or all that the model does not take."""
    if keep is None:
        return tuple(name for name in names if name not in taken and name != ROW)
    if unknown := next((name for name in keep if name not in names), None):
        raise PredictError(f"--keep: {shown} has no column {unknown!r}; it has: {', '.join(names)}")
    return tuple(name for name in dict.fromkeys(keep) if name != ROW or ROW in taken)


def _refuse_missing(shown: str, names: Sequence[str], scorer: Scorer) -> None:
    """Refuse an input without a column that had no gaps when the model was trained."""
    missing = [each.name for each in scorer.schema.fields if each.name not in names and not each.gaps]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise PredictError(f"{shown}: has no column {missing[0]!r}{more}; it has: {', '.join(names)}")


def _made(scorer: Scorer, asked: Asked) -> list[Any]:
    """Return the fields that the model makes."""
    import pyarrow as pa

    fields = [pa.field(PREDICTED, label_type(scorer))]
    if asked.probabilities:
        fields += [pa.field(name, pa.float64()) for name in scorer.probability_names]
    if asked.explain:
        fields += [pa.field(name, pa.float64()) for name in (*(f"e_{n}" for n in scorer.schema.names), BASE)]
    return fields


def label_type(scorer: Scorer) -> Any:
    """Return the type of what a model predicts."""
    import pyarrow as pa

    kinds = {type(label) for label in scorer.labels}
    return pa.string() if kinds == {str} else pa.int64() if kinds == {int} else pa.float64()


def _plain(kind: Any) -> Any:
    """Return the type that a column has in the output, where no column has a dictionary."""
    import pyarrow as pa

    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _refuse_twice(shown: str, names: Sequence[str], carried: Sequence[str]) -> None:
    if twice := next((name for name in carried if names.count(name) > 1), None):
        raise PredictError(
            f"{shown}: has a column {twice!r}, and so has the output; --keep names the columns to carry along"
        )
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise PredictError(f"the output would have the column {twice!r} twice")


def refuse_odd(one: str, first: Layout, other: str, its: Layout) -> None:
    """Refuse an input whose rows do not fit into the output of another."""
    names, found = first.schema.names, its.schema.names
    if sorted(names) != sorted(found):
        odd = next((n for n in found if n not in names), None)
        said = f"carries {odd!r}" if odd else f"lacks {next(n for n in names if n not in found)!r}"
        raise PredictError(f"{other}: {said}, other than {one}; the inputs of one data set must agree, or see --keep")
    for name in names:
        ours, theirs = first.schema.field(name).type, its.schema.field(name).type
        if ours != theirs and not (name == ROW and _fit(ours, theirs, its)):
            raise PredictError(f"{other}: has {name!r} as {theirs}, and {one} as {ours}; the inputs must agree")


def _fit(ours: Any, theirs: Any, its: Layout) -> bool:
    """Whether row numbers fit into those of another type: a CSV file has texts of them."""
    import pyarrow as pa

    if (ours, theirs) == (pa.int64(), pa.string()):
        return its.whole_rows()
    return (ours, theirs) == (pa.string(), pa.int64())


def _whole_rows(source: Source) -> bool:
    """Whether all of an input's own row numbers, which are texts, are whole numbers."""
    import pyarrow as pa

    try:
        for piece in source.pieces([ROW], CHUNK, 0):
            piece.table.column(ROW).cast(pa.int64())
    except pa.ArrowInvalid:
        return False
    return True
