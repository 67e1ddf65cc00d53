"""Read `where`: train.hyperparameters.low < train.hyperparameters.high and train.seed != 3.

Comparisons (< <= > >= == != in, not in) between keys of params.yaml, numbers, texts in quotes, true, false, null and
lists, with and, or, not, brackets, and + - * /.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stages.params import shown
from trialtree.sweep.space.finding import MISSING

_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda value, of: value in of,
    ast.NotIn: lambda value, of: value not in of,
}
_RECKON: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_WORDS = {"true": True, "false": False, "null": None}
_KEY = re.compile(r"\w+(\.\w+)*")
_LONGEST = 1000  # characters


class ConditionError(ValueError):
    """A condition that cannot be read, or not be evaluated; with what is wrong."""


class _Unset(Exception):  # noqa: N818  # no error: a condition says nothing of a point without the key
    """A key that a point does not have."""


@dataclass(frozen=True)
class Condition:
    """A condition on a point."""

    text: str
    tree: ast.expr
    keys: tuple[str, ...]  # that it names, in order

    def holds(self, value_of: Callable[[str], Any]) -> bool:
        """Say whether it holds, or says nothing: where the point does not have all of its keys.

        Raises:
            ConditionError: it compares what cannot be compared.
        """
        try:
            return bool(_value(self.tree, value_of))
        except _Unset:
            return True
        except (TypeError, ArithmeticError) as error:
            values = ", ".join(f"{key} is {shown(value_of(key))}" for key in self.keys)
            raise ConditionError(f"cannot be told of a point ({error}) where {values}") from None


def read(text: str) -> Condition:
    """Return a condition.

    Raises:
        ConditionError: it is none.
    """
    if len(text) > _LONGEST:
        raise ConditionError(f"must be at most {_LONGEST} characters long")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ConditionError("must be a comparison such as train.hyperparameters.a < train.hyperparameters.b") from None
    if not isinstance(tree, ast.Compare | ast.BoolOp | ast.UnaryOp):
        raise ConditionError("must be a comparison such as train.hyperparameters.a < train.hyperparameters.b")
    keys: dict[str, None] = {}
    _check(tree, keys)
    if not keys:
        raise ConditionError("must name a key of the space")
    return Condition(text, tree, tuple(keys))


def _check(node: ast.AST, keys: dict[str, None]) -> None:
    """Collect the keys of an expression, and refuse what a condition cannot hold."""
    match node:
        case ast.Compare(ops=ops) if all(type(op) in _COMPARE for op in ops):
            inner: list[ast.expr] = [node.left, *node.comparators]
        case ast.BoolOp(values=values):
            inner = values
        case ast.BinOp(op=op) if type(op) in _RECKON:
            inner = [node.left, node.right]
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            inner = [node.operand]
        case ast.List(elts=items):
            inner = items
        case ast.Constant(value=str() | int() | float() | None):
            return
        case ast.Name() | ast.Attribute() if _KEY.fullmatch(name := ast.unparse(node)):
            if name not in _WORDS:
                keys[name] = None
            return
        case _:
            raise ConditionError(f"cannot hold `{ast.unparse(node)}`: only keys, literals and comparisons of them")
    for part in inner:
        _check(part, keys)


def _value(node: ast.expr, value_of: Callable[[str], Any]) -> Any:  # noqa: PLR0911  # one for each form
    """Return what a checked expression is for a point."""
    match node:
        case ast.Compare():
            return _compared(node, value_of)
        case ast.BoolOp(op=op, values=values):
            return (all if isinstance(op, ast.And) else any)(_value(part, value_of) for part in values)
        case ast.BinOp():
            return _RECKON[type(node.op)](_value(node.left, value_of), _value(node.right, value_of))
        case ast.UnaryOp(op=op):
            value = _value(node.operand, value_of)
            return not value if isinstance(op, ast.Not) else -value
        case ast.List(elts=items):
            return [_value(item, value_of) for item in items]
        case ast.Constant(value=value):
            return value
    name = ast.unparse(node)
    value = _WORDS[name] if name in _WORDS else value_of(name)
    if value is MISSING:
        raise _Unset
    return value


def _compared(node: ast.Compare, value_of: Callable[[str], Any]) -> bool:
    """Return whether a chain of comparisons holds, as a < b < c."""
    left = _value(node.left, value_of)
    for op, part in zip(node.ops, node.comparators, strict=True):
        right = _value(part, value_of)
        if not _COMPARE[type(op)](left, right):
            return False
        left = right
    return True
