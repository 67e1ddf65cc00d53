"""From what is asked for to a checked folder on this machine."""

import json
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trialtree.serving.registry import bymlflow, byrest, caching
from trialtree.serving.registry.asking import Asked, RegistryError
from trialtree.serving.registry.books import Book, Held, choose
from trialtree.serving.registry.bysqlite import Sqlite
from trialtree.tracking import faults, stores
from trialtree.tracking.addresses import StoreError
from trialtree.tracking.trials import COMMIT, DIGEST

_MODEL = Path("data/model")  # in a version's files
_AFTER = "try again once that is mended"


@dataclass(frozen=True)
class Resolved:
    """A version of a registered model whose files are on this machine, whole."""

    name: str
    version: str
    alias: str | None  # by which it was found
    digest: str
    folder: Path
    gaps: tuple[str, ...]  # columns in which a gap is no fault
    commit: str | None  # of the trial; None where it has none yet


@dataclass
class Resolver:
    """A registry, and the models that were brought from it, which nobody removes while this lives."""

    book: Book
    _uri: str
    _held: dict[str, caching.Hold] = field(default_factory=dict)

    @property
    def pace(self) -> float:
        """Seconds between two looks at the registry."""
        return self.book.pace

    def current(self, asked: Asked) -> str:
        """Return the number of the version that is meant now, quickly.

        Raises:
            RegistryError: there is none.
            StoreError: the registry cannot be read.
        """
        if asked.version is not None:
            return asked.version
        with self._told():
            return choose(self.book, asked)[0]

    def resolve(self, asked: Asked) -> Resolved:
        """Return the version that is meant now, its files brought here and checked.

        Raises:
            RegistryError: there is none, or its files cannot be used.
            StoreError: the registry cannot be read.
        """
        with self._told():
            number, alias = choose(self.book, asked)
            held = self.book.held(asked.name, number)
            digest = held.tags.get(DIGEST, "")
            if not re.fullmatch(r"[0-9a-f]{64}", digest):
                raise RegistryError(
                    f"{held.name}/{number} was not registered by trialtree, as it has no tag {DIGEST}: "
                    "`mlflow models serve` serves it"
                )
            self._hold(digest)
            said = caching.found(digest) or _brought(held, digest)
        gaps = tuple(said.get("gaps", ()))
        folder = caching.place(digest) / caching.MODEL
        return Resolved(held.name, number, alias, digest, folder, gaps, held.tags.get(COMMIT))

    def _hold(self, digest: str) -> None:
        if digest not in self._held:
            self._held[digest] = caching.Hold(digest)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say in one line what the registry refuses."""
        try:
            yield
        except sqlite3.Error as error:
            line = faults.line(error, self._uri, self.book.shown)
            raise StoreError(f"MLflow at {self.book.shown}: {line}; {_AFTER}") from None


def resolver() -> Resolver:
    """Return the registry of the repository around the working folder.

    Raises:
        StoreError: MLFLOW_TRACKING_URI is no address of a store, or the repository has none yet.
    """
    store = stores.find()
    if not store.exists:
        raise StoreError(f"there is no registry yet at {store.shown}; `dvc repro` makes it and registers a model")
    return Resolver(_book(store), store.uri)


def _book(store: stores.Store) -> Book:
    """Return the quickest way to a registry."""
    elsewhere = os.environ.get("MLFLOW_REGISTRY_URI", store.uri) != store.uri
    if store.uri.startswith("sqlite") and not elsewhere and (found := Sqlite(store)).readable():
        return found
    if store.served and not elsewhere and byrest.usable():
        return byrest.Rest(store)
    return bymlflow.Mlflow(store)


def _brought(held: Held, digest: str) -> dict[str, Any]:
    """Bring the files of a version into the cache, and return what it says besides."""
    if held.folder is not None and (held.folder / _MODEL).is_dir():
        return _kept(held, digest, held.folder)
    if held.folder is not None and not held.folder.is_dir():
        raise RegistryError(f"the files of {held.name}/{held.number} are gone from {held.folder}")
    with tempfile.TemporaryDirectory() as folder:
        bymlflow.bring(held.name, held.number, Path(folder))
        return _kept(held, digest, Path(folder))


def _kept(held: Held, digest: str, files: Path) -> dict[str, Any]:
    """Keep the model that lies among the files of a version."""
    name, model = f"{held.name}/{held.number}", files / _MODEL
    manifest = model / "manifest.json"
    if not manifest.is_file():
        raise RegistryError(f"{name} holds no model of trialtree: {_MODEL}/manifest.json is not among its files")
    if '"kind": "script"' in manifest.read_text(encoding="utf-8", errors="replace"):
        raise RegistryError(
            f"{name} is the model of a training script, which takes its own form of rows: "
            "`mlflow models serve` serves it"
        )
    said = {"gaps": _gaps(files / "MLmodel")}
    if wrong := caching.keep(digest, model, said):
        raise RegistryError(f"the files of {name} are not those that were registered: {wrong}")
    return said


def _gaps(path: Path) -> list[str]:
    """Return the columns that may be left out, by MLflow's description of a model."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        described = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506  # it is a safe one
        inputs = json.loads(described["signature"]["inputs"])
        return [each["name"] for each in inputs if not each.get("required", True)]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        raise RegistryError(f"{path} does not say what the model takes; register the model anew") from None
