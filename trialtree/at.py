"""Read a table of a revision without checking it out.

    trialtree data at REV PATH [--rows N] [--columns A,B] [--out FILE]

Reads   Git's objects, DVC's cache, the default remote for what the cache lacks
Writes  the file of --out; DVC's cache
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from stages import databases
from stages.databases import literal, quoted
from stages.errors import UserError
from stages.files import replacing
from trialtree import objects, revisions, rows
from trialtree.revisions import Out, RevisionError
from trialtree.tracking import git

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

# DuckDB's types in the words of params.yaml.
_TYPES = {"BIGINT": "integer", "DOUBLE": "number", "VARCHAR": "text", "TIMESTAMP": "date"}
_WRITTEN = {".parquet": "FORMAT parquet, COMPRESSION zstd", ".csv": "FORMAT csv, HEADER"}


@dataclass(frozen=True)
class Shown:
    """The first rows of a table, and how large it is."""

    commit: str
    path: str
    rows: int  # of the whole table
    columns: dict[str, str]  # types by name
    first: list[tuple[Any, ...]]


def table(rev: str, path: str, columns: Sequence[str] = ()) -> "pa.Table":
    """Return a table of a revision, whole, with all columns or those asked for.

    Raises:
        UserError: there is no such revision, table or column, or its files are nowhere.
    """
    with _opened(rev, path, columns) as (database, query, _):
        found: pa.Table = database.sql(query).to_arrow_table()
        return found


def show(rev: str, path: str, limit: int, columns: Sequence[str] = ()) -> Shown:
    """Return the first `limit` rows of a table of a revision.

    Raises:
        UserError: as in `table`.
    """
    with _opened(rev, path, columns) as (database, query, commit):
        kinds = {name: str(kind) for name, kind, *_ in database.execute(f"DESCRIBE {query}").fetchall()}
        types = {name: _TYPES.get(kind, kind.lower()) for name, kind in kinds.items()}
        first = database.execute(f"{query} LIMIT {limit}").fetchall()
        return Shown(commit, path, _count(database, query), types, first)


def _count(database: "duckdb.DuckDBPyConnection", query: str) -> int:
    ((rows,),) = database.execute(f"SELECT count(*) FROM ({query})").fetchall()
    return int(rows)


def write(rev: str, path: str, target: Path, columns: Sequence[str] = ()) -> Shown:
    """Write a table of a revision to a .parquet or .csv file, whole or not at all.

    Raises:
        UserError: as in `table`, or the file has another suffix.
    """
    options = _WRITTEN.get(target.suffix.lower())
    if options is None:
        raise UserError(f"--out: must end in .parquet or .csv, got {target.name}")
    with _opened(rev, path, columns) as (database, query, commit), replacing(target) as partial:
        database.execute(f"COPY ({query}) TO {literal(partial)} ({options})")
        return Shown(commit, path, _count(database, query), {}, [])


@contextmanager
def _opened(rev: str, path: str, columns: Sequence[str]) -> "Iterator[tuple[duckdb.DuckDBPyConnection, str, str]]":
    """Yield a database, the query of a revision's table in it, and the revision's commit."""
    import duckdb

    commit = revisions.commit(rev)
    path = Path(path).as_posix()
    with TemporaryDirectory() as folder, databases.connection() as database:
        files = _files(commit, path, Path(folder))
        try:
            source = rows.source(database, path, files, commit)
            names = [name for name, *_ in database.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]
            for name in columns:
                if name not in names:
                    raise RevisionError(f"{path} at {commit[:7]} has no column {name!r}; it has: {', '.join(names)}")
            chosen = ", ".join(quoted(name) for name in columns) or "*"
            yield database, f"SELECT {chosen} FROM {source}", commit
        except duckdb.Error as error:
            line = str(error).strip().splitlines()[0]
            raise RevisionError(f"{path} at {commit[:7]} cannot be read as a table: {line}") from None


def _files(commit: str, path: str, folder: Path) -> list[tuple[str, Path]]:
    """Return the files of a table, their paths and where they are; what Git has is written to `folder`."""
    with git.objects() as store:
        found = revisions.outs(store, commit)
        out, below = _within(found, path)
        if out is not None:
            files = objects.located(out, below)
            if files:
                return files
        content = store.read(f"{commit}:./{path}") if path in revisions.files(commit) else None
        if content is None:
            there = ", ".join(revisions.tables(store, commit)) or "none: no dvc.lock"
            raise RevisionError(f"{path} is no output at {commit[:7]}; there: {there}")
    place = folder / "content"
    place.write_bytes(content)
    return [(path, place)]


def _within(outs: Mapping[str, Out], path: str) -> tuple[Out | None, str]:
    """Return the output that is a path or holds it, and the path in it."""
    if path in outs:
        return outs[path], ""
    holding = next((out for out in outs.values() if path.startswith(f"{out.path}/")), None)
    return holding, path.removeprefix(f"{holding.path}/") if holding else ""
