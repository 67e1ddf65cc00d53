"""Write a CSV file line by line, so that one can look on; in the end it is what `files.write_csv` gives."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from stages.files import as_csv, sync, write


class Growing:
    """A CSV file whose rows are seen as soon as they are added; leaving it keeps what was written so far."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # a link to DVC's cache is never written into
        self.path = path
        self._file = path.open("xb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Write rows, the first of all being the header."""
        self._file.write(as_csv(rows))
        self._file.flush()

    def finish(self, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Bring the file to exactly these lines: by adding what is left, or whole where others were written."""
        self._file.close()
        wanted, written = as_csv([header, *rows]), self.path.read_bytes()
        if not wanted.startswith(written):
            write(self.path, wanted)
            return
        with self.path.open("ab") as file:
            file.write(wanted[len(written) :])
            sync(file)
