"""What a registry says of a model, whichever way it is asked, and which version is meant by that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from trialtree.serving.registry.asking import CHAMPION, Asked, RegistryError

_LISTED = 20  # names, aliases or versions in a message


@dataclass(frozen=True)
class Known:
    """The aliases and versions of a registered model."""

    aliases: Mapping[str, str]  # the number of the version that each stands at
    versions: Sequence[str]  # numbers, rising


@dataclass(frozen=True)
class Held:
    """A version as the registry has it."""

    name: str
    number: str
    tags: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None  # of its files, with MLmodel; None where they are to be downloaded


class Book(Protocol):
    """A registry that is read."""

    shown: str  # its address, without a password
    pace: float  # seconds between two looks at it

    def names(self) -> list[str]:
        """Return the names of all models."""

    def known(self, name: str) -> Known | None:
        """Return what there is of a model; None where there is no such model."""

    def held(self, name: str, number: str) -> Held:
        """Return a version that is known."""


def choose(book: Book, asked: Asked) -> tuple[str, str | None]:
    """Return the number of the version that is meant, and the alias by which it is.

    Raises:
        RegistryError: there is none; the line says what there is.
    """
    known = book.known(asked.name)
    if known is None:
        raise RegistryError(
            f"there is no registered model {asked.name!r} in {book.shown}; {_there('registered', book.names())}"
        )
    if asked.version is not None:
        if asked.version not in known.versions:
            raise RegistryError(f"{asked.name} has no version {asked.version}; {_there('versions', known.versions)}")
        return asked.version, None
    alias = asked.alias or CHAMPION
    if alias in known.aliases:
        return known.aliases[alias], alias
    if asked.alias is not None:
        raise RegistryError(
            f"{asked.name} has no alias {alias!r}; {_there('aliases', sorted(known.aliases))}; "
            f"{_there('versions', known.versions)}"
        )
    if not known.versions:
        raise RegistryError(f"{asked.name} has no version in {book.shown}; `dvc repro` registers one")
    return known.versions[-1], None


def _there(what: str, found: Sequence[str]) -> str:
    """Say what there is, the last where there is much."""
    if not found:
        return f"{what}: none"
    more = f"{len(found) - _LISTED} more, " if len(found) > _LISTED else ""
    return f"{what}: {more}{', '.join(found[-_LISTED:])}"
