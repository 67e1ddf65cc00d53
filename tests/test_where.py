"""`--where`: what can be asked of a run, and what is said to a question with a fault."""

import math
import re
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialtree.queries import naming
from trialtree.queries.expressions import All, AnyOf, Compare, Expression, In, Like, Name, Not
from trialtree.queries.where import WhereError, parse

NAN = float("nan")
RUN = {
    ("params", "train.C"): "10",
    ("params", "train.kernel"): "linear",
    ("params", "odd name"): "true",
    ("metrics", "test.accuracy"): 0.97,
    ("metrics", "loss"): NAN,
    ("tags", "branch"): "it's",
    ("status", ""): "FINISHED",
    ("name", ""): "main@1234567",
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("params.train.C > 9", True),  # as text, "10" is below "9"
        ("params.train.C = 10.0", True),
        ("params.train.C = '10.0'", False),
        ("params.train.C > '9'", True),
        ("params.train.C in (1, 10)", True),
        ("params.train.C not in ('a', 2e0)", True),
        ("params.train.kernel > 1", None),
        ("params.train.kernel = 1", False),
        ("params.train.kernel >= 'lineal'", True),
        ("params.`odd name` = TRUE", True),
        ("metrics.test.accuracy >= .97 AND NOT metrics.test.accuracy > +9.7e-1", True),
        ("metrics.loss = nan", True),
        ("metrics.loss != 1", True),
        ("not metrics.loss > 1", None),
        ("metrics.test.accuracy < inf and metrics.test.accuracy > -inf", True),
        ("tags.branch == 'it''s' or status = 'failed'", True),
        ('tags.branch = "it\'s"', True),
        ("status <> 'finished'", False),
        ("name like 'main@%' and name not like 'main@_'", True),
        ("name like 'main.1234567'", False),
        ("params.none = 1 or params.train.C = 10", True),
        ("params.none != 1", None),
        ("not (params.none = 1 and params.train.C = 1)", True),
    ],
)
def test_a_run_is_so_or_not_or_it_is_unknown(text: str, holds: bool | None) -> None:
    assert parse(text).holds(RUN) is holds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "column 1: must be params.X, metrics.X, tags.X, status or name, got the end"),
        ("params.C >", "column 11: must be a number, or a text in quotes, got the end"),
        ("params.C 1", "column 10: must be =, !=, <, <=, >, >=, in or like, got 1"),
        ("params.C = x", "column 12: must be a number, or a text in quotes, got x"),
        ("params.C = 'x", "column 12: a quote that is not closed"),
        ("params.C = 1 end", "column 14: must be and, or, or the end, got end"),
        ("(params.C = 1", "column 14: must be and, or, or ), got the end"),
        ("params.C in 1", "column 13: must be (, got 1"),
        ("params.C not = 1", "column 14: must be in or like, got ="),
        ("params.C like 1", "column 15: must be a text in quotes, got 1"),
        ("C > 1", "column 1: must be params.X, metrics.X, tags.X, status or name, got C"),
        ("and params.C > 1", "column 1: must be params.X, metrics.X, tags.X, status or name, got and"),
        ("metrics.a = '1'", "column 13: metrics are numbers; leave the quotes of '1' out"),
        ("status = 'done'", "column 10: must be one of RUNNING, SCHEDULED, FINISHED, FAILED, KILLED, got 'done'"),
        ("params.C = 1; --", "column 13: ';' is not understood"),
        ("not " * 60 + "name = 'a'", "column 205: must not be more than 50 brackets deep"),
        ("__import__('os').remove('x')", "column 17: '.' is not understood"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line_that_points_at_its_place(text: str, said: str) -> None:
    with pytest.raises(WhereError) as fault:
        parse(text)
    assert str(fault.value) == f"--where: {said}"


def test_a_chain_of_ten_thousand_is_read() -> None:
    assert parse(" or ".join(["params.train.C = 1"] * 10_000)).holds(RUN) is False


KNOWN = {
    "params": {"train.hyperparameters.C", "train.hyperparameters.gamma", "split.seed", "evaluate.seed"},
    "metrics": {"test.accuracy", "cv.accuracy", "cv.roc_auc"},
    "tags": {"branch"},
}


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("params.C = 1", "train.hyperparameters.C"),
        ("params.hyperparameters.C = 1", "train.hyperparameters.C"),
        ("metrics.accuracy = 1", "test.accuracy"),
        ("metrics.roc_auc = 1", "cv.roc_auc"),
    ],
)
def test_a_name_may_be_short(text: str, meant: str) -> None:
    found = naming.resolved(parse(text), KNOWN.__getitem__)
    assert isinstance(found, Compare)
    assert found.name.key == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("params.C = 1 or params.seed = 1", "column 17: seed may be evaluate.seed, split.seed; give more of it"),
        ("not (params.gama in (1))", "column 6: no run has the param gama; did you mean gamma?"),
        ("metrics.acuracy > 0", "column 1: no run has the metric acuracy; did you mean accuracy?"),
        ("tags.x = '1'", "column 1: no run has the tag x; there are: branch"),
    ],
)
def test_a_name_that_no_run_has_is_refused_with_the_nearest(text: str, said: str) -> None:
    with pytest.raises(WhereError) as fault:
        naming.resolved(parse(text), KNOWN.__getitem__)
    assert str(fault.value) == f"--where: {said}"


NAMES = st.builds(Name, kind=st.sampled_from(["params", "tags"]), key=st.text("ab_. -ü", min_size=1))
VALUES = st.text() | st.floats(allow_nan=False)
COMPARISONS = (
    st.builds(Compare, name=NAMES, operator=st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), value=VALUES)
    | st.builds(In, name=NAMES, values=st.lists(VALUES, min_size=1).map(tuple))
    | st.builds(Like, name=NAMES, pattern=st.text())
)


def nested(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.builds(Not, inner) | st.builds(All, several) | st.builds(AnyOf, several)


def written(of: Expression) -> str:
    """Return an expression as text, with brackets around each part."""
    if isinstance(of, Not):
        return f"not ({written(of.of)})"
    if isinstance(of, All | AnyOf):
        return (" and " if isinstance(of, All) else " or ").join(f"({written(each)})" for each in of.of)
    name = of.name.kind if of.name.kind == "name" else f"{of.name.kind}.`{of.name.key}`"
    if isinstance(of, Like):
        return f"{name} like {literal(of.pattern)}"
    if isinstance(of, In):
        return f"{name} in ({', '.join(map(literal, of.values))})"
    return f"{name} {of.operator} {literal(of.value)}"


def literal(value: str | float) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value) if math.isfinite(value) else f"{'-' if value < 0 else ''}inf"


def without_columns(of: Expression) -> Expression:
    if isinstance(of, Not):
        return Not(without_columns(of.of))
    if isinstance(of, All | AnyOf):
        return type(of)(tuple(map(without_columns, of.of)))
    return type(of)(Name(of.name.kind, of.name.key), *list(vars(of).values())[1:])


@given(st.recursive(COMPARISONS, nested, max_leaves=8))
def test_what_is_written_is_read_back(of: Expression) -> None:
    assert without_columns(parse(written(of))) == of


@given(
    st.text()
    | st.lists(st.sampled_from(["params.a", "=", "(", ")", "'x'", "not", "and", "in", ",", "1"])).map(" ".join)
)
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        parse(text)
    except WhereError as fault:
        assert re.fullmatch(r"--where: column \d+: .+", str(fault))  # noqa: PT017  # most texts are no expression


NUMBERS = st.sampled_from([-1.0, 0.0, 1.0, 2.5])
ASKED = st.builds(
    Compare,
    name=st.builds(Name, kind=st.just("metrics"), key=st.sampled_from("abc")),
    operator=st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
    value=NUMBERS,
) | st.builds(
    In,
    name=st.builds(Name, kind=st.just("metrics"), key=st.sampled_from("abc")),
    values=st.lists(NUMBERS, min_size=1, max_size=3).map(tuple),
)


@given(st.recursive(ASKED, nested, max_leaves=8), st.tuples(*[NUMBERS | st.none()] * 3))
def test_the_answers_are_those_of_sql(of: Expression, row: tuple[float | None, ...]) -> None:
    facts = {("metrics", name): value for name, value in zip("abc", row, strict=True) if value is not None}
    question = written(of).replace("metrics.`", "`")
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE runs (a, b, c)")
        database.execute("INSERT INTO runs VALUES (?, ?, ?)", row)
        ((wanted,),) = database.execute(f"SELECT ({question}) FROM runs").fetchall()
    database.close()
    assert parse(written(of)).holds(facts) == (None if wanted is None else bool(wanted))
