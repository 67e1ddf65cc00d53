"""What a model takes of a row: its columns' names, types, categories, and where gaps are allowed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

Type = Literal["integer", "number", "date", "category", "text"]

KINDS: Mapping[Type, str] = {
    "integer": "a whole number",
    "number": "a number",
    "date": "an ISO 8601 date",
    "category": "a text",
    "text": "a text",
}


@dataclass(frozen=True)
class Field:
    """A column that a model takes."""

    name: str
    type: Type
    categories: tuple[str, ...] = ()  # that the training rows had, in the order of their codes
    gaps: bool = False  # whether the table that it was trained on had any

    @cached_property
    def codes(self) -> dict[str, float]:
        """The number by which the model knows each category."""
        return {text: float(place) for place, text in enumerate(self.categories)}

    @property
    def numeric(self) -> bool:
        """Whether its values are numbers."""
        return self.type in ("integer", "number")


@dataclass(frozen=True)
class Schema:
    """The columns that a model takes, in its order."""

    fields: tuple[Field, ...]
    unknown: bool = False  # whether categories are taken that the training rows did not have
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Keep what every request asks for."""
        object.__setattr__(self, "names", tuple(each.name for each in self.fields))

    @classmethod
    def of(cls, columns: Mapping[str, Any], gaps: Collection[str], unknown: bool = False) -> "Schema":
        """Return the schema of a model's columns.json; `gaps` names the columns in which a gap is no fault."""
        return cls(
            tuple(
                Field(c["name"], c["type"], tuple(c.get("categories", ())), c["name"] in gaps)
                for c in columns["columns"]
            ),
            unknown,
        )

    @cached_property
    def places(self) -> dict[str, int]:
        """The place of each column."""
        return {name: place for place, name in enumerate(self.names)}

    @cached_property
    def tables(self) -> set[Any]:
        """The schemas of Arrow tables that were found to be of these columns."""
        return set()

    @cached_property
    def all_numbers(self) -> bool:
        """Whether each column is of type number, so that any finite numbers will do."""
        return all(each.type == "number" for each in self.fields)

    @cached_property
    def numeric(self) -> bool:
        """Whether each column is one of numbers."""
        return all(each.numeric for each in self.fields)
