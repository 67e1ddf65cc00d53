"""Samplers: what all of them keep to, and what each is for."""

import json
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import pytest
from scipy.stats import qmc

from stages import params
from stages.params import ParamsError
from tests.conftest import PROJECT, Repo
from trialtree.sweep import journal, samplers, section
from trialtree.sweep.samplers import Point, Sampler, coordinates, joe_kuo, units
from trialtree.sweep.samplers.bayesian import Bayesian
from trialtree.sweep.samplers.cma import Evolution
from trialtree.sweep.space import tree
from trialtree.sweep.space.choices import Choice
from trialtree.sweep.space.expressions import Expression
from trialtree.sweep.space.names import DRAWN

C, KERNEL, DEGREE = (f"train.hyperparameters.{name}" for name in ("C", "kernel", "degree"))
AZURE = {KERNEL: {"choice": ["linear", "rbf", "poly", "sigmoid"]}, C: {"choice": [0.5, 1.0, 1.5]}}
NUMBERS_ONLY: dict[str, Any] = {
    C: {"loguniform": [-3, 3]},
    "train.hyperparameters.tol": {"lognormal": [-5, 1]},
    DEGREE: {"int": [2, 5]},
    "train.hyperparameters.coef0": {"choice": {"values": [0.0, 0.5, 1.0, 2.0], "ordered": True}},
}
CONDITIONAL = {
    "train": {
        "choice": [
            {"estimator": "a", "hyperparameters": {"C": {"qlognormal": [0, 1, 0.5]}, "g": {"normal": [0, 1]}}},
            {"estimator": "b", "hyperparameters": {"n": {"int": {"low": 10, "high": 300, "step": 10, "log": True}}}},
            {"estimator": "c"},
        ]
    },
    "split.seed": {"randint": 3},
}
PURE = ("random", "sobol")
LEARNING = ("bayesian", "cmaes")  # and gp, where torch is installed


def make(
    sampling: Any, space: Mapping[str, Any], seed: int = 0, over: Mapping[str, Any] | None = None, **changes: Any
) -> Sampler:
    """Return a sampler over iris's params.yaml, with other sections than it has."""
    base = {**params.load(PROJECT / "params.yaml"), **(over or {})}
    sweep = {
        "objective": {"metric": "cv.accuracy", "goal": "maximize"},
        "limits": {"trials": 1000}, "sampling": sampling, "space": space, "seed": seed, **changes,
    }  # fmt: skip
    content = {**base, "sweep": sweep}
    return samplers.make(section.read(content), content)


def score(point: Point) -> float:
    """Return the objective of a point: highest where all that was drawn is in the middle of (0, 1)."""
    return -sum(abs(math.tanh(raw) - 0.5) for raw in point.raw.values())


def run(sampler: Sampler, count: int, start: int = 0) -> list[Point]:
    """Return the points of trials one after another, each told before the next is asked for."""
    found = []
    for number in range(start, count):
        point = sampler.ask(number)
        if point is None:
            break
        found.append(point)
        if number % 7 == 3:
            sampler.tell(number, "failed", None, ())
        elif number % 7 == 5:
            sampler.tell(number, "pruned", None, [(1, score(point)), (2, score(point))])
        else:
            sampler.tell(number, "done", (score(point),), ())
    return found


def space_of(sampling: str) -> dict[str, Any]:
    """Return a space that a sampler takes."""
    if sampling == "grid":
        return {**AZURE, "split.seed": {"randint": 4}}
    return NUMBERS_ONLY if sampling == "cmaes" else {**NUMBERS_ONLY, **CONDITIONAL_ONLY}


CONDITIONAL_ONLY = {"evaluate": {"choice": [{"x": {"uniform": [0, 1]}}, {"y": {"qnormal": [0, 2, 0.5]}}]}}
ALL = ("grid", *PURE, *LEARNING)


@pytest.mark.parametrize("sampling", ALL)
def test_the_same_seed_gives_the_same_points(sampling: str) -> None:
    assert run(make(sampling, space_of(sampling)), 30) == run(make(sampling, space_of(sampling)), 30)


@pytest.mark.parametrize("sampling", ALL[1:])
def test_another_seed_gives_other_points(sampling: str) -> None:
    one, other = (run(make(sampling, space_of(sampling), seed), 30) for seed in (0, 1))
    assert len({point.cell for point in one} & {point.cell for point in other}) < 3


@pytest.mark.parametrize("sampling", ALL)
def test_no_cell_is_tried_twice(sampling: str) -> None:
    found = run(make(sampling, space_of(sampling)), 60)
    assert len({point.cell for point in found}) == len(found) >= 48


@pytest.mark.parametrize("sampling", ["grid", *PURE, "bayesian"])
def test_a_finite_space_is_tried_whole_and_then_there_is_nothing_left(sampling: str) -> None:
    sampler = make(sampling, AZURE)
    found = run(sampler, 100)
    assert Counter((point.values[KERNEL], point.values[C]) for point in found) == {
        (kernel, c): 1 for kernel in ("linear", "rbf", "poly", "sigmoid") for c in (0.5, 1.0, 1.5)
    }
    assert sampler.ask(12) is None
    assert sampler.ask(12) is None


@pytest.mark.parametrize("sampling", ALL)
def test_a_point_is_asked_for_as_often_as_one_likes(sampling: str) -> None:
    sampler = make(sampling, space_of(sampling))
    found = run(sampler, 20)
    assert [sampler.ask(number) for number in range(20)] == found


@pytest.mark.parametrize("sampling", ALL)
def test_what_a_journal_kept_brings_a_sampler_back(sampling: str) -> None:
    space = space_of(sampling)
    whole = run(make(sampling, space), 40)
    resumed = make(sampling, space)
    kept = json.loads(json.dumps([(point.values, point.raw) for point in whole[:25]]))
    for number, (values, raw) in enumerate(kept):
        resumed.restore(number, Point(values, raw))
    for number, point in enumerate(whole[:25]):  # as `run` has told them
        state = "failed" if number % 7 == 3 else "pruned" if number % 7 == 5 else "done"
        curve = [(1, score(point)), (2, score(point))] if state == "pruned" else []
        resumed.tell(number, state, (score(point),) if state == "done" else None, curve)
    assert [point.cell for point in run(resumed, 40, start=25)] == [point.cell for point in whole[25:]]


@pytest.mark.parametrize("sampling", ALL)
def test_trials_that_run_and_trials_nobody_knows_are_no_obstacle(sampling: str) -> None:
    sampler = make(sampling, space_of(sampling))
    asked = [sampler.ask(number) for number in range(30)]
    sampler.tell(99, "done", (1.0,), ())
    sampler.tell(3, "done", (math.nan,), ())
    sampler.tell(4, "pruned", None, ())
    for number in (7, 5, 6):
        sampler.tell(number, "done", (float(number),), ())
    asked += [sampler.ask(number) for number in range(30, 40)]
    assert len({point.cell for point in asked if point}) == 40


@pytest.mark.parametrize("sampling", ["grid", *PURE])
def test_points_do_not_depend_on_the_order_of_asking(sampling: str) -> None:
    space = space_of(sampling)
    in_turn, backwards = make(sampling, space), make(sampling, space)
    expected = [in_turn.ask(number) for number in range(40)]
    assert [backwards.ask(number) for number in reversed(range(40))] == expected[::-1]


@pytest.mark.parametrize("sampling", ["grid", *PURE, "bayesian"])
def test_conditions_hold_for_every_point(sampling: str) -> None:
    where = f"{KERNEL} != 'poly' and ({C} > 0.5 or {KERNEL} == 'linear')"
    found = run(make(sampling, AZURE, where=where), 100)
    assert Counter((point.values[KERNEL], point.values[C]) for point in found) == {
        (kernel, c): 1
        for kernel in ("linear", "rbf", "sigmoid")
        for c in (0.5, 1.0, 1.5)
        if c > 0.5 or kernel == "linear"
    }


def test_conditions_that_almost_nothing_meets_end_a_sweep() -> None:
    space = {C: {"uniform": [0, 1]}}
    assert make("random", space, where=f"{C} > 1.5").ask(0) is None
    found = make("random", space, where=f"{C} > 0.999").ask(0)
    assert found
    assert 0.999 < found.values[C] < 1


@pytest.mark.parametrize("sampling", [*PURE, "bayesian"])
def test_a_conditional_space_gives_the_keys_of_the_item_drawn(sampling: str) -> None:
    found = run(make(sampling, CONDITIONAL), 40)
    assert {tuple(point.values) for point in found} == {
        ("train.estimator", C, "train.hyperparameters.g", "split.seed"),
        ("train.estimator", "train.hyperparameters.n", "split.seed"),
        ("train.estimator", "split.seed"),
    }
    assert sum(point.values["train.estimator"] == "c" for point in found) == 3  # one for each seed


def test_a_linked_value_is_that_of_the_point() -> None:
    found = run(make("bayesian", {C: {"uniform": [0, 1]}, "train.hyperparameters.tol": {"linked": C}}), 20)
    assert all(point.values[C] == point.values["train.hyperparameters.tol"] for point in found)


def test_the_grid_of_azures_example_comes_in_the_order_of_the_space() -> None:
    found = run(make("grid", AZURE), 12)
    assert [point.values for point in found[:4]] == [
        {KERNEL: "linear", C: 0.5}, {KERNEL: "linear", C: 1.0}, {KERNEL: "linear", C: 1.5}, {KERNEL: "rbf", C: 0.5},
    ]  # fmt: skip


def test_a_grid_with_equal_cells_counts_them_as_repeats() -> None:
    sampler = make("grid", {C: {"choice": [1, 2, 1, 1]}, KERNEL: {"choice": ["rbf", "rbf"]}})
    assert [point.values[C] for point in run(sampler, 10)] == [1, 2]
    assert sampler.repeats == 1  # before the second point; those after it brought nothing


def test_sobols_sequence_is_joe_and_kuos() -> None:
    theirs = qmc.Sobol(joe_kuo.DIMENSIONS, scramble=False, bits=32).random(256)
    ours = [[joe_kuo.point(index, d) / 2**32 for d in range(joe_kuo.DIMENSIONS)] for index in range(256)]
    assert (theirs == ours).all()


def test_sobols_points_fill_a_square_more_evenly_than_chance() -> None:
    space = {C: {"uniform": [0, 1]}, "train.hyperparameters.tol": {"uniform": [0, 1]}}
    filled = {}
    for sampling in PURE:
        points = [point.values.values() for point in run(make(sampling, space), 64)]
        filled[sampling] = len({tuple(int(value * 8) for value in point) for point in points})
    assert filled["sobol"] == 64  # each of 8 x 8 fields has one
    assert filled["random"] < 48


def test_sobol_takes_more_keys_than_it_has_dimensions() -> None:
    space = {f"train.hyperparameters.x{number}": {"uniform": [0, 1]} for number in range(50)}
    found = run(make("sobol", space), 20)
    assert len({point.values["train.hyperparameters.x49"] for point in found}) == 20


EXPRESSIONS: list[Expression] = [
    DRAWN["randint"](upper=7), DRAWN["randint"](upper=500),
    DRAWN["uniform"](min_value=-1, max_value=2), DRAWN["quniform"](min_value=1, max_value=10, q=3),
    DRAWN["loguniform"](min_value=-3, max_value=3), DRAWN["qloguniform"](min_value=-3, max_value=3, q=0.5),
    DRAWN["normal"](mu=1, sigma=2), DRAWN["qnormal"](mu=1, sigma=2, q=0.25),
    DRAWN["lognormal"](mu=1, sigma=2), DRAWN["qlognormal"](mu=1, sigma=2, q=3),
    DRAWN["int"](low=-3, high=9), DRAWN["int"](low=1, high=1000, log=True),
    DRAWN["int"](low=4, high=64, step=4, log=True), DRAWN["int"](low=4, high=64, step=5),
    DRAWN["float"](low=0, high=1), DRAWN["float"](low=0, high=1, step=0.3),
    DRAWN["float"](low=0.001, high=1, log=True), DRAWN["float"](low=0.1, high=1, step=0.1, log=True),
    Choice(values=["a", 1, None, True]), Choice(values=[1, 2, 5], ordered=True, weights=[1, 2, 3]),
]  # fmt: skip


@pytest.mark.parametrize("of", EXPRESSIONS, ids=lambda of: type(of).name)
def test_optuna_is_told_each_value_inside_its_distribution(of: Expression) -> None:
    distribution = coordinates.distribution(of)
    for u in (1e-12, 0.01, 0.3, 0.5, 0.77, 0.999, 1 - 1e-12):
        raw = of.draw(u)
        coordinate = coordinates.coordinate(of, raw)
        assert distribution._contains(distribution.to_internal_repr(coordinate))
        if 0.001 < u < 0.9999:
            assert of.value(coordinates.drawn(of, coordinate)) == pytest.approx(of.value(raw), nan_ok=False)


@pytest.mark.parametrize("of", EXPRESSIONS, ids=lambda of: type(of).name)
def test_a_number_in_0_to_1_stands_for_each_ordered_value(of: Expression) -> None:
    if not units.has(tree.Dimension("x", "x", of)):
        assert type(of).name in ("randint", "choice")
        return
    for unit in (0.0, 0.2, 0.5, 0.9, 1.0):
        raw = units.drawn(of, unit)
        assert units.unit(of, raw) == pytest.approx(unit, abs=1e-6)
        again = of.find(of.value(raw))
        assert again is not None
        assert of.value(again) == of.value(raw)


@pytest.mark.parametrize("sampling", LEARNING)
def test_a_sampler_that_learns_finds_more_than_chance(sampling: str) -> None:
    space = {f"train.hyperparameters.x{number}": {"uniform": [-1, 2]} for number in range(3)}
    best = {name: sum(max(map(score, run(make(name, space, seed), 60))) for seed in range(5)) for name in
            ("random", sampling)}  # fmt: skip
    assert best[sampling] > 0.75 * best["random"]  # both are below 0


def test_cmaes_starts_anew_when_it_has_come_to_an_end() -> None:
    sampler = make("cmaes", {C: {"uniform": [0, 1]}, "train.hyperparameters.tol": {"uniform": [0, 1]}})
    assert isinstance(sampler, Evolution)
    populations = set()
    for number in range(900):
        point = sampler.ask(number)
        assert point
        sampler.tell(number, "done", (-sum((raw - 0.3) ** 2 for raw in point.raw.values()),), ())
        populations.add(sampler._optimizer.population_size if sampler._optimizer else 0)
    assert populations >= {6, 12}


def test_bayesian_learns_every_expression() -> None:
    space = {
        f"train.hyperparameters.x{number}": {of.name: of.model_dump(exclude_unset=True)}
        for number, of in enumerate(EXPRESSIONS)
    }
    assert len(run(make("bayesian", space), 25)) == 25


def test_bayesian_takes_several_objectives() -> None:
    goals = [{"metric": "cv.accuracy", "goal": "maximize"}, {"metric": "cv.log_loss", "goal": "minimize"}]
    sampler = make("bayesian", NUMBERS_ONLY, objective=goals)
    for number in range(30):
        point = sampler.ask(number)
        assert point
        sampler.tell(number, "pruned" if number % 5 == 1 else "done", (score(point), point.values[C]), [(1, 0.5)])
    assert isinstance(sampler, Bayesian)
    assert sampler.learned == 24


def test_a_pruned_trial_is_told_by_the_curve_whatever_its_goal() -> None:
    early = {"policy": "median_stopping", "curve": "validation_logloss", "goal": "minimize"}
    changes = {"objective": {"metric": "validation.accuracy", "goal": "maximize"}, "early_termination": early}
    base = {"train.estimator": {"fixed": "catboost.CatBoostClassifier"}, "train.hyperparameters.depth": {"int": [2, 9]}}
    split = {"split.validation": {"fixed": 0.2}}
    sampler = make("bayesian", {**base, **split}, **changes)
    sampler.ask(0)
    sampler.tell(0, "pruned", None, [(1, 0.75)])
    assert isinstance(sampler, Bayesian)
    assert sampler._study.trials[0].intermediate_values == {1: -0.75}


def test_options_of_bayesian_are_taken() -> None:
    options = {"sampler": "bayesian", "startup": 3, "candidates": 5, "multivariate": False}
    found = run(make(options, CONDITIONAL), 20)
    assert found[:3] == run(make("bayesian", CONDITIONAL), 3)
    assert found != run(make("bayesian", CONDITIONAL), 20)


@pytest.mark.skipif(find_spec("torch") is not None, reason="torch is installed")
def test_gp_without_torch_says_what_to_do() -> None:
    with pytest.raises(ParamsError) as error:
        make("gp", NUMBERS_ONLY)
    assert str(error.value) == (
        "params.yaml: sweep.sampling: gp needs torch, which is not installed; `pip install torch`, or take bayesian"
    )


@pytest.mark.skipif(find_spec("torch") is None, reason="torch, which no lock has, is not installed")
def test_gp_keeps_to_what_all_samplers_do() -> None:
    one, other = (run(make("gp", NUMBERS_ONLY), 25) for _ in range(2))
    assert one == other
    assert len({point.cell for point in one}) == 25


@pytest.mark.parametrize(
    ("sampling", "imported"), [("grid", False), ("random", False), ("sobol", False), ("bayesian", True)]
)
def test_optuna_is_imported_only_where_it_is_used(sampling: str, imported: bool) -> None:
    code = f"""if True:
        import sys
        from tests.test_sweep_samplers import AZURE
        from trialtree.sweep import section, samplers
        for name in [name for name in sys.modules if name.partition(".")[0] in ("optuna", "scipy")]:
            del sys.modules[name]
        sweep = {{"objective": {{"metric": "cv.accuracy", "goal": "maximize"}}, "space": AZURE,
                 "sampling": {sampling!r}, "limits": {{"trials": 3}}}}
        sampler = samplers.make(section.read({{"sweep": sweep}}), {{}})
        sampler.ask(0)
        print("optuna" in sys.modules, "scipy" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(imported), "False"]


def test_given_points_come_first_and_leave_the_rest_to_the_sampler() -> None:
    sampler = make("random", NUMBERS_ONLY, start_from=[{C: 1.0, DEGREE: 3}, {C: 2.5}, {C: 1.0, DEGREE: 3}])
    found = run(sampler, 6)
    assert sampler.started == 3
    assert [point.values[C] for point in found[:3]] == [1.0, 2.5, 1.0]
    assert found[0].values[DEGREE] == 3
    assert found[3:] == run(make("random", NUMBERS_ONLY), 3)


def test_a_given_point_may_have_keys_that_are_not_in_the_space() -> None:
    sampler = make("bayesian", AZURE, start_from=[{C: 1.0, KERNEL: "rbf", "train.hyperparameters.gamma": 0.5}])
    found = run(sampler, 20)
    assert found[0].values == {KERNEL: "rbf", C: 1.0, "train.hyperparameters.gamma": 0.5}
    assert len(found) == 13  # the twelve cells besides


def test_a_given_point_of_one_cell_is_not_tried_again() -> None:
    for sampling in ("grid", *PURE, "bayesian"):
        found = run(make(sampling, AZURE, start_from={C: 1.0, KERNEL: "rbf"}), 20)
        assert found[0].values == {KERNEL: "rbf", C: 1.0}
        assert len(found) == len({point.cell for point in found}) == 12


def test_given_points_survive_a_journal() -> None:
    one = make("bayesian", CONDITIONAL, start_from=[{"train.estimator": "a", C: 1.5}])
    whole = run(one, 30)
    again = make("bayesian", CONDITIONAL, start_from=[{"train.estimator": "a", C: 1.5}])
    again.restore(0, Point(whole[0].values, whole[0].raw))
    assert run(again, 30) == whole


def test_a_mapping_with_numbers_as_keys_survives_a_journal() -> None:
    key = "train.hyperparameters.class_weight"
    space = {key: {"choice": [{"fixed": {0: 1, 1: 3}}, {"fixed": {0: 1, 1: 5}}]}}
    for sampling in ("grid", "bayesian"):
        whole = run(make(sampling, space), 2)
        resumed = make(sampling, space)
        resumed.restore(0, Point(*json.loads(json.dumps([whole[0].values, whole[0].raw]))))
        assert run(resumed, 3) == whole


def test_the_trials_of_git_inform_a_sampler_that_learns(ran: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    ran.dvc("exp", "run", "-S", f"{C}=2.5", "evaluate")
    monkeypatch.chdir(ran.path)
    space = {C: {"uniform": [0.5, 3]}, KERNEL: {"choice": ["linear", "rbf"]}}
    sampler = make("bayesian", space, start_from="history")
    assert sampler.notes == ("start_from: history: 2 of 2 trials count",)
    split = {"split": {"target": "species", "test": 0.25, "seed": 5}}
    assert make("bayesian", space, over=split, start_from="history").notes == (
        "start_from: history: 0 of 2 trials count; 2 differ in more than the space, or lack the objective",
    )
    assert isinstance(sampler, Bayesian)
    assert [trial.params[C] for trial in sampler._study.trials] == [1.0, 2.5]
    assert all(0.9 < trial.value < 1 for trial in sampler._study.trials)


@pytest.mark.usefixtures("there")
def test_the_cells_of_an_earlier_sweep_are_not_tried_again() -> None:
    content = params.load(PROJECT / "params.yaml")
    folder = journal.place() / "iris-abcd"
    head = {
        "id": "iris-abcd", "time": 1, "section": content["sweep"], "params": content, "experiment": "iris",
        "baseline": "0", "tree": "0", "changed": [], "seed": 0, "executor": "engine", "dvc": "3",
    }  # fmt: skip
    with journal.Journal(folder) as log:
        log.add("sweep", **head)
        for number, (kernel, c) in enumerate([("rbf", 1.0), ("poly", 0.5), ("linear", 9.0), ("rbf", 0.5)]):
            log.add("asked", number=number, values={KERNEL: kernel, C: c}, raw={}, source="sampler")
            log.add("began", number=number, attempt=1, time=1000)
            state = "failed" if number == 3 else "done"
            log.add("ended", number=number, state=state, metrics={"cv.accuracy": 0.9}, objective=[0.9])
    for sampling in ("grid", "random", "bayesian"):
        sampler = make(sampling, AZURE, start_from=["sweep:iris"])
        found = run(sampler, 20)
        assert sampler.notes == (
            "start_from: sweep:iris: 2 of 3 trials count; 1 differ in more than the space, or lack the objective",
        )
        assert len(found) == 10
        assert not {("rbf", 1.0), ("poly", 0.5)} & {(point.values[KERNEL], point.values[C]) for point in found}
    with pytest.raises(ParamsError) as error:
        make("grid", AZURE, start_from=["sweep:nix"])
    assert str(error.value) == "params.yaml: sweep.start_from[0]: nix is no sweep: iris-abcd"


def test_a_family_whose_trials_fail_is_drawn_less_and_less() -> None:
    space = {"train": {"choice": [
        {"estimator": "good", "hyperparameters": {"C": {"uniform": [0, 1]}}},
        {"estimator": "slow", "hyperparameters": {"C": {"uniform": [0, 1]}}},
    ]}}  # fmt: skip
    sampler, families = make("bayesian", space), []
    for number in range(60):
        point = sampler.ask(number)
        assert point is not None
        families.append(point.values["train.estimator"])
        fails = families[-1] == "slow"
        sampler.tell(number, "failed" if fails else "done", None if fails else (point.values[C],), ())
    assert families[:10].count("slow") >= 3
    assert families[30:].count("slow") <= 5
