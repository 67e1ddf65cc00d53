"""What fetch and a person write, made by tests in the folder that they stand in."""

import json
from pathlib import Path
from typing import Any

from stages import casts, databases, guessing, numbering, tables
from stages.tables import Column


def raw(select: str, **types: tables.Type) -> None:
    """Write data/raw.parquet from an SQL query without row numbers, with the types of its columns."""
    columns = [Column(name, type_) for name, type_ in types.items()]
    tables.RAW.parent.mkdir(exist_ok=True)
    with databases.connection() as database:
        (rows,) = database.execute(f"SELECT count(*) FROM ({select})").fetchall()[0]
        given = {name: casts.Forced(type_) for name, type_ in types.items()}
        batches = numbering.hashed(database, select, columns)
        numbering.write(batches, guessing.Kinds(columns, given), tables.RAW, rows)


def write_params(**sections: Any) -> None:
    """Write params.yaml (JSON is YAML)."""
    Path("params.yaml").write_text(json.dumps(sections))
