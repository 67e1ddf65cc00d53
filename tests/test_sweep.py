"""`trialtree sweep`: what becomes of its trials, what a person sees, and how it goes on."""

import json
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import tinysweeps
from tests.conftest import Repo
from tests.slow import until
from tests.tinysweeps import (
    BANDIT,
    STOPPING,
    UNIFORM,
    X,
    ask_for,
    begun,
    behind,
    choices,
    experiments,
    go,
    held,
    last,
    left,
    points,
    printed,
    read_until,
    states,
    sweep,
    values,
    wait,
)  # fmt: skip
from trialtree.sweep import journal, section
from trialtree.sweep.journal import Journal, SweepError
from trialtree.sweep.limits import Limits
from trialtree.sweep.records import Head, Sweep, Trial

KERNEL, C = "train.hyperparameters.kernel", "train.hyperparameters.C"
CELLS = [(kernel, c) for kernel in ("linear", "rbf", "poly", "sigmoid") for c in (0.5, 1.0, 1.5)]


@pytest.fixture(scope="session")
def tiny_once(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A repository with the tiny pipeline; for copies only."""
    return tinysweeps.tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny(tiny_once: Repo, tmp_path: Path) -> Repo:
    """A copy of it, to change."""
    return tinysweeps.copied(tiny_once, tmp_path)


# The twelve trials of Azure's article.


@pytest.fixture(scope="session")
def azure(ran_once: Repo, tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A repository in which the sweep of iris has run as a grid, published too; for reading only."""
    repo = tinysweeps.copied(ran_once, tmp_path_factory.mktemp("azure"))
    repo.params({"sweep.sampling": "grid", "sweep.tie_break": [{"metric": "cv.accuracy_std", "goal": "minimize"}]})
    repo.commit("As a grid")
    done = repo.run("trialtree", "sweep", "--lines")
    (repo.path.parent / "said").write_text(done.stdout, encoding="utf-8")
    return repo


@pytest.fixture
def swept(azure: Repo, tmp_path: Path) -> Repo:
    """A copy of it, to change."""
    return tinysweeps.copied(azure, tmp_path)


def test_each_cell_of_a_grid_is_tried_once_with_the_published_figures(azure: Repo) -> None:
    of = last(azure)
    assert [(trial[KERNEL], trial[C]) for trial in values(of)] == CELLS
    assert (states(of), left(azure)) == ({"done": 12}, [])
    accuracies = {(trial.values[KERNEL], trial.metrics["test.accuracy"]) for trial in of.trials.values()}
    high, low = 0.9736842105263158, 0.23684210526315788
    assert accuracies == {("linear", high), ("rbf", high), ("poly", high), ("sigmoid", low)}


def test_the_best_is_told_and_where_all_are(azure: Repo) -> None:
    said = (azure.path.parent / "said").read_text(encoding="utf-8")
    assert "\nbest is trial 2: cv.accuracy 0.981818\nparams: kernel=linear C=1.5\n" in said
    assert "\nended: limits.trials: 12 trials\n" in said
    assert said.endswith(f"in MLflow at sqlite:///{azure.path}/mlflow.db: 12 trials; `trialtree ui`\n")


def test_among_equal_trials_the_tie_break_decides_and_is_told(tiny: Repo) -> None:
    objective, tie = ({"metric": f"cv.{name}", "goal": "minimize"} for name in ("log_loss_std", "log_loss"))
    space = choices(x=[0.27, 0.31, 0.26, 0.9])  # the first rounds them to a tenth
    ask_for(tiny, sampling="grid", space=space, objective=objective, tie_break=[tie], limits={})
    said = sweep(tiny).stdout
    assert (
        "best is trial 2: cv.log_loss_std 0.3\n"
        "3 trials have that; the lowest cv.log_loss decided, 0.26 against 0.27 of trial 0\n"
        "as good: 2 trials, 0, 1\n"
    ) in said


def test_dvc_knows_each_trial_as_an_experiment(swept: Repo) -> None:
    names = [str(trial.name) for trial in last(swept).trials.values()]
    shown = json.loads(swept.dvc("exp", "show", "--json").stdout)
    listed = [of["name"] for rev in shown for of in rev["experiments"] or ()]
    assert sorted(listed) == names
    swept.dvc("exp", "branch", names[1], "tried")
    assert swept.git("rev-parse", "tried") == experiments(swept)[names[1]]
    found = json.loads(swept.dvc("exp", "diff", "--json", names[0], names[1]).stdout)
    assert found["params"] == {"params.yaml": {C: {"old": 0.5, "new": 1.0, "diff": 0.5}}}


def test_draws_by_chance_find_each_cell_once_and_nothing_is_computed_again(swept: Repo) -> None:
    swept.params({"sweep.sampling": "random", "sweep.limits": {"trials": 12}})
    sweep(swept)
    of = last(swept)
    assert sorted((trial[KERNEL], trial[C]) for trial in values(of)) == sorted(CELLS)
    assert [trial.ran for trial in of.trials.values()] == [()] * 12
    assert left(swept) == []


# What a person has in the repository stays as it is.


def everything(repo: Repo) -> dict[str, Any]:
    """Return all of a repository that a sweep must not touch."""
    names = repo.git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    files = [repo.path / name for name in names if name]
    return {
        "index": (repo.path / ".git/index").read_bytes(),
        "files": {file: file.read_bytes() for file in files if file.is_file()},
        "status": repo.run("git", "status", "--porcelain", GIT_OPTIONAL_LOCKS="0").stdout,
        "stash": repo.git("stash", "list", "--format=%H %gs"),
        "head": (repo.path / ".git/HEAD").read_bytes(),
        "refs": [line for line in repo.git("show-ref").splitlines() if "refs/exps/" not in line],
    }


def test_files_index_and_stash_stay_as_they_are_while_it_runs_and_afterwards(tiny: Repo) -> None:
    (tiny.path / "stashed").write_text("stashed", encoding="utf-8")
    tiny.git("add", "stashed")
    tiny.git("stash")
    (tiny.path / "staged").write_text("staged", encoding="utf-8")
    tiny.git("add", "staged")
    (tiny.path / "staged").write_text("changed since", encoding="utf-8")
    (tiny.path / "untracked").write_text("unknown", encoding="utf-8")
    wait(tiny)
    before = everything(tiny)
    process = held(tiny)
    assert everything(tiny) == before
    go(tiny)
    said = process.communicate()[0]
    assert (process.returncode, left(tiny)) == (0, [])
    assert everything(tiny) == before
    assert "uncommitted changes are taken into the trials: params.yaml, staged\n" in said
    files = tiny.git("ls-tree", "--name-only", str(last(tiny).trials[0].commit), "staged", "untracked", "stashed")
    assert files == "staged"
    assert tiny.git("show", f"{last(tiny).trials[0].commit}:staged") == "changed since"


# Somebody stops it, or kills it.


@pytest.fixture(scope="session")
def undisturbed(tiny_once: Repo, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The points of such a sweep when nobody disturbs it."""
    repo = tinysweeps.copied(tiny_once, tmp_path_factory.mktemp("undisturbed"))
    ask_for(repo, space=UNIFORM, limits={"trials": 5, "concurrent": 2})
    sweep(repo)
    return [trial[X] for trial in values(last(repo))]


def resumed(repo: Repo) -> list[float]:
    """Go on with a sweep that was left, and return its points."""
    go(repo)
    sweep(repo, "--resume")
    assert (states(last(repo)), left(repo)) == ({"done": 5}, [])
    return [trial[X] for trial in values(last(repo))]


def test_ctrl_c_lets_what_runs_end(tiny: Repo, undisturbed: list[float]) -> None:
    wait(tiny)
    process = held(tiny)
    process.send_signal(signal.SIGINT)
    read_until(process, STOPPING)
    go(tiny)
    said = process.communicate()[0]
    assert (process.returncode, states(last(tiny)), left(tiny)) == (130, {"done": 2}, [])
    assert f"not finished: stopped; `trialtree sweep --resume {last(tiny).head.id}` goes on\n" in said
    assert resumed(tiny) == undisturbed


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_twice_and_an_order_to_end_stop_what_runs(
    how: signal.Signals, tiny: Repo, undisturbed: list[float]
) -> None:
    wait(tiny)
    process = held(tiny)
    process.send_signal(how)
    if how == signal.SIGINT:
        read_until(process, STOPPING)
        process.send_signal(how)
    said = process.communicate()[0]
    assert (process.returncode, states(last(tiny)), left(tiny)) == (130, {"waiting": 2}, [])
    assert "\n2 trials: 2 waiting;" in said
    if how == signal.SIGTERM:
        assert resumed(tiny) == undisturbed


def test_a_driver_that_is_killed_loses_nothing_that_had_ended(tiny: Repo, undisturbed: list[float]) -> None:
    wait(tiny, space={**UNIFORM, "train.hyperparameters.wait": {"fixed": str(tiny.path.parent / "go")},
                      "train.hyperparameters.wait_under": {"fixed": 0.5}})  # fmt: skip
    process = held(tiny)
    until(lambda: len(last(tiny).of("done")) == 1)  # the second, whose x is 0.52; the first and the third wait
    process.kill()
    process.communicate()
    until(lambda: not tinysweeps.processes(tiny))
    before = last(tiny)
    assert states(before) == {"done": 1, "waiting": 2}
    assert resumed(tiny) == undisturbed
    assert last(tiny).trials[1] == before.trials[1]


def test_a_worker_that_is_killed_costs_a_trial_nothing_but_time(tiny: Repo) -> None:
    wait(tiny)
    process = held(tiny)
    (importer,) = psutil.Process(process.pid).children()
    importer.children()[0].kill()
    until(lambda: any(log.count("x is") == 2 for log in printed(tiny, "x is")))
    go(tiny)
    process.communicate()
    assert (process.returncode, states(last(tiny)), left(tiny)) == (0, {"done": 5}, [])


def test_a_sweep_that_runs_is_not_gone_on_with(tiny: Repo) -> None:
    wait(tiny)
    process = held(tiny)
    of = last(tiny).head.id
    refused = sweep(tiny, "--resume", check=False)
    assert (refused.returncode, refused.stderr) == (1, f"sweep {of} is running already, in process {process.pid}\n")
    process.kill()
    process.communicate()


# Trials that fail.


def test_failed_trials_keep_why_and_their_logs_and_stop_nothing(tiny: Repo) -> None:
    ways = ["raise", "leave", "leave with 3", "crash", "be killed", "hang", "eat", "write no curve", "nothing"]
    limits = {"concurrent": 2, "trial_timeout": 4, "memory": "300 MB"}
    ask_for(tiny, sampling="grid", space=choices(do=ways), limits=limits)
    done = sweep(tiny)
    of = last(tiny)
    assert (states(of), left(tiny)) == ({"done": 1, "failed": 8}, [])
    took = of.trials[6].reason or ""
    assert {t.values["train.hyperparameters.do"]: (t.stage, t.status, t.reason) for t in of.of("failed")} == {
        "raise": ("train", 1, "train exited with status 1: json.decoder.JSONDecodeError: Expecting property name "
                  "enclosed in double quotes: line 1 column 2 (char 1)"),
        "leave": ("evaluate", 1, "evaluate exited with status 1: FileNotFoundError: [Errno 2] No such file or "
                  "directory: 'models/model/x'"),
        "leave with 3": ("train", 3, "train exited with status 3: x is 0.5"),
        "crash": ("train", -11, "train was ended by SIGSEGV: x is 0.5"),
        "be killed": ("train", -9, "train was ended by SIGKILL: x is 0.5"),
        "hang": ("train", -9, "timeout after 4 s"),
        "eat": ("train", -9, took),
        "write no curve": (None, None, "the stage did not write reports/curves.csv, which dvc.yaml names as its "
                           "output"),
    }  # fmt: skip
    assert took.endswith(" MB, limits.memory is 300 MB")
    logs = [tinysweeps.folders(tiny)[-1] / str(trial.log) for trial in of.of("failed")]
    assert ["x is 0.5" in log.read_text(encoding="utf-8") for log in logs] == [True] * 8
    assert "9 trials: 1 done, 8 failed;" in done.stdout


def test_metrics_that_are_damaged_or_no_number_fail_their_trial_only(tiny: Repo) -> None:
    space = {"evaluate.written": {"choice": ["damaged", "NaN", "nothing", None]}}
    ask_for(tiny, sampling="grid", space=space, limits={})
    sweep(tiny)
    of = last(tiny)
    assert [trial.state for trial in of.trials.values()] == ["failed", "failed", "failed", "done"]
    assert [trial.reason for trial in of.of("failed")] == [
        "reports/metrics.json is damaged: Expecting value: line 1 column 8 (char 7)",
        "cv.log_loss is NaN, which cannot be compared",
        "reports/metrics.json has no cv.log_loss; it holds no metric",
    ]


def test_an_objective_that_no_trial_has_ends_the_sweep_after_three(tiny: Repo) -> None:
    ask_for(tiny, space={**UNIFORM, "evaluate.written": {"fixed": "another"}}, limits={"trials": 50, "concurrent": 1})
    done = sweep(tiny, check=False)
    assert (done.returncode, states(last(tiny)), left(tiny)) == (1, {"failed": 3}, [])
    assert "no trial has the objective: reports/metrics.json has no cv.log_loss; known: cv.rmse\n" in done.stdout


def test_a_failed_trial_is_tried_again_as_often_as_is_asked_for(tiny: Repo) -> None:
    space = {**UNIFORM, "train.hyperparameters.once": {"fixed": str(tiny.path.parent / "once")}}
    ask_for(tiny, space=space, limits={"trials": 2, "concurrent": 1, "retries": 1})
    sweep(tiny)
    assert [(trial.state, trial.attempt) for trial in last(tiny).trials.values()] == [("done", 2), ("done", 1)]
    ask_for(tiny, space=choices(do=["raise"]), sampling="grid", limits={"retries": 2})
    sweep(tiny, check=False)
    assert [(trial.state, trial.attempt) for trial in last(tiny).trials.values()] == [("failed", 3)]


# Limits.


def limited(**limits: Any) -> tuple[Limits, Sweep]:
    """Return the limits of a sweep that has not begun, and the sweep."""
    asked = {**tinysweeps.SECTION, "limits": {"trials": 50, **limits}}
    content = {"train": {"estimator": "stages.tiny.Tiny", "hyperparameters": {"x": 0.5}}, "sweep": asked}
    of = Sweep(Head("tiny-1234", 0, asked, content, "tiny", "b" * 40, "c" * 40, [], 0, "engine", "3.67.1"))
    return Limits(section.read(content), of), of


def ended(limits: Limits, of: Sweep, *losses: float | str) -> list[str | None]:
    """Let trials end, with a loss or for a reason, and return after each whether the sweep is over."""
    said = []
    for loss in losses:
        trial = Trial(len(of.trials), {X: 0.5}, state="failed" if isinstance(loss, str) else "done")
        if isinstance(loss, str):
            trial.reason = loss
        else:
            trial.objective, trial.metrics = (loss,), {"cv.log_loss": loss}
        of.trials[trial.number] = trial
        of.order.append(trial.number)
        limits.take(trial)
        said.append(limits.over)
    return said


def test_a_sweep_is_over_when_its_limits_say_so() -> None:
    assert ended(*limited(target=0.3), 0.5, 0.4, 0.3) == [None, None, "limits.target is reached: cv.log_loss 0.3"]
    assert ended(*limited(failures=2), "a", 0.5, "b") == [None, None, "limits.failures: 2 trials failed"]
    found = ended(*limited(patience=2), 0.5, 0.6, 0.4, "a", 0.4, 0.5)
    assert found == [None] * 5 + ["limits.patience: none of the last 2 trials is better"]


def test_a_sweep_is_over_when_no_trial_has_the_objective() -> None:
    lacks = "reports/metrics.json has no cv.log_loss; it holds no metric"
    assert ended(*limited(), lacks, "a", lacks, lacks)[2:] == [None, f"no trial has the objective: {lacks}"]
    assert ended(*limited(), 0.5, lacks, lacks, lacks)[-1] is None
    other = "train exited with status 1: the table has no column y"
    assert ended(*limited(), other, other, other, other)[-1] is None


def test_what_ended_before_ends_a_resumed_sweep_only_where_that_lasts() -> None:
    limits, of = limited(target=0.3, failures=2)
    ended(limits, of, "a", "b")
    assert Limits(limits._section, of).over is None
    ended(limits, of, 0.2)
    assert Limits(limits._section, of).over == "limits.target is reached: cv.log_loss 0.2"


# In which order.


def test_with_a_fixed_order_trials_and_decisions_are_the_same_whatever_takes_how_long(
    tiny_once: Repo, tmp_path: Path
) -> None:
    asked = {
        "sampling": {"sampler": "bayesian", "startup": 3},
        "space": {**UNIFORM, "train.hyperparameters.steps": {"fixed": 4}},
        "limits": {"trials": 10, "concurrent": 2},
        "order": "fixed",
        "early_termination": BANDIT,
    }
    repos = [tinysweeps.copied(tiny_once, tmp_path / name) for name in "ab"]
    found = [points(repo, pause, **asked) for repo, pause in zip(repos, ("0", "0.2"), strict=True)]
    assert found[0] == found[1]
    assert {state for _, state, _, _ in found[0]} == {"done", "pruned"}
    # And once more, where what was done is kept and not run.
    assert points(repos[0], "0.1", **asked) == found[0]


def test_nobody_waits_for_the_slowest(tiny: Repo) -> None:
    wait(tiny, sampling={"sampler": "bayesian", "startup": 2}, start_from=[{X: 0.0}], space={
        **UNIFORM,
        "train.hyperparameters.wait": {"fixed": str(tiny.path.parent / "go")},
        "train.hyperparameters.wait_under": {"fixed": 1e-9},
    })  # fmt: skip
    process = begun(tiny)
    until(lambda: tinysweeps.folders(tiny) and len(last(tiny).of("done")) == 4)
    assert [trial.number for trial in last(tiny).of("running")] == [0]
    go(tiny)
    process.communicate()
    assert states(last(tiny)) == {"done": 5}


def test_eight_at_once_lose_no_trial(tiny: Repo) -> None:
    ask_for(tiny, sampling="sobol", limits={"trials": 40, "concurrent": 8})
    sweep(tiny)
    assert (states(last(tiny)), len(experiments(tiny)), left(tiny)) == ({"done": 40}, 40, [])


# Early termination.


def test_a_trial_that_falls_behind_is_stopped_and_no_experiment(tiny: Repo) -> None:
    behind(tiny)
    of = last(tiny)
    assert (states(of), [*experiments(tiny)], left(tiny)) == ({"done": 1, "pruned": 2}, [of.trials[0].name], [])
    for trial in of.of("pruned"):
        assert (trial.stage, trial.status, trial.reason) == ("train", None, None)
        assert trial.decision is not None
        assert trial.decision.text.startswith("bandit at report 3: ")
        assert trial.curve == [(t, trial.values[X] + 1 / t) for t in (1, 2, 3)]
    assert len(printed(tiny, "made")) == 1  # no other fit came to its end


def test_folds_are_watched_as_curves_are(tiny: Repo) -> None:
    space = {**choices(x=[0.25, 0.5]), "evaluate.hang_over": {"fixed": 0.3}}
    tiny.params({"evaluate.cross_validation.folds": 4})
    ask_for(
        tiny,
        sampling="grid",
        space=space,
        limits={"concurrent": 1},
        early_termination={"policy": "bandit", "slack_amount": 0.1},
    )
    sweep(tiny)
    of = last(tiny)
    assert (states(of), of.trials[1].stage, of.trials[1].curve) == ({"done": 1, "pruned": 1}, "evaluate", [(1, 0.5)])
    assert of.trials[0].curve == [(t, 0.25) for t in (1, 2, 3, 4)]


# The journal.


def test_looking_whether_a_sweep_runs_keeps_no_driver_out(tmp_path: Path) -> None:
    with Journal(tmp_path / "some"), pytest.raises(SweepError, match="is running already, in process"):
        Journal(tmp_path / "some")
    looks = [(tmp_path / "some" / journal.LOCK).open() for _ in range(3)]
    assert journal.running(tmp_path / "some") is False
    for look in looks:
        look.close()


def test_a_line_that_a_crash_cut_off_is_not_there(tmp_path: Path) -> None:
    with Journal(tmp_path / "some") as log:
        log.add("note", text="whole")
    with (tmp_path / "some" / journal.FILE).open("ab") as file:
        file.write(b'{"event": "no')
    with Journal(tmp_path / "some") as log:
        log.add("note", text="after")
    found = [event for event, _ in journal.events(tmp_path / "some" / journal.FILE)]
    assert found == [{"event": "note", "text": "whole"}, {"event": "note", "text": "after"}]


# What bad input gets.


WRONG: list[tuple[Any, str]] = [
    (..., "sweep: is missing: there is nothing to search"),
    ({"limits": {"trails": 5}}, "sweep.limits.trails is not a key; did you mean trials?"),
    (
        {"space": {"evaluate.writen": {"choice": [1]}}},
        "sweep.space.evaluate.writen is not a key; did you mean written?",
    ),
    (
        {"objective": {"metric": "cv.logloss", "goal": "minimize"}},
        "sweep.objective.metric: 'cv.logloss' is no metric; did you mean cv.log_loss?",
    ),
    (
        {"early_termination": {"policy": "median_stopping", "curve": "loss"}},
        "sweep.early_termination.goal: is required for loss: nobody knows where it should go",
    ),
]


@pytest.mark.parametrize(("section", "line"), WRONG)
def test_a_wrong_section_is_one_line_and_nothing_runs(section: Any, line: str, tiny: Repo) -> None:
    if section is ...:
        tiny.params({"sweep": ...})
    else:
        ask_for(tiny, **section)
    done = sweep(tiny, check=False)
    assert done.stderr.startswith(f"params.yaml: {line}")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert ([*(tiny.path / journal.SWEEPS).glob("*")], left(tiny)) == ([], [])


def test_a_sweep_that_is_not_there_is_one_line(tiny: Repo) -> None:
    for option, line in (("--resume", "no sweep has run here; `trialtree sweep` runs that of params.yaml"),):
        done = sweep(tiny, option, check=False)
        assert (done.returncode, done.stderr) == (1, f"{line}\n")
    ask_for(tiny, limits={"trials": 1})
    sweep(tiny)
    of = last(tiny).head.id
    for options, line in (
        (["--resume", "x-1234"], f"x-1234 is no sweep: {of}"),
        (["--resume"], f"sweep {of} is over: limits.trials: 1 trials; `trialtree sweep` begins another"),
    ):
        done = sweep(tiny, *options, check=False)
        assert (done.returncode, done.stderr) == (1, f"{line}\n")
