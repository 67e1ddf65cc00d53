"""The processes that run stages for a sweep: real ones, and real stages in real repositories."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import PROJECT, Repo
from trialtree.sweep.workers.pool import Finished, Job, Limits, Pool, PoolError, Setup

PATIENCE = 120  # seconds after which a test is stuck


class Pooled:
    """A pool over one repository, with jobs made of little code."""

    def __init__(self, repo: Repo, **setup: Any) -> None:
        self.repo = repo
        self.folder = repo.path / ".dvc/tmp/trialtree"
        self.folder.mkdir(parents=True, exist_ok=True)
        given = {"slots": 1, "stages": [], "estimators": [], **setup}
        self.pool = Pool(
            Setup(repo.path, folder=self.folder, log=self.folder / "importer.log", environment=repo.env, **given)
        )
        self.pool.start()
        self.made = 0

    def job(self, command: str | list[str], **more: Any) -> Job:
        """Return a job in the repository."""
        self.made += 1
        given = {"trial": self.made, "log": self.log, "environment": {}, **more}
        return Job(stage="train", command=command, tree=self.repo.path, **given)

    def module(self, text: str, name: str = "some", **more: Any) -> Job:
        """Return a job that runs a module of this text."""
        (self.repo.path / f"stages/{name}.py").write_text(text, encoding="utf-8")
        return self.job(f"python -m stages.{name}", **more)

    def main(self, body: str, name: str = "some", **more: Any) -> Job:
        """Return a job that runs a stage whose main is these lines."""
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        guard = 'if __name__ == "__main__":\n    command.run(main)\n'
        head = "import os, subprocess, sys, time\nfrom pathlib import Path\nfrom stages import command\n"
        return self.module(f"{head}\n\ndef main() -> None:\n{lines}\n\n{guard}", name, **more)

    @property
    def log(self) -> Path:
        """The log of all jobs."""
        return self.folder / "job.log"

    def run(self, job: Job, slot: int = 0) -> Finished:
        """Run a job to its end."""
        self.pool.run(slot, job)
        return self.one()

    def one(self) -> Finished:
        """Return the one job that ends next."""
        (finished,) = self.pool.poll(PATIENCE)
        return finished

    def pids(self, path: Path) -> list[int]:
        """Return the processes that a job writes to a file, as soon as they are there."""
        until = time.monotonic() + PATIENCE
        while not (path.exists() and path.read_text(encoding="utf-8").endswith("\n")):
            assert self.pool.poll(0.01) == []
            assert time.monotonic() < until
        return [int(pid) for pid in path.read_text(encoding="utf-8").split()]

    def printed(self, job: Job) -> str:
        """Return what a job that must do its work has printed."""
        before = self.log.read_text(encoding="utf-8") if self.log.exists() else ""
        finished = self.run(job)
        after = self.log.read_text(encoding="utf-8")
        assert finished.end == "done", after
        return after.removeprefix(before)

    def processes(self) -> list[psutil.Process]:
        """Return all processes below the pool."""
        return [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def pooled() -> Iterator[Callable[..., Pooled]]:
    """Return a function that starts a pool over a repository; afterwards no process is left."""
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    made: list[Pooled] = []

    def start(repo: Repo, **setup: Any) -> Pooled:
        made.append(Pooled(repo, **setup))
        return made[-1]

    yield start
    for each in made:
        each.pool.close()
    assert {p.pid for p in psutil.Process().children(recursive=True)} - before == set()


def hashes(folder: Path, *names: str) -> dict[str, str]:
    """Return the MD5 of each file below folders of a repository."""
    paths = [path for name in names for path in sorted((folder / name).rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.md5(path.read_bytes()).hexdigest() for path in paths}


def gone(pid: int) -> bool:
    """Wait until a process has ended."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
    return False


OTHERS: list[dict[str, Any]] = [
    {"train.estimator": "sklearn.svm.SVC", "train.hyperparameters": {"kernel": "rbf", "C": 0.5}},
    {"train.estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "train.hyperparameters": {"max_iter": 5}},
    {"train.estimator": "catboost.CatBoostClassifier", "train.hyperparameters": {"iterations": 5}},
    {"train.estimator": "sklearn.ensemble.RandomForestClassifier",
     "train.hyperparameters": {"n_estimators": 5, "n_jobs": -1}},
]  # fmt: skip


@pytest.mark.slow
def test_trials_of_one_server_are_byte_for_byte_those_of_processes_of_their_own(
    ran: Repo, pooled: Callable[..., Pooled]
) -> None:
    warm = pooled(ran, stages=["train", "evaluate"], estimators=[each["train.estimator"] for each in OTHERS])
    servers = set()
    for params in [*OTHERS, OTHERS[0]]:
        ran.params(params)
        for stage in ("train", "evaluate"):
            assert warm.run(warm.job(f"python -m stages.{stage}")).end == "done"
        servers |= {process.pid for process in warm.processes()}
        ours = hashes(ran.path, "models", "reports")
        for stage in ("train", "evaluate"):
            ran.stage(stage)
        assert ours == hashes(ran.path, "models", "reports")
    assert len(servers) == 2  # the importer and the one server


def test_what_a_stage_prints_is_in_its_log_and_nowhere_else(
    repo: Repo, pooled: Callable[..., Pooled], capfd: pytest.CaptureFixture[str]
) -> None:
    some = pooled(repo)
    job = some.main(
        "print('by Python')\n"
        "os.write(1, b'by the system\\n')\n"
        "import ctypes\n"
        "ctypes.CDLL(None).puts(b'by C')\n"
        "ctypes.CDLL(None).fflush(None)\n"
        "os.system('echo by a shell; echo errors too >&2')\n"
        "raise ValueError('no')"
    )
    finished = some.run(job)
    lines = some.log.read_text(encoding="utf-8").splitlines()
    assert lines[:5] == ["by Python", "by the system", "by C", "by a shell", "errors too"]
    assert (lines[5], lines[-1]) == ("Traceback (most recent call last):", "ValueError: no")
    assert lines[6].startswith(f'  File "{some.repo.path}/stages/some.py", line ')
    assert (finished.end, finished.status) == ("failed", 1)
    assert finished.reason == "train exited with status 1: ValueError: no"
    assert capfd.readouterr() == ("", "")


ENDS = [
    "pass",
    "raise SystemExit",
    "sys.exit(3)",
    "sys.exit(300)",
    "sys.exit('words')",
    "raise ValueError('no')",
    "raise KeyboardInterrupt",
    "from stages.errors import UserError\nraise UserError('params.yaml: train: no')",
    "os._exit(0)",
    "os._exit(7)",
    "if os.fork() == 0:\n    os._exit(5)\nos.wait()",
]


@pytest.mark.parametrize("body", ENDS)
def test_a_job_exits_as_a_process_of_its_own_does(body: str, repo: Repo, pooled: Callable[..., Pooled]) -> None:
    some = pooled(repo)
    finished = some.run(some.main(body))
    alone = some.repo.run("python", "-m", "stages.some", check=False)
    assert finished.status == alone.returncode
    assert finished.end == ("failed" if alone.returncode else "done")
    printed = some.log.read_text(encoding="utf-8").splitlines()
    assert printed[-1:] == (alone.stdout + alone.stderr).splitlines()[-1:]
    assert some.run(some.main("pass", "next")).end == "done"


def test_a_module_that_runs_as_it_is_imported_runs_each_time(repo: Repo, pooled: Callable[..., Pooled]) -> None:
    some = pooled(repo)
    job = some.module("import sys\nprint(__name__, sys.argv)\n")
    expected = f"__main__ ['{some.repo.path}/stages/some.py']\n"
    assert [some.printed(job), some.printed(job)] == [expected, expected]


STATE = (
    "import random, signal, warnings\n"
    "print(os.getcwd(), sorted(os.environ), sys.path, sys.argv, warnings.filters, sys.stdin.read())\n"
    "print([signal.getsignal(n) for n in (2, 15)], signal.getitimer(0), len(os.listdir('/proc/self/fd')))\n"
    "warnings.warn('said each time')"
)


def test_a_job_finds_nothing_of_the_one_before(repo: Repo, pooled: Callable[..., Pooled]) -> None:
    some = pooled(repo)
    look = some.main(STATE, "look", environment={"DVC_STAGE": "train"})
    some.run(look)  # imports
    first = some.printed(look)
    assert "said each time" in first
    some.run(some.main(
        "import random, signal, warnings\n"
        "os.chdir('/')\n"
        "os.environ['ADDED'] = 'x'\n"
        "del os.environ['HOME']\n"
        "sys.path.append('/x'); sys.argv.append('x'); warnings.simplefilter('ignore')\n"
        "signal.signal(15, signal.SIG_IGN); signal.signal(2, signal.SIG_IGN)\n"
        "sys.stdout.close(); sys.stderr = None",
        environment={"ONLY": "here"},
    ))  # fmt: skip
    assert some.printed(look) == first


def test_random_numbers_are_not_those_of_the_job_or_the_server_before(
    repo: Repo, pooled: Callable[..., Pooled]
) -> None:
    some = pooled(repo, isolation="trial", stages=["numpy"])
    draw = some.main("import random, numpy\nprint(random.random(), numpy.random.rand())")
    other = some.main("import random, numpy\nprint(random.random(), numpy.random.rand())")
    drawn = [some.printed(draw), some.printed(draw), some.printed(other)]
    assert len({number for line in drawn for number in line.split()}) == 6


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_crash_is_told_by_its_signal_and_last_words_and_harms_no_other(
    number: signal.Signals, repo: Repo, pooled: Callable[..., Pooled]
) -> None:
    some = pooled(repo, slots=2)
    go = some.repo.path / "go"
    some.pool.run(1, some.main(f"while not Path({str(go)!r}).exists(): pass", "other"))
    crashed = some.run(some.main(f"print('at work')\nos.kill(os.getpid(), {int(number)})"))
    assert (crashed.slot, crashed.end, crashed.status) == (0, "crashed", -number)
    assert crashed.reason == f"train was ended by {number.name}: at work"
    assert some.run(some.main("pass", "next")).end == "done"
    go.touch()
    assert (some.one().slot, some.pool.free()) == (1, [0, 1])


CHILDREN = (
    "def sleep(**how):\n"
    "    return subprocess.Popen(['sleep', '1000'], **how).pid\n"
    "pids = sleep(), sleep(process_group=0), sleep(start_new_session=True)\n"
    "os.system('sleep 1000 & echo $! > {path}.shell')\n"
    "print(*pids, file=Path('{path}').open('w'), flush=True)\n"
)


def test_a_trial_that_takes_too_long_is_ended_with_what_it_has_started(
    repo: Repo, pooled: Callable[..., Pooled]
) -> None:
    some = pooled(repo, limits=Limits(seconds=1.0))
    pids = some.repo.path / "pids"
    finished = some.run(some.main(CHILDREN.format(path=pids) + "time.sleep(1000)"))
    assert (finished.end, finished.status, finished.reason) == ("timeout", -9, "timeout after 1 s")
    own, group, _ = map(int, pids.read_text(encoding="utf-8").split())
    shell = int(Path(f"{pids}.shell").read_text(encoding="utf-8"))
    assert [gone(pid) for pid in (own, group, shell)] == [True, True, True]
    assert some.run(some.main("pass", "next")).end == "done"


def test_the_time_limit_is_of_the_trial_and_not_of_each_of_its_stages(
    repo: Repo, pooled: Callable[..., Pooled]
) -> None:
    some = pooled(repo, limits=Limits(seconds=60.0))
    began = time.monotonic() - 59.5
    finished = some.run(some.main("time.sleep(1000)", began=began))
    assert (finished.end, finished.reason) == ("timeout", "timeout after 60 s")


def test_a_trial_that_takes_too_much_memory_is_ended(repo: Repo, pooled: Callable[..., Pooled]) -> None:
    some = pooled(repo, limits=Limits(memory=300_000_000))
    assert some.run(some.main("held = b'x' * 100_000_000\ntime.sleep(0.5)", "modest")).end == "done"
    child = "subprocess.run([sys.executable, '-c', 'held = b\"x\" * 400_000_000; import time; time.sleep(1000)'])"
    for body in ("held = b'x' * 400_000_000\ntime.sleep(1000)", child):
        finished = some.run(some.main(body, f"hog{len(body)}"))
        assert (finished.end, finished.status) == ("memory", -9)
        assert (finished.reason or "").endswith(" MB, limits.memory is 300 MB")


def test_the_largest_size_is_that_of_the_job(repo: Repo, pooled: Callable[..., Pooled]) -> None:
    some = pooled(repo)
    small = some.run(some.main("pass", "small")).peak
    assert some.run(some.main("held = b'x' * 100_000_000", "large")).peak > small + 90_000_000
    assert some.run(some.main("pass", "small")).peak < small + 20_000_000


def test_a_job_that_is_stopped_ends_with_the_reason_given(repo: Repo, pooled: Callable[..., Pooled]) -> None:
    some = pooled(repo)
    there = some.repo.path / "there"
    some.pool.run(
        0, some.main(f"print(os.getpid(), file=Path({str(there)!r}).open('w'), flush=True)\ntime.sleep(1000)")
    )
    some.pids(there)
    some.pool.stop(0, "median_stopping at report 3")
    finished = some.one()
    assert (finished.end, finished.status, finished.reason) == ("stopped", -9, "median_stopping at report 3")
    assert some.run(some.main("pass", "next")).end == "done"


def test_a_job_that_is_stopped_before_the_libraries_are_imported_never_begins(
    repo: Repo, pooled: Callable[..., Pooled]
) -> None:
    some = pooled(repo)
    some.pool.run(0, some.main("print('begun')"))
    some.pool.stop(0)
    assert (some.one().status, some.log.exists()) == (None, False)
    assert some.printed(some.main("print('next')", "next")) == "next\n"


def test_a_server_that_was_killed_is_replaced(repo: Repo, pooled: Callable[..., Pooled]) -> None:
    some = pooled(repo)
    pid = int(some.printed(some.main("print(os.getpid())")))
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)
    assert some.pool.poll(0.2) == []
    assert int(some.printed(some.main("print(os.getpid())"))) != pid


def test_the_importer_is_replaced_once_and_its_jobs_are_lost_by_no_fault_of_their_own(
    repo: Repo,
    pooled: Callable[..., Pooled],
) -> None:
    some = pooled(repo, slots=2)
    for attempt in range(2):
        pids = some.repo.path / f"pids{attempt}"
        # Another module: Python takes bytecode by its second and the length of the source.
        some.pool.run(0, some.main(CHILDREN.format(path=pids) + "time.sleep(1000)", f"some{attempt}"))
        own, group, session = some.pids(pids)
        (importer,) = psutil.Process().children()
        importer.kill()
        if attempt == 0:
            finished = some.one()
            assert (finished.end, finished.status) == ("lost", None)
            assert finished.reason == "its server was ended with the process that had forked it"
            assert some.run(some.main("pass", "next")).end == "done"
        else:
            with pytest.raises(PoolError, match="has ended twice"):
                some.pool.poll(PATIENCE)
        assert [gone(own), gone(group)] == [True, True]
        os.kill(session, signal.SIGKILL)  # what left its session is not ended with an importer that is killed


def test_an_importer_that_cannot_begin_is_an_error_with_its_last_words(repo: Repo) -> None:
    log = repo.path / "importer.log"
    setup = Setup(repo.path, 1, [], [], repo.path, log, environment={**repo.env, "PYTHONHOME": "/nowhere"})
    with Pool(setup) as pool:
        pool.run(0, Job(0, "train", "python -m stages.train", repo.path, log))
        for _ in range(2):
            with pytest.raises(PoolError, match="has ended twice"):
                pool.poll(PATIENCE)


DRIVER = """
import sys
sys.path.insert(0, {project!r})
from tests.test_sweep_workers import CHILDREN, Path, Pooled, Repo

some = Pooled(Repo(Path({path!r}), {env!r}), slots=2)
some.pool.run(0, some.main(CHILDREN.format(path="pids") + "time.sleep(1000)"))
some.pool.run(1, some.main("time.sleep(1000)", "other"))
some.pool.poll(None)
"""


def test_a_driver_that_is_killed_leaves_no_process(repo: Repo) -> None:
    code = DRIVER.format(project=str(PROJECT), path=str(repo.path), env=dict(repo.env))
    driver = subprocess.Popen([sys.executable, "-c", code], env=repo.env)
    pids = repo.path / "pids"
    while not (pids.exists() and pids.read_text(encoding="utf-8").endswith("\n")):
        assert driver.poll() is None
    below = psutil.Process(driver.pid).children(recursive=True)
    assert len(below) >= 7  # importer, two servers, four sleeping
    driver.kill()
    driver.wait()
    assert [gone(each.pid) for each in below] == [True] * len(below)


def test_closing_ends_what_imports_and_what_computes(repo: Repo, pooled: Callable[..., Pooled]) -> None:
    importing = pooled(repo, stages=["train", "evaluate"], estimators=["sklearn.svm.SVC"])
    importing.pool.run(0, importing.main("time.sleep(1000)"))
    importing.pool.close()
    assert importing.processes() == []
    some = pooled(repo, slots=2)
    pids = some.repo.path / "pids"
    some.pool.run(0, some.main(CHILDREN.format(path=pids) + "time.sleep(1000)"))
    started = some.pids(pids)
    some.pool.close()
    assert some.processes() == []
    assert [gone(pid) for pid in started] == [True] * 3


def test_a_shell_runs_what_is_no_module_as_dvc_does(
    repo: Repo, pooled: Callable[..., Pooled], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", "/bin/bash")  # DVC takes the shell of its own process
    some = pooled(repo)
    environment = {"DVC_STAGE": "train"}
    commands = ["echo $DVC_STAGE in $PWD; shopt -q login_shell || echo no login", "exit 4", "echo never"]
    finished = some.run(some.job(commands, environment=environment))
    assert (finished.status, finished.end) == (4, "failed")
    assert some.log.read_text(encoding="utf-8") == f"train in {some.repo.path}\nno login\n"
    assert some.printed(some.job("echo a\necho $((1 + 1)) > b; cat b")) == "a\n2\n"
    assert "No module named stages.some" in some.printed(some.job("python -m stages.some 2>&1 | cat"))


def test_ctrl_c_reaches_what_a_job_has_started_if_it_is_sent_there(repo: Repo, pooled: Callable[..., Pooled]) -> None:
    some = pooled(repo)
    sleep = "p = subprocess.Popen(['sleep', '1000'])\np.send_signal(2)\nprint(p.wait())"
    assert some.printed(some.main(sleep)) == "-2\n"


def test_a_server_for_each_trial_where_that_is_asked_for(repo: Repo, pooled: Callable[..., Pooled]) -> None:
    some = pooled(repo, isolation="trial")
    pid = "print(os.getpid())"
    pids = [some.printed(some.main(pid, trial=trial)) for trial in (1, 1, 2, 2, 3)]
    assert (pids[0] == pids[1], pids[2] == pids[3], len(set(pids))) == (True, True, 3)
    some.pool.rest(0)
    assert some.printed(some.main(pid, trial=3)) not in pids


def test_a_server_is_replaced_after_so_many_jobs_and_after_a_failure(repo: Repo, pooled: Callable[..., Pooled]) -> None:
    some = pooled(repo, recycle_after=2)
    pid = "print(os.getpid())"
    pids = [some.printed(some.main(pid)) for _ in range(4)]
    assert (pids[0] == pids[1], pids[2] == pids[3], len(set(pids))) == (True, True, 2)
    some.run(some.main("sys.exit(1)", "bad"))
    assert some.printed(some.main(pid)) not in pids


def test_what_a_job_leaves_running_is_ended_before_the_next_one(repo: Repo, pooled: Callable[..., Pooled]) -> None:
    some = pooled(repo)
    left = int(some.printed(some.main("print(subprocess.Popen(['sleep', '1000']).pid)")))
    assert some.run(some.main("pass", "next")).end == "done"
    assert gone(left)


THREADS = [
    "threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()",
    "threading.Thread(target=lambda: print('late')).start()",
    "command.pool = ThreadPoolExecutor()\ncommand.pool.submit(print, 'late')",
]


@pytest.mark.parametrize("leaving", THREADS)
def test_a_thread_that_a_job_leaves_is_not_found_by_the_next_one(
    leaving: str, repo: Repo, pooled: Callable[..., Pooled]
) -> None:
    some = pooled(repo)
    imports = "import threading\nfrom concurrent.futures import ThreadPoolExecutor\nprint(os.getpid())\n"
    pid, *late = some.printed(some.main(imports + leaving)).split()
    assert late == (["late"] if "late" in leaving else [])
    assert some.printed(some.main(imports)) != f"{pid}\n"


def test_modules_are_imported_anew_where_the_code_is_another(repo: Repo, pooled: Callable[..., Pooled]) -> None:
    some = pooled(repo, code="a")
    (some.repo.path / "stages/noun.py").write_text("VALUE = 1\n", encoding="utf-8")
    body = "from stages import noun\nprint(noun.VALUE)"
    assert some.printed(some.main(body, code="a")) == "1\n"
    (some.repo.path / "stages/noun.py").write_text("VALUE = 2\n", encoding="utf-8")  # as long, and in the same second
    assert some.printed(some.main(body, code="a")) == "1\n"
    assert some.printed(some.main(body + " ", code="b")) == "2\n"


def test_what_jobs_import_is_imported_before_those_of_the_next_sweep(ran: Repo, pooled: Callable[..., Pooled]) -> None:
    setup = {"stages": ["train", "evaluate"], "estimators": ["sklearn.svm.SVC"]}
    imported = []
    for _ in range(2):
        some = pooled(ran, **setup)
        imported.append([some.run(some.job(f"python -m stages.{stage}")).imported for stage in setup["stages"]])
        some.pool.close()
    assert "stages.storing" in imported[0][0]
    assert imported[1] == [(), ()]


def test_a_damaged_list_of_imports_is_none(pooled: Callable[..., Pooled], repo: Repo) -> None:
    (repo.path / ".dvc/tmp/trialtree").mkdir(parents=True)
    (repo.path / ".dvc/tmp/trialtree/imports.json").write_text('{"x": 1', encoding="utf-8")
    some = pooled(repo)
    assert some.run(some.main("pass")).end == "done"


def test_no_sweep_pushes_out_the_logs_of_others(repo: Repo, pooled: Callable[..., Pooled]) -> None:
    some = pooled(repo)
    environment = {"DVC_STAGE": "train", "DVC_EXP_NAME": "trial", "DVC_ROOT": str(some.repo.path)}
    assert some.run(some.main("print('said')", environment=environment)).end == "done"
    assert not (some.repo.path / ".dvc/tmp/trialtree/logs").exists()


def test_each_slot_has_its_share_of_the_processors(repo: Repo, pooled: Callable[..., Pooled]) -> None:
    cores = sorted(os.sched_getaffinity(0))
    some = pooled(repo, slots=2, estimators=["catboost.CatBoostRegressor"])
    job = some.main("print(sorted(os.sched_getaffinity(0)), os.environ['OPENBLAS_NUM_THREADS'])")
    share = max(1, len(cores) // 2)
    second = cores[share % len(cores) :][:share]
    assert some.printed(job) == f"{cores[:share]} {share}\n"
    assert some.run(job, slot=1).end == "done"
    assert some.log.read_text(encoding="utf-8").splitlines()[-1] == f"{second} {share}"


def test_a_job_that_cannot_begin_says_why(repo: Repo, pooled: Callable[..., Pooled]) -> None:
    some = pooled(repo)
    finished = some.run(some.main("pass", log=some.folder / "absent/job.log"))
    assert finished.end == "failed"
    assert finished.reason == f"[Errno 2] No such file or directory: '{some.folder}/absent/job.log'"


def test_nothing_grows_over_hundreds_of_jobs(repo: Repo, pooled: Callable[..., Pooled]) -> None:
    some = pooled(repo, recycle_after=1000)
    job = some.main("x = []\nx.append(x)\nprint(len(os.listdir('/proc/self/fd')), len(sys.modules))")
    some.run(job)
    first, peak = some.printed(job), some.run(job).peak
    for _ in range(300):
        some.run(job)
    assert some.printed(job) == first
    assert some.run(job).peak < peak + 2_000_000
