"""examples/walkthrough.md: its commands, what they print, and that no credential is left anywhere."""

import hashlib
import io
import os
import re
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from examples.walkthrough import page, secrecy, table
from examples.walkthrough.__main__ import PROGRESS, SPENT
from examples.walkthrough.machines import Machines, WalkError
from tests.conftest import PROJECT, Repo, isolated, shared
from tests.servers import CREDENTIALS, S3
from tests.web import serving

PAGE = (PROJECT / "examples/walkthrough.md").read_text(encoding="utf-8")
# ae_p10, ae_p50 and ae_p90 of the test and validation rows, and r2: published are validation ae_p50 and test r2.
SINGLE = {"ae_p10": "0.0370 0.0376", "ae_p50": "0.2168 0.2203", "ae_p90": "0.7079 0.7398", "r2": "0.8116 0.8218"}
MULTI = {"ae_p10": "0.0481 0.0406", "ae_p50": "0.2267 0.2176", "ae_p90": "0.7984 0.7194", "r2": "0.8338 0.8347"}


@pytest.fixture
def walked(tmp_path: Path) -> tuple[dict[str, list[str]], str, Path]:
    """What each command printed, all that was printed, and the folder that is left."""
    (tmp_path / "home").mkdir()
    data = shared("california_housing/cal_housing.data")
    done = subprocess.run(
        [sys.executable, "-m", "examples.walkthrough", "--data", str(data), "--keep", str(tmp_path / "kept")],
        cwd=PROJECT, env=isolated(tmp_path / "home") | {"AWS_SECRET_ACCESS_KEY": "not asked for"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return by_command(done.stdout), done.stdout, tmp_path / "kept"


def by_command(text: str) -> dict[str, list[str]]:
    """Return the lines that each command printed, by `MACHINE$ COMMAND`; of one that is repeated `… again`."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if re.match(r"(ada|bob|eve|cem)\$ ", line):
            lines = found.setdefault(f"{line} again" if line in found else line, [])
        elif re.match(r"## \d|```|the credentials", line):
            lines = []
        elif line:
            lines.append(line)
    return found


def equal(lines: list[str]) -> list[str]:
    """Return lines with what differs from run to run made equal: hashes of commits and runs, days, ports."""
    lines = [line.rstrip() for line in lines if not PROGRESS.search(line)]
    text = SPENT.sub("in … s, … rows/s", re.sub(r"127\.0\.0\.1:\d+", "HOST", "\n".join(lines)))
    text = re.sub(r"\d{4}-\d\d-\d\d", "DAY", text)
    return re.sub(r"\b[0-9a-f]{7,64}\b", "#", text).splitlines()


def table_of(lines: list[str]) -> dict[str, str]:
    """Return the metrics that evaluate printed."""
    return {name: f"{test} {valid}" for name, test, valid in (line.split() for line in lines if line.count(".") == 2
                                                              and len(line.split()) == 3)}  # fmt: skip


@pytest.mark.slow
def test_the_walk_gives_the_published_figures_and_prints_what_the_page_shows(walked: Any) -> None:
    said, printed, folder = walked
    for who, expected in (("bob", SINGLE), ("eve", MULTI)):
        first, again = said[f"{who}$ trialtree run --pull --push"], said[f"{who}$ trialtree run --pull --push again"]
        assert {name: value for name, value in table_of(first).items() if name in expected} == expected
        assert [line for line in first if "Running stage" in line] == [
            f"Running stage '{name}':" for name in ("train", "evaluate", "register")
        ]
        assert [line for line in again if "Running stage" in line] == ["Running stage 'register':"]
        assert [line.endswith("no commit") for line in again if line.startswith(("nothing", "committed"))] == [True]
        assert len(said[f"{who}$ git status --short --branch"]) == 1  # the branch, neither ahead nor behind
    for branch, expected in (("single-file", SINGLE), ("multi-files", MULTI)):
        table = f"origin/dvc-trial-{branch}:data/split/test"
        called = said[f"cem$ trialtree call california {table} --compare med_house_val --rows 3"]
        found = dict(line.split() for line in called if line.startswith("ae_p"))
        assert {name: f"{float(value):.4f}" for name, value in found.items()} == {
            name: expected[name].split()[0] for name in ("ae_p10", "ae_p50", "ae_p90")
        }
    assert not list((folder / "cem").glob(".local/state/trialtree/*"))
    assert re.search(r"^the credentials are in none of \d{3,} files, \d{3,} Git objects, \d\d objects", printed, re.M)
    check_the_runs(folder / "mlflow/mlflow.db")
    shown = by_command(PAGE)
    assert {command: equal(lines) for command, lines in said.items()} == {
        command: equal(lines) for command, lines in shown.items()
    }, "what the commands print has changed: `make walkthrough-docs` writes it into the page"


def check_the_runs(database: Path) -> None:
    """Each run has what the post tracks, and what it does not."""
    with closing(sqlite3.connect(database)) as opened:
        tags: dict[str, dict[str, str]] = {}
        for run, key, value in opened.execute("SELECT run_uuid, key, value FROM tags"):
            tags.setdefault(run, {})[key] = value
        metrics = {row[0] for row in opened.execute("SELECT DISTINCT key FROM latest_metrics")}
    named = {found["DVC_BRANCH"]: found for found in tags.values()}
    assert {name: found["USER"] for name, found in named.items()} == {
        "dvc-trial-single-file": "bob", "dvc-trial-multi-files": "eve",
    }  # fmt: skip
    for found in named.values():
        assert {
            "DVC_REPO_URL",
            "data_commit_hash",
            "train_test_split_ratio",
            "model.digest",
            "best_iteration",
        } <= found.keys()
        assert found["trialtree.commit"] != found["data_commit_hash"]
    counts = {part: len(named["dvc-trial-multi-files"][f"storage.{part}"].split()) for part in ("train", "validation")}
    assert counts == {"train": 5, "validation": 3}
    assert {"test.ae_p10", "test.ae_p50", "test.ae_p90", "validation.ae_p50"} <= metrics


def test_the_page_shows_what_each_command_printed() -> None:
    steps = page.steps(PAGE)
    commands = [f"{step.machine}$ {step.text}" for step in steps if step.machine]
    assert commands == re.findall(r"(?m)^(?:ada|bob|eve|cem)\$ .*$", PAGE)  # none stands where it is not run
    assert len(commands) == len(by_command(PAGE)) > 20
    outputs = {step.line: f"{number}\n" for number, step in enumerate(steps) if step.machine}
    filled = page.filled(PAGE, outputs)
    assert list(by_command(filled).values()) == [[text.strip()] for text in outputs.values()]
    assert page.filled(filled, {s.line: "" for s in page.steps(filled)}) == page.filled(PAGE, {})
    assert "Traceback" not in PAGE
    assert str(PROJECT) not in PAGE


def test_a_command_that_fails_ends_the_walk_with_its_line(tmp_path: Path) -> None:
    machines = Machines(tmp_path, {"NAME": "value"})
    machines.run(page.Step(7, "mkdir inner && cd inner", "ada"))
    assert machines.run(page.Step(8, 'pwd; echo "$HOME $NAME"', "ada")) == (
        f"{tmp_path}/ada/inner\n{tmp_path}/ada value\n"
    )
    with pytest.raises(WalkError, match=r"^walkthrough\.md:9: `false \| cat` on bob exited 1$"):
        machines.run(page.Step(9, "false | cat", "bob"))


@pytest.mark.slow
def test_no_endpoint_outlives_a_walk_that_did_not_come_to_its_end(ran: Repo) -> None:
    with Machines(ran.path.parent, {}) as machines:
        machines.run(page.Step(7, f"cd {ran.path} && trialtree endpoint create iris --model iris@champion", "home"))
        (alive,) = ran.path.parent.glob("home/.local/state/trialtree/endpoints/iris/alive.lock")
        process = psutil.Process(int(alive.read_text()))
    # Where nobody waits for it, it stays in the system's list.
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    assert not list(ran.path.parent.glob("home/.local/state/trialtree/*"))


def test_a_credential_is_found_wherever_it_is(tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    secret, git = os.environ["AWS_SECRET_ACCESS_KEY"], ["git", "-C", str(tmp_path / "repo")]
    bucket = s3.bucket("secrecy")
    subprocess.run(["git", "init", "-q", str(tmp_path / "repo")], check=True)
    (tmp_path / "file").write_text("clean", encoding="utf-8")
    where = (tmp_path, "clean", f"s3://{bucket}/p", s3.url)
    assert "not in what is printed" in secrecy.search(*where)
    with pytest.raises(WalkError, match="the output holds"):
        secrecy.search(tmp_path, f"… {secret}", *where[2:])
    s3.client().put_object(Bucket=bucket, Key="p/one", Body=secret.encode())
    with pytest.raises(WalkError, match="s3://secrecy/p/one holds"):
        secrecy.search(*where)
    s3.empty(bucket)
    subprocess.run([*git, "hash-object", "-w", "--stdin"], input=b"clean", check=True)
    subprocess.run([*git, "hash-object", "-w", "--stdin"], input=secret.encode(), check=True)
    with pytest.raises(WalkError, match=r"the Git object [0-9a-f]{40} of .*repo/.git holds") as raised:
        secrecy.search(*where)
    assert secret not in str(raised.value)
    (tmp_path / "file").write_text(secret, encoding="utf-8")
    with pytest.raises(WalkError, match="file holds"):
        secrecy.search(*where)


def test_the_table_is_taken_out_of_its_archive_once_its_hash_is_right(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo(table.MEMBER)
        member.size = 4
        archive.addfile(member, io.BytesIO(b"1,2\n"))
    with serving() as web:
        web.files["/a.tgz"] = packed.getvalue()
        digest = hashlib.sha256(packed.getvalue()).hexdigest()
        assert table.download(tmp_path, f"{web.address}/a.tgz", digest).read_bytes() == b"1,2\n"
        with pytest.raises(WalkError, match=f"has the SHA-256 {digest}, and not .*make walkthrough DATA="):
            table.download(tmp_path, f"{web.address}/a.tgz", "0" * 64)
        gone = f"{web.address}/b.tgz"
    with pytest.raises(WalkError, match=r"cannot be fetched .ConnectionError.; get cal_housing.data elsewhere"):
        table.download(tmp_path, gone, digest)
