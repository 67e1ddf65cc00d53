"""Names in a question, short as people write them, to the names that runs have."""

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from stages.errors import UserError
from trialtree.queries.expressions import All, AnyOf, Compare, Expression, In, Like, Name, Not
from trialtree.queries.where import WhereError

_SHOWN = 5  # names in a message
_WHAT = {"params": "param", "metrics": "metric", "tags": "tag"}


class NameFault(UserError):  # noqa: N818  # it becomes the error of the option that holds the name
    """A name that no run has, or that has several meanings."""


def full(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the name that is meant: itself, that of the test part, or the only one that ends in it behind a dot.

    Raises:
        NameFault: there is none, or there are several.
    """
    names = set(known)
    for exact in (name, f"test.{name}" if kind == "metrics" else name):
        if exact in names:
            return exact
    ends = sorted(each for each in names if each.endswith(f".{name}"))
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise NameFault(f"{name} may be {_listed(ends)}; give more of it")
    raise NameFault(f"no run has the {_WHAT[kind]} {name}{_nearest(name, sorted(names))}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" or others" if len(names) > _SHOWN else "")


def _nearest(name: str, names: Sequence[str]) -> str:
    """Return which of the names is meant, perhaps; by its end, where that is enough."""
    ends = [each.rpartition(".")[2] for each in names]
    enough = [end for end in ends if ends.count(end) == 1 or f"test.{end}" in names]
    meant = {each.lower(): each for each in [*names, *enough]}
    close = difflib.get_close_matches(name.lower(), meant, n=1)
    if close:
        return f"; did you mean {meant[close[0]]}?"
    return f"; there are: {_listed(names)}" if names else "; there are none"


def resolved(of: Expression, known: Callable[[str], Iterable[str]]) -> Expression:
    """Return an expression with the names that runs have.

    Raises:
        WhereError: one is unknown or has several meanings.
    """
    if isinstance(of, Not):
        return Not(resolved(of.of, known))
    if isinstance(of, All | AnyOf):
        return type(of)(tuple(resolved(each, known) for each in of.of))
    assert isinstance(of, Compare | In | Like)  # noqa: S101  # there are no others
    return replace(of, name=_full_name(of.name, known))


def _full_name(name: Name, known: Callable[[str], Iterable[str]]) -> Name:
    if name.kind in ("status", "name"):
        return name
    try:
        return replace(name, key=full(name.kind, name.key, known(name.kind)))
    except NameFault as fault:
        raise WhereError(name.column, str(fault)) from None
