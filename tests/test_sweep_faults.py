"""Sweeps where something is in the way: kills, full disks, others at work, and repositories of all kinds."""

import json
import os
import resource
import shutil
import signal
import subprocess
import types
from pathlib import Path
from typing import Any

import pytest

from benchmarks import sweep_kills
from tests import tinysweeps
from tests.conftest import Repo, make_repo
from tests.slow import until
from tests.tinysweeps import (
    UNIFORM,
    UP_TO_DATE,
    X,
    ask_for,
    begun,
    behind,
    choices,
    experiments,
    go,
    last,
    left,
    printed,
    read_until,
    states,
    sweep,
    trees,
    values,
    wait,
)
from trialtree.sweep import journal

pytestmark = pytest.mark.slow
GRID = choices(x=[0.25, 0.75])


@pytest.fixture(scope="session")
def tiny_once(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A repository with the tiny pipeline; for copies only."""
    return tinysweeps.tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny(tiny_once: Repo, tmp_path: Path) -> Repo:
    """A copy of it, to change."""
    return tinysweeps.copied(tiny_once, tmp_path)


def grid(repo: Repo, space: Any = GRID, **more: Any) -> "subprocess.CompletedProcess[str]":
    """Run a sweep of few cells, all of which must come to their end, and leave nothing."""
    ask_for(repo, **{"sampling": "grid", "space": space, "limits": {"concurrent": 2}, **more})
    done = sweep(repo, check=False)
    of = last(repo)
    assert (set(states(of)), left(repo)) == ({"done"}, []), (done.stdout, done.stderr)
    return done


def by_hand(repo: Repo, x: float) -> str:
    """Return the Git tree of a trial that DVC's own command makes."""
    name = f"by-hand-{x}".replace(".", "-")
    repo.dvc("exp", "run", "-q", "--temp", "-n", name, "-S", f"{X}={x}", "evaluate")
    return repo.git("rev-parse", f"{experiments(repo)[name]}^{{tree}}")


# Kills.


@pytest.mark.parametrize("more", [
    {"trials": 60, "times": 6, "sweeps": 1, "concurrent": 2, "seed": 1},
    {"trials": 90, "times": 6, "sweeps": 2, "concurrent": 2, "seed": 2},
], ids=["one sweep", "two at once"])  # fmt: skip
def test_whatever_is_killed_nothing_is_lost_or_left(more: dict[str, int], tmp_path: Path) -> None:
    asked = types.SimpleNamespace(sampling="random", publish=False, more={}, **more)
    done, wrong = sweep_kills.run(tmp_path, asked)
    # A quick machine is at the end before all of them could be killed.
    assert (wrong, len(done) >= more["times"] // 2) == ([], True), done


def test_a_fixed_order_lasts_over_kills(tmp_path: Path) -> None:
    more = {"order": "fixed", "space": {**UNIFORM, "train.hyperparameters.steps": {"fixed": 3}}}
    asked = types.SimpleNamespace(
        sampling={"sampler": "bayesian", "startup": 4}, publish=False, more=more, trials=24, times=4, sweeps=1,
        concurrent=2, seed=3,
    )  # fmt: skip
    _, wrong = sweep_kills.run(tmp_path, asked)
    assert wrong == []


def test_a_fixed_order_lasts_over_machines_of_other_cores(tiny_once: Repo, tmp_path: Path) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("there is one core")
    one = ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0)))]
    left_alone, disturbed = (tinysweeps.copied(tiny_once, tmp_path / name) for name in "ab")
    for repo in (left_alone, disturbed):
        wait(repo, limits={"trials": 12}, order="fixed", sampling={"sampler": "bayesian", "startup": 2})
    process = begun(disturbed, before=one)
    until(lambda: len(printed(disturbed, "x is")) == 1)
    process.kill()
    process.communicate()
    go(disturbed)
    sweep(disturbed, "--resume")
    go(left_alone)
    left_alone.run(*one, "trialtree", "sweep", "--no-mlflow")
    found = [[trial[X] for trial in values(last(repo))] for repo in (left_alone, disturbed)]
    assert (found[0], len(found[0])) == (found[1], 12)


def test_a_trial_saved_right_before_the_driver_was_killed_is_there_once(tiny: Repo) -> None:
    code = tiny.path / "stages/evaluate.py"
    code.write_text(code.read_text(encoding="utf-8").replace('"test": {', '"script": {"x": time.time()}, "test": {'))
    ask_for(tiny, limits={"trials": 3, "concurrent": 1})
    sweep(tiny)
    before, folder = experiments(tiny), tinysweeps.folders(tiny)[-1]
    lines = (folder / journal.FILE).read_bytes().splitlines(keepends=True)
    (folder / journal.FILE).write_bytes(b"".join(lines[:-2]))  # without the end of the last trial, and of the sweep
    assert states(last(tiny)) == {"done": 2, "waiting": 1}
    shutil.rmtree(tiny.path / ".dvc/cache/runs")  # what was kept of it is lost as well: it becomes another
    sweep(tiny, "--resume")
    after = experiments(tiny)
    assert (states(last(tiny)), left(tiny)) == ({"done": 3}, [])
    assert [name for name in after if after[name] != before[name]] == [f"{last(tiny).head.id}-0002"]


@pytest.mark.parametrize("made", [True, False], ids=["made", "not made"])
def test_a_lock_that_a_killed_driver_left_beside_an_experiment_is_taken_away(made: bool, tiny: Repo) -> None:
    ask_for(tiny, limits={"trials": 2, "concurrent": 1})
    sweep(tiny)
    ref = tiny.git("for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{last(tiny).head.id}-0001")
    lock = tiny.path / f".git/{ref}.lock"
    if not made:
        tiny.git("update-ref", "-d", ref)
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    path = tinysweeps.folders(tiny)[-1] / journal.FILE
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))
    sweep(tiny, "--resume")
    assert (states(last(tiny)), left(tiny)) == ({"done": 2}, [])


def test_a_sweep_under_nohup_outlives_its_terminal(tiny: Repo) -> None:
    wait(tiny, limits={"trials": 2, "concurrent": 2})
    process = begun(tiny, before=["nohup"])
    until(lambda: len(printed(tiny, "x is")) == 2)
    process.send_signal(signal.SIGHUP)
    go(tiny)
    process.communicate()
    assert (process.returncode, states(last(tiny))) == (0, {"done": 2})


# What is in the journal counts, and what is not.


def test_a_decision_that_was_written_down_is_not_taken_anew(tiny: Repo) -> None:
    behind(tiny)
    path = tinysweeps.folders(tiny)[-1] / journal.FILE
    events = [json.loads(line) for line in path.read_bytes().splitlines()]
    stop = next(place for place, event in enumerate(events) if event["event"] == "stop")
    events[stop] |= {"step": 2, "threshold": 0.125}  # as no policy would decide
    path.write_text("".join(json.dumps(event) + "\n" for event in events[: stop + 1]), encoding="utf-8")
    sweep(tiny, "--resume")
    of = last(tiny)
    assert (states(of), left(tiny)) == ({"done": 1, "pruned": 2}, [])
    decision = of.trials[1].decision
    assert decision is not None
    assert (decision.step, decision.threshold, len(of.trials[1].curve)) == (2, 0.125, 2)


def test_a_trial_that_was_stopped_can_be_kept_as_far_as_it_came(tiny: Repo) -> None:
    behind(tiny, keep_pruned=True)
    of = last(tiny)
    assert (states(of), len(experiments(tiny)), left(tiny)) == ({"done": 1, "pruned": 2}, 3, [])
    name = str(of.trials[1].name)
    assert name in tiny.dvc("exp", "list", "--name-only").stdout.split()
    assert tiny.git("show", f"{experiments(tiny)[name]}:dvc.lock") == "schema: '2.0'\nstages: {}"
    # DVC puts the params there, and says that there is no output to put beside them.
    assert "models/model" in tiny.dvc("exp", "apply", name, check=False).stderr
    assert f"x: {of.trials[1].values[X]}\n" in (tiny.path / "params.yaml").read_text(encoding="utf-8")


def test_what_failed_is_tried_again_on_demand_also_when_the_target_was_reached(tiny: Repo) -> None:
    space = {**choices(x=[0.75, 0.25, 0.5]), "train.hyperparameters.once": {"fixed": str(tiny.path.parent / "once")}}
    ask_for(tiny, sampling="grid", space=space, limits={"concurrent": 1, "target": 0.25})
    sweep(tiny)
    before = last(tiny)
    assert (states(before), before.finished) == ({"done": 1, "failed": 1}, "limits.target is reached: cv.log_loss 0.25")
    sweep(tiny, "--rerun-failed")
    after = last(tiny)
    assert (states(after), after.finished, left(tiny)) == ({"done": 2}, before.finished, [])
    assert after.trials[1] == before.trials[1]
    refused = sweep(tiny, "--rerun-failed", check=False)
    assert (refused.returncode, refused.stderr) == (1, f"no trial of sweep {after.head.id} has failed\n")


def test_when_its_time_is_over_what_runs_fails_and_can_be_tried_again(tiny: Repo) -> None:
    wait(tiny, limits={"trials": 4, "concurrent": 2, "timeout": 3, "retries": 1})
    done = sweep(tiny, check=False)
    of = last(tiny)
    assert (done.returncode, states(of), left(tiny)) == (1, {"failed": 2}, [])
    assert of.finished == "limits.timeout: 3 s are over"
    assert [(trial.stage, trial.reason) for trial in of.trials.values()] == [("train", of.finished)] * 2
    go(tiny)
    sweep(tiny, "--rerun-failed")
    assert (states(last(tiny)), left(tiny)) == ({"done": 4}, [])


def test_the_time_of_a_trial_begins_when_its_libraries_are_imported(tiny: Repo) -> None:
    (tiny.path / "stages/__init__.py").write_text("import time\ntime.sleep(1.5)\n", encoding="utf-8")
    ask_for(tiny, limits={"trials": 1, "trial_timeout": 1})
    sweep(tiny)
    assert states(last(tiny)) == {"done": 1}


def test_a_stage_that_says_it_has_no_something_is_not_taken_for_that(tiny: Repo) -> None:
    code = tiny.path / "stages/train.py"
    text = code.read_text(encoding="utf-8").replace('print("made")', 'sys.exit("the table has no column y")')
    code.write_text(text, encoding="utf-8")
    ask_for(tiny, limits={"trials": 5, "concurrent": 1})
    sweep(tiny, check=False)
    assert (states(last(tiny)), last(tiny).finished) == ({"failed": 5}, "limits.trials: 5 trials")


def test_a_change_of_code_counts_before_it_is_committed(tiny: Repo) -> None:
    path = tiny.path / "stages/evaluate.py"
    path.write_text(path.read_text(encoding="utf-8").replace('"log_loss": x,', '"log_loss": x + 1,'), encoding="utf-8")
    ask_for(tiny, sampling="grid", space=choices(x=[0.25, 0.75]), limits={})
    sweep(tiny)
    assert [trial.objective for trial in last(tiny).trials.values()] == [(1.25,), (1.75,)]
    tiny.dvc("exp", "apply", str(last(tiny).trials[0].name))
    assert tiny.dvc("status", "evaluate").stdout == UP_TO_DATE


# Experiments are DVC's.


def test_an_experiment_that_is_applied_is_up_to_date(ran: Repo) -> None:
    sweep(ran)
    for number in (0, 5, 11):
        ran.dvc("exp", "apply", f"{last(ran).head.id}-{number:04}")
        assert ran.dvc("status", "fetch", "split", "train", "evaluate").stdout == UP_TO_DATE, number


def test_an_experiment_that_is_pushed_is_whole_elsewhere(ran: Repo, tmp_path: Path) -> None:
    sweep(ran)
    ran.git("init", "-q", "--bare", "../origin.git")
    ran.git("remote", "add", "origin", "../origin.git")
    ran.git("push", "-q", "origin", "main")
    store = ["remote", "add", "--default", "--local", "kept", str(tmp_path / "kept")]
    ran.dvc(*store)
    name = f"{last(ran).head.id}-0002"
    ran.dvc("exp", "push", "origin", name)
    ran.git("clone", "-q", "-b", "main", "../origin.git", "../other")
    other = Repo(tmp_path / "other", ran.env)
    other.dvc(*store)
    other.dvc("exp", "pull", "origin", name)
    other.dvc("exp", "apply", name)
    assert other.dvc("status", "fetch", "split", "train", "evaluate").stdout == UP_TO_DATE


# Full disks.


def test_a_sweep_whose_journal_cannot_grow_leaves_and_goes_on_later(tiny: Repo) -> None:
    long = {"train.hyperparameters.y": {"fixed": "y" * 5000}}  # in each trial's line
    ask_for(tiny, space={**UNIFORM, **long}, limits={"trials": 200, "concurrent": 2})
    large = 700_000  # more than Git's and DVC's own files
    done = subprocess.run(
        ["trialtree", "sweep", "--lines", "--no-mlflow"], cwd=tiny.path, env=tiny.env, capture_output=True, text=True,
        check=False, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (large, large)),  # no threads
    )  # fmt: skip
    of = last(tiny)
    path = tinysweeps.folders(tiny)[-1] / journal.FILE
    said = f"a file would be larger than is allowed here: {path}; `trialtree sweep --resume {of.head.id}` goes on\n"
    assert (done.returncode, done.stderr) == (1, said)
    assert 50 < len(of.of("done")) < 200
    assert of.of("failed") == []
    sweep(tiny, "--resume")
    assert (states(last(tiny)), left(tiny)) == ({"done": 200}, [])


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A disk of 40 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_full_fails_a_trial_or_lets_the_sweep_leave_and_nothing_is_lost(
    tiny_once: Repo, small_disk: Path
) -> None:
    repo = tinysweeps.copied(tiny_once, small_disk)
    ask_for(
        repo, sampling="grid", space=choices(do=["nothing", "fill the disk", "leave with 3"]), limits={"concurrent": 1}
    )
    sweep(repo)
    assert [(trial.state, trial.reason) for trial in last(repo).trials.values()] == [
        ("done", None),
        ("failed", "train exited with status 1: OSError: [Errno 28] No space left on device"),
        ("failed", "train exited with status 3: x is 0.5"),
    ]
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (shutil.disk_usage(small_disk).free - 11_000_000))  # room for the worktrees, and some
    ask_for(repo, limits={"trials": 300, "concurrent": 2})
    done = sweep(repo, check=False)
    of = last(repo)
    assert done.returncode == 1
    assert done.stderr.startswith("no space left on the disk: ")
    assert done.stderr.endswith(f"; `trialtree sweep --resume {of.head.id}` goes on\n")
    assert 0 < len(of.of("done")) < 300
    ballast.unlink()
    sweep(repo, "--resume")
    sweep(repo, "--rerun-failed", check=False)
    assert (states(last(repo)), left(repo)) == ({"done": 300}, [])


# Others at work.


def test_two_sweeps_and_dvc_and_git_at_once_do_not_disturb_each_other(tiny: Repo) -> None:
    ask_for(tiny, limits={"trials": 150, "concurrent": 4})
    tiny.commit("Ask for a sweep")
    both = [begun(tiny), begun(tiny)]
    until(lambda: len(tinysweeps.folders(tiny)) == 2)
    tiny.dvc("repro", "-q", "evaluate")
    tiny.dvc("exp", "run", "-q", "-n", "mine", "-S", f"{X}=0.125", "evaluate")
    tiny.git("gc", "-q")
    for process in both:
        process.communicate()
    assert [states(journal.read(folder)) for folder in tinysweeps.folders(tiny)] == [{"done": 150}] * 2
    assert (left(tiny), "mine" in experiments(tiny)) == ([], True)
    assert tiny.run("git", "fsck", "--no-dangling", "--no-progress").stderr == ""


def test_two_sweeps_publish_into_a_store_that_is_not_there_yet(ran: Repo) -> None:
    for path in ran.path.glob("mlflow.db*"):
        path.unlink()
    both = [begun(ran, publish=True), begun(ran, publish=True)]
    said = [process.communicate()[0].splitlines()[-1] for process in both]
    assert said == [f"in MLflow at sqlite:///{ran.path}/mlflow.db: 12 trials; `trialtree ui`"] * 2
    assert left(ran) == []


def test_a_store_that_is_away_is_told_while_the_sweep_runs(tiny: Repo, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    ask_for(tiny, space={**UNIFORM, "train.hyperparameters.wait": {"fixed": str(gate)}})
    process = begun(tiny, publish=True, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    read_until(process, (
        "MLflow at http://127.0.0.1:9: cannot be reached (ConnectionError); the trials are kept, and "
        "`trialtree track --all` publishes them"
    ))  # fmt: skip
    gate.touch()
    said = process.communicate()[0]
    assert (process.returncode, states(last(tiny))) == (0, {"done": 6})
    assert "cannot be reached" not in said


# Pipelines of all kinds.


def pipeline(repo: Repo, before: str, after: str, *, run: bool = True) -> None:
    """Change dvc.yaml, run it, and commit."""
    path = repo.path / "dvc.yaml"
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")
    if run:
        repo.dvc("repro", "-q", "evaluate")
    repo.commit("Change the pipeline")


TRAIN = "    cmd: python -m stages.train\n"


def test_what_the_engine_cannot_do_goes_through_dvc_which_is_said(tiny: Repo) -> None:
    pipeline(tiny, "stages:\n", "vars:\n- package: stages\nstages:\n")
    pipeline(tiny, TRAIN, TRAIN.replace("stages", "${package}"))
    done = grid(tiny)
    assert "DVC itself runs the stages of each trial: dvc.yaml has templates\n" in done.stdout
    assert trees(tiny, last(tiny))[1] == by_hand(tiny, 0.75)


def test_a_frozen_stage_stays_as_it_is(tiny: Repo) -> None:
    pipeline(tiny, TRAIN, f"{TRAIN}    frozen: true\n", run=False)
    done = grid(tiny, {"evaluate.hang_over": {"choice": [3.0, 4.0]}})
    assert "DVC itself runs the stages of each trial: stage train is frozen\n" in done.stdout
    assert [trial.objective for trial in last(tiny).trials.values()] == [(0.5,), (0.5,)]


def test_what_dvc_itself_runs_is_watched_too_and_not_the_curve_of_before(tiny: Repo) -> None:
    tiny.params({"train.hyperparameters": {"x": 0.0, "steps": 9}})
    pipeline(tiny, "stages:\n", "vars:\n- package: stages\nstages:\n", run=False)
    pipeline(tiny, TRAIN, TRAIN.replace("stages", "${package}"))
    behind(tiny)
    of = last(tiny)
    assert (states(of), left(tiny)) == ({"done": 1, "pruned": 2}, [])
    assert [len(of.trials[number].curve) for number in (0, 1, 2)] == [9, 3, 3]
    assert of.trials[1].curve == [(t, 0.5 + 1 / t) for t in (1, 2, 3)]


def test_a_stage_that_always_runs_does(tiny: Repo) -> None:
    pipeline(tiny, TRAIN, f"{TRAIN}    always_changed: true\n")
    for _ in range(2):
        grid(tiny)
        assert [trial.ran[0] for trial in last(tiny).trials.values()] == ["train", "train"]


def test_imported_data_are_used(tiny: Repo) -> None:
    other = Repo(tiny.path.parent / "other", tiny.env)
    other.path.mkdir()
    other.git("init", "-q", "-b", "main")
    other.dvc("init", "-q")
    (other.path / "table.csv").write_text("a\n1\n", encoding="utf-8")
    other.dvc("add", "-q", "table.csv")
    other.commit()
    (tiny.path / "data").mkdir(exist_ok=True)
    tiny.dvc("import", "-q", str(other.path), "table.csv", "-o", "data/table.csv")
    pipeline(tiny, "    - stages/train.py\n", "    - data/table.csv\n    - stages/train.py\n")
    done = grid(tiny)
    assert "DVC itself runs the stages of each trial: data/table.csv.dvc is an import\n" in done.stdout


SHELL = """\
set -e
echo "$DVC_STAGE" >> notes.txt
touch left-behind
python -m stages.train
! grep -q 'x: 0.125' params.yaml
"""


def test_a_command_of_the_shell_runs_in_a_tree_that_no_other_trial_has_changed(tiny: Repo) -> None:
    (tiny.path / "train.sh").write_text(SHELL, encoding="utf-8")
    (tiny.path / "notes.txt").write_text("begin\n", encoding="utf-8")
    pipeline(tiny, TRAIN, "    cmd: bash train.sh\n", run=False)
    ask_for(tiny, sampling="grid", space=choices(x=[0.25, 0.125, 0.75]), limits={"concurrent": 1})
    tiny.commit("Ask for a sweep")
    sweep(tiny)
    of = last(tiny)
    assert ([trial.state for trial in of.trials.values()], left(tiny)) == (["done", "failed", "done"], [])
    for trial in of.of("done"):
        changed = tiny.git("diff", "--name-only", "HEAD", str(trial.commit)).splitlines()
        assert changed == ["dvc.lock", "notes.txt", "params.yaml", "reports/metrics.json"]
        assert tiny.git("show", f"{trial.commit}:notes.txt") == "begin\ntrain"


def test_a_script_of_the_users_is_swept_by_its_arguments(ran: Repo) -> None:
    example = tinysweeps.PROJECT / "examples/azure-iris"
    shutil.copy(example / "train_iris.py", ran.path)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(example / name, ran.path)
    ran.commit("A script")
    ran.params({"sweep": {
        "objective": {"metric": "script.Accuracy", "goal": "maximize"}, "sampling": "grid",
        "space": {"train.arguments.kernel": {"choice": ["linear", "sigmoid"]}},
    }})  # fmt: skip
    sweep(ran)
    of = last(ran)
    assert (states(of), left(ran)) == ({"done": 2}, [])
    assert [trial.objective for trial in of.trials.values()] == [(0.9736842105263158,), (0.23684210526315788,)]


def test_a_pipeline_that_has_never_run_is_run_by_each_trial_as_far_as_it_must(tmp_path: Path) -> None:
    repo = tinysweeps.tiny(tmp_path, ran=False)
    grid(repo)
    repo.dvc("exp", "apply", str(last(repo).trials[0].name))
    assert repo.dvc("status", "evaluate").stdout == UP_TO_DATE


def test_a_repository_in_a_folder_of_another_is_swept(tiny: Repo, tmp_path: Path) -> None:
    shutil.rmtree(tiny.path / ".git")
    (tmp_path / "top").mkdir()
    shutil.move(tiny.path, tmp_path / "top/below")
    top, below = Repo(tmp_path / "top", tiny.env), Repo(tmp_path / "top/below", tiny.env)
    (top.path / "other.txt").write_text("other", encoding="utf-8")
    top.git("init", "-q", "-b", "main")
    top.commit()
    ask_for(below, sampling="grid", space=GRID, limits={})
    (top.path / "other.txt").write_text("changed", encoding="utf-8")
    done = sweep(below)
    of = last(below)
    assert "uncommitted changes are taken into the trials: below/params.yaml, other.txt\n" in done.stdout
    assert states(of) == {"done": 2}
    assert top.git("worktree", "list").count("\n") == 0
    assert top.git("show", f"{of.trials[0].commit}:other.txt") == "changed"
    below.dvc("exp", "apply", str(of.trials[0].name))
    assert below.dvc("status", "evaluate").stdout == UP_TO_DATE


# Caches and data of all kinds.


@pytest.mark.parametrize("kind", ["copy", "symlink", "hardlink"])
def test_each_type_of_cache_is_used_as_dvc_uses_it(kind: str, tiny: Repo) -> None:
    tiny.dvc("config", "cache.type", kind)
    tiny.commit("Another type")
    grid(tiny)
    tiny.dvc("exp", "apply", str(last(tiny).trials[0].name))
    assert tiny.dvc("status", "evaluate").stdout == UP_TO_DATE


def test_a_cache_elsewhere_and_settings_of_this_machine_are_used(tiny: Repo, tmp_path: Path) -> None:
    shutil.move(tiny.path / ".dvc/cache", tmp_path / "cache")
    tiny.dvc("cache", "dir", "--local", str(tmp_path / "cache"))
    tiny.dvc("config", "--local", "core.autostage", "false")
    before = (tiny.path / ".dvc/config.local").read_bytes()
    grid(tiny)
    assert (tiny.path / ".dvc/config.local").read_bytes() == before
    assert not (tiny.path / ".dvc/cache").exists()
    tiny.dvc("exp", "apply", str(last(tiny).trials[0].name))
    assert tiny.dvc("status", "evaluate").stdout == UP_TO_DATE


def test_a_cache_that_cannot_be_written_fails_each_trial_with_a_line(tiny: Repo) -> None:
    ask_for(tiny, sampling="grid", space=GRID, limits={})
    tiny.run("chmod", "-R", "a-w", ".dvc/cache")
    allowed = (
        ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"] if os.getuid() == 0 else []
    )
    done = tiny.run(*allowed, "trialtree", "sweep", "--lines", "--no-mlflow", check=False)
    tiny.run("chmod", "-R", "u+w", ".dvc/cache")
    of = last(tiny)
    assert (done.returncode, states(of), left(tiny)) == (1, {"failed": 2}, []), done.stderr
    assert {(trial.reason or "").partition(": ")[0] for trial in of.of("failed")} == {"permission denied"}
    sweep(tiny, "--rerun-failed")
    assert (states(last(tiny)), left(tiny)) == ({"done": 2}, [])


def test_a_local_table_is_taken_from_the_cache_or_said_to_be_nowhere(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "repo", tmp_path / "home")
    rows = "".join(f"{n % 7},{n % 5},{'uv'[n % 2]}\n" for n in range(60))
    (tmp_path / "table.csv").write_text(f"a,b,label\n{rows}", encoding="utf-8")
    repo.run("trialtree", "data", "add", str(tmp_path / "table.csv"))
    space = {"train.hyperparameters.max_depth": {"choice": [1, 2]}}
    repo.params({
        "split.target": "label",
        "train": {"estimator": "sklearn.tree.DecisionTreeClassifier", "hyperparameters": {"max_depth": 3}},
        "sweep": {"objective": {"metric": "cv.accuracy", "goal": "maximize"}, "space": space, "sampling": "grid"},
    })  # fmt: skip
    repo.commit("Table")
    (repo.path / "data/source/table.csv").unlink()  # DVC has it
    sweep(repo)
    assert (states(last(repo)), left(repo)) == ({"done": 2}, [])
    shutil.rmtree(repo.path / ".dvc/cache")
    done = sweep(repo, check=False)
    reason = "data/source/table.csv is not in DVC's cache, into which `dvc pull` brings it"
    assert (done.returncode, [trial.reason for trial in last(repo).of("failed")]) == (1, [reason] * 2)


# Git of all kinds.


def test_hooks_signatures_line_ends_and_a_head_of_no_branch_change_nothing(tiny: Repo) -> None:
    for name in ("pre-commit", "post-checkout", "post-index-change", "post-commit", "commit-msg"):
        hook = tiny.path / f".git/hooks/{name}"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\necho {name} >> ../hooks\nexit 1\n", encoding="utf-8")
        hook.chmod(0o755)
    for key, value in (
        ("commit.gpgsign", "true"), ("gpg.program", "/bin/false"), ("core.autocrlf", "true"), ("gc.auto", "1"),
        ("status.showUntrackedFiles", "no"), ("core.fsmonitor", "false"), ("diff.noprefix", "true"),
    ):  # fmt: skip
        tiny.git("config", key, value)
    tiny.git("update-ref", "--no-deref", "HEAD", "HEAD")
    (tiny.path / ".git/HEAD").write_text(tiny.git("rev-parse", "main") + "\n", encoding="utf-8")
    grid(tiny)
    assert not (tiny.path.parent / "hooks").exists()
    shutil.rmtree(tiny.path / ".git/hooks")
    assert trees(tiny, last(tiny))[1] == by_hand(tiny, 0.75)


def test_a_worktree_of_the_users_whose_disk_is_away_stays_one(tiny: Repo, tmp_path: Path) -> None:
    tiny.git("worktree", "add", "-q", str(tmp_path / "mine"), "-b", "mine")
    (tmp_path / "mine").rename(tmp_path / "away")
    ask_for(tiny, sampling="grid", space=GRID, limits={})
    sweep(tiny)
    (tmp_path / "away").rename(tmp_path / "mine")
    assert Repo(tmp_path / "mine", tiny.env).git("status", "--short", "--branch") == "## mine"
    assert tiny.git("worktree", "list").count("\n") == 1


def test_a_worktree_of_the_users_is_swept(tiny: Repo, tmp_path: Path) -> None:
    tiny.git("worktree", "add", "-q", str(tmp_path / "mine"), "-b", "mine")
    mine = Repo(tmp_path / "mine", tiny.env)
    mine.dvc("cache", "dir", "--local", str(tiny.path / ".dvc/cache"))
    ask_for(mine, sampling="grid", space=GRID, limits={})
    sweep(mine)
    assert states(last(tiny)) == {"done": 2}  # what sweeps keep is where all worktrees find it
    mine.dvc("exp", "apply", str(last(tiny).trials[0].name))
    assert mine.dvc("status", "evaluate").stdout == UP_TO_DATE


def test_a_shallow_clone_and_a_sparse_one_are_swept(tiny: Repo, tmp_path: Path) -> None:
    (tiny.path / "large").mkdir()
    (tiny.path / "large/file").write_text("large", encoding="utf-8")
    tiny.commit("Large")
    tiny.git("clone", "-q", "--depth", "1", f"file://{tiny.path}", str(tmp_path / "clone"))
    clone = Repo(tmp_path / "clone", tiny.env)
    shutil.copytree(tiny.path / ".dvc/cache", clone.path / ".dvc/cache")
    clone.git("sparse-checkout", "set", "--cone", "--sparse-index", "stages", "trialtree", ".dvc")
    assert not (clone.path / "large").exists()
    grid(clone)
    assert clone.git("show", f"{last(clone).trials[0].commit}:large/file") == "large"


def test_what_git_has_no_commit_of_is_refused_in_a_line(tiny: Repo) -> None:
    ask_for(tiny, sampling="grid", space=GRID, limits={})
    tiny.commit("Ask for a sweep")
    tiny.git("checkout", "-q", "-b", "other")
    (tiny.path / "file").write_text("one", encoding="utf-8")
    tiny.commit()
    tiny.git("checkout", "-q", "main")
    (tiny.path / "file").write_text("two", encoding="utf-8")
    tiny.commit()

    def refused() -> str:
        done = sweep(tiny, check=False)
        assert (done.returncode, done.stdout, left(tiny)) == (1, "", [])
        return done.stderr

    tiny.run("git", "merge", "other", check=False)
    merging = "a merge is under way; finish it, or `git merge --abort`: a sweep needs a commit to stand on\n"
    assert refused() == merging
    tiny.git("merge", "--abort")
    tiny.run("git", "cherry-pick", "other", check=False)
    assert refused() == "file has conflicts that are not resolved; resolve them, then `git add file`\n"
    tiny.git("cherry-pick", "--abort")
    nobody = {name: value for name, value in tiny.env.items() if not name.startswith(("GIT_AUTHOR", "GIT_COMMITTER"))}
    tiny.git("config", "user.useConfigOnly", "true")
    done = sweep(Repo(tiny.path, nobody), check=False)
    said = "Git does not know who you are; `git config user.name` and `git config user.email` tell it\n"
    assert (done.returncode, done.stderr) == (1, said)
    shutil.rmtree(tiny.path / ".git")
    tiny.git("init", "-q")
    assert refused().startswith("the Git repository has no commit yet")


# Real fits.


@pytest.mark.parametrize(("estimator", "curve"), [
    ("sklearn.ensemble.GradientBoostingClassifier", "train_score"),
    ("catboost.CatBoostClassifier", "validation_multiclass"),
])  # fmt: skip
def test_fits_that_fall_behind_are_ended(estimator: str, curve: str, tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "repo", tmp_path / "home")
    count = "iterations" if estimator.startswith("catboost") else "n_estimators"
    rates = {"choice": [0.3, 1e-6, 2e-6]}  # the last two learn nothing
    repo.params({
        "split.validation": 0.2,
        "train": {"estimator": estimator, "hyperparameters": {count: 1000}},
        "evaluate": {},
        "sweep": {
            "objective": {"metric": "validation.accuracy", "goal": "maximize"}, "sampling": "grid",
            "space": {"train.hyperparameters.learning_rate": rates}, "limits": {"concurrent": 1},
            "early_termination": {"policy": "bandit", "slack_amount": 0.3, "delay_evaluation": 20, "curve": curve},
        },
    })  # fmt: skip
    sweep(repo)
    of = last(repo)
    assert ([trial.state for trial in of.trials.values()], left(repo)) == (["done", "pruned", "pruned"], [])
    assert len(of.trials[0].curve) == 1000
    for trial in of.of("pruned"):
        assert trial.decision is not None
        assert 20 <= trial.decision.step == len(trial.curve) < 1000
