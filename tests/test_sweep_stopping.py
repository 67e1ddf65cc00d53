"""Early termination: what each policy decides, by tables made by hand and by the definitions themselves."""

import math
import random
import statistics
from collections.abc import Iterable, Mapping, Sequence
from math import inf, nan
from typing import Any

import optuna
import pytest
from catboost.core import is_maximizable_metric, is_minimizable_metric

from stages import params
from stages.params import ParamsError
from trialtree.sweep import stopping
from trialtree.sweep.records import Decision
from trialtree.sweep.stopping import Goal, Policy, Rule, labels
from trialtree.sweep.stopping.asha import Asha
from trialtree.sweep.stopping.bandit import Bandit
from trialtree.sweep.stopping.hyperband import Hyperband
from trialtree.sweep.stopping.median_stopping import MedianStopping
from trialtree.sweep.stopping.truncation_selection import TruncationSelection

Curves = Mapping[int, Sequence[float]]  # of each trial, by number
Step = tuple[int, int]  # trial, report

RULES: list[Rule] = [
    Bandit(slack_amount=0.125),
    Bandit(slack_factor=0.25),
    MedianStopping(),
    TruncationSelection(truncation_percentage=40),
    Asha(reduction_factor=2),
    Asha(reduction_factor=2, brackets=2),
    Hyperband(max_resource=9),
]


def one_by_one(curves: Curves) -> list[Step]:
    """Return each trial's reports after those of the one before."""
    return [(number, t) for number, curve in curves.items() for t in range(1, len(curve) + 1)]


def side_by_side(curves: Curves) -> list[Step]:
    """Return the first report of each trial, then the second of each, and so on."""
    return sorted(one_by_one(curves), key=lambda step: (step[1], step[0]))


def made(rule: Rule, goal: Goal) -> Policy:
    policy = stopping.make(rule, goal)
    assert policy is not None
    return policy


def played(policy: Policy, curves: Curves, steps: Iterable[Step]) -> dict[int, Decision]:
    """Return the decisions of a policy when reports come in these steps; a trial that is stopped reports no more."""
    stopped: dict[int, Decision] = {}
    for number, t in steps:
        if number not in stopped:
            policy.report(number, t, curves[number][t - 1])
            decision = policy.decide(number)
            if decision is not None:
                stopped[number] = decision
    return stopped


def negative(curves: Curves) -> Curves:
    return {number: [-value for value in curve] for number, curve in curves.items()}


def told(decisions: Mapping[int, Decision]) -> dict[int, tuple[int, float, float]]:
    return {number: (of.step, of.value, of.threshold) for number, of in decisions.items()}


# Rule, goal, curves of the trials one after the other, and what must be: the trial, the report at which it is
# stopped, its value and the threshold.
TABLES: list[tuple[Rule, Goal, Curves, dict[int, tuple[int, float, float]]]] = [
    (
        MedianStopping(),
        "maximize",
        {
            0: [1, 2, 3],  # averages 1, 1.5, 2
            1: [2, 4, 6],  # 2, 3, 4
            2: [1.5, 1, 1],  # 1.5, 1.25, 7/6: as good as the medians 1.5 and 1.5, then under that of 2, 4 and 7/6
            3: [0.5, 9, 9],  # under that of 1, 2, 1.5 and 0.5
            4: [1.25, 1.25, 0],  # as good as that of 1, 2, 1.5, 0.5, 1.25; of 1.5, 3, 1.25, 0.5, 1.25; over 7/6
        },
        {2: (3, 1.5, 2), 3: (1, 0.5, 1.25)},
    ),
    (
        MedianStopping(evaluation_interval=2, delay_evaluation=3),
        "maximize",
        {0: [4, 4, 4, 4, 4, 4], 1: [1, 1, 1, 1, 1, 1]},  # asked at 4 and 6 only
        {1: (4, 1, 2.5)},
    ),
    (
        Bandit(slack_factor=0.25),
        "maximize",
        {
            0: [4, 10],
            1: [3.2, 7.5],  # 4 / 1.25 is 3.2, 10 / 1.25 is 8
            2: [3, 99],
            3: [5, 3, 0, 12],  # its best so far is the best of all up to 1, but under 8 at 2
        },
        {1: (2, 7.5, 8), 2: (1, 3, 3.2), 3: (2, 5, 8)},
    ),
    (
        Bandit(slack_factor=0.25),
        "minimize",
        {0: [16, 8], 1: [20, 10.5], 2: [21, 0], 3: [16, 10, 9]},  # 16 * 1.25 is 20, 8 * 1.25 is 10
        {1: (2, 10.5, 10), 2: (1, 21, 20)},
    ),
    (
        Bandit(slack_amount=2),
        "maximize",
        {0: [-5, -1], 1: [-7, -3], 2: [-8, 0], 3: [-6, -4]},
        {2: (1, -8, -7), 3: (2, -4, -3)},
    ),
    (
        Bandit(slack_amount=2, evaluation_interval=2),
        "maximize",
        {0: [9], 1: [5, 5, 8]},  # one that has ended was as good up to 2, too
        {1: (2, 5, 7)},
    ),
    (
        TruncationSelection(truncation_percentage=40),
        "maximize",
        {
            0: [5, 1],
            1: [4, 1],  # of two none is stopped
            2: [3, 9],  # of three the worst
            3: [2, 9],  # of four the worst: 40 % are 1.6
            4: [1, 9],  # of five the two worst
            5: [5, 6],  # of six the two worst; of the three that come to 2 the worst
            6: [5, 0],  # its best so far is 5, as good as that of 0
        },
        {2: (1, 3, 4), 3: (1, 2, 3), 4: (1, 1, 3)},
    ),
    (
        Asha(reduction_factor=2),
        "maximize",
        {
            0: [1, 2, 3, 4],  # the first to come to 1, 2 and 4
            1: [2, 1.5, 9, 1],  # of two the best; as good; not asked; but now its best is 9
            2: [1, 9, 9, 9],  # of three the best goes on
            3: [2, 2, 2, 2],  # of four the two best; of three at 2 the best, 2; of three at 4 the best, 9
        },
        {2: (1, 1, 2), 3: (4, 2, 9)},
    ),
    (
        Asha(min_resource=2, reduction_factor=3),
        "maximize",
        {0: [0, 1, 1, 1, 1, 1], 1: [9, 0, 0, 0, 0, 0], 2: [0, 2, 0, 0, 0, 0]},  # rungs 2 and 6
        {2: (2, 2, 9)},
    ),
]


@pytest.mark.parametrize(("rule", "goal", "curves", "expected"), TABLES, ids=lambda of: getattr(of, "policy", None))
def test_a_policy_decides_as_its_table_says(
    rule: Rule, goal: Goal, curves: Curves, expected: dict[int, tuple[int, float, float]]
) -> None:
    assert told(played(made(rule, goal), curves, one_by_one(curves))) == expected


@pytest.mark.parametrize(("rule", "goal", "curves", "expected"), TABLES, ids=lambda of: getattr(of, "policy", None))
def test_the_other_goal_is_the_mirror_image(
    rule: Rule, goal: Goal, curves: Curves, expected: dict[int, tuple[int, float, float]]
) -> None:
    if isinstance(rule, Bandit) and rule.slack_factor is not None:
        return  # a factor has no mirror image
    other: Goal = "minimize" if goal == "maximize" else "maximize"
    mirrored = {number: (t, -value, -threshold) for number, (t, value, threshold) in expected.items()}
    assert told(played(made(rule, other), negative(curves), one_by_one(curves))) == mirrored


# The definitions, taken literally: what each trial has reported so far, the trial among them, and the number of its
# newest report give the threshold. Of a goal to maximize.


def _median(seen: Mapping[int, list[float]], _: int, t: int) -> float | None:
    return statistics.median(statistics.fmean(curve[:t]) for curve in seen.values())


def _bandit(seen: Mapping[int, list[float]], _: int, t: int) -> float | None:
    return max(max(curve[:t]) for curve in seen.values()) - 0.125


def _truncation(seen: Mapping[int, list[float]], _: int, t: int) -> float | None:
    there = sorted(max(curve[:t]) for curve in seen.values() if len(curve) >= t)
    return there[math.floor(0.4 * len(there))] if len(there) * 2 >= 5 else None


@pytest.mark.parametrize(
    ("rule", "definition"),
    [
        (MedianStopping(delay_evaluation=2), _median),
        (Bandit(slack_amount=0.125, delay_evaluation=2), _bandit),
        (TruncationSelection(truncation_percentage=40, delay_evaluation=2), _truncation),
    ],
    ids=lambda of: getattr(of, "policy", ""),
)
@pytest.mark.parametrize("seed", range(5))
def test_a_policy_decides_as_its_definition_says_whatever_comes_when(rule: Rule, definition: Any, seed: int) -> None:
    draw = random.Random(seed)
    policy = made(rule, "maximize")
    left = {n: [draw.randrange(256) / 256 + t / 64 for t in range(draw.randrange(1, 20))] for n in range(30)}
    seen: dict[int, list[float]] = {}
    stops = 0
    while left:
        number = draw.choice(list(left)[:4])
        seen.setdefault(number, []).append(left[number].pop(0))
        t = len(seen[number])
        policy.report(number, t, seen[number][-1])
        threshold = definition(seen, number, t) if t >= 2 else None
        decision = policy.decide(number)
        if threshold is None or max(seen[number]) >= threshold:
            assert decision is None
        else:
            assert decision == Decision(rule.policy, t, max(seen[number]), pytest.approx(threshold, rel=1e-12))
            stops += 1
        if decision or not left[number]:
            del left[number]
    assert stops > 3


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_asha_decides_as_optunas_pruner_where_curves_only_get_better(direction: Goal) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    draw = random.Random(1)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=3)
    study = optuna.create_study(direction=direction, pruner=pruner)
    policy = made(Asha(min_resource=2, reduction_factor=3), direction)
    ours, theirs = {}, {}
    for number in range(60):
        trial, best = study.ask(), draw.random()
        for t in range(1, 30):
            value = best - 1 / t if direction == "maximize" else best + 1 / t
            policy.report(number, t, value)
            trial.report(value, t)
            if (decision := policy.decide(number)) is not None:
                ours[number] = decision.step
            if trial.should_prune():
                theirs[number] = t
            if number in ours or number in theirs:
                break
        study.tell(trial, state=optuna.trial.TrialState.PRUNED if number in theirs else optuna.trial.TrialState.FAIL)
    assert ours == theirs
    assert len(ours) > 30


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_the_first_trial_is_never_stopped_and_neither_are_equal_ones(rule: Rule, goal: Goal) -> None:
    curves = {number: [0.1] * 9 for number in range(9)}
    assert played(made(rule, goal), curves, one_by_one(curves)) == {}
    assert played(made(rule, goal), {0: [0.3, 0.1, 0.7, 0.2]}, one_by_one({0: [0] * 4})) == {}


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_a_trial_of_no_numbers_is_worse_than_any_other_and_spoils_nothing(rule: Rule, value: float) -> None:
    curves = {**{number: [0.5, 0.5, 0.5] for number in range(5)}, 5: [value] * 3, 6: [0.5] * 3}
    stopped = played(made(rule, "maximize"), curves, one_by_one(curves))
    assert list(stopped) == [5]
    assert math.isnan(stopped[5].value)
    assert math.isfinite(stopped[5].threshold)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_where_nobody_has_a_number_nobody_is_stopped(rule: Rule) -> None:
    curves = {number: [nan, nan] for number in range(9)}
    assert played(made(rule, "minimize"), curves, side_by_side(curves)) == {}


def test_a_report_that_is_no_number_counts_for_nothing_in_an_average() -> None:
    policy = made(MedianStopping(delay_evaluation=3), "maximize")
    curves = {0: [1, nan, 3], 1: [1.5, 1.5, 1.5]}  # the median of 2 and 1.5
    assert told(played(policy, curves, one_by_one(curves))) == {1: (3, 1.5, 1.75)}


def test_a_report_that_was_left_out_is_no_number_and_one_that_comes_twice_counts_once() -> None:
    policy = made(MedianStopping(delay_evaluation=3), "maximize")
    for t, value in ((1, 1), (1, 99), (3, 3), (2, 99)):
        policy.report(0, t, value)
    policy.report(1, 3, 1.5)
    assert policy.decide(1) == Decision("median_stopping", 3, 1.5, 1.75)


def test_a_factor_of_a_negative_best_stops_nobody_and_says_so() -> None:
    policy = made(Bandit(slack_factor=0.1), "maximize")
    curves = {0: [-1, -1, 2], 1: [-9, -9, -9]}
    assert told(played(policy, curves, one_by_one(curves))) == {1: (3, -9, 2 / 1.1)}
    assert policy.note == "slack_factor is for values from 0, and the best is -1: nothing is stopped; take slack_amount"
    policy = made(Bandit(slack_factor=0.1), "minimize")
    assert played(policy, {0: [-2], 1: [5]}, [(0, 1), (1, 1)]) == {}
    assert policy.note is not None


def test_rungs_are_the_next_reports_at_which_asha_is_asked() -> None:
    asked = [t for t in range(1, 100) if Asha(min_resource=2, reduction_factor=3).asks(t, 0)]
    assert asked == [2, 6, 18, 54]
    assert [t for t in range(1, 100) if Asha(min_resource=2, reduction_factor=3).asks(t, 2)] == [18, 54]
    rule = Asha(reduction_factor=2, evaluation_interval=3, delay_evaluation=4)
    assert [t for t in range(1, 40) if rule.asks(t, 0)] == [6, 9, 18, 33]


@pytest.mark.parametrize(
    ("rule", "shares"),
    [
        (Asha(), [1.0]),
        (Asha(brackets=2), [3 / 5, 2 / 5]),
        (Hyperband(max_resource=9), [3 * 9 / 3 / 16.5, 3 * 3 / 2 / 16.5, 3 / 16.5]),
        (Hyperband(max_resource=8), [3 / 5, 2 / 5]),
        (Hyperband(min_resource=5, max_resource=5), [1.0]),
        (Hyperband(max_resource=243), [243 / 403.3, 97.2 / 403.3, 40.5 / 403.3, 18 / 403.3, 9 / 403.3, 6 / 403.3]),
    ],
    ids=repr,
)
def test_brackets_have_hyperbands_shares_of_the_trials(rule: Asha, shares: list[float]) -> None:
    brackets = [rule.bracket(number) for number in range(1000)]
    counted = [brackets.count(bracket) / 1000 for bracket in range(len(shares))]
    assert sum(counted) == 1
    assert counted == pytest.approx(shares, abs=0.03)
    assert len({rule.bracket(number) for number in range(10)}) >= min(2, len(shares))


def test_trials_of_different_brackets_are_not_compared() -> None:
    rule = Asha(reduction_factor=2, brackets=2)
    first, second = (next(n for n in range(9) if rule.bracket(n) == bracket) for bracket in (0, 1))
    curves = {first: [9, 9, 9, 9], second: [1, 1, 1, 1], 9 if rule.bracket(9) == 1 else 8: [0, 0, 0, 0]}
    stopped = played(made(rule, "maximize"), curves, one_by_one(curves))
    assert [(of.step, of.threshold) for of in stopped.values()] == [(2, 1)]


def test_hyperband_takes_the_length_of_the_curve_for_its_resource() -> None:
    policy = stopping.make(Hyperband(), "maximize", 100)
    assert policy is not None
    assert policy.rule == Hyperband(max_resource=100)
    assert made(Hyperband(), "maximize").rule.bracket(5) == 0
    assert stopping.make(None, "maximize") is None


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_decisions_are_a_function_of_what_is_known_and_not_of_what_came_first(rule: Rule) -> None:
    draw = random.Random(2)
    curves = {number: [draw.random() for _ in range(9)] for number in range(20)}
    for number in (3, 11, 19):
        decisions = set()
        for seed in range(3):
            policy = made(rule, "maximize")
            others = [step for step in side_by_side(curves) if step[0] != number]
            # Each trial's reports stay in their order.
            turns = [step[0] for step in others]
            random.Random(seed).shuffle(turns)
            at = dict.fromkeys(curves, 0)
            for other in turns:
                at[other] += 1
                policy.report(other, at[other], curves[other][at[other] - 1])
            for t in range(1, 10):
                policy.report(number, t, curves[number][t - 1])
            decisions.add(policy.decide(number))
        assert len(decisions) == 1


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_among_some_trials_a_decision_is_that_without_the_others(rule: Rule) -> None:
    draw = random.Random(3)
    curves = {number: [draw.random() + t for t in range(9)] for number in range(20)}
    some = [number for number in curves if number % 3]
    whole, part = made(rule, "maximize"), made(rule, "maximize")
    for number, t in side_by_side(curves):
        whole.report(number, t, curves[number][t - 1])
        if number in some or number == 0:
            part.report(number, t, curves[number][t - 1])
            assert whole.decide(number, among=[*some, 0, 99]) == part.decide(number)


def test_a_trial_that_was_stopped_is_asked_about_no_more() -> None:
    policy = made(MedianStopping(), "maximize")
    policy.report(0, 1, 5)
    policy.report(1, 1, 1)
    assert policy.decide(1) is not None
    policy.report(1, 2, 99)
    assert policy.decide(1) is None
    policy.report(2, 1, 3)
    policy.report(2, 2, 3)
    assert policy.decide(2) is None  # the median of 5, 1 and 3


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_what_is_forgotten_never_was(rule: Rule) -> None:
    curves = {number: [0.25 * number, 0.5, 0.5 + number] for number in range(12)}
    plain, other = made(rule, "maximize"), made(rule, "maximize")
    for t in (1, 2):
        other.report(5, t, 1000)
    other.forget(5)
    other.forget(77)
    assert played(other, curves, side_by_side(curves)) == played(plain, curves, side_by_side(curves))


def test_a_trial_that_never_reported_is_not_stopped() -> None:
    policy = made(MedianStopping(), "maximize")
    assert policy.decide(0) is None


class Holder(params.Section):
    early_termination: stopping.EarlyTermination | None = None


LINES: list[tuple[Any, str]] = [
    ({"policy": "bandit"}, ": bandit takes exactly one of slack_factor and slack_amount, got none"),
    (
        {"policy": "bandit", "slack_factor": 0.1, "slack_amount": 1},
        ": bandit takes exactly one of slack_factor and slack_amount, got both",
    ),
    ({"policy": "bandit", "slack_factor": -0.1}, ".slack_factor: must be greater than or equal to 0, got -0.1"),
    (
        {"policy": "median_stoping"},
        ": policy must be one of bandit, median_stopping, truncation_selection, asha, hyperband, got 'median_stoping'; "
        "did you mean median_stopping?",
    ),
    (
        {"policy": ["asha"]},
        ": policy must be one of bandit, median_stopping, truncation_selection, asha, hyperband, got ['asha']; "
        "did you mean asha?",
    ),
    ({}, ": policy is required: bandit, median_stopping, truncation_selection, asha, hyperband"),
    ("asha", ": must be a mapping with policy, got 'asha'"),
    (
        {"policy": "median_stopping", "delay_evalution": 5},
        ": delay_evalution is not a key of median_stopping; did you mean delay_evaluation?",
    ),
    ({"policy": "truncation_selection"}, ".truncation_percentage: is required"),
    (
        {"policy": "median_stopping", "evaluation_interval": 0},
        ".evaluation_interval: must be greater than or equal to 1, got 0",
    ),
    ({"policy": "asha", "reduction_factor": 1}, ".reduction_factor: must be greater than or equal to 2, got 1"),
    ({"policy": "asha", "goal": "max"}, ".goal: must be 'maximize' or 'minimize', got 'max'"),
    (
        {"policy": "hyperband", "min_resource": 4, "max_resource": 2},
        ": max_resource (2) must not be under min_resource (4)",
    ),
]


@pytest.mark.parametrize(("given", "line"), LINES)
def test_a_section_that_cannot_be_is_refused_in_a_line(given: Any, line: str) -> None:
    with pytest.raises(ParamsError) as refused:
        params.parse("sweep", {"early_termination": given}, Holder)
    assert str(refused.value) == f"params.yaml: sweep.early_termination{line}"


def test_sections_are_read_by_their_policy() -> None:
    given = {"policy": "asha", "min_resource": 4, "curve": "validation_rmse"}
    assert params.parse("sweep", {"early_termination": given}, Holder).early_termination == Asha(
        min_resource=4, curve="validation_rmse"
    )
    assert params.parse("sweep", {}, Holder).early_termination is None


METRICS = (
    "RMSE", "MAE", "Quantile:alpha=0.9", "R2", "Logloss", "MultiClass", "AUC", "Accuracy", "MCC", "F1", "TotalF1",
    "PRAUC", "BrierScore", "Kappa", "Precision", "Huber:delta=1",
)  # fmt: skip


@pytest.mark.parametrize("metric", METRICS)
def test_where_a_metric_should_go_is_what_catboost_says(metric: str) -> None:
    assert (labels.goal_of(metric) == "maximize") == is_maximizable_metric(metric)
    assert (labels.goal_of(metric) == "minimize") == is_minimizable_metric(metric)


def test_of_a_metric_that_nobody_knows_nobody_says_where_it_should_go() -> None:
    assert labels.goal_of("profit") is None
