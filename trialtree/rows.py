"""The rows of a table's files as a query: Parquet, CSV as the revision's params read it, the leaves of JSON."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages import tables
from stages.databases import literal
from stages.tables import STORED
from trialtree import objects, revisions
from trialtree.revisions import RevisionError
from trialtree.tracking import git, locks

if TYPE_CHECKING:
    import duckdb

_SPLIT = f"{tables.SPLIT}/"
_PARAMS = "params.yaml"
_PACKED = {".gz": "gzip", ".zst": "zstd"}

File = tuple[str, Path]  # where a file stands in the revision, and where its content is


def source(database: "duckdb.DuckDBPyConnection", path: str, files: Sequence[File], commit: str) -> str:
    """Return what to select the rows of a table from: one file, or the parts in a folder, in their order.

    Raises:
        RevisionError: the files are not one table.
    """
    packed = _PACKED.get(Path(files[0][0]).suffix.lower(), "none")
    suffixes = {Path(name if packed == "none" else name.rpartition(".")[0]).suffix.lower() for name, _ in files}
    folders = {name.rpartition("/")[0] for name, _ in files}
    parts = all(Path(name).name.startswith("part-") for name, _ in files)
    if len(suffixes) > 1 or (len(files) > 1 and not (parts and len(folders) == 1)):
        named = sorted({name if f == path else f for name, _ in files for f in [name.rpartition("/")[0]]})
        raise RevisionError(f"{path} at {commit[:7]} is a folder, not one table; name one of {', '.join(named)}")
    paths = _list(str(place) for _, place in files)
    match suffixes.pop():
        case ".parquet":
            return f"read_parquet({paths})"
        case ".json":
            return _leaves(database, files[0][1])
        case ".csv" | ".tsv" | ".data" | ".txt":
            return f"read_csv({paths}, compression='{packed}', {_dialect(path, files, commit)})"
    raise RevisionError(f"{path} at {commit[:7]} is no table: neither Parquet, nor CSV, nor JSON")


def _leaves(database: "duckdb.DuckDBPyConnection", place: Path) -> str:
    """Make a view of the leaves of a JSON file: their dotted names and values."""
    found = list(locks.flat(json.loads(place.read_bytes())))
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for _, value in found)
    database.execute(f"CREATE TABLE leaves (name VARCHAR, value {'DOUBLE' if numbers else 'VARCHAR'})")
    values = [(name, value if numbers or isinstance(value, str) else json.dumps(value)) for name, value in found]
    if values:
        database.executemany("INSERT INTO leaves VALUES (?, ?)", values)
    return "leaves"


def _dialect(path: str, files: Sequence[File], commit: str) -> str:
    """Return how CSV files are to be read: nothing about the stages' own is guessed."""
    if path.startswith(_SPLIT):
        return _dealt(commit)
    return ", ".join(f"{name}={value}" for name, value in _given(files[0][0], commit))


def _dealt(commit: str) -> str:
    """Return how the split's CSV files are written."""
    with git.objects() as store:
        split = revisions.outs(store, commit)[str(tables.SPLIT)]
    ((_, place),) = objects.located(split, "columns.json")
    stored = {c["name"]: STORED[c["type"]] for c in json.loads(place.read_bytes())["columns"]}
    types = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in stored.items())
    return (
        f"header=true, auto_detect=false, delim=',', quote='\"', escape='\"', nullstr='', allow_quoted_nulls=false, "
        f"columns={{{types}}}"
    )


def _given(name: str, commit: str) -> Iterator[tuple[str, str]]:
    """Yield what the revision's params say of a source's file: a first line that is a row stays one."""
    p = _fetch(commit)
    asked = p.get("source")
    if name not in (asked if isinstance(asked, list) else [asked]):
        yield "header", "true"
        return
    names, header = p.get("columns"), p.get("header")
    yield "header", str(names is None if header is None else header).lower()
    if names is not None:
        yield "names", _list(names)
    if p.get("delimiter"):
        yield "delim", literal(p["delimiter"])
    yield "decimal_separator", literal(p.get("decimal", "."))
    yield "encoding", literal(p.get("encoding", "utf-8"))
    yield "nullstr", _list(["", *p.get("missing", ("NA", "NaN", "null"))])


def _list(texts: Iterable[str]) -> str:
    return "[" + ", ".join(literal(text) for text in texts) + "]"


def _fetch(commit: str) -> Mapping[str, Any]:
    """Return the fetch section of a revision's params.yaml."""
    with git.objects() as store:
        content = locks.load(store.read(f"{commit}:./{_PARAMS}") or b"")
    section = content.get("fetch") if isinstance(content, Mapping) else None
    return section if isinstance(section, Mapping) else {}
