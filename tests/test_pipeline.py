"""The pipeline as DVC runs it: what reruns, what is the same, what survives being stopped."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import PROJECT, Repo, isolated, make_repo

PIPELINE = ("fetch", "split", "train", "evaluate")
KEPT_HASHES = ("data/raw.parquet", "data/split")


def ran_stages(output: str) -> list[str]:
    """Return the stages that `dvc repro` says it ran."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def test_iris_gives_the_published_figure(ran_once: Repo) -> None:
    metrics = json.loads((ran_once.path / "reports/metrics.json").read_text(encoding="utf-8"))
    assert metrics["test"]["accuracy"] == 0.9736842105263158
    assert metrics["test"]["rows"] == 38
    confusion = (ran_once.path / "reports/plots/confusion.csv").read_text(encoding="utf-8").splitlines()
    assert confusion == [
        "actual,predicted,count", "setosa,setosa,13", "versicolor,versicolor,15", "versicolor,virginica,1",
        "virginica,virginica,9",
    ]  # fmt: skip


def test_nothing_changed_only_register_runs(ran: Repo) -> None:
    assert ran_stages(ran.dvc("repro").stdout) == ["register"]
    assert "up to date" in ran.dvc("status", *PIPELINE).stdout
    assert ran.git("status", "--porcelain") == ""


def test_a_new_seed_deals_other_rows_and_fetches_nothing(ran: Repo) -> None:
    ran.params({"split.seed": 1})
    assert ran_stages(ran.dvc("repro").stdout) == ["split", "train", "evaluate", "register"]


def test_another_metric_trains_nothing(ran: Repo) -> None:
    ran.params({"evaluate.metrics": ["accuracy", "mcc"]})
    assert ran_stages(ran.dvc("repro").stdout) == ["evaluate", "register"]


def test_the_same_params_give_the_same_bytes(ran_once: Repo, tmp_path: Path) -> None:
    other = make_repo(tmp_path / "another folder, größer" / "repo", tmp_path / "home")
    other.dvc("repro", PYTHONHASHSEED="7")
    assert (other.path / "dvc.lock").read_text() == (ran_once.path / "dvc.lock").read_text()
    # What there is to commit, and no more.
    assert other.git("status", "--porcelain").splitlines() == ["A  dvc.lock", "?? reports/"]
    kept = sorted(path.name for path in (other.path / "reports").iterdir() if not ignored(other, path))
    assert kept == ["metrics.json", "script.json"]


def ignored(repo: Repo, path: Path) -> bool:
    """Whether Git ignores a file."""
    return repo.run("git", "check-ignore", "-q", str(path), check=False).returncode == 0


def test_the_committed_lock_is_that_of_a_fresh_run(ran_once: Repo) -> None:
    """Data to the byte, metrics to the digit; model bytes may differ between processors in the last place."""
    committed = PROJECT / "dvc.lock"
    ours, fresh = (path.read_text(encoding="utf-8").splitlines() for path in (committed, ran_once.path / "dvc.lock"))
    for path in KEPT_HASHES:
        assert _md5(ours, path) == _md5(fresh, path)
    metrics = [json.loads((root / "reports/metrics.json").read_text()) for root in (PROJECT, ran_once.path)]
    assert metrics[0] == metrics[1]


def test_the_committed_lock_is_of_the_committed_code() -> None:
    lines = (PROJECT / "dvc.lock").read_text(encoding="utf-8").splitlines()
    modules = {line.split(": ")[1] for line in lines if line.strip().startswith("- path: stages/")}
    assert len(modules) > 30
    old = [m for m in modules if hashlib.md5((PROJECT / m).read_bytes()).hexdigest() not in _md5(lines, m, last=False)]
    assert old == [], "run `dvc repro` and commit dvc.lock"


def _md5(lock: list[str], path: str, last: bool = True) -> str:
    """Return the line with the hash of a path in dvc.lock's lines."""
    at = (max if last else min)(i for i, line in enumerate(lock) if line.strip() == f"- path: {path}")
    return next(line.strip() for line in lock[at:] if line.strip().startswith("md5:"))


@pytest.mark.slow
def test_two_runs_of_a_main_in_one_process_do_not_know_each_other(repo: Repo, tmp_path: Path) -> None:
    other = make_repo(tmp_path / "other", tmp_path / "home")
    other.params({"split.seed": 3})
    code = "import os, sys\nfrom stages import fetch, split, train, evaluate\n"
    code += (
        "for folder in sys.argv[1:]:\n    os.chdir(folder)\n    for m in (fetch, split, train, evaluate): m.main()\n"
    )
    repo.run("python", "-c", code, str(repo.path), str(other.path), str(repo.path))
    one = (repo.path / "models/model/manifest.json").read_bytes()
    for stage in PIPELINE:
        repo.stage(stage)
        other.stage(stage)
    assert (repo.path / "models/model/manifest.json").read_bytes() == one
    assert (other.path / "models/model/manifest.json").read_bytes() != one


def test_all_faults_of_a_section_are_lines_without_a_traceback(repo: Repo) -> None:
    repo.params({"split.test": 1.5, "split.targt": "species"})
    done = repo.stage("split", check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "params.yaml: split.test: must be less than 1 as a share of all rows, or a whole number of rows, got 1.5",
        "params.yaml: split.targt is not a key; did you mean target?",
    ]


def test_another_python_says_so_in_one_line(repo: Repo, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    done = subprocess.run(
        [tmp_path / "bare/bin/python", "-m", "stages.fetch"],
        cwd=repo.path, env=isolated(tmp_path / "home"), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    release = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert done.stderr.splitlines() == [
        f"this stage ran with {tmp_path}/bare/bin/python (Python {release}), which is not the project's environment; "
        "activate it: . .venv/bin/activate (made by `make setup`)"
    ]


@pytest.mark.parametrize("stage", ["fetch", "split", "train", "evaluate"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stage_that_is_stopped_is_run_again_and_nothing_is_lost(
    ran_once: Repo, repo: Repo, stage: str, how: signal.Signals
) -> None:
    before = {"fetch": [], "split": ["fetch"], "train": ["split"], "evaluate": ["train"]}[stage]
    if before:
        repo.dvc("repro", *before)
    # The stage waits just before it renames: the moment of the stop is the same on every machine.
    marker = repo.path / "reports" / "waiting"
    files = repo.path / "stages" / "files.py"
    whole = files.read_text(encoding="utf-8")
    wait = f"        Path({str(marker)!r}).touch()\n        __import__('time').sleep(60)\n"
    renames = re.compile(r"^ +partial\.(replace|rename)\(path\)\n", re.MULTILINE)
    files.write_text(renames.sub(lambda line: wait + line[0], whole), encoding="utf-8")
    marker.parent.mkdir(exist_ok=True)
    process = subprocess.Popen(
        ["python", "-m", f"stages.{stage}"], cwd=repo.path, env=repo.env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not marker.exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(how)
    _, said = process.communicate()
    assert process.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    assert how == signal.SIGKILL or said.splitlines()[-1] == (
        "stopped; what was finished is kept, and `dvc repro` goes on from there"
    )
    files.write_text(whole, encoding="utf-8")
    marker.unlink()
    repo.dvc("repro", "evaluate")
    fresh = (ran_once.path / "dvc.lock").read_text(encoding="utf-8").partition("  register:")[0]
    assert (repo.path / "dvc.lock").read_text(encoding="utf-8").partition("  register:")[0] == fresh
    assert not list(repo.path.rglob(".*.partial"))


@pytest.mark.parametrize("stage", PIPELINE)
def test_a_full_disk_is_one_line_and_leaves_no_half_file(repo: Repo, stage: str) -> None:
    """A limit on the size of files stands in for the full disk: the same writes fail."""
    for before in PIPELINE[: PIPELINE.index(stage)]:
        repo.stage(before)
    kept = {path for folder in ("data", "models", "reports") for path in (repo.path / folder).rglob("*")}
    code = (
        "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600)); sys.argv = ['-m'];"
        f"runpy.run_module('stages.{stage}', run_name='__main__')"
    )
    done = repo.run("python", "-c", code, check=False, PYTHONDONTWRITEBYTECODE="1")
    assert done.returncode == 1, done.stdout
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    left = {path for folder in ("data", "models", "reports") for path in (repo.path / folder).rglob("*")} - kept
    assert [path for path in left if path.is_file() and path.stat().st_size >= 600] == []
    assert [path for path in left if "partial" in path.name] == []


@pytest.mark.slow
def test_a_clone_gets_a_table_of_ones_own_by_dvc_pull(repo: Repo, tmp_path: Path) -> None:
    table = tmp_path / "my table.csv"
    rows = [f"{i},{i * i % 17},{'ab'[i % 2]}" for i in range(60)]
    table.write_text("\n".join(["x,y,kind", *rows]) + "\n", encoding="utf-8")
    repo.run("trialtree", "data", "add", str(table))
    repo.params({"split.target": "kind"})
    repo.dvc("remote", "add", "-d", "store", str(tmp_path / "remote"))
    repo.dvc("repro", "evaluate")
    repo.commit("Own table")
    repo.dvc("push")
    clone = Repo(tmp_path / "clone", repo.env)
    subprocess.run(["git", "clone", "-q", str(repo.path), str(clone.path)], env=repo.env, check=True)
    clone.dvc("pull")
    assert ran_stages(clone.dvc("repro", "evaluate").stdout) == []
    edited = repo.path / "data/source/my table.csv"
    content = edited.read_text(encoding="utf-8")
    edited.unlink()  # a link to the cache is replaced, not written through
    edited.write_text(content + "100,3,a\n", encoding="utf-8")
    assert ran_stages(repo.dvc("repro", "evaluate").stdout) == list(PIPELINE)


def test_copies_of_a_repository_hold_no_path_of_it(ran: Repo, tmp_path: Path) -> None:
    moved = tmp_path / "moved here"
    shutil.move(ran.path, moved)
    assert ran_stages(Repo(moved, ran.env).dvc("repro", "evaluate").stdout) == []
    assert str(os.fspath(ran.path)) not in (moved / "dvc.lock").read_text(encoding="utf-8")
