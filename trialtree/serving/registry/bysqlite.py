"""A registry in a file of sqlite, read without MLflow; only of the schema that is known here."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from trialtree.serving.registry.books import Held, Known
from trialtree.tracking import embedded
from trialtree.tracking.stores import Store

_SCHEMA = "dc11669786a5"  # of MLflow 3.17.2, the revision of its last migration
_PATIENCE = 5  # seconds to wait for another program's lock
_HERE = "workspace = 'default' AND current_stage <> 'Deleted_Internal'"


class Sqlite:
    """A registry in a file of sqlite."""

    pace = 2.0

    def __init__(self, store: Store) -> None:
        self.shown = store.shown
        self._store = store
        self._path = Path(re.sub(r"^sqlite(\+\w+)?:///", "", store.uri))

    def readable(self) -> bool:
        """Say whether the file is there and of the known schema."""
        if not self._path.is_file() or "?" in self._store.uri:
            return False
        try:
            return self._rows("SELECT version_num FROM alembic_version") == [(_SCHEMA,)]
        except sqlite3.Error:
            return False

    def names(self) -> list[str]:
        """Return the names of all models."""
        return [name for (name,) in self._rows("SELECT name FROM registered_models ORDER BY name")]

    def known(self, name: str) -> Known | None:
        """Return what there is of a model."""
        with self._opened() as database:
            there = database.execute("SELECT 1 FROM registered_models WHERE name = ?", (name,)).fetchone()
            asked = f"SELECT version FROM model_versions WHERE name = ? AND {_HERE} ORDER BY version"
            versions = [str(number) for (number,) in database.execute(asked, (name,))]
            asked = "SELECT alias, version FROM registered_model_aliases WHERE name = ?"
            aliases = {alias: str(number) for alias, number in database.execute(asked, (name,))}
        return Known(aliases, versions) if there else None

    def held(self, name: str, number: str) -> Held:
        """Return a version."""
        key = (name, int(number))
        tags = dict(self._rows("SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?", *key))
        [(source,)] = self._rows(f"SELECT source FROM model_versions WHERE name = ? AND version = ? AND {_HERE}", *key)
        return Held(name, number, tags, self._folder(source))

    def _folder(self, source: str) -> Path | None:
        """Return where the files of a version are; None where they are not on this disk."""
        if found := re.fullmatch(r"models:/(m-\w+)", source):
            rows = self._rows("SELECT artifact_location FROM logged_models WHERE model_id = ?", found[1])
            source = rows[0][0] if rows else ""
        return local(self._moved(source))

    def _moved(self, place: str) -> str:
        """Return where the files of a repository are that was moved with its own store since, as `embedded` has it."""
        if not self._store.embedded:
            return place
        rows = self._rows("SELECT artifact_location FROM experiments WHERE experiment_id = 0")
        before = rows[0][0].removesuffix("/0") if rows else ""
        if not before.endswith(f"/{embedded.ARTIFACTS}") or not place.startswith(f"{before}/"):
            return place
        return (self._store.top / embedded.ARTIFACTS).as_uri() + place[len(before) :]

    def _rows(self, statement: str, *given: Any) -> list[Any]:
        with self._opened() as database:
            return database.execute(statement, given).fetchall()

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """Yield the database, to be read only."""
        with closing(sqlite3.connect(f"file:{quote(str(self._path))}?mode=ro", uri=True, timeout=_PATIENCE)) as found:
            yield found


def local(place: str) -> Path | None:
    """Return the folder of an address of artifacts; None where it is elsewhere."""
    parts = urlsplit(place)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return Path(place) if place.startswith("/") else None
