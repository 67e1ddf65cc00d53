"""The CI files as their forges read them: jobs, and commands run by bash as a runner runs them."""

import os
import re
import shutil
import string
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import PROJECT, YAML_12, Repo, isolated
from tests.servers import CREDENTIALS

EXPERIMENT = PROJECT / ".github/workflows/experiment.yml"
COMMENT = PROJECT / ".github/workflows/experiment-comment.yml"
GITLAB = PROJECT / ".gitlab-ci.yml"
PROOF = "Prove that dvc.lock is up to date"
WHEN = "2026-05-04T03:02:01Z"
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}", re.DOTALL)


def read(path: Path) -> dict[str, Any]:
    """Return a CI file, as YAML 1.2: `on` is a word there."""
    content: dict[str, Any] = YAML_12.load(path.read_text(encoding="utf-8"))
    return content


def commands(job: Mapping[str, Any]) -> dict[str, str]:
    """Return the commands of a job of GitHub by the name of the step."""
    return {step["name"]: step["run"] for step in job["steps"] if "run" in step}


def _bash(commands: str, cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run commands by bash, which stops at the first that fails, also in a pipe."""
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", commands],
        cwd=cwd, env=dict(env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip


@dataclass
class GitHubJob:
    """A job of a workflow of GitHub, in a clone."""

    path: Path
    name: str
    at: Repo
    context: Mapping[str, str]  # the values of expressions, by their text
    temp: Path
    status: int = 0  # of the last step
    said: dict[str, str] = field(default_factory=dict)  # what the steps printed
    outputs: dict[str, str] = field(default_factory=dict)

    def step(self, name: str) -> int:
        """Run a step, and return its status."""
        self.temp.mkdir(exist_ok=True)
        workflow = read(self.path)
        job = workflow["jobs"][self.name]
        step = next(step for step in job["steps"] if step.get("name") == name)
        given = {**workflow.get("env", {}), **job.get("env", {}), **step.get("env", {})}
        output = self.temp / "output"
        output.touch()
        env = {
            **self.at.env,
            **{key: self._valued(str(value)) for key, value in given.items()},
            "RUNNER_TEMP": str(self.temp), "GITHUB_OUTPUT": str(output),
        }  # fmt: skip
        done = _bash(step["run"], self.at.path, env)
        self.said[name] = done.stdout
        self.outputs |= dict(line.split("=", 1) for line in output.read_text(encoding="utf-8").splitlines())
        self.status = done.returncode
        return done.returncode

    def _valued(self, text: str) -> str:
        return _EXPRESSION.sub(lambda found: self.context[found[1]], text)


def gitlab(
    job: str, at: Repo, given: Mapping[str, str], without: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run the commands of a job of GitLab with the variables `given`, `without` some of its commands."""
    content = read(GITLAB)
    listed = {**content["variables"], **content[job].get("variables", {})}
    defined = {key: string.Template(str(value)).substitute(given) for key, value in listed.items()}
    lines = [*content[job].get("before_script", ()), *content[job]["script"]]
    assert set(without) <= set(lines)
    kept = "\n".join(line for line in lines if line not in without)
    return _bash(kept, at.path, {**at.env, **defined, **given})


def on_path(env: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return an environment with a folder first on PATH."""
    return {**env, "PATH": f"{folder}{os.pathsep}{env['PATH']}"}


# Pull requests.


@dataclass(frozen=True)
class Published:
    """A repository whose branches are in a bare one, and whose data are in a bucket."""

    origin: Path
    sha: Mapping[str, str]  # the branches' heads


@dataclass(frozen=True)
class Judged:
    """What came of the job that runs a branch's code."""

    failed: list[str]  # proof, gate
    said: str
    report: Path  # the folder of its artifact
    patch: Path  # what the pipeline made
    at: Repo

    @property
    def text(self) -> str:
        """The report."""
        return (self.report / "report.md").read_text(encoding="utf-8")


def cloned(of: Published, sha: str, folder: Path) -> Repo:
    """Return a clone as a runner makes it: no branch checked out, a home of its own, and nothing in DVC's cache."""
    at = Repo(folder / "clone", isolated(folder / "home"))
    subprocess.run(["git", "clone", "-q", str(of.origin), str(at.path)], check=True)
    at.git("checkout", "-q", "--detach", sha)
    return at


def of_pull_request(name: str, secrets: Mapping[str, str]) -> dict[str, str]:
    """Return the values of the expressions of experiment.yml for a pull request of a branch."""
    return {
        "github.event.pull_request.updated_at": WHEN,
        "github.event.pull_request.head.ref": name,
        "github.event.pull_request.base.ref": "main",
        "vars.AWS_DEFAULT_REGION || 'us-east-1'": "us-east-1",
        **{f"secrets.{key}": secrets.get(key, "") for key in CREDENTIALS},
    }


def of_merge_request(of: Published, name: str) -> dict[str, str]:
    """Return the variables that GitLab gives a merge request of a branch."""
    return {
        "CI_PIPELINE_CREATED_AT": WHEN, "CI_COMMIT_SHA": of.sha[name], "CI_JOB_URL": "https://gitlab.invalid/-/jobs/7",
        "CI_PROJECT_ID": "3", "CI_MERGE_REQUEST_PROJECT_ID": "3", "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "3",
        "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": name, "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
        "CI_PROJECT_URL": str(of.origin).removesuffix(".git"),
    }  # fmt: skip


def judged_on_github(of: Published, name: str, folder: Path, *, repro: bool, secrets: Mapping[str, str]) -> Judged:
    """Run the job `judge` for a pull request of a branch.

    All its steps but the one that installs: that makes an environment of 2 GB from the lock, which is the one that
    this test runs in, first on PATH.
    """
    temp = folder / "temp"
    job = GitHubJob(EXPERIMENT, "judge", cloned(of, of.sha[name], folder), of_pull_request(name, secrets), temp)
    if repro:
        assert job.step("Run the pipeline") == 0, job.said
        assert job.outputs == {"made": "true"}
    status = {"proof": job.step(PROOF), "report": job.step("Report"), "gate": job.step("Gate")}
    failed = [part for part, ended in status.items() if ended]
    return Judged(failed, "".join(job.said.values()), temp / "report", temp / "repro.patch", job.at)


def judged_on_gitlab(
    of: Published, name: str, folder: Path, *, repro: bool, secrets: Mapping[str, str], **given: str
) -> Judged:
    """Run the job `judge` for a merge request of a branch; all but what installs, as on GitHub."""
    at = cloned(of, of.sha[name], folder)
    variables = {**of_merge_request(of, name), **secrets, **({"REPRO": "1"} if repro else {}), **given}
    done = gitlab("judge", at, variables, without=["make setup"])
    marks = {"proof": "dvc.lock is not that of this commit", "gate": "\nFAIL  "}
    failed = [part for part, mark in marks.items() if mark in done.stdout]
    assert done.returncode == bool(failed), done.stdout
    report = at.path / "report"
    return Judged(failed, done.stdout, report, report / "repro.patch", at)


def committed_on_github(of: Published, name: str, folder: Path, patch: Path) -> subprocess.CompletedProcess[str]:
    """Run the job `commit` for a pull request of a branch."""
    job = GitHubJob(EXPERIMENT, "commit", cloned(of, of.sha[name], folder), of_pull_request(name, {}), folder / "temp")
    target = folder / "temp/repro/repro.patch"
    target.parent.mkdir(parents=True)
    shutil.copy(patch, target)
    step = "Commit what the pipeline made"
    return subprocess.CompletedProcess(step, job.step(step), job.said[step])


def committed_on_gitlab(of: Published, name: str, folder: Path, patch: Path) -> subprocess.CompletedProcess[str]:
    """Run the job `commit` for a merge request of a branch."""
    at = cloned(of, of.sha[name], folder)
    (at.path / "report").mkdir()
    shutil.copy(patch, at.path / "report/repro.patch")
    return gitlab("commit", at, {**of_merge_request(of, name), "GITLAB_TOKEN": "token"})
