"""What fetch and a person write, made by tests in the folder that they stand in."""

import json
from pathlib import Path
from typing import Any

from stages import tables
from stages.tables import Column


def raw(select: str, **types: tables.Type) -> None:
    """Write data/raw.parquet from an SQL query without row numbers, with the types of its columns."""
    columns = [Column(tables.ROW, "integer", "row"), *(Column(name, type_) for name, type_ in types.items())]
    tables.RAW.parent.mkdir(exist_ok=True)
    with tables.connection() as database:
        numbered = f"SELECT row_number() OVER () - 1 AS row, * FROM ({select})"
        tables.write_parquet(database, numbered, tables.RAW, columns)


def write_params(**sections: Any) -> None:
    """Write params.yaml (JSON is YAML)."""
    Path("params.yaml").write_text(json.dumps(sections))
