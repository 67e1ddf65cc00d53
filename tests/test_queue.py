"""`trialtree queue run` leaves what `dvc queue start` would: experiments, DVC's own notes of the queue, no more."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dvc.utils.serialize import parse_yaml

from tests import tinysweeps
from tests.conftest import PROJECT, Repo
from tests.slow import until
from trialtree.queue import contents

NO_RUN = "{} without register: not in MLflow yet; `trialtree track --all` publishes them"
DATE = {"GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z"}


@pytest.fixture(scope="module")
def tiny_once(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A repository with a pipeline of two quick stages, which has run; for reading only."""
    return tinysweeps.tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny(tiny_once: Repo, tmp_path: Path) -> Repo:
    """A copy of it, to change."""
    return tinysweeps.copied(tiny_once, tmp_path)


def queue(repo: Repo, *options: str) -> None:
    """Queue experiments; an option `x=1` sets one of train's hyperparameters."""
    sets = [option for option in options if "=" in option]
    given = [f"{'' if option[0] in 'xC' else '+'}train.hyperparameters.{option}" for option in sets]
    others = (option for option in options if option not in sets)
    repo.dvc("exp", "run", "--queue", *(part for option in given for part in ("-S", option)), *others)


def run(repo: Repo, *options: str, check: bool = True) -> list[str]:
    """Run the queue, and return what is printed but for the times."""
    printed = repo.run("trialtree", "queue", "run", *options, check=check).stdout
    return [re.sub(r" in \d.*", "", line) for line in printed.splitlines()]


@contextmanager
def begun(repo: Repo, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """Begin to run the queue, in a process group of its own, as a shell does; end it with the block."""
    with subprocess.Popen(
        ["trialtree", "queue", "run", *options], cwd=repo.path, env=dict(repo.env), text=True, process_group=0,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def status(repo: Repo) -> dict[str, str]:
    """Return what DVC says of each entry of the queue, by name."""
    lines = (line.split() for line in repo.dvc("queue", "status").stdout.splitlines()[1:])
    return {words[1]: words[-1] for words in lines if len(words) > 3 and len(words[0]) == 7}


def made(repo: Repo) -> dict[str, str]:
    """Return baseline, tree and message of each experiment, by name."""
    said = repo.git("for-each-ref", "--format=%(refname) %(tree) %(contents:subject)", "refs/exps")
    lines = (line.split(" ", 1) for line in said.splitlines())
    return {ref.rpartition("/")[2]: f"{ref} {rest}" for ref, rest in lines if ref.count("/") == 4}


def kept(repo: Repo) -> list[str]:
    """Return the names of all that DVC's cache holds."""
    return sorted(str(path.relative_to(repo.path)) for path in (repo.path / ".dvc/cache").rglob("*") if path.is_file())


def stashed(repo: Repo, which: str) -> list[str]:
    """Return the names of the entries in one of DVC's stashes, the newest first."""
    said = repo.run("git", "reflog", "show", "--format=%gs", f"refs/exps/celery/{which}", check=False).stdout
    return [line.rpartition(":")[2] for line in said.splitlines()]


def running(repo: Repo, name: str) -> bool:
    """Say whether the train stage of an entry has begun."""
    logs = (path.read_text(encoding="utf-8") for path in (repo.path / ".dvc/tmp/exps/run").glob("*/*.out"))
    return any(f"'{name}'" in log and "stages.train" in log for log in logs)


def filled(repo: Repo) -> None:
    """Queue entries of many kinds, the same in any copy of a repository."""
    queue(repo, "x=0.2", "do=nothing,raise", "-n", "grid")
    code = repo.path / "stages/evaluate.py"
    code.write_text(code.read_text(encoding="utf-8").replace("round(x, 1)", "round(x, 2)"), encoding="utf-8")
    (repo.path / "added.txt").write_text("added\n", encoding="utf-8")
    repo.git("add", "added.txt")
    (repo.path / "pyproject.toml").unlink()
    queue(repo, "-n", "changed", "-m", "a message", "evaluate")
    repo.git("add", "--all")
    repo.run("git", "commit", "-qm", "Change", **DATE)
    queue(repo, "x=0.3", "-n", "later", "train")
    queue(repo, "-f", "x=0.4", "-n", "forced", "train")


@pytest.mark.slow
def test_all_is_as_dvcs_own_worker_leaves_it(tiny: Repo, tmp_path: Path) -> None:
    other = tinysweeps.copied(tiny, tmp_path / "other")
    for repo in (tiny, other):
        filled(repo)
    assert set(status(tiny).values()) == {"Queued"}
    assert "5 experiments" in run(tiny, "-j", "2", check=False)
    other.dvc("exp", "run", "--run-all")
    assert made(tiny) == made(other)
    assert set(made(tiny)) == {"grid-1", "changed", "later", "forced"}
    assert kept(tiny) == kept(other)
    assert status(tiny) == status(other)
    for which in ("stash", "failed"):
        assert stashed(tiny, which) == stashed(other, which)
    assert tiny.git("status", "--short") == ""
    assert tinysweeps.left(tiny) == []


@pytest.mark.slow
def test_dvcs_commands_know_what_came_of_each(tiny: Repo) -> None:
    queue(tiny, "x=0.1", "do=nothing,raise", "-n", "e", "evaluate")
    assert sorted(run(tiny, check=False)[:2]) == [
        "e-1: done",
        "e-2: failed: train exited with status 1: json.decoder.JSONDecodeError: Expecting property name enclosed "
        "in double quotes: line 1 column 2 (char 1); its log: dvc queue logs e-2",
    ]
    assert status(tiny) == {"e-1": "Success", "e-2": "Failed"}
    assert "x is 0.1\n" in tiny.dvc("queue", "logs", "e-1").stdout
    assert "ERROR: failed to reproduce 'e-2': train exited" in tiny.dvc("queue", "logs", "e-2").stdout
    shown = json.loads(tiny.dvc("exp", "show", "--json").stdout)[1]["experiments"]
    assert [(each["name"], each["executor"]["state"]) for each in shown] == [("e-1", "success"), ("e-2", "failed")]
    tiny.dvc("exp", "apply", "e-1")
    assert "up to date" in tiny.dvc("status", "evaluate").stdout
    tiny.dvc("queue", "remove", "--failed", "--success")
    assert status(tiny) == {}


def test_what_runs_is_running_for_dvc_and_what_is_queued_meanwhile_runs_too(tiny: Repo, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    queue(tiny, "x=0.1", f"wait={gate}", "-n", "first", "evaluate")
    with begun(tiny, "-j", "1") as process:
        until(lambda: running(tiny, "first"))
        queue(tiny, "x=0.2", "-n", "second", "evaluate")
        assert status(tiny) == {"first": "Running", "second": "Queued"}
        shown = json.loads(tiny.dvc("exp", "show", "--json").stdout)[1]["experiments"]
        assert [(each["name"], each["executor"]["state"]) for each in shown] == [
            ("first", "running"), ("second", "queued"),
        ]  # fmt: skip
        gate.touch()
        assert process.communicate()[0].count("done") == 3
    assert status(tiny) == {"first": "Success", "second": "Success"}
    assert stashed(tiny, "stash") == []


def test_an_interrupted_queue_keeps_what_has_not_ended_in_its_order(tiny: Repo, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    queue(tiny, "x=0.1,0.2,0.3", f"wait={gate}", "-n", "e", "evaluate")
    with begun(tiny, "-j", "1") as process:
        until(lambda: running(tiny, "e-1"))
        process.send_signal(signal.SIGINT)
        until(lambda: "stopping" in process.stdout.readline())  # type: ignore[union-attr]  # it is a pipe
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
    assert status(tiny) == {"e-1": "Queued", "e-2": "Queued", "e-3": "Queued"}
    assert made(tiny) == {}
    assert tinysweeps.left(tiny) == []
    gate.touch()
    assert run(tiny, "-j", "1")[:3] == ["e-1: done", "e-2: done", "e-3: done"]
    assert stashed(tiny, "stash") == []


@pytest.mark.slow
def test_a_queue_that_is_killed_loses_nothing(tiny: Repo, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    queue(tiny, "x=0.1", "-n", "before", "evaluate")
    queue(tiny, "x=0.2", f"wait={gate}", "-n", "e", "evaluate")
    queue(tiny, "x=0.3", f"wait={gate}", "-n", "dvc", "--force", "train")
    with begun(tiny, "-j", "2") as process:
        until(lambda: running(tiny, "e") and running(tiny, "dvc"))
        process.kill()
    assert list(made(tiny)) == ["before"]
    gate.touch()
    assert run(tiny, "-j", "1") == [
        "queued again after a process was killed: e, dvc", "e: done", "dvc: DVC itself runs it: --force", "dvc: done",
        "2 experiments", NO_RUN.format("2 experiments"),
    ]  # fmt: skip
    assert list(made(tiny)) == ["before", "dvc", "e"]
    assert not list((tiny.path / ".dvc/tmp/exps").glob("tmp*"))
    assert set(status(tiny).values()) == {"Success"}
    assert stashed(tiny, "stash") == []
    assert tinysweeps.left(tiny) == []


def test_dvc_queue_kill_ends_one_and_no_other(tiny: Repo, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    queue(tiny, "x=0.1,0.2", f"wait={gate}", "-n", "e", "evaluate")
    with begun(tiny, "-j", "2") as process:
        until(lambda: running(tiny, "e-1") and running(tiny, "e-2"))
        tiny.dvc("queue", "kill", "e-1")
        until(lambda: "e-1: failed: ended by `dvc queue kill`" in process.stdout.readline())  # type: ignore[union-attr]  # it is a pipe
        gate.touch()
        process.communicate()
    assert process.returncode == 1
    assert status(tiny) == {"e-1": "Failed", "e-2": "Success"}


@pytest.mark.slow  # DVC's worker asks for work every few seconds
def test_workers_of_dvc_may_work_beside_it(tiny: Repo) -> None:
    queue(tiny, "x=0.1,0.2,0.3,0.4,0.5,0.6", "-n", "e", "evaluate")
    silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["dvc", "queue", "start"], cwd=tiny.path, env=dict(tiny.env), check=True, **silent)
    until(lambda: "Running" in status(tiny).values())
    run(tiny, "-j", "1")
    until(lambda: set(status(tiny).values()) == {"Success"})
    assert list(made(tiny)) == ["e-1", "e-2", "e-3", "e-4", "e-5", "e-6"]
    assert stashed(tiny, "stash") == []


def test_an_experiment_of_the_name_is_never_replaced(tiny: Repo) -> None:
    queue(tiny, "x=0.1", "-n", "e", "evaluate")
    queue(tiny, "x=0.2", "-n", "e", "evaluate")
    assert run(tiny, "-j", "1", check=False)[:2] == [
        "e: done",
        "e: failed: the experiment e is there; `dvc exp remove e` removes it; its log: dvc queue logs e",
    ]
    assert "x: 0.1" in tiny.git("show", f"{made(tiny)['e'].split()[0]}:params.yaml")


@pytest.mark.slow
def test_what_the_engine_cannot_do_is_done_by_dvc(tiny: Repo) -> None:
    (tiny.path / ".git/info/exclude").write_text("extra.txt\n", encoding="utf-8")
    (tiny.path / "extra.txt").write_text("extra\n", encoding="utf-8")
    queue(tiny, "x=0.1", "-n", "copies", "-C", "extra.txt", "evaluate")
    queue(tiny, "x=0.2", "-n", "alone", "--single-item", "train")
    queue(tiny, "x=0.3", "do=leave with 3", "-n", "fails", "--force", "train")
    assert run(tiny, "-j", "1", check=False)[:6] == [
        "copies: DVC itself runs it: --copy-paths", "copies: done",
        "alone: DVC itself runs it: --single-item", "alone: done",
        "fails: DVC itself runs it: --force",
        "fails: failed: dvc exited with status 255: ERROR: failed to reproduce 'train': failed to run: "
        "python -m stages.train, exited with 3; its log: dvc queue logs fails",
    ]  # fmt: skip
    assert status(tiny) == {"copies": "Success", "alone": "Success", "fails": "Failed"}
    assert not list((tiny.path / ".dvc/tmp/exps").glob("tmp*"))


def test_an_entry_that_git_has_lost_is_taken_out_and_the_next_runs(tiny: Repo) -> None:
    queue(tiny, "x=0.1", "-n", "lost", "evaluate")
    commit = tiny.git("rev-parse", "--short=7", "refs/exps/celery/stash")
    tiny.git("update-ref", "-d", "refs/exps/celery/stash")
    tiny.git("prune", "--expire=now")
    queue(tiny, "x=0.2", "-n", "e", "evaluate")
    assert run(tiny, "-j", "1", check=False)[:2] == [
        f"lost: failed: its commit {commit} is gone from Git; it is taken out of the queue",
        "e: done",
    ]  # fmt: skip
    assert status(tiny) == {"e": "Success"}


def test_each_event_is_told_as_json(tiny: Repo) -> None:
    queue(tiny, "x=0.1", "-n", "e", "evaluate")
    events = [json.loads(line) for line in tiny.run("trialtree", "queue", "run", "--json").stdout.splitlines()]
    assert [event["event"] for event in events] == ["done", "finished"]
    assert events[0]["name"] == "e"
    assert {name: events[1][name] for name in ("done", "failed", "queued")} == {"done": 1, "failed": 0, "queued": 0}


def test_an_empty_queue_says_how_it_is_filled(tiny: Repo) -> None:
    assert run(tiny) == ["nothing is queued; `dvc exp run --queue` and `trialtree sweep --queue` queue experiments"]


@pytest.mark.slow
def test_a_whole_pipeline_is_published_by_its_own_register(ran: Repo) -> None:
    queue(ran, "C=0.7", "-n", "queued")
    assert run(ran)[:2] == ["queued: done", "1 experiment"]
    ran.dvc("exp", "run", "--temp", "-n", "alone", "-S", "train.hyperparameters.C=0.7")
    queued, alone = made(ran)["queued"], made(ran)["alone"]
    assert queued.split(" ", 1)[1] == alone.split(" ", 1)[1]
    runs = json.loads(ran.run("trialtree", "runs", "--json").stdout)
    of = {each["name"]: {key: each[key] for key in ("params", "metrics", "status", "kind")} for each in runs}
    assert of["queued"] == of["alone"]
    assert of["queued"]["params"]["train.hyperparameters.C"] == "0.7"


def test_a_repository_below_the_top_of_gits_is_run_there(tiny: Repo) -> None:
    below = tiny.path / "below"
    below.mkdir()
    for path in tiny.path.iterdir():
        if path.name not in (".git", "below"):
            path.rename(below / path.name)
    repo = Repo(below, tiny.env)
    repo.git("add", "--all", tiny.path.as_posix())
    repo.git("commit", "-qm", "Move")
    queue(repo, "x=0.1", "-n", "e", "evaluate")
    assert run(repo)[0] == "e: done"
    repo.dvc("exp", "run", "--temp", "-n", "alone", "-S", "train.hyperparameters.x=0.1", "evaluate")
    assert made(repo)["e"].split(" ", 1)[1] == made(repo)["alone"].split(" ", 1)[1]


@pytest.mark.parametrize("path", ["params.yaml", *sorted(p.as_posix() for p in PROJECT.glob("examples/*/params.yaml"))])
def test_params_are_read_as_dvc_reads_them(path: str) -> None:
    text = (PROJECT / path).read_text(encoding="utf-8")
    assert contents.read(text) == parse_yaml(text, path)


@pytest.mark.parametrize(
    "text",
    [
        "", "# nothing\n", "a: 1\nb:\n- 1\n- x: 1e-3\nc: {d: no}\n", "a: &x 1\nb: *x\n", "---\na: 1\n", "{a: 1}\n",
        'a: "x\n\n  y"\nb: |\n  c: 1\n\n  d\ne: 2\n', "a:\n  b: 1\n# c: 2\nd: 3\n", "a: 1\n'b': 2\n? c\n: 3\n",
    ],
)  # fmt: skip
def test_odd_params_are_read_as_dvc_reads_them(text: str) -> None:
    assert contents.read(text) == (parse_yaml(text, "params.yaml") or {})
