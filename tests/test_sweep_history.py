"""The sweeps of a repository, looked back on: their list, all that is known of one, and its pictures."""

import json
import math
import random
import re
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests import journals
from tests.browser import browser
from tests.conftest import Repo
from tests.journals import KERNEL, C, done, failed, pruned
from trialtree.sweep import history, journal
from trialtree.sweep.pictures import drawing, plots, png, study
from trialtree.sweep.records import Decision, Sweep, Trial
from trialtree.sweep.screen import standing

RATE, DEPTH, ESTIMATOR = (f"train.{name}" for name in ("hyperparameters.rate", "hyperparameters.depth", "estimator"))
SPACE = {
    "train": {"choice": [
        {"estimator": "sklearn.svm.SVC", "hyperparameters": {"C": {"loguniform": {"min_value": -3, "max_value": 3}}}},
        {"estimator": "sklearn.ensemble.RandomForestClassifier", "hyperparameters": {
            "depth": {"choice": [None, 3, 5, 10]}, "rate": {"uniform": {"min_value": 0, "max_value": 1}},
        }},
    ]},
}  # fmt: skip


def families(count: int, goals: int = 1) -> Sweep:
    """Return a sweep over two families of models, some of its trials stopped, some failed."""
    draw = random.Random(0)
    trials: list[Trial] = []
    for number in range(count):
        svc = draw.random() < 0.5
        values = (
            {ESTIMATOR: "sklearn.svm.SVC", C: math.exp(draw.uniform(-3, 3))} if svc else
            {ESTIMATOR: "sklearn.ensemble.RandomForestClassifier", DEPTH: draw.choice([None, 3, 5, 10]),
             RATE: draw.random()}
        )  # fmt: skip
        curve = [(t, 1 / t + draw.random() / 10) for t in range(1, 6)]
        if number % 5 == 4:
            trials.append(Trial(number, values, state="pruned", attempt=1, curve=curve[:3],
                                decision=Decision("bandit", 3, 0.5, 0.4)))  # fmt: skip
        elif number % 7 == 6:
            trials.append(Trial(number, values, state="failed", attempt=1, reason="ValueError: no"))
        else:
            objective = (draw.random(), draw.random())[:goals]
            trials.append(done(number, *objective, values=values, curve=curve))
    objectives = [{"metric": "cv.accuracy", "goal": "maximize"}, {"metric": "cv.seconds", "goal": "minimize"}]
    head = journals.head(space=SPACE, objective=objectives if goals > 1 else objectives[0])
    return journals.sweep(trials, head, finished="limits.trials: 40 trials")


@pytest.fixture
def past(there: Repo) -> Path:
    """Stand in a repository with three sweeps: one that ended, one that was stopped, and one that was killed."""
    del there
    place = journal.place()
    first = journals.sweep([done(0, 0.5), done(1, 0.75), failed(2), pruned(3)], finished="limits.trials: 4 trials")
    journals.write(place, first)
    for name, of, sampling in (("iris-stop", [done(0, 0.5)], "sobol"), ("iris-kill", [], {"sampler": "bayesian"})):
        journals.write(place, journals.sweep(
            of, journals.head(name, sampling=sampling), interrupted="stopped" if of else None,
        ))  # fmt: skip
    return place


def test_a_line_a_sweep_says_what_it_was_and_came_to(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history.sweeps()
    lines = [
        re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "WHEN", line.rstrip()) for line in capsys.readouterr().out.splitlines()
    ]
    assert sorted(re.sub("  +", "  ", line) for line in lines) == [
        "iris-k3f9  WHEN  random  2 done, 1 failed, 1 pruned of 12  cv.accuracy  0.75  finished",
        "iris-kill  WHEN  bayesian  0 done of 12  cv.accuracy  -  interrupted",
        "iris-stop  WHEN  sobol  1 done of 12  cv.accuracy  0.5  interrupted",
        "sweep  when  sampler  trials  objective  best  state",
    ]
    history.sweeps(as_json=True)
    told = {each["sweep"]: each for each in json.loads(capsys.readouterr().out)}
    assert told["iris-k3f9"] == {
        "sweep": "iris-k3f9", "time": "2026-09-21T14:13:20.000+00:00", "experiment": "iris", "baseline": "b" * 40,
        "sampler": "random", "seed": 0, "trials": 12, "done": 2, "failed": 1, "pruned": 1, "running": 0, "waiting": 0,
        "repeats": 0, "objective": [{"metric": "cv.accuracy", "goal": "maximize"}], "best": 1, "value": [0.75],
        "state": "finished", "reason": "limits.trials: 4 trials", "folder": str(past / "iris-k3f9"),
    }  # fmt: skip
    assert (told["iris-stop"]["state"], told["iris-stop"]["reason"]) == ("interrupted", "stopped")
    assert (told["iris-kill"]["best"], told["iris-kill"]["value"]) == (None, None)
    with journal.Journal(past / "iris-stop"):
        history.sweeps()
    assert "running" in capsys.readouterr().out


def test_a_sweep_is_shown_with_every_trial_in_order_of_rank(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history.show("iris-k3f9")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[:5] == [
        "best is trial 1: cv.accuracy 0.75",
        "params: kernel=linear C=1.5",
        "4 trials: 2 done, 1 failed, 1 pruned",
        "trial 2 failed: train: ValueError: no; `trialtree logs iris-k3f9/2`",
        "`trialtree sweep --rerun-failed iris-k3f9` tries them again",
    ]
    table = lines[lines.index("") + 1 :]
    assert table[:5] == [
        "rank  trial  state   cv.accuracy  seconds  params",
        "   1      1  done           0.75     0.25  kernel=linear C=1.5",
        "   2      0  done            0.5     0.25  kernel=linear C=0.5",
        "           3  pruned            -     0.50  kernel=rbf C=2  median_stopping at report 12: 0.5 against 0.75"[
            1:
        ],
        "           2  failed            -     0.50  kernel=rbf C=-1  train: ValueError: no"[1:],
    ]
    folder = past / "iris-k3f9" / drawing.FOLDER
    assert table[5:] == [
        "", "no importance of params: it takes 5 trials that are done, and there are 0",
        *(str(folder / name) for name in ("index.html", "history.png", "parallel.png", "slices.png")),
    ]  # fmt: skip
    assert all((folder / name).stat().st_size > 1000 for name in ("index.html", "history.png"))


def test_a_script_gets_all_trials(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history.show("iris-k3f9", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert [(each["rank"], each["number"], each["state"]) for each in told["all"]] == [
        (1, 1, "done"), (2, 0, "done"), (None, 3, "pruned"), (None, 2, "failed"),
    ]  # fmt: skip
    assert not (past / "iris-k3f9" / drawing.FOLDER).exists()
    history.show("iris-kill")
    assert capsys.readouterr().out.startswith("no trial is done\n0 trials\nnot finished: its driver was killed")
    with pytest.raises(journal.SweepError, match=r"^iris is the beginning of several: "):
        history.show("iris")


def test_a_study_has_the_scales_of_the_space_and_what_each_trial_has_of_it() -> None:
    of = study.read(families(40), standing.recorded(families(1).head.section).objectives)
    assert of.names == {C: "C", ESTIMATOR: "estimator", DEPTH: "depth", RATE: "rate"}
    trials = of.of.get_trials(deepcopy=False)
    on = {name: dist for trial in trials for name, dist in trial.distributions.items()}
    assert (on["C"].log, on["rate"].log) == (True, False)
    assert [*map(repr, on["depth"].choices)] == ["3", "5", "10", "null"]
    assert [*map(repr, on["estimator"].choices)] == ["RandomForestClassifier", "SVC"]
    assert {(trial.state.name, *sorted(trial.params)) for trial in trials} == {
        ("COMPLETE", "C", "estimator"), ("COMPLETE", "depth", "estimator", "rate"), ("PRUNED",), ("FAIL",),
    }  # fmt: skip
    assert [trial.number for trial in trials] == [*range(40)]


def test_long_and_equal_names_stay_apart() -> None:
    trials = [
        done(number, 0.5, values={
            "fetch.source": f"{'x' * 30}{number}", "split.seed": number, "train.seed": number,
            f"train.{'a' * 30}": number, f"train.{'a' * 31}": number, "evaluate.fixed": 1,
        })
        for number in range(3)
    ]  # fmt: skip
    of = study.read(journals.sweep(trials), standing.recorded(journals.SECTION).objectives)
    assert [*of.names.values()] == [
        "source (0)", "split.seed (1)", "train.seed (2)", "aaaaaaaaaaaaaaaaa… (3)", "aaaaaaaaaaaaaaaaa… (4)",
    ]  # fmt: skip
    (choices,) = {trial.distributions["source (0)"].choices for trial in of.of.trials}
    cut = "x" * 21 + "…"
    assert choices == (cut, f"{cut} (2)", f"{cut} (3)")


@pytest.mark.slow
@pytest.mark.parametrize("goals", [1, 2])
def test_the_pictures_of_a_sweep_are_drawn_without_a_word(
    goals: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sweep = families(40, goals)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = drawing.draw(sweep, tmp_path / "new" / "pictures", ["best is <b>"], [(RATE, 0.75), (C, 0.25)])
    assert capfd.readouterr() == ("", "")
    one = ["history", "importance", "parallel", "slices", "contour", "curves"]
    two = [
        "history-1",
        "history-2",
        "front",
        "importance",
        "parallel",
        "slices-1",
        "contour-1",
        "slices-2",
        "contour-2",
    ]
    names = one if goals == 1 else two
    assert [path.name for path in drawn] == ["index.html", *(f"{name}.png" for name in names)]
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in drawn[1:])
    page = drawn[0].read_text(encoding="utf-8")
    assert "best is &lt;b&gt;" in page
    # Nothing of it is on a network.
    assert re.findall(r'<script[^>]*src="([^"]*)"', page) == ["plotly.min.js"]
    assert {path.name for path in drawn[0].parent.iterdir()} == {
        "index.html", "plotly.min.js", *(f"{name}.{kind}" for name in names for kind in ("html", "png")),
    }  # fmt: skip
    if goals == 1:
        shows_every_picture(drawn[0])


def shows_every_picture(index: Path) -> None:
    """See the page in a browser."""
    with browser(1200, 900) as page:
        page.open(index.as_uri())
        page.wait("document.querySelectorAll('.plot > div .main-svg').length >= 6")
        page.wait_for("History", "Parallel coordinates", "Slices", "Contour", "Curves", "best so far", "SVC", "rate")


def test_the_same_sweep_gives_the_same_pictures(tmp_path: Path) -> None:
    goals = standing.recorded(journals.SECTION).objectives
    for name in "ab":
        drawn = plots.plots(study.read(families(20), goals), goals, ())
        png.save(next(plot for plot in drawn if plot.kind == "contour"), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_of_many_curves_the_best_and_some_others_are_drawn() -> None:
    sweep = families(400)
    goals = standing.recorded(sweep.head.section).objectives
    (curves,) = (plot for plot in plots.plots(study.read(sweep, goals), goals, ()) if plot.kind == "curves")
    assert curves.title == "Curves: 60 of 354 trials"
    colors = [color for color, _ in plots.colors(curves)]
    assert (len(colors), colors.count(plots.CURVES["best"])) == (60, 1)
    best = max(sweep.of("done"), key=lambda trial: trial.objective or ())
    first = [trial for trial, (_, is_best) in zip(curves.trials, plots.colors(curves), strict=True) if is_best]
    assert [trial.value for trial in first] == [*(best.objective or ())]


def test_nothing_is_drawn_of_a_sweep_without_a_trial_that_is_done(tmp_path: Path) -> None:
    assert drawing.draw(journals.sweep([failed(0)]), tmp_path / "pictures", []) == []
    assert not (tmp_path / "pictures").exists()


def test_of_a_trial_alone_there_is_its_history(tmp_path: Path) -> None:
    drawn = drawing.draw(journals.sweep([done(0, 0.5)]), tmp_path, [])
    assert [path.name for path in drawn] == ["index.html", "history.png"]


@pytest.mark.parametrize(
    ("space", "found"),
    [({KERNEL: {"choice": ["a", "b"]}, C: {"loguniform": {"min_value": -3, "max_value": 3}}}, [C]),
     ({RATE: {"float": {"low": 0.1, "high": 1, "log": True}}, DEPTH: {"int": {"low": 1, "high": 9}}}, [RATE]),
     ({RATE: {"uniform": [0, 1]}, DEPTH: {"qlognormal": [0, 1, 1]}}, [DEPTH]), (SPACE, [C])],
)  # fmt: skip
def test_a_space_says_which_scales_are_logarithmic(space: Any, found: list[str]) -> None:
    assert list(study.logarithmic(space)) == found
