"""Read `--where`: params.C > 1 and (tags.branch = 'x' or not metrics.`test.roc auc` < 0.9).

expression    either (or either)*, where an either is: one (and one)*
one           not one | ( expression ) | comparison
comparison    name = != < <= > >= value | name [not] in (value, …) | name [not] like 'a%'
name          params.X  metrics.X  tags.X  status  name; `X` where X has odd characters
value         a number, nan, inf, true, false, or a text in quotes: 'it''s'
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from stages.errors import UserError
from trialtree.queries.expressions import ORDERS, All, AnyOf, Compare, Expression, In, Kind, Like, Name, Not, Value

_TOKENS = re.compile(
    r"""\s*(?:
      (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])|[+-]inf\b)
    | (?P<word>[^\W\d](?:[\w.\-/:@]|`[^`]+`)*)
    | (?P<sign>==|!=|<>|<=|>=|=|<|>|\(|\)|,)
    )""",
    re.VERBOSE,
)
_SIGNS = {"=": "=", "==": "=", "!=": "!=", "<>": "!=", **{sign: sign for sign in ORDERS}}
_WORDS: dict[str, Value] = {"nan": float("nan"), "inf": float("inf"), "true": "true", "false": "false"}
_RESERVED = {"and", "or", "not", "in", "like"}
_STATUSES = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")  # MLflow's
_DEEPEST = 50  # brackets and nots in each other
_KINDS = "params.X, metrics.X, tags.X, status or name"


class WhereError(UserError):
    """An expression that cannot be read, or names what no run has."""

    def __init__(self, column: int, message: str) -> None:
        super().__init__(f"--where: column {column}: {' '.join(message.split())}")


@dataclass(frozen=True)
class _Token:
    kind: str  # text, number, word, sign, end
    text: str
    column: int

    @property
    def lower(self) -> str:
        return self.text.lower() if self.kind == "word" else self.text

    @property
    def shown(self) -> str:
        return "the end" if self.kind == "end" else self.text


def parse(text: str) -> Expression:
    """Return the tree of an expression.

    Raises:
        WhereError: it is not one; the line points at the place.
    """
    reader = _Reader(list(_tokens(text)))
    found = reader.expression(0)
    reader.expect("", "and, or, or the end")
    return found


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while rest := text[place:].lstrip():
        column = len(text) - len(rest)
        found = _TOKENS.match(text, column)
        if found is None:
            what = "a quote that is not closed" if text[column] in "'\"`" else f"{text[column]!r} is not understood"
            raise WhereError(column + 1, what)
        yield _Token(str(found.lastgroup), found[0], column + 1)
        place = found.end()
    yield _Token("end", "", len(text) + 1)


class _Reader:
    """Reads tokens from left to right."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens, self._place = tokens, 0

    @property
    def _next(self) -> _Token:
        return self._tokens[self._place]

    def _take(self) -> _Token:
        token = self._next
        self._place += token.kind != "end"
        return token

    def _accept(self, word: str) -> bool:
        found = self._next.kind in ("word", "sign") and self._next.lower == word
        self._place += found
        return found

    def expect(self, sign: str, words: str) -> None:
        """Take what must come next; no sign is the end."""
        if not (self._accept(sign) if sign else self._next.kind == "end"):
            raise WhereError(self._next.column, f"must be {words}, got {self._next.shown}")

    def expression(self, depth: int) -> Expression:
        """Read what stands between `or`."""
        found = [self._all(depth)]
        while self._accept("or"):
            found.append(self._all(depth))
        return AnyOf(tuple(found)) if len(found) > 1 else found[0]

    def _all(self, depth: int) -> Expression:
        found = [self._one(depth)]
        while self._accept("and"):
            found.append(self._one(depth))
        return All(tuple(found)) if len(found) > 1 else found[0]

    def _one(self, depth: int) -> Expression:
        if depth > _DEEPEST:
            raise WhereError(self._next.column, f"must not be more than {_DEEPEST} brackets deep")
        if self._accept("not"):
            return Not(self._one(depth + 1))
        if self._accept("("):
            found = self.expression(depth + 1)
            self.expect(")", "and, or, or )")
            return found
        return self._comparison()

    def _comparison(self) -> Expression:
        name = self._name()
        if self._accept("not"):
            if self._next.lower not in ("in", "like"):
                raise WhereError(self._next.column, f"must be in or like, got {self._next.shown}")
            return Not(self._listed(name))
        if self._next.kind == "word" and self._next.lower in ("in", "like"):
            return self._listed(name)
        sign = self._take()
        if sign.text not in _SIGNS:
            raise WhereError(sign.column, f"must be =, !=, <, <=, >, >=, in or like, got {sign.shown}")
        return Compare(name, _SIGNS[sign.text], self._value(name))

    def _listed(self, name: Name) -> Expression:
        """Read what comes behind a name: in (…), or like '…'."""
        if self._accept("like"):
            token = self._take()
            if token.kind != "text":
                raise WhereError(token.column, f"must be a text in quotes, got {token.shown}")
            return Like(name, _unquoted(token.text))
        self._accept("in")
        self.expect("(", "(")
        values = [self._value(name)]
        while self._accept(","):
            values.append(self._value(name))
        self.expect(")", "a comma or )")
        return In(name, tuple(values))

    def _name(self) -> Name:
        token = self._take()
        kind, _, key = token.text.partition(".")
        plain = token.kind == "word" and token.lower not in _RESERVED and kind in get_args(Kind)
        if not plain or (kind in ("status", "name")) != (key == "") or token.text.endswith("."):
            raise WhereError(token.column, f"must be {_KINDS}, got {token.shown}")
        known: dict[str, Kind] = {each: each for each in get_args(Kind)}
        return Name(known[kind], key.replace("`", ""), token.column)

    def _value(self, name: Name) -> Value:
        token = self._take()
        if token.kind == "number":
            return float(token.text)
        if token.kind == "word" and token.lower in _WORDS:
            return _WORDS[token.lower]
        if token.kind != "text":
            raise WhereError(token.column, f"must be a number, or a text in quotes, got {token.shown}")
        if name.kind == "status" and _unquoted(token.text).upper() not in _STATUSES:
            raise WhereError(token.column, f"must be one of {', '.join(_STATUSES)}, got {token.text}")
        if name.kind == "status":
            return _unquoted(token.text).upper()
        if name.kind == "metrics":
            raise WhereError(token.column, f"metrics are numbers; leave the quotes of {token.text} out")
        return _unquoted(token.text)


def _unquoted(text: str) -> str:
    return text[1:-1].replace(text[0] * 2, text[0])
