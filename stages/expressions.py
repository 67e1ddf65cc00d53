"""Columns derived by SQL expressions over the row, which can reach nothing but the row.

An expression is parsed first: one scalar expression over known columns, without
subqueries, aggregates and anything that differs from run to run.  DuckDB itself
is then shut off from files and network as well.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.databases import literal, quoted
from stages.params import ParamsError, nearest

if TYPE_CHECKING:
    import duckdb

# Functions of the time of day that DuckDB does not mark as such; age of one time is another.
_UNSTABLE = {"ago", "pg_conf_load_time", "pg_postmaster_start_time"}
_REFUSED = {
    "SUBQUERY": "a subquery",
    "WINDOW": "a window over many rows",
    "STAR": "a star",
    "PARAMETER": "a parameter",
    "POSITIONAL_REFERENCE": "a column's position",
    "DEFAULT": "DEFAULT",
}


def shut_off(database: "duckdb.DuckDBPyConnection", folders: Sequence[Path], files: Sequence[Path]) -> None:
    """Leave a database nothing but the given folders and files, for good: no network, no extension, no setting."""
    inside = ", ".join(literal(f"{folder}/") for folder in folders)
    single = ", ".join(literal(file) for file in files)
    database.execute(f"SET allowed_directories=[{inside}]")
    database.execute(f"SET allowed_paths=[{single}]")
    database.execute("SET python_enable_replacements=false")
    database.execute("SET enable_external_access=false")
    database.execute("SET lock_configuration=true")


def derived(
    database: "duckdb.DuckDBPyConnection", source: str, columns: Sequence[str], derive: Mapping[str, str]
) -> str:
    """Return the query of a view's columns and the derived ones, each of which may use those before it.

    Raises:
        ParamsError: an expression is no expression over the row, or DuckDB refuses it.
    """
    known = list(columns)
    query = f"FROM {source}"
    for name, expression in derive.items():
        _check(database, name, expression, known)
        query = f"SELECT *, ({expression}\n) AS {quoted(name)} FROM ({query})"
        _explained(database, name, f"DESCRIBE {query}")
        known.append(name)
    return query


def find_failing(database: "duckdb.DuckDBPyConnection", query: str, derive: Mapping[str, str]) -> None:
    """Raise ParamsError for the first derived column of a query whose values cannot be calculated."""
    import duckdb

    try:
        database.execute(f"DESCRIBE {query}")
    except duckdb.Error:
        return  # it failed before anything was derived
    for name in derive:
        _explained(database, name, f"SELECT max({quoted(name)}) FROM ({query})")


def _explained(database: "duckdb.DuckDBPyConnection", name: str, query: str) -> None:
    """Run a query; what DuckDB says against it becomes a line about the derived column."""
    import duckdb

    try:
        database.execute(query).fetchall()
    except duckdb.Error as error:
        raise ParamsError(f"params.yaml: fetch.derive.{name}: {_reason(str(error))}") from None


def _reason(message: str) -> str:
    """Return DuckDB's message as one line, without the place in a query that nobody wrote."""
    return " ".join(message.split("\n\nLINE ", maxsplit=1)[0].split())


def _check(database: "duckdb.DuckDBPyConnection", name: str, expression: str, columns: Sequence[str]) -> None:
    """Raise ParamsError where a text is not one expression over the row."""
    where = f"params.yaml: fetch.derive.{name}"
    if name.casefold() in {column.casefold() for column in columns}:
        raise ParamsError(f"{where}: the table has such a column; give the new one another name, and drop the old")
    row = database.execute("SELECT json_serialize_sql(?)", [f"SELECT {expression}\n"]).fetchone()
    parsed = json.loads(row[0]) if row else {}
    if parsed.get("error_type") == "parser" and expression.strip():
        raise ParamsError(f"{where}: {_reason(parsed['error_message'])}, got {expression!r}")
    nodes = [statement["node"] for statement in parsed.get("statements", ())]
    if len(nodes) != 1 or not _is_expression(nodes[0]):
        raise ParamsError(f"{where}: must be one SQL expression over the row, got {expression!r}")
    known = {column.casefold() for column in columns} | _parameters(nodes[0])
    called: list[tuple[str, int]] = []
    for node in _nodes(nodes[0]["select_list"][0]):
        kind = node["class"]
        if kind in _REFUSED:
            raise ParamsError(f"{where}: must be an expression over the row, without {_REFUSED[kind]}")
        if kind == "COLUMN_REF" and node["column_names"][0].casefold() not in known:
            raise ParamsError(
                f"{where}: there is no column {node['column_names'][0]!r}; {nearest(node['column_names'][0], columns)}"
            )
        if kind == "FUNCTION":
            called.append((node["function_name"].lower(), len(node["arguments"])))
    _check_functions(database, where, called)


def _is_expression(node: Mapping[str, Any]) -> bool:
    """Say whether a parsed SELECT is nothing but one expression without a name."""
    rest = ("where_clause", "having", "qualify", "sample", "group_expressions", "modifiers")
    return (
        node["type"] == "SELECT_NODE"
        and len(node["select_list"]) == 1
        and not node["select_list"][0]["alias"]
        and node["from_table"]["type"] == "EMPTY"
        and not node["cte_map"]["map"]
        and not any(node.get(part) for part in rest)
    )


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every expression inside a parsed one, itself included."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if isinstance(node.get("class"), str):
                yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _parameters(tree: Any) -> set[str]:
    """Return the names that lambdas inside an expression give their parameters."""
    lambdas = (node["lhs"] for node in _nodes(tree) if node["class"] == "LAMBDA")
    return {n["column_names"][0].casefold() for lhs in lambdas for n in _nodes(lhs) if n["class"] == "COLUMN_REF"}


def _check_functions(database: "duckdb.DuckDBPyConnection", where: str, called: Sequence[tuple[str, int]]) -> None:
    """Raise ParamsError for a function over many rows, or one whose value is not a function of the row."""
    rows = database.execute(
        "SELECT function_name, bool_and(function_type = 'aggregate'), bool_or(stability <> 'CONSISTENT') "
        "FROM duckdb_functions() WHERE function_name IN (SELECT unnest(?)) GROUP BY function_name ORDER BY ALL",
        [[name for name, _ in called]],
    ).fetchall()
    for name, aggregate, unstable in rows:
        if aggregate:
            raise ParamsError(f"{where}: {name}() is over many rows; must be an expression over the row")
        if unstable or name in _UNSTABLE or (name == "age" and (name, 1) in called):
            raise ParamsError(f"{where}: {name}() differs from run to run; must be a function of the row")
