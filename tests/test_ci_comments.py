"""The report as a comment: made once, updated in place, and never more than a text that a stranger's code wrote."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import forge, workflows
from tests.browser import installed
from tests.conftest import Repo, isolated
from tests.workflows import COMMENT, GitHubJob


@pytest.fixture(scope="module", autouse=True)
def jq() -> None:
    """Have jq, which gh has within it; where it is missing, a CI machine installs it or fails."""
    if not shutil.which("jq") and not os.environ.get("CI"):
        pytest.skip("jq is not on this machine")
    installed("jq")


MARK = "<!-- trialtree report -->"
ADDRESS = "https://github.invalid/team/bank/actions/runs/7"
ENDING = f"\n*By the code of the branch itself; [pictures, long tables and the log]({ADDRESS})*\n"
REPORT = f"{MARK}\n## Trial `HEAD` (1234567)\n\n**Better**: é.\n"


def pull(number: int, owner: str, branch: str, sha: str, state: str = "open") -> dict[str, Any]:
    """Return a pull request as GitHub's API tells of it."""
    repo = {"full_name": f"{owner}/bank", "owner": {"login": owner}}
    return {"number": number, "state": state, "head": {"sha": sha, "ref": branch, "repo": repo}}


def comment(number: int, issue: int, login: str, body: str) -> dict[str, Any]:
    """Return a comment as GitHub's API tells of it."""
    kind = "Bot" if login.endswith("[bot]") else "User"
    return {"id": number, "issue": issue, "user": {"login": login, "type": kind}, "body": body}


@dataclass(frozen=True)
class Forge:
    """A forge with a run that has left a report."""

    folder: Path
    env: Mapping[str, str]

    @property
    def report(self) -> Path:
        """What the run has left."""
        return self.folder / "artifact"

    @property
    def state(self) -> forge.State:
        """All pull requests and comments."""
        found: forge.State = json.loads((self.folder / "state.json").read_text(encoding="utf-8"))
        return found

    def leave(self, text: str) -> None:
        """Let the run leave another report."""
        (self.report / "report.md").write_text(text, encoding="utf-8", newline="")

    def at(self, name: str) -> Repo:
        """Return an empty folder in which a job runs; nothing is checked out."""
        path = self.folder / name
        path.mkdir()
        return Repo(path, self.env)


def made(folder: Path, content: forge.State) -> Forge:
    """Make a forge."""
    env = isolated(folder / "home")
    env = workflows.on_path({**env, **forge.install(folder / "bin", folder / "state.json", content)}, folder / "bin")
    found = Forge(folder, env)
    found.report.mkdir()
    found.leave(REPORT)
    return found


def github(folder: Path, pulls: list[Any], comments: list[Any]) -> Forge:
    """Make a GitHub."""
    return made(folder, {"runs": {"7": str(folder / "artifact")}, "pulls": pulls, "comments": comments})


def commented(on: Forge, name: str, owner: str = "team", branch: str = "topic", sha: str = "aaa") -> GitHubJob:
    """Run the job that comments, for a run of a branch at a commit."""
    context = {
        "github.token": "token", "github.repository": "team/bank",
        "github.event.workflow_run.id": "7", "github.event.workflow_run.html_url": ADDRESS,
        "github.event.workflow_run.head_sha": sha, "github.event.workflow_run.head_branch": branch,
        "github.event.workflow_run.head_repository.owner.login": owner,
        "github.event.workflow_run.head_repository.full_name": f"{owner}/bank",
    }  # fmt: skip
    job = GitHubJob(COMMENT, "comment", on.at(name), context, on.folder / f"temp {name}")
    job.step("Comment")
    return job


def bodies(on: Forge) -> list[tuple[int, str, str]]:
    """Return who said what on which pull request."""
    return [(each["issue"], each["user"]["login"], each["body"]) for each in on.state["comments"]]


BOT = "github-actions[bot]"


def test_a_report_becomes_one_comment_that_is_updated(tmp_path: Path) -> None:
    others = [
        comment(1, 5, "eve", f"{MARK}\nmine"),
        comment(2, 5, BOT, "something else"),
        comment(3, 5, "other[bot]", MARK),
        comment(4, 6, BOT, f"{MARK}\nof another pull request"),
    ]
    on = github(tmp_path, [pull(5, "team", "topic", "aaa"), pull(6, "team", "other", "bbb")], others)
    before = bodies(on)
    assert commented(on, "first").status == 0
    assert bodies(on) == [*before, (5, BOT, REPORT + ENDING)]
    on.leave(REPORT.replace("Better", "Worse"))
    assert commented(on, "second").status == 0
    assert bodies(on) == [*before, (5, BOT, REPORT.replace("Better", "Worse") + ENDING)]


def test_the_pull_request_of_a_fork_is_found_by_its_commit(tmp_path: Path) -> None:
    pulls = [
        pull(4, "team", "topic", "aaa"), pull(5, "eve", "topic", "old", "closed"), pull(6, "eve", "topic", "bbb"),
        pull(7, "eve", "topic", "aaa"), pull(8, "eve", "topics", "aaa"),
    ]  # fmt: skip
    on = github(tmp_path, pulls, [])
    assert commented(on, "job", owner="eve").status == 0
    assert bodies(on) == [(7, BOT, REPORT + ENDING)]


def test_a_branch_that_has_gone_on_by_the_commit_of_the_pipeline_gets_its_comment(tmp_path: Path) -> None:
    on = github(tmp_path, [pull(5, "team", "topic", "the commit after")], [])
    assert commented(on, "job").status == 0
    assert bodies(on) == [(5, BOT, REPORT + ENDING)]


@pytest.mark.parametrize("branch", ["gone", "$(touch hit)", '"; touch hit; "', "topic&state=closed"])
def test_a_run_without_an_open_pull_request_makes_no_comment(tmp_path: Path, branch: str) -> None:
    on = github(tmp_path, [pull(5, "team", "topic", "aaa")], [])
    job = commented(on, "job", branch=branch)
    assert (job.status, job.said["Comment"]) == (0, f"no open pull request of team:{branch}\n")
    assert sorted(path.name for path in job.at.path.iterdir()) == ["report"]
    assert bodies(on) == []


def test_a_run_that_left_no_report_makes_no_comment(tmp_path: Path) -> None:
    on = github(tmp_path, [pull(5, "team", "topic", "aaa")], [])
    shutil.rmtree(on.report)
    (tmp_path / "state.json").write_text(json.dumps({**on.state, "runs": {}}), encoding="utf-8")
    assert commented(on, "job").status == 0
    assert bodies(on) == []


def forge_a_link(report: Path) -> None:
    """Leave a link to a file of the machine that comments."""
    secret = report.parent / "secret"
    secret.write_text(f"{MARK}\nsecret\n", encoding="utf-8")
    (report / "report.md").unlink()
    (report / "report.md").symlink_to(secret)


def forge_another(report: Path) -> None:
    """Leave a text that would not be found again, so that each run would add a comment."""
    (report / "report.md").write_text("Buy here\n", encoding="utf-8")


@pytest.mark.parametrize("forge_it", [forge_a_link, forge_another])
def test_what_is_no_report_is_not_published(tmp_path: Path, forge_it: Any) -> None:
    on = github(tmp_path, [pull(5, "team", "topic", "aaa")], [])
    forge_it(on.report)
    assert commented(on, "job").status == 1
    assert bodies(on) == []


def test_pictures_and_commands_to_bots_are_not_in_a_comment(tmp_path: Path) -> None:
    on = github(tmp_path, [pull(5, "team", "topic", "aaa")], [])
    plots = "<details><summary>Plots</summary>\n\n![ROC](plots/roc.png)\n\n</details>\n"
    on.leave(f"{REPORT}\n/merge\n \t/close\na/b\n\n{plots}\n### Model\n")
    assert commented(on, "job").status == 0
    assert bodies(on) == [(5, BOT, f"{REPORT}\n\\/merge\n \t\\/close\na/b\n\n\n### Model\n{ENDING}")]


@pytest.mark.parametrize("over", [0, 1])
def test_a_comment_is_whole_or_a_link(tmp_path: Path, over: int) -> None:
    on = github(tmp_path, [pull(5, "team", "topic", "aaa")], [])
    long = REPORT + "é" * (forge.LIMIT - len(REPORT) - len(ENDING) - 1 + over) + "\n"
    on.leave(long)
    assert commented(on, "job").status == 0
    link = f"{MARK}\nThe report is [too long for a comment]({ADDRESS}).\n"
    assert bodies(on) == [(5, BOT, link if over else long + ENDING)]


# GitLab.

NOTES = "projects/3/merge_requests/5"
VARIABLES = {
    "CI_SERVER_URL": "https://gitlab.invalid", "CI_PIPELINE_URL": ADDRESS, "CI_PIPELINE_CREATED_AT": "",
    "CI_MERGE_REQUEST_PROJECT_ID": "3", "CI_MERGE_REQUEST_IID": "5", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "topic",
    "GITLAB_TOKEN": "token",
}  # fmt: skip
NOTE_ENDING = f"\n*By the code of the branch itself; [the log]({ADDRESS})*\n"


def note(number: int, author: int, body: str) -> dict[str, Any]:
    """Return a note as GitLab's API tells of it."""
    return {"id": number, "author": {"id": author}, "body": body}


def noted(on: Forge, name: str, **given: str) -> subprocess.CompletedProcess[str]:
    """Run the job that makes the note; glab and jq are on PATH, so that they are not installed."""
    at = on.at(name)
    if on.report.exists():
        shutil.copytree(on.report, at.path / "report", symlinks=True)
    return workflows.gitlab("note", at, {**VARIABLES, **given}, without=["apk add --quiet --no-cache glab jq"])


def test_a_report_becomes_one_note_that_is_updated(tmp_path: Path) -> None:
    others = [note(1, 30, f"{MARK}\nmine"), note(2, 99, "something else"), note(3, 31, MARK)]
    on = made(tmp_path, {"merge request": NOTES, "me": 99, "notes": others})
    for name, text in (("first", REPORT), ("second", REPORT.replace("Better", "Worse"))):
        on.leave(text)
        done = noted(on, name)
        assert done.returncode == 0, done.stdout
        assert on.state["notes"] == [*others, note(4, 99, text + NOTE_ENDING)]


def test_a_note_carries_no_command_to_gitlab(tmp_path: Path) -> None:
    on = made(tmp_path, {"merge request": NOTES, "me": 99, "notes": []})
    on.leave(f"{REPORT}/merge\r\n\r/approve\n  /close\na/b\n")
    assert noted(on, "job").returncode == 0
    assert [each["body"] for each in on.state["notes"]] == [
        f"{REPORT}\\/merge\n\\/approve\n  \\/close\na/b\n{NOTE_ENDING}"
    ]


@pytest.mark.parametrize("forge_it", [forge_a_link, forge_another])
def test_what_is_no_report_becomes_no_note(tmp_path: Path, forge_it: Any) -> None:
    on = made(tmp_path, {"merge request": NOTES, "me": 99, "notes": []})
    forge_it(on.report)
    assert noted(on, "job").returncode == 1
    assert on.state["notes"] == []


def test_without_a_token_or_a_report_there_is_no_note(tmp_path: Path) -> None:
    on = made(tmp_path, {"merge request": NOTES, "me": 99, "notes": []})
    done = noted(on, "no token", GITLAB_TOKEN="")
    assert (done.returncode, done.stdout) == (0, "no GITLAB_TOKEN, no note\n")
    shutil.rmtree(on.report)
    done = noted(on, "no report")
    assert (done.returncode, done.stdout) == (0, "there is no report\n")
    assert on.state["notes"] == []
