"""Say how far a prediction is: of the rows where all inputs know how many they have, else of their bytes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from stages import progress
from trialtree.predicting.inputs import Input
from trialtree.predicting.pieces import Source


class Telling:
    """What is done, of all inputs."""

    def __init__(self, report: progress.Report, sizes: Sequence[int], known: bool) -> None:
        self._report, self._sizes, self._known = report, sizes, known
        self._before = self._rows = 0
        self._size = 0

    def begin(self, place: int) -> None:
        """Say that an input is begun; those before it are done."""
        self._before, self._size, self._rows_before = sum(self._sizes[:place]), self._sizes[place], self._rows

    def done(self, rows: int, share: float) -> None:
        """Say that so many more rows are read, and which share of the input."""
        self._rows += rows
        if self._known:
            self._report(self._rows)
        else:
            self._report(self._before + int(share * self._size), f"{self._rows:,} rows")


@contextmanager
def telling(inputs: Sequence[Input], sources: Sequence[Source], quiet: bool) -> Iterator[Telling]:
    """Yield what is to be told of each chunk; a bar on a terminal, lines elsewhere, nothing where it is to be quiet."""
    rows = [source.rows for source in sources]
    counts = [count for count in rows if count is not None]
    known = len(counts) == len(rows)
    sizes = counts if known else [each.stamp.get("bytes", 0) for each in inputs]
    if quiet:
        yield Telling(_silent, sizes, known)
        return
    with progress.step("predict", sum(sizes), "rows" if known else "bytes") as report:
        yield Telling(report, sizes, known)


def _silent(done: int, text: str = "") -> None:
    pass
