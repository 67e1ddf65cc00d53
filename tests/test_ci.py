"""The CI files that are shipped: their schemas, who may do what in them, and their commands in a fresh clone."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests import reviewing, workflows
from tests.conftest import PROJECT, Repo, isolated
from tests.reviewing import branch, trial
from tests.servers import CREDENTIALS, S3
from tests.workflows import (
    COMMENT,
    EXPERIMENT,
    GITLAB,
    Judged,
    Published,
    cloned,
    committed_on_github,
    committed_on_gitlab,
    judged_on_github,
    judged_on_gitlab,
)

# The files themselves.


@pytest.mark.parametrize(
    ("schema", "files"),
    [("vendor.github-workflows", [EXPERIMENT, COMMENT]), ("vendor.gitlab-ci", [GITLAB])],
)
def test_a_forge_takes_its_files(schema: str, files: list[Path]) -> None:
    done = subprocess.run(
        ["check-jsonschema", "--builtin-schema", schema, "--data-transform", "gitlab-ci", *map(str, files)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "ok -- validation done\n")


@pytest.mark.parametrize("path", [EXPERIMENT, COMMENT])
def test_actions_are_pinned_by_hash_and_say_their_version(path: Path) -> None:
    used = [line.split("uses:")[1] for line in path.read_text(encoding="utf-8").splitlines() if "uses:" in line]
    assert [line for line in used if not re.fullmatch(r" actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


def test_nobody_may_more_than_his_job_needs() -> None:
    experiment, comment = workflows.read(EXPERIMENT), workflows.read(COMMENT)
    assert (experiment["permissions"], comment["permissions"]) == ({}, {})
    jobs = {**experiment["jobs"], **comment["jobs"]}
    assert {name: job["permissions"] for name, job in jobs.items()} == {
        "judge": {"contents": "read"},
        "commit": {"contents": "write"},
        "comment": {"actions": "read", "pull-requests": "write"},
    }
    checkouts = {
        name: [step["with"] for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
        for name, job in jobs.items()
    }
    assert [each["persist-credentials"] for each in checkouts["judge"]] == [False]
    assert checkouts["comment"] == []


def test_the_jobs_that_may_write_run_nothing_of_the_branch() -> None:
    jobs = {**workflows.read(EXPERIMENT)["jobs"], **workflows.read(COMMENT)["jobs"]}
    gitlab = workflows.read(GITLAB)
    scripts = [*workflows.commands(jobs["commit"]).values(), *workflows.commands(jobs["comment"]).values()]
    scripts += [line for job in ("note", "commit") for line in gitlab[job]["script"]]
    ran = re.compile(r"(?:^|[;&|(]|\b(?:if|then|else|do)\s)\s*(make|python|pip|uv|dvc|trialtree)(?=\s|$)", re.MULTILINE)
    assert [found for text in scripts for found in ran.findall(text)] == []
    assert ran.findall(workflows.commands(jobs["judge"])["Gate"]) == ["trialtree"]
    # On GitLab the token is that of an environment, which the job that runs the branch's code is not in.
    assert {job: gitlab[job].get("environment", {}).get("name") for job in ("judge", "note", "commit")} == {
        "judge": None, "note": "trialtree", "commit": "trialtree",
    }  # fmt: skip
    assert "TOKEN" not in json.dumps(gitlab["judge"])


def test_only_branches_of_ones_own_are_run_and_committed() -> None:
    experiment, gitlab = workflows.read(EXPERIMENT), workflows.read(GITLAB)
    own = "github.event.pull_request.head.repo.full_name == github.repository"
    pipeline = next(step for step in experiment["jobs"]["judge"]["steps"] if step.get("id") == "pipeline")
    assert own in pipeline["if"]
    assert own in experiment["jobs"]["commit"]["if"]
    assert gitlab["commit"]["rules"][0] == {
        "if": "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID != $CI_PROJECT_ID", "when": "never",
    }  # fmt: skip


@pytest.mark.parametrize("path", [EXPERIMENT, COMMENT])
def test_what_people_name_reaches_a_command_as_a_variable_only(path: Path) -> None:
    workflow = workflows.read(path)
    assert workflow["defaults"]["run"]["shell"] == "bash"  # the one with pipefail
    for job in workflow["jobs"].values():
        assert [text for text in workflows.commands(job).values() if "${{" in text] == []


# The commands, in a fresh clone.


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, s3: S3) -> Published:
    """A trial on main, and branches: `same`, `worse`, and `stale`, whose params changed without a run."""
    folder = tmp_path_factory.mktemp("published")
    repo = reviewing.made(folder)
    repo.run("trialtree", "remote", f"s3://{s3.bucket('pull-requests')}/team", "--endpoint", s3.url, **CREDENTIALS)
    repo.commit("Name the remote")
    repo.dvc("push", "-q", **CREDENTIALS)
    trial(branch(repo, "same", {"train.hyperparameters.C": 0.9}), "A little less C")
    repo.dvc("push", "-q", **CREDENTIALS)
    dummy = {"estimator": "sklearn.dummy.DummyClassifier", "hyperparameters": {"strategy": "prior"}}
    trial(branch(repo, "worse", {"train": dummy}), "Learn nothing")
    repo.dvc("push", "-q", **CREDENTIALS)
    branch(repo, "stale", {"train.hyperparameters.C": 0.5}).commit("Half of C")
    repo.git("clone", "-q", "--bare", str(repo.path), str(folder / "origin.git"))
    return Published(
        folder / "origin.git", {name: repo.git("rev-parse", name) for name in ("main", "same", "worse", "stale")}
    )


JUDGES = pytest.mark.parametrize("judged", [judged_on_github, judged_on_gitlab])
COMMITS = pytest.mark.parametrize("committed", [committed_on_github, committed_on_gitlab])


@pytest.mark.slow
@JUDGES
def test_a_branch_that_is_as_good_passes(published: Published, tmp_path: Path, judged: Callable[..., Judged]) -> None:
    found = judged(published, "same", tmp_path, repro=False, secrets=CREDENTIALS)
    assert found.failed == [], found.said
    assert "pass  review.not_worse.roc_auc" in found.said
    assert found.text.startswith(f"<!-- trialtree report -->\n## Trial `HEAD` ({published.sha['same'][:7]}) against ")
    assert "No difference that 150 rows can show" in found.text
    drawn = {f"plots/{path.name}" for path in (found.report / "plots").glob("*.png")}
    below = "https://gitlab.invalid/-/jobs/7/artifacts/raw/report/" if judged is judged_on_gitlab else ""
    assert set(re.findall(r"!\[.*?\]\((.*?)\)", found.text)) == {f"{below}{path}" for path in drawn} != set()


@pytest.mark.slow
@JUDGES
def test_a_branch_that_is_worse_fails_with_the_reason(
    published: Published, tmp_path: Path, judged: Callable[..., Judged]
) -> None:
    found = judged(published, "worse", tmp_path, repro=False, secrets=CREDENTIALS)
    assert found.failed == ["gate"], found.said
    assert "FAIL  register.gates.roc_auc: gate fails by 0.1: roc_auc is 0.5 on 150 rows, min 0.6\n" in found.said
    assert "FAIL  review.not_worse.roc_auc: " in found.said
    assert "**Worse**" in found.text


@pytest.mark.slow
@JUDGES
def test_a_branch_that_did_not_run_fails_with_the_reason(
    published: Published, tmp_path: Path, judged: Callable[..., Judged]
) -> None:
    found = judged(published, "stale", tmp_path, repro=False, secrets=CREDENTIALS)
    assert found.failed == ["proof", "gate"], found.said
    assert "FAIL  review.up_to_date: params.yaml changed since; `dvc repro`, then commit\n" in found.said
    assert "train of params.yaml changed since it ran" in found.text


@pytest.mark.slow
def test_a_fork_without_secrets_is_told_what_is_missing(published: Published, tmp_path: Path) -> None:
    found = judged_on_github(published, "same", tmp_path, repro=False, secrets={})
    assert found.failed == ["gate"], found.said  # the proof needs no data
    assert "FAIL  figures: reports/predictions.parquet is neither here nor in the remote\n" in found.said
    assert "Unable to locate credentials" in found.text
    assert "| `train.hyperparameters.C` | `1.0` | `0.9` |" in found.text


@pytest.mark.slow
def test_a_fork_on_gitlab_is_held_against_the_branch_that_it_is_to_go_into(
    published: Published, tmp_path: Path
) -> None:
    fork = replace(published, origin=Path(shutil.copytree(published.origin, tmp_path / "fork.git")))
    subprocess.run(["git", "-C", str(fork.origin), "branch", "-q", "-f", "main", "main~2"], check=True)
    address = str(published.origin).removesuffix(".git")
    found = judged_on_gitlab(
        fork, "same", tmp_path, repro=False, secrets={}, CI_PROJECT_ID="9", CI_MERGE_REQUEST_SOURCE_PROJECT_ID="9",
        CI_MERGE_REQUEST_PROJECT_URL=address,
    )  # fmt: skip
    assert found.failed == ["gate"], found.said
    assert f"against `origin/main` ({published.sha['main'][:7]})" in found.text


@pytest.mark.slow
def test_the_project_runs_no_pipeline_for_a_fork_on_gitlab(published: Published, tmp_path: Path) -> None:
    found = judged_on_gitlab(
        published, "stale", tmp_path, repro=True, secrets=CREDENTIALS, CI_MERGE_REQUEST_SOURCE_PROJECT_ID="9"
    )
    assert found.failed == ["proof", "gate"], found.said
    assert found.patch.read_text(encoding="utf-8") == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("judged", "committed"), [(judged_on_github, committed_on_github), (judged_on_gitlab, committed_on_gitlab)]
)
def test_with_the_label_the_pipeline_is_run_and_committed(
    published: Published, tmp_path: Path, judged: Callable[..., Judged],
    committed: Callable[..., subprocess.CompletedProcess[str]],
) -> None:  # fmt: skip
    of = replace(published, origin=Path(shutil.copytree(published.origin, tmp_path / "origin.git")))
    found = judged(of, "stale", tmp_path / "judge", repro=True, secrets=CREDENTIALS)
    assert found.failed == [], found.said
    done = committed(of, "stale", tmp_path / "commit", found.patch)
    assert done.returncode == 0, done.stdout

    now = cloned(of, "origin/stale", tmp_path / "now")
    sha = now.git("rev-parse", "HEAD")
    assert sha == found.at.git("rev-parse", "HEAD")  # the one that the report names
    assert f"({sha[:7]})" in found.text
    assert now.git("rev-parse", "HEAD^") == of.sha["stale"]
    assert now.git("log", "-1", "--format=%B") == "Run the pipeline\n\nTrial-Branch: stale"
    assert now.git("diff", "--name-only", "HEAD^").splitlines() == ["dvc.lock", "reports/metrics.json"]
    assert "are up to date" in now.dvc("repro", "evaluate", "--allow-missing", "--dry").stdout
    now.dvc("pull", "-q", "evaluate", **CREDENTIALS)  # its data are in the remote


@pytest.fixture
def small(tmp_path: Path) -> tuple[Published, Repo]:
    """A bare repository with what a patch may change and what it may not, and one to make patches in."""
    repo = Repo(tmp_path / "small", isolated(tmp_path / "home"))
    (repo.path / "reports").mkdir(parents=True)
    for name in ("dvc.lock", "reports/metrics.json", "Makefile"):
        (repo.path / name).write_text(f"{name}\n", encoding="utf-8")
    repo.git("init", "-q", "-b", "topic")
    sha = repo.commit("Start")
    repo.git("clone", "-q", "--bare", ".", str(tmp_path / "origin.git"))
    return Published(tmp_path / "origin.git", {"topic": sha}), repo


@COMMITS
@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ("echo new > dvc.lock; echo new > reports/metrics.json; echo own > reports/own.json", True),
        ("echo new > dvc.lock; echo new > Makefile", True),  # what is not to be taken stays behind
        ("git mv Makefile reports/own.json", False),
        ("ln -s ../Makefile reports/own.json; git add reports", False),
        ("chmod +x dvc.lock", False),
        ("mkdir reports/below; echo own > reports/below/own.json", False),
        ("echo new > 'evil dvc.lock'", False),
        ("rm dvc.lock", False),
        ("echo new > Makefile", False),
    ],
)
def test_a_patch_changes_dvc_lock_and_reports_or_nothing(
    small: tuple[Published, Repo], tmp_path: Path, committed: Callable[..., subprocess.CompletedProcess[str]],
    change: str, taken: bool,
) -> None:  # fmt: skip
    of, repo = small
    repo.run("bash", "-ec", change)
    repo.git("add", "-A")
    patch = tmp_path / "patch"
    patch.write_text(repo.run("git", "diff", "--cached", "-M").stdout, encoding="utf-8")
    done = committed(of, "topic", tmp_path, patch)
    assert (done.returncode == 0) is taken, done.stdout
    now = cloned(of, "origin/topic", tmp_path / "now")
    assert (now.path / "Makefile").read_text(encoding="utf-8") == "Makefile\n"
    assert (now.git("rev-parse", "HEAD") != of.sha["topic"]) is taken
    assert ((now.path / "dvc.lock").read_text(encoding="utf-8") == "new\n") is taken


# Git's hooks.

HOOKS = PROJECT / ".pre-commit-hooks.yaml"


def test_pre_commit_takes_the_hooks() -> None:
    subprocess.run(["pre-commit", "validate-manifest", str(HOOKS)], check=True)


def by_pre_commit(repo: Repo, folder: Path) -> None:
    """Set up the hooks by pre-commit, from a repository of them."""
    hooks = Repo(folder / "hooks", repo.env)
    hooks.path.mkdir()
    shutil.copy(HOOKS, hooks.path)
    hooks.git("init", "-q")
    config = {
        "repos": [
            {
                "repo": str(hooks.path),
                "rev": hooks.commit(),
                "hooks": [{"id": "trialtree-check"}, {"id": "trialtree-gate"}],
            }
        ]
    }
    (repo.path / ".pre-commit-config.yaml").write_text(json.dumps(config), encoding="utf-8")
    repo.run("pre-commit", "install", "--hook-type", "pre-commit", "--hook-type", "pre-push")


def by_git(repo: Repo, _: Path) -> None:
    """Set up the hook by the command of the docs."""
    text = (PROJECT / "docs/review.md").read_text(encoding="utf-8")
    repo.run(
        "bash", "-ec", next(line for line in text.splitlines() if ".git/hooks/pre-push" in line).removeprefix("$ ")
    )


@pytest.mark.slow
@pytest.mark.parametrize("set_up", [by_pre_commit, by_git])
def test_a_push_of_a_branch_that_fails_the_gate_is_refused(
    published: Published, tmp_path: Path, set_up: Callable[[Repo, Path], None]
) -> None:
    of = replace(published, origin=Path(shutil.copytree(published.origin, tmp_path / "origin.git")))
    repo = cloned(of, "origin/main", tmp_path)
    for name in ("main", "same", "worse"):
        repo.git("switch", "-q", "--force-create", name, f"origin/{name}")
        repo.dvc("pull", "-q", "evaluate", **CREDENTIALS)
    set_up(repo, tmp_path)
    repo.git("commit", "-q", "--allow-empty", "-m", "Propose it")
    refused = repo.run("git", "push", "origin", "worse:proposed", check=False)
    assert refused.returncode == 1
    assert "FAIL  register.gates.roc_auc: gate fails by 0.1" in refused.stdout + refused.stderr
    repo.git("switch", "-q", "same")
    repo.git("commit", "-q", "--allow-empty", "-m", "Propose it")
    repo.git("push", "-q", "origin", "same:proposed")
    assert repo.git("ls-remote", "origin", "proposed").split()[0] == repo.git("rev-parse", "same")
