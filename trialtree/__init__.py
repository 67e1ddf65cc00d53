"""What people run around the pipeline of a trialtree repository."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["data_at"]


def data_at(rev: str, path: str, columns: Sequence[str] = ()) -> "pa.Table":
    """Return a table of a revision of the repository around the working folder, without checking it out.

    `rev` is a commit, branch, tag or DVC experiment; `path` a table of it:
    `data/raw.parquet`, `data/split/test`, `reports/predictions.parquet`,
    `reports/metrics.json`, a file of `data/source/`. The table is read whole,
    with all columns or those asked for, parts in their order. What DVC's cache
    lacks is brought into it from the default remote.

    Raises:
        stages.errors.UserError: no such revision, table or column, or its files are neither here nor in the remote.
    """
    from contextlib import chdir
    from pathlib import Path

    from trialtree import repository

    with chdir(Path.cwd()):
        repository.enter()
        from trialtree import at

        return at.table(rev, path, columns)
