"""The space of a sweep: what is drawn, by which chance, and what is said of a space that cannot be read."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from scipy import stats

from stages.params import ParamsError
from trialtree.sweep import space
from trialtree.sweep.samplers import random, streams
from trialtree.sweep.space import Point, Space, keys
from trialtree.sweep.space.choices import Choice
from trialtree.sweep.space.expressions import Expression
from trialtree.sweep.space.names import DRAWN

C, KERNEL, DEGREE = (f"train.hyperparameters.{name}" for name in ("C", "kernel", "degree"))
BASE = {
    "split": {"test": 0.25, "seed": 0},
    "train": {"estimator": "sklearn.svm.SVC", "hyperparameters": {"C": 1.0, "kernel": "linear"}},
}
FAMILIES = {
    "train": {
        "choice": [
            {
                "estimator": "sklearn.svm.SVC",
                "hyperparameters": {"kernel": "rbf", "C": {"loguniform": {"min_value": -3, "max_value": 3}}},
            },
            {
                "estimator": "sklearn.ensemble.RandomForestClassifier",
                "hyperparameters": {
                    "n_estimators": {"int": {"low": 10, "high": 200}},
                    "max_depth": {"choice": [None, {"int": [2, 9]}]},
                },
            },
        ]
    }
}
CHANCE = 0.001  # of a test that fails although the draws are right; the seeds are fixed
FAR = 1 - 1e-12  # the last u that is tried


def read(given: dict[str, Any], *where: str) -> Space:
    """Return a space over the base."""
    return space.read(given, where, BASE)


def expression(name: str, **fields: Any) -> Expression:
    """Return an expression."""
    return DRAWN[name](**fields)


def drawn(of: Expression, count: int = 20_000, seed: int = 0) -> list[Any]:
    """Return values of an expression."""
    return [of.value(of.draw(streams.uniform(seed, number))) for number in range(count)]


@pytest.mark.parametrize(
    ("name", "fields", "distribution"),
    [
        ("uniform", {"min_value": -2, "max_value": 5}, stats.uniform(-2, 7)),
        ("loguniform", {"min_value": -3, "max_value": 2}, stats.loguniform(math.exp(-3), math.exp(2))),
        ("normal", {"mu": 3, "sigma": 2}, stats.norm(3, 2)),
        ("lognormal", {"mu": 1, "sigma": 0.5}, stats.lognorm(0.5, scale=math.e)),
        ("float", {"low": 0.5, "high": 4}, stats.uniform(0.5, 3.5)),
        ("float", {"low": 0.01, "high": 10, "log": True}, stats.loguniform(0.01, 10)),
    ],
)
def test_numbers_follow_their_distribution(name: str, fields: dict[str, float], distribution: Any) -> None:
    assert stats.kstest(drawn(expression(name, **fields)), distribution.cdf).pvalue > CHANCE


@pytest.mark.parametrize(
    ("name", "fields", "distribution"),
    [
        ("quniform", {"min_value": 1, "max_value": 10, "q": 3}, stats.uniform(1, 9)),
        ("quniform", {"min_value": -1, "max_value": 1, "q": 0.5}, stats.uniform(-1, 2)),
        ("qloguniform", {"min_value": 0, "max_value": 3, "q": 2}, stats.loguniform(1, math.exp(3))),
        ("qnormal", {"mu": 0, "sigma": 2, "q": 2}, stats.norm(0, 2)),
        ("qlognormal", {"mu": 1, "sigma": 0.5, "q": 1}, stats.lognorm(0.5, scale=math.e)),
    ],
)
def test_multiples_of_q_have_the_weight_of_what_is_rounded_to_them(
    name: str, fields: dict[str, float], distribution: Any
) -> None:
    q = fields["q"]
    counts = Counter(drawn(expression(name, **fields)))
    expected = {value: distribution.cdf(value + q / 2) - distribution.cdf(value - q / 2) for value in counts}
    assert sum(expected.values()) > 0.99
    often = [value for value in counts if expected[value] > 0.005]
    total = sum(counts[value] for value in often)
    share = sum(expected[value] for value in often)
    assert stats.chisquare([counts[v] for v in often], [expected[v] / share * total for v in often]).pvalue > CHANCE
    assert all(math.isclose(value / q, round(value / q), abs_tol=1e-9) for value in counts)


@pytest.mark.parametrize(
    ("of", "values"),
    [
        (expression("randint", upper=5), [0, 1, 2, 3, 4]),
        (expression("int", low=2, high=5), [2, 3, 4, 5]),
        (expression("int", low=2, high=10, step=3), [2, 5, 8]),
        (expression("float", low=0, high=0.5, step=0.1), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        (Choice(values=["a", "b", "c"]), ["a", "b", "c"]),
    ],
)
def test_values_without_weights_are_equally_likely(of: Expression, values: list[Any]) -> None:
    counts = Counter(drawn(of))
    assert sorted(counts) == values
    assert stats.chisquare(list(counts.values())).pvalue > CHANCE
    assert [of.value(of.at(place)) for place in range(of.size or 0)] == values


def test_a_choice_with_weights_is_drawn_by_them() -> None:
    counts = Counter(drawn(Choice(values=["a", "b", "c"], weights=[1, 2, 5])))
    assert stats.chisquare([counts["a"], counts["b"], counts["c"]], [2500, 5000, 12500]).pvalue > CHANCE


def test_whole_numbers_with_log_are_rounded_from_half_beyond_their_ends() -> None:
    counts = Counter(drawn(expression("int", low=1, high=6, log=True)))
    width = math.log(6.5 / 0.5)
    expected = [20_000 * math.log((value + 0.5) / (value - 0.5)) / width for value in range(1, 7)]
    assert stats.chisquare([counts[value] for value in range(1, 7)], expected).pvalue > CHANCE


def test_log_with_a_step_keeps_to_the_steps() -> None:
    values = set(drawn(expression("int", low=16, high=100, step=16, log=True)))
    assert values == {16, 32, 48, 64, 80, 96}
    values = set(drawn(expression("float", low=0.1, high=0.5, step=0.1, log=True)))
    assert values == {0.1, 0.2, 0.3, 0.4, 0.5}


def test_quniform_from_1_to_10_by_3_leaves_the_range_in_one_draw_of_eighteen() -> None:
    of = expression("quniform", min_value=1, max_value=10, q=3)
    values = drawn(of)
    assert set(values) == {0, 3, 6, 9}
    assert abs(values.count(0) / 20_000 - 0.5 / 9) < 0.004  # 1 to 1.5 is rounded to 0
    assert abs(values.count(9) / 20_000 - 2.5 / 9) < 0.008  # 7.5 to 10


def test_the_end_points_of_a_quniform_have_half_the_weight() -> None:
    counts = Counter(drawn(expression("quniform", min_value=0, max_value=4, q=1)))
    assert abs(counts[0] / counts[2] - 0.5) < 0.04
    assert abs(counts[4] / counts[2] - 0.5) < 0.04


@pytest.mark.parametrize(
    ("raw", "q", "value"), [(0.5, 1, 0), (1.5, 1, 2), (2.5, 1, 2), (15, 10, 20), (25, 10, 20), (0.25, 0.5, 0.0)]
)
def test_rounding_is_half_to_even(raw: float, q: float, value: float) -> None:
    rounded = expression("quniform", min_value=0, max_value=100, q=q).value(raw)
    assert (rounded, type(rounded)) == (value, type(q))


def test_multiples_are_written_as_a_person_writes_them() -> None:
    of = expression("quniform", min_value=0, max_value=1, q=0.1)
    assert [of.value(of.at(place)) for place in range(11)] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def test_the_bounds_of_loguniform_are_exponents() -> None:
    of = expression("loguniform", min_value=-3, max_value=3)
    assert of.value(of.draw(1e-15)) == pytest.approx(math.exp(-3))
    assert of.value(of.draw(FAR)) == pytest.approx(math.exp(3))


def test_randint_leaves_its_upper_out_and_int_has_both_ends() -> None:
    assert {expression("randint", upper=3).draw(u) for u in (1e-15, 0.5, FAR)} == {0, 1, 2}
    assert {expression("int", low=1, high=3).draw(u) for u in (1e-15, 0.5, FAR)} == {1, 2, 3}


def test_a_normal_distribution_has_no_bounds() -> None:
    of = expression("normal", mu=0, sigma=1)
    assert of.draw(1e-15) < -7.9
    assert of.draw(1 - 1e-15) > 7.9


EVERY = [
    expression("randint", upper=7),
    expression("uniform", min_value=-1, max_value=2),
    expression("quniform", min_value=1, max_value=10, q=3),
    expression("loguniform", min_value=-3, max_value=3),
    expression("qloguniform", min_value=-3, max_value=3, q=0.5),
    expression("normal", mu=1, sigma=2),
    expression("qnormal", mu=1, sigma=2, q=0.25),
    expression("lognormal", mu=1, sigma=2),
    expression("qlognormal", mu=1, sigma=2, q=3),
    expression("int", low=-3, high=9),
    expression("int", low=1, high=1000, log=True),
    expression("int", low=4, high=64, step=4, log=True),
    expression("float", low=0, high=1),
    expression("float", low=0, high=1, step=0.3),
    expression("float", low=0.001, high=1, log=True),
    expression("float", low=0.1, high=1, step=0.1, log=True),
    Choice(values=["a", 1, None, True, [1, 2]]),
]


def test_every_expression_is_there() -> None:
    assert {type(of).name for of in EVERY} == {*DRAWN}


@pytest.mark.parametrize("of", EVERY, ids=lambda of: type(of).name)
def test_what_was_drawn_is_found_from_its_value(of: Expression) -> None:
    for value in drawn(of, 300):
        raw = of.find(value)
        assert raw is not None
        again = of.value(raw)
        assert (again, type(again)) == (value, type(value))


@pytest.mark.parametrize("of", [of for of in EVERY if of.size is not None], ids=lambda of: type(of).name)
def test_a_finite_expression_names_each_of_its_values_once(of: Expression) -> None:
    values = [of.value(of.at(place)) for place in range(of.size or 0)]
    assert len({repr(value) for value in values}) == len(values)
    assert {repr(value) for value in drawn(of)} <= {repr(value) for value in values}


@pytest.mark.parametrize(
    ("of", "value"),
    [
        (expression("randint", upper=7), 7),
        (expression("randint", upper=7), 2.5),
        (expression("randint", upper=7), True),
        (expression("uniform", min_value=-1, max_value=2), 2.1),
        (expression("uniform", min_value=-1, max_value=2), "1"),
        (expression("uniform", min_value=-1, max_value=2), math.nan),
        (expression("quniform", min_value=1, max_value=10, q=3), 4),
        (expression("quniform", min_value=1, max_value=10, q=3), 12),
        (expression("loguniform", min_value=-3, max_value=3), 0),
        (expression("lognormal", mu=0, sigma=1), -1),
        (expression("qnormal", mu=0, sigma=1, q=0.5), 0.3),
        (expression("int", low=1, high=9, step=2), 4),
        (expression("int", low=1, high=9), 10),
        (expression("float", low=0, high=1, step=0.25), 0.3),
        (Choice(values=[1, "a"]), True),
        (Choice(values=[1, "a"]), "b"),
    ],
)
def test_a_value_that_cannot_be_drawn_is_not_found(of: Expression, value: Any) -> None:
    assert of.find(value) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"uniform": [0, 2]}, {"uniform": {"min_value": 0, "max_value": 2}}),
        ({"quniform": [0, 2, 0.5]}, {"quniform": {"min_value": 0, "max_value": 2, "q": 0.5}}),
        ({"randint": 4}, {"randint": {"upper": 4}}),
        ({"int": [1, 4]}, {"int": {"low": 1, "high": 4, "step": 1, "log": False}}),
        ({"choice": [1, 2]}, {"choice": {"values": [1, 2]}}),
        ({"type": "choice", "values": [1, 2]}, {"choice": {"values": [1, 2]}}),
        ({"type": "normal", "mu": 0, "sigma": 1}, {"normal": [0, 1]}),
    ],
)
def test_short_forms_and_azures_mean_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert read({C: one}).root == read({C: other}).root


def drawing(of: Space, seed: int = 0) -> Callable[[int], Point]:
    """Return what draws points."""
    return lambda number: random.drawn(of, seed, number)


def test_a_point_has_the_keys_of_its_item_only() -> None:
    found = [drawing(read(FAMILIES))(number).values for number in range(60)]
    svc = [values for values in found if values["train.estimator"] == "sklearn.svm.SVC"]
    assert 20 < len(svc) < 40
    assert {tuple(values) for values in svc} == {("train.estimator", KERNEL, C)}
    assert {tuple(values) for values in found if values not in svc} == {
        ("train.estimator", "train.hyperparameters.n_estimators", "train.hyperparameters.max_depth")
    }


def test_an_item_may_be_an_expression() -> None:
    of = read({"train.hyperparameters.max_depth": {"choice": [None, {"int": [2, 9]}]}})
    values = [drawing(of)(number).values["train.hyperparameters.max_depth"] for number in range(100)]
    assert 35 < values.count(None) < 65
    assert {value for value in values if value is not None} == set(range(2, 10))


def test_a_mapping_is_a_value_where_it_is_fixed() -> None:
    key = "train.hyperparameters.class_weight"
    of = read({key: {"choice": [None, {"fixed": {"setosa": 2, "virginica": 1}}]}})
    assert [point.values for point in of.cells()] == [{key: None}, {key: {"setosa": 2, "virginica": 1}}]
    assert [point.values for point in read({key: {"fixed": {0: 2}}}).cells()] == [{key: {0: 2}}]


def test_a_linked_key_takes_the_other_ones_value() -> None:
    of = read({DEGREE: {"linked": "train.seed"}, "train.seed": {"linked": C}, C: {"choice": [1, 2]}})
    assert [point.values for point in of.cells()] == [
        {DEGREE: 1, "train.seed": 1, C: 1},
        {DEGREE: 2, "train.seed": 2, C: 2},
    ]
    of = read({C: {"choice": [1, 2]}, "train.seed": {"linked": "split.seed"}})
    assert [point.values["train.seed"] for point in of.cells()] == [0, 0]


def test_cells_are_those_of_the_mixed_radix_with_the_last_key_first() -> None:
    of = read({KERNEL: {"choice": ["rbf", "poly"]}, C: {"int": [1, 3]}})
    assert of.size == 6
    assert [(point.values[KERNEL], point.values[C]) for point in of.cells()] == [
        ("rbf", 1), ("rbf", 2), ("rbf", 3), ("poly", 1), ("poly", 2), ("poly", 3),
    ]  # fmt: skip


def test_cells_of_a_conditional_space_come_item_by_item() -> None:
    items = [{"estimator": "a", "hyperparameters": {"C": {"choice": [1, 2]}}}, {"estimator": "b"}]
    of = read({"train": {"choice": items}, "split.seed": {"randint": 2}})
    assert of.size == 6
    assert [tuple(point.values.values()) for point in of.cells()] == [
        ("a", 1, 0), ("a", 1, 1), ("a", 2, 0), ("a", 2, 1), ("b", 0), ("b", 1),
    ]  # fmt: skip


def test_a_point_is_made_again_from_what_was_drawn() -> None:
    of = read({**FAMILIES, "split.seed": {"qnormal": [0, 3, 1]}})
    for number in range(50):
        point = drawing(of)(number)
        assert of.point(point.raw) == point


def test_the_cell_is_told_by_the_values_alone() -> None:
    assert Point({"a": 1, "b": "x"}, {"a": 0}).cell == Point({"b": "x", "a": 1}).cell
    assert Point({"a": 1}).cell != Point({"a": 1.0}).cell
    assert Point({"a": True}).cell != Point({"a": 1}).cell
    assert Point({"a": {0: 1, "b": 2}}).cell == Point({"a": {"b": 2, 0: 1}}).cell


@pytest.mark.parametrize(
    ("condition", "allowed"),
    [
        (f"{DEGREE} < {C}", [(1, 2), (1, 3), (2, 3)]),
        (f"{DEGREE} + {C} == 4 and not {C} == 2", [(1, 3), (3, 1)]),
        (f"{C} in [1, 3] and {DEGREE} not in [2]", [(1, 1), (1, 3), (3, 1), (3, 3)]),
        (f"1 < {C} <= {DEGREE} < 3 or {C} - {DEGREE} > 1", [(1, 3), (2, 2)]),
        (f"{C} * 2 == {DEGREE} / 1 and {C} != -1", [(2, 1)]),
        (f"{KERNEL} == 'linear' and {C} == 3", [(1, 3), (2, 3), (3, 3)]),
        (f"{KERNEL} != null and {KERNEL} != true and {C} > split.seed + 2", [(1, 3), (2, 3), (3, 3)]),
        (f"train.hyperparameters.gamma > 3 or {C} < 0", "unknown"),
    ],
)
def test_conditions_leave_what_meets_them(condition: str, allowed: Any) -> None:
    given = {DEGREE: {"int": [1, 3]}, C: {"int": [1, 3]}}
    if allowed == "unknown":
        with pytest.raises(
            ParamsError, match=r"train.hyperparameters.gamma is neither in the space nor in params.yaml"
        ):
            read(given, condition)
        return
    of = read(given, condition)
    assert [(p.values[DEGREE], p.values[C]) for p in of.cells() if of.allows(p)] == allowed


def test_a_condition_says_nothing_of_a_point_without_its_keys() -> None:
    of = read(FAMILIES, "train.hyperparameters.n_estimators < 50")
    found = [drawing(of)(number) for number in range(60)]
    for point in found:
        expected = point.values.get("train.hyperparameters.n_estimators", 0) < 50
        assert of.allows(point) == expected
    # The estimator of a point brings its own hyperparameters: params.yaml's are another's.
    of = read(FAMILIES, f"{KERNEL} == 'rbf'")
    assert all(of.allows(point) for point in found)


def test_a_point_is_found_by_its_values() -> None:
    of = read({**FAMILIES, "split.seed": {"randint": 3}})
    for number in range(50):
        point = drawing(of)(number)
        content = keys.applied(BASE, point.values)
        found = of.find(lambda key, content=content: keys.value_at(content, key))
        assert isinstance(found, Point)
        assert found.values == point.values
    assert of.find(lambda key: keys.value_at(BASE, key)) == KERNEL
    wrong = {"train.estimator": "sklearn.svm.SVC", KERNEL: "rbf", C: 1.0, "split.seed": 3}
    assert of.find(lambda key: keys.seen({}, wrong, key)) == "split.seed"


def test_params_after_a_point_have_the_hyperparameters_of_its_estimator_only() -> None:
    values = {
        "train.estimator": "sklearn.linear_model.LogisticRegression",
        C: 3.0,
        "evaluate.cross_validation.folds": 3,
    }
    assert keys.applied(BASE, values) == {
        "split": {"test": 0.25, "seed": 0},
        "train": {"estimator": "sklearn.linear_model.LogisticRegression", "hyperparameters": {"C": 3.0}},
        "evaluate": {"cross_validation": {"folds": 3}},
    }
    assert BASE["train"] == {"estimator": "sklearn.svm.SVC", "hyperparameters": {"C": 1.0, "kernel": "linear"}}
    for key in ("train.estimator", C, KERNEL, "split.seed", "evaluate.cross_validation.folds", "split.none"):
        assert keys.seen(BASE, values, key) == keys.value_at(keys.applied(BASE, values), key)


EXPRESSIONS = (
    "known: choice, randint, uniform, quniform, loguniform, qloguniform, normal, qnormal, lognormal, qlognormal, "
    "int, float, fixed, linked"
)
CONDITION = "must be a comparison such as train.hyperparameters.a < train.hyperparameters.b"


@pytest.mark.parametrize(
    ("given", "where", "said"),
    [
        ({C: {"unifrm": [0, 1]}}, (), f"space.{C}.unifrm is not an expression; did you mean uniform?"),
        ({C: [1, 2]}, (), f"space.{C}: must be {{choice: [...]}}, got [1, 2]"),
        ({C: 3}, (), f"space.{C}: must be {{fixed: 3}} or another expression, got 3"),
        ({C: {"uniform": [0, 1], "q": 2}}, (), f"space.{C}: must be one expression, got {{'uniform': [0, 1], 'q': 2}}"),
        (
            {"train": {"hyperparameters": {"C": {"uniform": [0, 1]}}}}, (),
            "space.train: must be an expression; a key below is written with a dot, as in train.hyperparameters.C, "
            "got {'hyperparameters': {'C': {'uniform': [0, 1]}}}",
        ),
        ({"": {"uniform": [0, 1]}}, (), "space.: must be a dotted key of params.yaml such as train.hyperparameters.C"),
        ({C: {"uniform": {"min_value": 1}}}, (), f"space.{C}.uniform.max_value: is required"),
        ({C: {"uniform": [1, 1]}}, (), f"space.{C}.uniform: min_value must be less than max_value, got 1 and 1"),
        ({C: {"uniform": ["1", 2]}}, (), f"space.{C}.uniform.min_value: must be a number, got '1'"),
        ({C: {"uniform": [True, 2]}}, (), f"space.{C}.uniform.min_value: must be a number, got true"),
        ({C: {"uniform": [1, 2, 3]}}, (), f"space.{C}.uniform: must be a mapping, got [1, 2, 3]"),
        (
            {C: {"uniform": {"min_value": 0, "maxvalue": 1}}}, (),
            f"space.{C}.uniform.max_value: is required\n"
            f"params.yaml: sweep.space.{C}.uniform.maxvalue is not a key; did you mean max_value?",
        ),
        (
            {C: {"loguniform": [0.001, 1000]}}, (),
            f"space.{C}.loguniform: min_value and max_value are exponents: exp(1000) is no number",
        ),
        ({C: {"quniform": [1, 2, 0]}}, (), f"space.{C}.quniform.q: must be greater than 0, got 0"),
        (
            {C: {"lognormal": [1, 200]}}, (),
            f"space.{C}.lognormal: mu and sigma are those of the logarithm: exp(1 + 9 * 200) is no number",
        ),
        (
            {C: {"quniform": [0, 1, 1e-320]}}, (),
            f"space.{C}.quniform: must have at most 2**53 steps of q, got 0, 1 and 1e-320",
        ),
        ({C: {"qnormal": [0, 1, 1e-20]}}, (), f"space.{C}.qnormal: must have at most 2**53 steps of q, got 1e-20"),
        (
            {C: {"int": [1, 2**60]}}, (),
            f"space.{C}.int: must have at most 2**53 steps, got 1 and 1152921504606846976",
        ),
        ({C: {"randint": 0}}, (), f"space.{C}.randint.upper: must be greater than or equal to 1, got 0"),
        ({C: {"int": [5, 2]}}, (), f"space.{C}.int: low must be less than high, got 5 and 2"),
        ({C: {"int": [0.5, 2]}}, (), f"space.{C}.int.low: must be a whole number, got 0.5"),
        (
            {C: {"float": {"low": 0, "high": 1, "log": True}}}, (),
            f"space.{C}.float: low must be more than 0 with log: true, got 0",
        ),
        ({C: {"int": {"low": 0, "high": 2, "step": 5}}}, (), f"space.{C}.int: step must be at most high - low, got 5"),
        ({C: {"choice": []}}, (), f"space.{C}.choice.values: must have at least one item, got []"),
        (
            {C: {"choice": {"values": [1, 2], "weights": [1]}}}, (),
            f"space.{C}.choice: weights must be one for each item: 1 for 2 items",
        ),
        (
            {"train": {"choice": [{"hyperparameters": {"C": {"unifom": {"min_value": 1, "max_value": 2}}}}]}}, (),
            "space.train.choice[0].hyperparameters.C.unifom is not an expression; did you mean uniform?",
        ),
        (
            {"train": {"choice": [{3: 4}]}}, (),
            "space.train.choice[0]: must have texts as keys, got 3; a value that is a mapping is written {fixed: ...}",
        ),
        (
            {C: {"uniform": [0, 1]}, "train.hyperparameters": {"choice": [{"C": 1}, {"gamma": 1}]}}, (),
            f"space.train.hyperparameters: sets {C}, and sweep.space.{C} sets {C}",
        ),
        (
            {"train.hyperparameters": {"fixed": {}}, C: {"uniform": [0, 1]}}, (),
            f"space.{C}: sets {C}, and sweep.space.train.hyperparameters sets train.hyperparameters",
        ),
        (
            {C: {"linked": "split.sed"}, KERNEL: {"choice": [1]}}, (),
            f"space.{C}.linked: split.sed is neither in the space nor in params.yaml; known: {KERNEL}",
        ),
        (
            {C: {"linked": KERNEL}, KERNEL: {"linked": C}}, (),
            f"space.{C}.linked: leads back to itself, got '{KERNEL}'\n"
            f"params.yaml: sweep.space.{KERNEL}.linked: leads back to itself, got '{C}'",
        ),
        ({C: {"linked": 3}}, (), f"space.{C}.linked: must be another key, got 3"),
        ({C: {"int": [1, 2]}}, ("1 < 2",), "where[0]: must name a key of the space, got '1 < 2'"),
        ({C: {"int": [1, 2]}}, (f"{C} <",), f"where[0]: {CONDITION}, got '{C} <'"),
        ({C: {"int": [1, 2]}}, ("open('x')",), f"where[0]: {CONDITION}, got \"open('x')\""),
        (
            {C: {"int": [1, 2]}}, (f"{C} < open('x').y",),
            f"where[0]: cannot hold `open('x').y`: only keys, literals and comparisons of them, "
            f"got \"{C} < open('x').y\"",
        ),
        (
            {C: {"int": [1, 2]}}, ("train.hyperparameters.c < 2",),
            f"where[0]: train.hyperparameters.c is neither in the space nor in params.yaml; did you mean {C}?",
        ),
    ],
)  # fmt: skip
def test_a_space_that_cannot_be_read_is_told_in_one_line(
    given: dict[str, Any], where: tuple[str, ...], said: str
) -> None:
    with pytest.raises(ParamsError) as error:
        read(given, *where)
    assert str(error.value) == f"params.yaml: sweep.{said}"


def test_an_expression_that_nobody_knows_lists_those_there_are() -> None:
    with pytest.raises(ParamsError) as error:
        read({C: {"choise": 3, "zzz": 4}, KERNEL: {"chioce": ["a"]}})
    assert str(error.value).splitlines() == [
        f"params.yaml: sweep.space.{C}: must be one expression, got {{'choise': 3, 'zzz': 4}}",
        f"params.yaml: sweep.space.{KERNEL}.chioce is not an expression; did you mean choice?",
    ]
