"""The store that a repository has of its own: an sqlite file and a folder, at the top of its main working tree."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
_PATIENCE = 5  # seconds to wait for another program's lock

# Where MLflow's tables hold the whole path of an artifact.
_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def uri(top: Path) -> str:
    """Return its address."""
    return f"sqlite:///{top / DATABASE}"


def make(top: Path) -> None:
    """Make the embedded store, whole or not at all, or see that the one there is one.

    Raises:
        sqlite3.Error: it is locked or damaged.
    """
    path = top / DATABASE
    if path.exists() and path.stat().st_size:
        with closing(sqlite3.connect(path, timeout=_PATIENCE)) as database:
            database.execute("BEGIN IMMEDIATE")
            _bring_along(database, (top / ARTIFACTS).as_uri())
            database.commit()
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    partial = top / f"{DATABASE}.partial"
    # A journal that a killed process left would be played into the new file.
    for left in top.glob(f"{partial.name}*"):
        left.unlink()
    try:
        made: Any = SqlAlchemyStore(f"sqlite:///{partial}", (top / ARTIFACTS).as_uri())
        made.engine.dispose()
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


def _bring_along(database: sqlite3.Connection, artifacts: str) -> None:
    """Let a store that was moved or copied with its repository find its files: MLflow writes whole paths."""
    found = database.execute("SELECT artifact_location FROM experiments WHERE experiment_id = 0").fetchone()
    before = (found or ("",))[0].removesuffix("/0")
    if before == artifacts or not before.endswith(f"/{ARTIFACTS}"):
        return
    for table, column in _PLACES:
        database.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
            (artifacts, len(before) + 1, len(before) + 1, f"{before}/"),
        )
