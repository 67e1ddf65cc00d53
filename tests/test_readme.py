"""Every command that the README shows is run, and what it shows of their output is what they print."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import PROJECT, Repo, make_repo

README = (PROJECT / "README.md").read_text(encoding="utf-8")
SHOWN = [
    line.removeprefix("$ ").partition("  #")[0].strip()
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("$ ")
]


def runs(repo: Repo) -> list[dict[str, str]]:
    """Return the tags of every MLflow run, in a process of its own."""
    code = (
        "import json, mlflow; c = mlflow.MlflowClient('sqlite:///mlflow.db');"
        "print(json.dumps([r.data.tags for e in c.search_experiments() for r in c.search_runs([e.experiment_id])]));"
        "print(json.dumps([v.name for v in c.search_model_versions()]))"
    )
    lines = repo.run("python", "-W", "ignore", "-c", code).stdout.splitlines()
    return [*json.loads(lines[-2]), *({"registered": name} for name in json.loads(lines[-1]))]


@pytest.mark.slow
def test_the_commands_of_the_readme_work_one_after_the_other(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "repo", tmp_path / "home")
    (tmp_path / "home/houses.csv").write_text(
        "rooms,town,built,price\n" + "".join(f"{i % 6 + 1},{'abc'[i % 3]},20{i % 20:02}-01-05,{50 + 9 * (i % 6)}.5\n"
                                              for i in range(90)), encoding="utf-8",
    )  # fmt: skip
    done = []
    for command in SHOWN:
        if command.startswith(("make", "dvc push")):
            continue
        if command == "dvc repro" and "trialtree data add ~/houses.csv" in done:
            repo.params(
                {"split.target": "price", "train.estimator": "sklearn.ensemble.RandomForestRegressor",
                 "train.hyperparameters": ..., "register.name": "houses", "register.gates": ..., "sweep": ...}
            )  # fmt: skip
            assert repo.run("trialtree", "check").stdout == "params.yaml and dvc.yaml are in order\n"
        if command.startswith("trialtree serve "):
            check_the_server(repo, command, tmp_path / "out")
            done.append(command)
            continue
        ran = subprocess.run(
            command, shell=True, cwd=repo.path, env=repo.env, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=(tmp_path / "out").open("w"), stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert ran.returncode == 0, f"{command}\n{(tmp_path / 'out').read_text()}"
        if command == "trialtree queue run":
            check_the_grid(repo)
        done.append(command)
    assert len(done) >= 10
    metrics = json.loads((repo.path / "reports/metrics.json").read_text(encoding="utf-8"))
    assert metrics["test"]["r2"] > 0.9
    assert json.loads((repo.path / "reports/register.json").read_text(encoding="utf-8"))["name"] == "houses"


def check_the_server(repo: Repo, command: str, out: Path) -> None:
    """It says where it is and answers there, until Ctrl-C."""
    with (
        out.open("w") as printed,
        subprocess.Popen(
            [*command.split(), "--port", "0"], cwd=repo.path, env=repo.env, stdout=printed, stderr=printed
        ) as server,
    ):
        until = time.monotonic() + 60
        while not (found := re.search(r"http://[\d.:]+", out.read_text())) and time.monotonic() < until:
            time.sleep(0.1)
        assert found, out.read_text()
        with urllib.request.urlopen(f"{found[0]}/ready", timeout=10) as answer:
            assert answer.status == 200
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0, out.read_text()


def check_the_grid(repo: Repo) -> None:
    """One run for each experiment, one for the repository's own trial, and one version, of that."""
    found = runs(repo)
    experiments = repo.git("for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps").splitlines()
    names = [name for name in experiments if not name.startswith(("stash", "celery", "running", "apply", "exec"))]
    assert sorted(tags["dvc.experiment"] for tags in found if "dvc.experiment" in tags) == sorted(names)
    assert len([tags for tags in found if "dvc.experiment" not in tags and "trialtree.key" in tags]) == 1
    assert [tags["registered"] for tags in found if "registered" in tags] == ["iris"]


def test_every_link_leads_somewhere() -> None:
    pages = [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md"), *(PROJECT / "examples").glob("*/README.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_file_tree_names_what_is_there() -> None:
    tree = next(b for b in re.findall(r"```text\n(.*?)```", README, re.DOTALL) if b.startswith("params.yaml"))
    names = [word for line in tree.splitlines() for word in re.findall(r"[\w.]+/?", re.split(r"\s{2,}", line)[0])]
    made = {"data/", "models/", "reports/"}  # by the first run
    assert [name for name in names if name not in made and not (PROJECT / name).exists()] == []


@pytest.mark.slow
def test_make_run_works_in_a_fresh_clone_and_prints_what_the_readme_shows(tmp_path: Path) -> None:
    clone = tmp_path / "a new clone, größer"
    subprocess.run(["git", "clone", "-q", str(PROJECT), str(clone)], check=True)
    # Not the environment of a `make test` around it, which would have this make talk of folders.
    env = {name: value for name, value in os.environ.items() if "MAKE" not in name and name != "MFLAGS"}
    done = subprocess.run(["make", "run"], cwd=clone, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = next(block for block in re.findall(r"```text\n(.*?)```", README, re.DOTALL) if "metric" in block)
    ours = done.stdout.replace(str(clone), "…")
    assert [line.rstrip() for line in shown.splitlines() if line] == [
        line.rstrip() for line in ours[ours.rindex("metric  ") :].splitlines() if line.strip()
    ]
    assert subprocess.run(
        ["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True
    ).stdout in ("", " M dvc.lock\n", "M  dvc.lock\n")
