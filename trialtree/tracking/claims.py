"""Keep other machines from publishing the same trial to a shared database at the same moment."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

_RACED = ("UNIQUE constraint failed", "duplicate key value", "Duplicate entry")  # sqlite, PostgreSQL, MySQL


@contextmanager
def alone(client: "MlflowClient", name: str, *, embedded: bool) -> Iterator[bool]:
    """Be the only one who publishes what has this name, and yield whether that is certain.

    It is for the repository's own store, whose lock is held, and for PostgreSQL,
    whose lock ends with the connection, however that ends.
    """
    with all_alone(client, [name], embedded=embedded) as certain:
        yield certain


@contextmanager
def all_alone(client: "MlflowClient", names: Iterable[str], *, embedded: bool) -> Iterator[bool]:
    """Be the only one who publishes what has these names; see `alone`."""
    engine = database(client)
    if embedded or engine is None or engine.dialect.name != "postgresql":
        yield embedded
    else:
        with _locked(engine, names):
            yield True


def raced(error: Exception) -> bool:
    """Say whether an error of MLflow is that somebody else has just made the same row."""
    return any(words in str(error) for words in _RACED)


@contextmanager
def making(uri: str) -> Iterator[None]:
    """Be the only one who makes the tables of a database of PostgreSQL; of another store, do nothing."""
    if not uri.startswith("postgres"):
        yield
        return
    from sqlalchemy import create_engine

    engine = create_engine(uri)
    try:
        with _locked(engine, ["trialtree makes tables"]):
            yield
    finally:
        engine.dispose()


@contextmanager
def _locked(engine: Any, names: Iterable[str]) -> Iterator[None]:
    """Hold locks of PostgreSQL, which end with the connection; taken in one order, so that nobody waits in a ring."""
    from sqlalchemy import text

    digests = (hashlib.sha256(name.encode()).digest()[:8] for name in names)
    numbers = [{"number": number} for number in sorted({int.from_bytes(d, "big", signed=True) for d in digests})]
    with engine.connect() as connection:
        try:
            for number in numbers:
                connection.execute(text("SELECT pg_advisory_lock(:number)"), number)
            yield
        finally:
            for number in numbers:
                connection.execute(text("SELECT pg_advisory_unlock(:number)"), number)


def database(client: "MlflowClient") -> Any:
    """Return SQLAlchemy's engine of a store that is a database; None for a server."""
    store = client._tracking_client.store  # the pinned version's; without it there is only the way through a server
    return getattr(store, "engine", None)


@contextmanager
def in_bulk(client: "MlflowClient") -> Iterator[None]:
    """Let sqlite write without waiting for the disk at each step; what a power cut may lose, the next call adds."""
    from sqlalchemy import event
    from sqlalchemy.exc import OperationalError

    engine = database(client)
    if engine is None or engine.dialect.name != "sqlite":
        yield
        return

    def begin(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

    event.listen(engine, "connect", begin)
    engine.dispose()
    try:
        yield
    finally:
        event.remove(engine, "connect", begin)
        engine.dispose()
        client._get_registry_client().store.engine.dispose()
        # Refused while somebody looks at the store, which then stays as it is until the next time.
        with suppress(OperationalError), engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = DELETE")
