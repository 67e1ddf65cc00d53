"""Read `space:` of the sweep section into a tree, or say all that is wrong with it."""

import difflib
from collections.abc import Mapping
from typing import Any

from stages import params
from stages.params import PATH, shown
from trialtree.sweep.space.choices import Choice
from trialtree.sweep.space.expressions import Expression
from trialtree.sweep.space.keys import clash
from trialtree.sweep.space.names import DRAWN, EXPRESSIONS
from trialtree.sweep.space.tree import Dimension, Fixed, Group, Linked

Member = Fixed | Linked | Dimension


class Reader:
    """Reads a space, and collects its faults, a line each."""

    def __init__(self, section: str) -> None:
        self.section = section  # where the space stands, for messages
        self.faults: list[str] = []

    def space(self, given: Mapping[Any, Any]) -> Group:
        """Return the tree of a whole space."""
        members: list[Member] = []
        for key, value in given.items():
            if not _is_key(key):
                self._fault(str(key), f"must be a dotted key of {PATH} such as train.hyperparameters.C")
            elif (named := _named(value)) is None:
                self._no_expression(key, value)
            else:
                members += self._member(key, key, *named)
        return self._group(members)

    def _fault(self, place: str, rule: str) -> None:
        self.faults.append(f"{PATH}: {self.section}.{place}: {rule}")

    def _no_expression(self, place: str, value: Any) -> None:
        """Say what a value would have to be, to be drawn from."""
        if isinstance(value, list):
            said = "{choice: [...]}"
        elif not isinstance(value, Mapping):
            said = f"{{fixed: {shown(value)}}} or another expression"
        elif len(value) == 1 and not difflib.get_close_matches(str(next(iter(value))), EXPRESSIONS, cutoff=0.6):
            said = "an expression; a key below is written with a dot, as in train.hyperparameters.C"
        elif len(value) == 1:
            name = next(iter(value))
            self.faults.append(
                f"{PATH}: {self.section}.{place}.{name} is not an expression; {params.nearest(str(name), EXPRESSIONS)}"
            )
            return
        else:
            said = "one expression"
        self._fault(place, f"must be {said}, got {shown(value)}")

    def _member(self, key: str, place: str, name: str, given: Any) -> list[Member]:
        """Return what an expression makes of a key; nothing where it is at fault."""
        if name == "fixed":
            return [Fixed(key, place, given)] if self._literal(f"{place}.fixed", given) else []
        if name == "linked":
            if not _is_key(given):
                self._fault(f"{place}.linked", f"must be another key, got {shown(given)}")
                return []
            return [Linked(key, place, given)]
        expression = self._expression(place, name, given)
        if expression is None:
            return []
        items = self._items(key, place, expression) if isinstance(expression, Choice) else ()
        return [Dimension(key, place, expression, items)]

    def _expression(self, place: str, name: str, given: Any) -> Expression | None:
        """Return an expression from its fields, or from their values alone."""
        cls = DRAWN[name]
        if cls is Choice and isinstance(given, list):
            given = {"values": given}
        elif isinstance(given, list) and len(given) == len(cls.short) > 1:
            given = dict(zip(cls.short, given, strict=True))
        elif len(cls.short) == 1 and not isinstance(given, Mapping):
            given = {cls.short[0]: given}
        try:
            return params.parse(f"{self.section}.{place}.{name}", given, cls)
        except params.ParamsError as error:
            self.faults += str(error).splitlines()
            return None

    def _items(self, key: str, place: str, choice: Choice) -> tuple[Group, ...]:
        """Return what each item of a choice sets."""
        found = []
        for number, item in enumerate(choice.values):
            where = f"{place}.choice[{number}]"
            if (named := _named(item)) is not None:
                members = self._member(key, where, *named)
            elif isinstance(item, Mapping):
                members = self._below(key, where, item)
            else:
                members = [Fixed(key, where, item)] if self._literal(where, item) else []
            found.append(self._group(members))
        return tuple(found)

    def _below(self, key: str, place: str, item: Mapping[Any, Any]) -> list[Member]:
        """Return what a mapping sets: each of its values is a literal, an expression, or such a mapping again."""
        members: list[Member] = []
        for name, value in item.items():
            inner, where = f"{key}.{name}", f"{place}.{name}"
            if not _is_key(name):
                self._fault(
                    place,
                    f"must have texts as keys, got {shown(name)}; a value that is a mapping is written {{fixed: ...}}",
                )
            elif (named := _named(value)) is not None:
                members += self._member(inner, where, *named)
            elif isinstance(value, Mapping) and _is_misspelled(value):
                self._no_expression(where, value)
            elif isinstance(value, Mapping) and value:
                members += self._below(inner, where, value)
            elif self._literal(where, value):
                members.append(Fixed(inner, where, value))
        return members

    def _group(self, members: list[Member]) -> Group:
        """Return members that are set together, after a look at whether they can be."""
        for number, member in enumerate(members):
            clashes = ((other, clash(_set_by(member), _set_by(other))) for other in members[:number])
            if found := next(((other, keys) for other, keys in clashes if keys), None):
                other, keys = found
                self._fault(member.place, f"sets {keys[0]}, and {self.section}.{other.place} sets {keys[1]}")
        return Group(tuple(members))

    def _literal(self, place: str, value: Any) -> bool:
        """Say whether a value can stand in params.yaml and in a journal, after a word where it cannot."""
        if value is None or isinstance(value, str | bool | int | float):
            return True
        if isinstance(value, list):
            return all(self._literal(f"{place}[{number}]", item) for number, item in enumerate(value))
        if isinstance(value, Mapping):
            return all(self._literal(f"{place}.{name}", item) for name, item in value.items())
        self._fault(place, f"must be a number, text, true, false, null, a list or a mapping, got {shown(value)}")
        return False


def _is_key(key: Any) -> bool:
    return isinstance(key, str) and all(key.split("."))


def _named(value: Any) -> tuple[str, Any] | None:
    """Return an expression's name and fields, in either form: {uniform: {...}} and {type: uniform, ...}."""
    if not isinstance(value, Mapping):
        return None
    if len(value) == 1:
        name, given = next(iter(value.items()))
        return (name, given) if name in EXPRESSIONS else None
    name = value.get("type")
    cls = DRAWN.get(name) if isinstance(name, str) else None
    if cls is not None and all(key == "type" or key in cls.model_fields for key in value):
        return str(name), {key: field for key, field in value.items() if key != "type"}
    return None


def _is_misspelled(value: Mapping[Any, Any]) -> bool:
    """Say whether a mapping is more likely an expression with a slip in its name than a key."""
    if len(value) != 1:
        return False
    name, given = next(iter(value.items()))
    fields = {field for cls in DRAWN.values() for field in cls.model_fields}
    like = isinstance(given, list) or (isinstance(given, Mapping) and bool(fields & set(given)))
    return like and bool(difflib.get_close_matches(str(name), EXPRESSIONS, cutoff=0.75))


def _set_by(member: Member) -> set[str]:
    """Return the keys that a member sets, with any of its items."""
    if isinstance(member, Dimension) and member.items:
        return {key for group in member.items for inner in group.members for key in _set_by(inner)}
    return {member.key}
