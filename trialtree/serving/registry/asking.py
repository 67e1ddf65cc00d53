"""What is asked of the registry: NAME, NAME@alias or NAME/version."""

import re
from dataclasses import dataclass

from stages.errors import UserError

CHAMPION = "champion"  # the alias that a name alone means, where the model has it
_NAME = re.compile(r"\w[\w .-]{0,255}")
_ALIAS = re.compile(r"\w[\w-]{0,255}")
_VERSION = re.compile(r"[1-9][0-9]{0,9}")
_SHOWN = 60  # characters of what was given


class RegistryError(UserError):
    """A model that cannot be had from the registry."""


@dataclass(frozen=True)
class Asked:
    """A model by its name alone, by an alias or by a version."""

    name: str
    alias: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        """Return it as it is written."""
        return (
            f"{self.name}@{self.alias}" if self.alias else f"{self.name}/{self.version}" if self.version else self.name
        )

    def aliased(self, alias: str) -> "Asked":
        """Return the same model by an alias."""
        return parse(f"{self.name}@{alias}")


def parse(text: str) -> Asked:
    """Return what is asked for.

    Raises:
        RegistryError: it is written in another way.
    """
    name, at, alias = text.partition("@")
    name, slash, version = (name, "", "") if at else text.partition("/")
    fits = _NAME.fullmatch(name) and (not at or _ALIAS.fullmatch(alias)) and (not slash or _VERSION.fullmatch(version))
    if not fits:
        raise RegistryError(
            f"a model is NAME, NAME@ALIAS or NAME/NUMBER, with letters, digits, _, - and . in its name; "
            f"got {text[:_SHOWN]!r}"
        )
    return Asked(name, alias or None, version or None)
