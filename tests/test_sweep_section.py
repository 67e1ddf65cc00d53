"""The sweep section: what it reads, and what is said of one that is wrong, before anything runs."""

from pathlib import Path
from typing import Any

import pytest

from stages import params
from stages.params import ParamsError
from tests.conftest import PROJECT, Repo
from trialtree.sweep import section
from trialtree.sweep.section import SweepParams

C, KERNEL = "train.hyperparameters.C", "train.hyperparameters.kernel"
SWEEP = {
    "objective": {"metric": "cv.accuracy", "goal": "maximize"},
    "space": {KERNEL: {"choice": ["linear", "rbf"]}, C: {"loguniform": {"min_value": -3, "max_value": 3}}},
    "limits": {"trials": 12},
}


def content(base: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return iris's params.yaml with another sweep; `...` takes a key away."""
    sweep = {key: value for key, value in {**SWEEP, **changes}.items() if value is not ...}
    return {**params.load(PROJECT / "params.yaml"), **(base or {}), "sweep": sweep}


def read(**changes: Any) -> SweepParams:
    """Return a sweep section."""
    return section.read(content(**changes))


def refused(**changes: Any) -> list[str]:
    """Return what is said of a section that cannot be read, without the file's name."""
    with pytest.raises(ParamsError) as error:
        read(**changes)
    return [line.removeprefix("params.yaml: ") for line in str(error.value).splitlines()]


def checked(base: dict[str, Any] | None = None, **changes: Any) -> list[str]:
    """Return what a check says, without the file's name."""
    of = content(base, **changes)
    return [line.removeprefix("params.yaml: ") for line in section.check(section.read(of), of)]


def test_the_section_of_iris_is_in_order() -> None:
    of = params.load(PROJECT / "params.yaml")
    settled = section.read(of)
    assert section.check(settled, of) == []
    assert (settled.sampler.sampler, settled.seed, settled.limits.trials, settled.limits.concurrent) == (
        "random", 0, 12, 4,
    )  # fmt: skip


def test_what_may_be_said_shortly_may_be_said_at_length() -> None:
    one = read(sampling="bayesian", where=f"{C} < 3", start_from={C: 1.0})
    other = read(
        sampling={"sampler": "bayesian"}, where=[f"{C} < 3"], start_from=[{C: 1.0}], objective=[SWEEP["objective"]]
    )
    assert (one.sampler, one.where, one.starts, one.objectives) == (
        other.sampler, other.where, other.starts, other.objectives,
    )  # fmt: skip


OBJECTIVE = "must be a mapping such as {metric: cv.accuracy, goal: maximize}"
SAMPLERS = "must be one of grid, random, sobol, bayesian, gp, cmaes"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objective": ...}, ["sweep.objective: is required"]),
        ({"space": ...}, ["sweep.space: is required"]),
        ({"space": {}}, ["sweep.space: must have at least one key, with what it is drawn from"]),
        ({"space": [1]}, ["sweep.space: must be a mapping, got [1]"]),
        ({"objective": []}, ["sweep.objective: must have at least one item, got []"]),
        (
            {"objective": {"metrc": "cv.accuracy", "goal": "max"}},
            [
                "sweep.objective.metric: is required",
                "sweep.objective.goal: must be 'maximize' or 'minimize', got 'max'",
                "sweep.objective.metrc is not a key; did you mean metric?",
            ],
        ),
        ({"objective": [{"metric": 3, "goal": "minimize"}]}, ["sweep.objective[0].metric: must be text, got 3"]),
        ({"objective": "cv.accuracy"}, [f"sweep.objective: {OBJECTIVE}, got 'cv.accuracy'"]),
        ({"sampling": "bayesan"}, [f"sweep.sampling: {SAMPLERS} (did you mean bayesian?), got 'bayesan'"]),
        ({"sampling": {"sampler": "tpe"}}, [f"sweep.sampling.sampler: {SAMPLERS}, got 'tpe'"]),
        (
            {"sampling": {"sampler": "gp", "candidate": 3}},
            ["sweep.sampling.candidate is not a key; did you mean candidates?"],
        ),
        ({"sampling": {"sampler": "random", "startup": 3}}, ["sweep.sampling: startup is no option of random"]),
        ({"sampling": {"sampler": "gp", "candidates": 3}}, ["sweep.sampling: candidates is no option of gp"]),
        ({"seed": -1}, ["sweep.seed: must be greater than or equal to 0, got -1"]),
        ({"seed": 1.5}, ["sweep.seed: must be a whole number, got 1.5"]),
        ({"order": "any"}, ["sweep.order: must be 'free' or 'fixed', got 'any'"]),
        ({"limits": {"trails": 3}}, ["sweep.limits.trails is not a key; did you mean trials?"]),
        ({"limits": {"trials": 0}}, ["sweep.limits.trials: must be greater than or equal to 1, got 0"]),
        (
            {"limits": {"trials": 3, "memory": "2 apples"}},
            ["sweep.limits.memory: must be a size such as 500MB, 4GB or 1.5TB, got '2 apples'"],
        ),
        ({"limits": {}}, ["sweep: limits.trials is required: only a grid ends by itself"]),
        (
            {"objective": [SWEEP["objective"]] * 2, "limits": {"trials": 3, "target": 1.0}},
            ["sweep: limits.target is for one objective, and there are several"],
        ),
        ({"where": [3]}, ["sweep.where[0]: must be text, got 3"]),
        ({"start_from": [3]}, ["sweep.start_from[0]: must be text, got 3"]),
        ({"isolation": "fork"}, ["sweep.isolation: must be 'warm' or 'trial', got 'fork'"]),
        ({"keep_pruned": 1}, ["sweep.keep_pruned: must be true or false, got 1"]),
        (
            {"early_termination": {"policy": "bandit", "slack_factr": 0.1}},
            ["sweep.early_termination: slack_factr is not a key of bandit; did you mean slack_factor?"],
        ),
        (
            {"seed": -1, "space": {C: {"unifrm": [0, 1]}}},
            [
                "sweep.seed: must be greater than or equal to 0, got -1",
                f"sweep.space.{C}.unifrm is not an expression; did you mean uniform?",
            ],
        ),
    ],
)
def test_every_fault_of_the_section_is_a_line(changes: dict[str, Any], said: list[str]) -> None:
    assert refused(**changes) == said


def test_a_file_without_a_sweep_says_so() -> None:
    with pytest.raises(ParamsError) as error:
        section.read({"train": {}})
    assert str(error.value) == "params.yaml: sweep: is missing: there is nothing to search"


def test_a_grid_needs_no_number_of_trials() -> None:
    assert read(sampling="grid", limits=...).limits.trials is None


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("cv.accuracy", None),
        ("cv.log_loss_std", None),
        ("cv.acuracy", "'cv.acuracy' is no metric of a classification; did you mean cv.accuracy?"),
        ("accuracy", "'accuracy' must begin with one of cv, validation, test, script and a dot; did you mean "
                     "cv.accuracy?"),
        ("test.accuracy", "test.accuracy would let the test part choose the trial; take cv.accuracy, or set "
                          "sweep.allow_test: true"),
        ("validation.accuracy", "validation.accuracy is only written with split.validation, such as 0.2"),
        ("script.accuracy", "script.accuracy: there is no train.script that would log it"),
    ],
)  # fmt: skip
def test_an_objective_that_no_trial_would_have_is_refused(metric: str, said: str | None) -> None:
    expected = [] if said is None else [f"sweep.objective.metric: {said}"]
    assert checked(objective={"metric": metric, "goal": "maximize"}) == expected


def test_what_the_pipeline_writes_depends_on_the_other_sections() -> None:
    goal = {"goal": "maximize"}
    cv = {"metric": "cv.accuracy", **goal}
    assert checked({"evaluate": {}}) == [
        "sweep.objective.metric: cv.accuracy is only written with evaluate.cross_validation, such as {folds: 5}"
    ]
    assert checked({"evaluate": {"metrics": ["f1"], "cross_validation": {"folds": 3}}}) == [
        "sweep.objective.metric: cv.accuracy is none of evaluate.metrics: f1"
    ]
    assert checked(objective={"metric": "test.accuracy", **goal}, allow_test=True) == []
    split = {"split": {"target": "species", "test": 0.25, "validation": 0.1}}
    assert checked(split, objective={"metric": "validation.accuracy", **goal}) == []
    assert checked(objective=[cv, {"metric": "cv.rmse", **goal}], tie_break=[{"metric": "test.f1", **goal}]) == [
        "sweep.objective[1].metric: 'cv.rmse' is no metric of a classification; did you mean cv.recall?",
        "sweep.tie_break[0].metric: test.f1 would let the test part choose the trial; take cv.f1, or set "
        "sweep.allow_test: true",
    ]


def test_a_script_has_the_metrics_that_it_logs_and_no_folds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train_it.py").write_text("", encoding="utf-8")
    base = {"train": {"script": "train_it.py", "arguments": {"C": 1.0}}}
    space = {"train.arguments.C": {"choice": [0.5, 1.0]}}
    goal = {"goal": "maximize"}
    assert checked(base, space=space, objective={"metric": "script.Accuracy", **goal}) == []
    assert checked(base, space=space) == [
        "sweep.objective.metric: cv.accuracy is never written: only the script itself can fit its model on folds; "
        "take a metric of script"
    ]


def test_where_evaluate_is_another_command_any_metric_may_be_written(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo.path)
    objective = {"metric": "own.score", "goal": "maximize"}
    assert checked(objective=objective) != []
    pipeline = (repo.path / "dvc.yaml").read_text(encoding="utf-8")
    (repo.path / "dvc.yaml").write_text(pipeline.replace("python -m stages.evaluate", "./score"), encoding="utf-8")
    assert checked(objective=objective) == []


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (
            {"train.hyperparameters.kernal": {"choice": ["rbf", "poly"]}},
            ["space.train.hyperparameters.kernal is not a parameter of sklearn.svm.SVC; did you mean kernel?"],
        ),
        (
            {KERNEL: {"choice": ["rbf", "rbff"]}},
            [
                f"space.{KERNEL}.choice[1]: must be one of 'linear', 'poly', 'precomputed', 'rbf' or 'sigmoid', "
                "got 'rbff'"
            ],
        ),
        ({C: {"uniform": [-1, 2]}}, [f"space.{C}: must be a number in (0.0, inf], got -1.0"]),
        ({C: {"normal": [1, 1]}}, [f"space.{C}: must be a number in (0.0, inf], got -2.090232306167813"]),
        ({C: {"choice": [1, "1"]}}, [f"space.{C}.choice[1]: must be a number in (0.0, inf], got '1'"]),
        (
            {"train.hyperparameters.degree": {"quniform": [1, 3, 1.0]}},
            ["space.train.hyperparameters.degree: must be a whole number in [0, inf), got 2.0"],
        ),
        ({"train.hyperparameters.degree": {"quniform": [1, 3, 1]}}, []),
        (
            {"split.test": {"uniform": [0.1, 2]}},
            ["space.split.test: must be less than 1 as a share of all rows, or a whole number of rows, got 1.05"],
        ),
        ({"split.sed": {"randint": 3}}, ["space.split.sed is not a key; did you mean seed?"]),
        (
            {"register.name": {"choice": ["a", "b"]}},
            ["space.register.name: must be a key of fetch, split, train, evaluate, which a trial runs"],
        ),
        (
            {"trian.seed": {"randint": 3}},
            ["space.trian.seed: must be a key of fetch, split, train, evaluate; did you mean train?"],
        ),
        (
            {"train": {"choice": [
                {"estimator": "sklearn.svm.SVC", "hyperparameters": {"C": {"uniform": [1, 2]}}},
                {"estimator": "sklearn.ensemble.RandomForestClassifier", "hyperparameters": {"C": 1}},
                {"estimator": "sklearn.svm.SVX"},
            ]}},
            [
                "space.train.choice[1].hyperparameters.C is not a parameter of "
                "sklearn.ensemble.RandomForestClassifier; known: ",
                "space.train.choice[2].estimator: there is no sklearn.svm.SVX; did you mean sklearn.svm.SVR?",
            ],
        ),
        (
            {"train.estimator": {"choice": ["sklearn.ensemble.VotingClassifier"]}},
            ["space: leads to train.hyperparameters: sklearn.ensemble.VotingClassifier needs estimators"],
        ),
    ],
)  # fmt: skip
def test_what_a_stage_or_an_estimator_would_refuse_is_told_by_its_place(space: dict[str, Any], said: list[str]) -> None:
    lines = checked(space=space)
    assert len(lines) == len(said)
    for line, beginning in zip(lines, said, strict=True):
        assert line == f"sweep.{beginning}" or (beginning.endswith("known: ") and line.startswith(f"sweep.{beginning}"))


def test_a_fault_of_the_file_itself_is_none_of_the_space() -> None:
    assert checked({"split": {"target": "species", "test": 1.5}}, space={"split.seed": {"randint": 3}}) == []


def test_conditions_may_rule_out_what_an_estimator_refuses() -> None:
    space = {C: {"choice": [-1, 1]}}
    assert checked(space=space) == [f"sweep.space.{C}.choice[0]: must be a number in (0.0, inf], got -1"]
    assert checked(space=space, where=[f"{C} > 0"]) == []


def test_conditions_that_leave_nothing_are_told() -> None:
    space = {C: {"choice": [0.5, 1.0]}}
    assert checked(space=space, where=[f"{C} > 3"]) == [
        "sweep.where: leaves nothing of the space: none of its 2 points meets it"
    ]
    assert checked(space={C: {"uniform": [1, 2]}}, where=[f"{C} > 3"]) == [
        "sweep.where: leaves nothing of the space: none of 2000 points that were tried meets it"
    ]
    assert checked(space=space, where=[f"{C} > {KERNEL}"]) == [
        f"sweep.where[0]: '{C} > {KERNEL}' cannot be told of a point ('>' not supported between instances of 'float' "
        f"and 'str') where {C} is 0.5, {KERNEL} is 'linear'"
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"sampling": "grid", "limits": ...},
            [f"space.{C}: a grid has no end of values of loguniform; take choice here, or random as sampling"],
        ),
        (
            {"sampling": "grid", "space": {C: {"uniform": [1, 2]}, KERNEL: {"choice": ["rbf"]}}},
            [f"space.{C}: a grid has no end of values of uniform; take quniform here, or random as sampling"],
        ),
        (
            {"sampling": "cmaes"},
            [
                f"sampling: cmaes needs numbers, and sweep.space.{KERNEL} has values without an order; take bayesian, "
                "or give the choice `ordered: true`"
            ],
        ),
        (
            {"sampling": "cmaes", "objective": [SWEEP["objective"]] * 2, "space": {C: {"uniform": [1, 2]}}},
            ["sampling: cmaes is for one objective, and there are 2; take bayesian"],
        ),
        (
            {"sampling": "cmaes", "space": {"train": {"choice": [
                {"hyperparameters": {"C": {"uniform": [1, 2]}}}, {"hyperparameters": {"degree": {"int": [1, 2]}}},
            ]}}},
            ["sampling: cmaes needs the same keys in every point, and sweep.space.train brings others; take bayesian"],
        ),
    ],
)  # fmt: skip
def test_a_space_that_the_sampler_cannot_search_is_refused(changes: dict[str, Any], said: list[str]) -> None:
    assert checked(**changes) == [f"sweep.{line}" for line in said]


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ([{C: 1.0}], []),
        ([{C: 100.0}], [f"start_from[0].{C}: is outside of the space, got 100.0"]),
        ({C: "1"}, [f"start_from.{C}: is outside of the space, got '1'"]),
        ([{"train.hyperparameters.gamma": 0.1}], []),
        (
            [{"train.seed": 1}, {"sed": 1}],
            [f"start_from[1].sed: must be a key of fetch, split, train, evaluate; known: {KERNEL}, {C}"],
        ),
        (["histry"], ["start_from[0]: must be a point, sweep:ID or history, got 'histry'"]),
        ("history", ["start_from: history is for samplers that learn: bayesian, gp, cmaes; got random"]),
    ],
)
def test_a_start_that_is_none_is_told(start: Any, said: list[str]) -> None:
    assert checked(start_from=start) == [f"sweep.{line}" for line in said]


def test_advice_is_given_to_samplers_that_learn() -> None:
    def said(**changes: Any) -> list[str]:
        of = content(**changes)
        return section.advice(section.read(of), of)

    assert said() == []
    assert said(sampling="bayesian", limits={"trials": 40, "concurrent": 8}) == []
    assert said(sampling="bayesian", limits={"trials": 39, "concurrent": 9}) == [
        "bayesian wants about 20 trials a key, 40 for 2, and limits.trials is 39: sobol may do as well",
        "bayesian learns little from 9 trials at once; 8 or fewer are better",
    ]
