"""Which MLflow a repository speaks to, made once, and spoken to by one process at a time.

MLFLOW_TRACKING_URI where it is set; else a store of the repository's own:
mlflow.db and mlartifacts/ at the top of its main working tree, so that
worktrees and the temporary folders of `dvc exp run` share it.
"""

import fcntl
import gc
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages.errors import UserError
from trialtree.tracking import addresses, claims, embedded, faults, git
from trialtree.tracking.addresses import StoreError as StoreError  # noqa: PLC0414  # others catch it as ours

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PATIENCE = 5  # seconds to wait for a server's port
_STARTS = 60  # seconds that a server may take from opening its port to its first word
_AFTER = "the trial is kept; `dvc repro register` publishes it once that is mended"

# No calls on the user's behalf, a short wait where a server is away, no talk. What the user has set stays.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "PGCONNECT_TIMEOUT": "5",
}


@dataclass(frozen=True)
class Store:
    """An MLflow tracking store and registry."""

    uri: str
    top: Path  # of the main working tree

    @property
    def embedded(self) -> bool:
        """Whether it is the repository's own."""
        return self.uri == embedded.uri(self.top)

    @property
    def exists(self) -> bool:
        """Whether it is there; one elsewhere is taken to be."""
        return not self.embedded or (self.top / embedded.DATABASE).exists()

    @property
    def shown(self) -> str:
        """The address without a password."""
        return git.without_credentials(self.uri)

    @property
    def served(self) -> bool:
        """Whether it is an MLflow server's."""
        return addresses.scheme(self.uri) in addresses.SERVERS

    @property
    def artifacts(self) -> str | None:
        """Where experiments keep their files; None where a server decides.

        A database without a server takes MLFLOW_DEFAULT_ARTIFACT_ROOT, as a server does, or the repository's folder.
        """
        if addresses.scheme(self.uri) not in addresses.DATABASES:
            return None
        given = None if self.embedded else os.environ.get("MLFLOW_DEFAULT_ARTIFACT_ROOT")
        return given or (self.top / embedded.ARTIFACTS).as_uri()

    @contextmanager
    def opened(self, after: str = _AFTER) -> "Iterator[MlflowClient]":
        """Yield a client, no other process of this repository having one; `after` says what to do when it fails.

        Raises:
            StoreError: the store cannot be reached, used or written to; one line, with what to do.
        """
        with self.told(after), _lock(self.top / f"{embedded.DATABASE}.lock"), _current(self.uri):
            yield self._client()

    @contextmanager
    def told(self, after: str) -> Iterator[None]:
        """Say in one line what the store refuses in the block, and `after`.

        Raises:
            StoreError: it refuses something.
        """
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            if not faults.of_store(error):
                raise
            raise StoreError(f"MLflow at {self.shown}: {faults.line(error, self.uri, self.shown)}; {after}") from None

    def load(self) -> None:
        """Import what speaks to it, which takes seconds: before `opened`, where others would wait for that."""
        with _current(self.uri):
            pass

    def _client(self) -> "MlflowClient":
        """Return a client of a store that answers."""
        if self.embedded:
            embedded.make(self.top)
        if self.served:
            import requests

            # A server that is away is found out in seconds, one that starts is waited for; the answer does not matter.
            requests.get(f"{self.uri.rstrip('/')}/health", timeout=(_PATIENCE, _STARTS))
        from mlflow import MlflowClient

        with claims.making(self.uri):
            return MlflowClient(self.uri)


def find() -> Store:
    """Return the store of the repository around the working folder.

    Raises:
        GitError: there is no repository.
        StoreError: MLFLOW_TRACKING_URI is no address of a store, or the folder has a name that none can hold.
    """
    # In a temporary folder of `dvc exp run`, DVC_ROOT is the repository that the experiment goes to.
    folder = Path(os.environ["DVC_ROOT"]) if {"DVC_ROOT", "DVC_EXP_NAME"} <= os.environ.keys() else Path()
    top = git.shared_top(folder.absolute())
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri:
        return Store(addresses.absolute(uri), top)
    if odd := {"%", "?"} & set(str(top)):
        raise StoreError(
            f"the repository's folder {top} has a {odd.pop()} in its name, which an address of sqlite cannot hold; "
            "rename it, or set MLFLOW_TRACKING_URI"
        )
    return Store(embedded.uri(top), top)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Be the only one who holds the lock; the system lets go of it when the process ends, however it ends."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _current(uri: str) -> Iterator[None]:
    """Make `uri` MLflow's own for the time being, silently: parts of its registry look there, whatever one says."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    with uncollected():
        import mlflow

        if addresses.scheme(uri) in addresses.DATABASES:
            import mlflow.store.db.utils
            import mlflow.store.model_registry.sqlalchemy_store
            import mlflow.store.tracking.sqlalchemy_store

            # It waits up to 100 seconds for a database that is away.
            mlflow.store.db.utils.MAX_RETRY_COUNT = 4
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.set_tracking_uri(uri)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(before)


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector from a thousand modules, now and when the process ends: of 2.3 s it takes 0.9 s."""
    was, first = gc.isenabled(), "mlflow" not in sys.modules
    gc.disable()
    try:
        yield
    finally:
        if first:
            gc.freeze()
        if was:
            gc.enable()
