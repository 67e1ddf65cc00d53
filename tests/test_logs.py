"""What stages print and how they end is kept, found again from any trial, and followed while it runs."""

import copy
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from stages import command, invocations, logs
from tests import journals
from tests.conftest import PROJECT, Repo
from tests.journals import done, failed, pruned
from trialtree.logs import finding, records, showing, sweeps
from trialtree.logs import of_lock as executions
from trialtree.sweep import journal
from trialtree.tracking import git, locks

PATIENCE = 60  # seconds to wait for another process


def told(repo: Repo, *arguments: str) -> list[dict[str, Any]]:
    """Return the stages that `trialtree logs --json` tells of."""
    stages: list[dict[str, Any]] = json.loads(repo.run("trialtree", "logs", "--json", *arguments).stdout)["stages"]
    return stages


def short(stages: list[dict[str, Any]]) -> list[tuple[str, bool, int | None]]:
    return [(stage["stage"], stage["cached"], stage.get("exit")) for stage in stages]


def replace_train(repo: Repo, main: str) -> None:
    """Give train another main."""
    (repo.path / "stages" / "train.py").write_text(
        "import os, sys, time\nfrom pathlib import Path\nfrom stages import command\n"
        f"class TrainParams: ...\ndef main():\n    {main}\nif __name__ == '__main__':\n    command.run(main)\n",
        encoding="utf-8",
    )


def test_a_trial_tells_which_stages_it_ran_and_whose_result_it_took(ran: Repo) -> None:
    every = [(name, False, 0) for name in ("fetch", "split", "train", "evaluate", "register")]
    first = told(ran, "HEAD")
    assert short(first) == every
    assert first[2]["output"] == "sklearn.svm.SVC on 112 rows x 4 features -> models/model\n"
    assert {stage["invocation"] for stage in first} == {first[0]["invocation"]}
    # An experiment that ends with evaluate: no stage behind that notes its entry of dvc.lock.
    ran.dvc("exp", "run", "-n", "soft", "-S", "train.hyperparameters.C=0.5", "evaluate")
    soft = told(ran, "soft")
    assert short(soft) == [("fetch", True, 0), ("split", True, 0), ("train", False, 0), ("evaluate", False, 0)]
    assert soft[:2] == [{**stage, "cached": True} for stage in first[:2]]
    assert [stage["experiment"] for stage in soft] == [None, None, "soft", "soft"]
    # The same by the commit, as another clone of logs would be asked.
    commit = ran.git("for-each-ref", "--format=%(objectname)", "refs/exps/*/*/soft")
    assert told(ran, commit) == soft
    said = ran.run("trialtree", "logs", "soft").stdout.splitlines()
    assert said[0].startswith(f"==> fetch: cached; made by main@{ran.git('rev-parse', '--short=7', 'HEAD~1')}, ")
    assert ran.run("trialtree", "logs", "HEAD~1", check=False).stderr.endswith("the pipeline has not run there\n")


def test_of_a_lock_the_executions_are_told_that_made_its_entries(ran: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ran.path)
    lock = copy.deepcopy(locks.read_lock((ran.path / "dvc.lock").read_bytes()))  # its pieces are shared
    found = executions(lock)
    assert [(e.stage, e.status, e.cached, e.state) for e in found.values()] == [
        (stage, 0, False, "ended") for stage in locks.STAGES
    ]
    assert all(e.seconds is not None and e.seconds < PATIENCE for e in found.values())
    # Other params that came to the same outputs are another execution, and one that is not kept here.
    lock["train"]["params"]["params.yaml"]["train"]["hyperparameters"]["C"] = 2
    assert list(executions(lock)) == ["fetch", "split", "evaluate"]


def test_a_trial_that_failed_was_killed_or_waits_says_so(ran: Repo) -> None:
    replace_train(ran, "print('begun', flush=True); os.kill(os.getpid(), 9) if Path('kill').exists() else 1 / 0")
    ran.git("commit", "-qam", "Break")
    assert ran.dvc("exp", "run", "-n", "broken", check=False).returncode
    stages = told(ran, "broken")
    assert short(stages) == [("fetch", True, 0), ("split", True, 0), ("train", False, 1)]
    lines = stages[-1]["output"].splitlines()
    assert (lines[0], lines[1], lines[-1]) == (
        "begun", "Traceback (most recent call last):", "ZeroDivisionError: division by zero",
    )  # fmt: skip
    headers = [line for line in ran.run("trialtree", "logs", "-f", "broken").stdout.splitlines() if line[:3] == "==>"]
    assert headers[2].endswith(", exit 1")
    (ran.path / "kill").touch()
    assert ran.dvc("repro", check=False).returncode
    (train,) = told(ran, "--stage", "train")
    assert (train["state"], train["exit"], train["output"]) == ("killed", None, "begun\n")
    # What a branch is at now is newer than its last commit.
    assert told(ran, "main", "--stage", "train") == [train]
    ran.dvc("exp", "run", "--queue", "-n", "waiting", "-S", "train.hyperparameters.C=3")
    done = ran.run("trialtree", "logs", "waiting", check=False)
    assert (done.returncode, done.stderr) == (1, "waiting is queued and has not begun; `dvc queue start` begins\n")


def test_what_runs_is_followed_to_its_end(ran: Repo) -> None:
    replace_train(
        ran, "print('one', flush=True)\n    while not Path('go').exists(): time.sleep(0.05)\n    sys.exit('no')"
    )
    repro = subprocess.Popen(
        ["dvc", "repro"], cwd=ran.path, env=ran.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
    )
    logged = ran.path / invocations.LOGS
    wait_for(lambda: any(path.read_text() == "one\n" for path in logged.glob("*/train.log")))
    with subprocess.Popen(
        ["trialtree", "logs", "-f"], cwd=ran.path, env=ran.env, stdout=subprocess.PIPE, text=True
    ) as follower:
        assert follower.stdout
        said = iter(follower.stdout.readline, "")
        seen = [line for line in iter(said.__next__, "one\n") if line.startswith("==> ")]
        (ran.path / "go").touch()
        rest = list(said)
    repro.wait()
    assert [line.split(":")[0] for line in seen] == ["==> fetch", "==> split", "==> train"]
    assert seen[-1].endswith(", running\n")
    assert rest[0] == "no\n"
    assert (rest[1].startswith("==> train: "), rest[1].endswith(", exit 1\n"), follower.returncode) == (True, True, 0)


def wait_for(condition: Any) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def kept(stage: str = "train") -> records.Execution:
    """Return the newest execution of a stage."""
    return next(i.executions[stage] for i in records.every() if stage in i.executions)


@pytest.mark.usefixtures("there")
def test_a_process_may_run_a_stage_again_and_again(capsys: pytest.CaptureFixture[str]) -> None:
    streams = sys.stdout, sys.stderr
    for number in range(3):
        with logs.kept("train"):
            print("round", number)
            threading.Thread(target=lambda: sys.stderr.write("aside\n")).start()
            copy = sys.stdout
            assert copy.isatty() is streams[0].isatty()
        print("late", file=copy)  # what a thread or a logger still holds
    assert (sys.stdout, sys.stderr) == streams
    assert [i.executions["train"].output().splitlines()[0] for i in records.every()] == [
        "round 2",
        "round 1",
        "round 0",
    ]
    assert "late" not in kept().output()
    assert capsys.readouterr().out == "".join(f"round {number}\nlate\n" for number in range(3))


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize(
    ("leave", "status", "last"),
    [("sys.exit()", 0, None), ("sys.exit(3)", 3, None), ("sys.exit('said')", 1, "said"),
     ("raise KeyboardInterrupt", 130, "KeyboardInterrupt"), ("1 / 0", 1, "ZeroDivisionError: division by zero")],
)  # fmt: skip
def test_the_record_has_the_status_however_a_stage_leaves(leave: str, status: int, last: str | None) -> None:
    with pytest.raises(BaseException), logs.kept("train"):  # noqa: B017, PT011  # of many kinds
        exec(leave)
    lines = kept().output().splitlines()
    assert (kept().status, lines[-1] if lines else None) == (status, last)


def test_two_processes_at_once_keep_their_own(there: Repo) -> None:
    code = (
        "import sys\nfrom stages import logs\nwith logs.kept('train'):\n    for n in range(200): print(sys.argv[1], n)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, name], cwd=there.path, env=there.env, stdout=subprocess.DEVNULL)
        for name in "ab"
    ]
    assert [process.wait() for process in both] == [0, 0]
    outputs = sorted(i.executions["train"].output() for i in records.every())
    assert outputs == ["".join(f"{name} {n}\n" for n in range(200)) for name in "ab"]


def test_a_bar_stays_on_the_terminal_and_lines_above_it_are_kept(there: Repo) -> None:
    code = (
        "import sys\nfrom stages import command, progress\nprogress._PATIENCE = -1\ndef main():\n"
        "    with progress.step('fitting', 10, 'iterations') as report:\n"
        "        report(1); print('above'); report(9)\n    print('after')\ncommand.run(main)"
    )
    parent, child = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-c", code], cwd=there.path, env={**there.env, "TERM": "xterm"}, stdout=child, stderr=child
    )
    os.close(child)
    shown = b""
    while True:
        try:
            shown += os.read(parent, 65536)
        except OSError:  # the other end is closed
            break
    os.close(parent)
    assert done.wait() == 0
    assert (b"fitting" in shown, b"above" in shown, b"\x1b[" in shown) == (True, True, True)
    (invocation,) = records.every()
    (execution,) = invocation.executions.values()
    assert execution.output() == "above\nafter\n"


def test_without_a_place_for_logs_a_stage_runs_all_the_same(
    there: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (there.path / ".dvc" / "tmp").mkdir(exist_ok=True)
    (there.path / ".dvc" / "tmp" / "trialtree").write_text("in the way", encoding="utf-8")
    for folder in (there.path, tmp_path):
        monkeypatch.chdir(folder)
        with logs.kept("train"):
            print("ran")
    assert capsys.readouterr() == ("ran\nran\n", "")


@pytest.mark.usefixtures("there")
def test_of_a_long_log_the_beginning_and_the_end_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LIMIT", 2000)
    with logs.kept("train"):
        for number in range(10_000):
            print("line", number)
    lines = kept().output().splitlines()
    assert kept().log.stat().st_size < 2100
    assert (lines[0], lines[-1]) == ("line 0", "line 9999")
    assert "[trialtree: the log is too long, and what stood here is left out]" in lines


def test_the_oldest_invocations_go_but_never_one_that_runs(there: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invocations, "KEPT", 3)
    with logs.kept("train"):
        pass
    place = there.path / invocations.LOGS
    (own,) = place.iterdir()
    ended = [place / f"{number:013d}-999999999-1-00000000" for number in range(2, 6)]
    running = place / f"{1:013d}-{own.name.split('-', 1)[1]}"
    for folder in (running, *ended):
        folder.mkdir()
    with logs.kept("train"):
        pass
    left = sorted(place.iterdir())
    assert left[0] == running
    assert own in left
    assert len(left) == 3 + 1


def test_worktrees_and_folders_below_keep_their_logs_in_the_main_working_tree(there: Repo, tmp_path: Path) -> None:
    there.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    there.git("pack-refs", "--all")
    for folder in (there.path, tmp_path / "side", there.path / "stages"):
        assert invocations.repository(folder)[0] == git.shared_top(folder)
        assert invocations.place(folder) == there.path / invocations.LOGS
    commit = there.git("rev-parse", "HEAD")
    assert invocations.head(tmp_path / "side") == (commit, "side")
    there.git("switch", "-q", "--detach")
    assert invocations.head(there.path) == (commit, None)
    assert invocations.head(tmp_path) == (None, None)


@pytest.mark.usefixtures("there")
def test_a_damaged_record_is_passed_over_and_the_last_state_of_a_line_is_shown() -> None:
    with logs.kept("train"):
        print("10 %\r50 %\r100 %\r\nend")
    (invocation,) = records.every()
    (invocation.path / "split.json").write_text('{"stage": "spl', encoding="utf-8")
    found = finding.find(None)
    assert [part.stage for part in found.parts] == ["train"]
    assert showing.as_json(found, found.parts)["stages"][0]["output"] == "100 %\nend\n"


def test_a_ctrl_c_is_kept_as_such(there: Repo) -> None:
    code = (
        "import time\nfrom stages import command\n"
        "def main():\n    print('on', flush=True); time.sleep(60)\ncommand.run(main)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=there.path,
        env=there.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "on\n"
        process.send_signal(signal.SIGINT)
    (invocation,) = records.every()
    (execution,) = invocation.executions.values()
    assert (execution.status, process.returncode) == (130, 130)
    assert execution.output().splitlines() == ["on", command._STOPPED]


@pytest.mark.usefixtures("there")
def test_a_disk_that_is_full_ends_the_log_and_neither_the_stage_nor_its_record() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("a device that is full is Linux's")
    with logs.kept("train"):
        print("begun")
        copy: Any = sys.stdout
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, copy.log._text.fileno())
        os.close(full)
        print("more")
        print("done")
    assert (kept().status, kept().output()) == (0, "begun\n")


def swept(*logs: int, name: str = "iris-k3f9") -> Path:
    """Write the journal of a sweep: trial 0 is done, 1 failed, 2 was stopped, 3 failed before it printed anything."""
    trials = [done(0, 0.5, log="logs/00000.log"), failed(1, "train: ValueError: no", status=-9), pruned(2),
              failed(3, "no room", log=None, stage=None)]  # fmt: skip
    folder = journals.write(journal.place(), journals.sweep(trials, journals.head(name)))
    (folder / "logs").mkdir()
    for number in logs:
        (folder / f"logs/{number:05}.log").write_text(f"10 %\rtrial {number}\n", encoding="utf-8")
    return folder


@pytest.mark.usefixtures("there")
def test_a_trial_of_a_sweep_tells_what_it_printed_and_how_it_ended(capsys: pytest.CaptureFixture[str]) -> None:
    swept(0, 1, 2)
    ends = ["0.2 s, done", "0.5 s, failed: train: ValueError: no",
            "0.5 s, pruned: median_stopping at report 12: 0.5 against 0.75"]  # fmt: skip
    for number, ended in enumerate(ends):
        for name in (f"iris-k3f9/{number}", f"iris-k3f9-{number:04}", f"iris/{number}"):
            showing.show(finding.find(name).parts)
            header, printed = capsys.readouterr().out.splitlines()
            assert (header[:11], header.endswith(f", {ended}"), printed) == ("==> trial: ", True, f"trial {number}")
    (stage,) = showing.as_json(found := finding.find("iris-k3f9/1"), found.parts)["stages"]
    assert (stage["stage"], stage["state"], stage["exit"], stage["output"]) == ("trial", "ended", -9, "trial 1\n")
    with pytest.raises(finding.LogsError, match=r"^iris-k3f9/1: all that a sweep's trial printed is one log"):
        showing.chosen(found, "train")


@pytest.mark.usefixtures("there")
def test_a_trial_of_a_sweep_that_kept_nothing_says_how_it_ended() -> None:
    swept()
    refused = {}
    for name in ("iris-k3f9/3", "iris-k3f9-0009", "iris/1"):
        with pytest.raises(sweeps.NoLogError) as error:
            finding.find(name)
        refused[name] = str(error.value)
    assert refused == {
        "iris-k3f9/3": "trial 3 of iris-k3f9, failed: no room: what it printed is not kept",
        "iris-k3f9-0009": "sweep iris-k3f9 has no trial 9; it has 0 to 3",
        "iris/1": "trial 1 of iris-k3f9, failed: train: ValueError: no: what it printed is not kept",
    }


def test_a_branch_of_such_a_name_and_an_experiment_whose_log_is_gone_are_what_they_were(ran: Repo) -> None:
    ran.git("branch", "iris/1")
    ran.dvc("exp", "run", "-n", "iris-k3f9-0000", "-S", "train.hyperparameters.C=0.5", "evaluate")
    ran.run("python", "-c", "from tests import test_logs; test_logs.swept(1)", PYTHONPATH=str(PROJECT))
    assert [stage["stage"] for stage in told(ran, "iris/1")] == [*locks.STAGES, "register"]
    assert [stage["stage"] for stage in told(ran, "iris-k3f9/0")] == [*locks.STAGES]
    assert [stage["output"] for stage in told(ran, "iris-k3f9/1")] == ["trial 1\n"]


@pytest.mark.usefixtures("there")
def test_a_trial_of_a_sweep_is_followed_to_its_end() -> None:
    folder = journal.place() / "iris-k3f9"
    with journal.Journal(folder) as driver:
        driver.add("sweep", **vars(journals.head()))
        driver.add("asked", number=0, values={}, raw={}, source="sampler")
        driver.add("began", number=0, attempt=1, time=1790000000000)
        (folder / "logs").mkdir()
        (folder / "logs/00000.log").write_text("one\n", encoding="utf-8")
        with subprocess.Popen(
            ["trialtree", "logs", "-f", "iris-k3f9/0"], stdout=subprocess.PIPE, text=True
        ) as follower:
            assert follower.stdout
            said = iter(follower.stdout.readline, "")
            assert [next(said)[-10:], next(said)] == [", running\n", "one\n"]
            with (folder / "logs/00000.log").open("a", encoding="utf-8") as log:
                log.write("two\n")
            driver.add("ended", number=0, state="failed", reason="bad", seconds=1.5, log="logs/00000.log")
            assert list(said) == ["two\n", "==> trial: 1.5 s, failed: bad\n"]
