"""fetch out of another DVC repository at a revision."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Repo, isolated
from tests.fetching import CSV, PIN, line, read


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """A DVC repository beside this one, with a table, a folder of parts and a file of Git's own."""
    env = isolated(tmp_path / "home")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    repo = Repo(tmp_path / "other", env)
    (repo.path / "parts").mkdir(parents=True)
    (repo.path / "t.csv").write_bytes(CSV)
    (repo.path / "git.csv").write_bytes(CSV)
    for name in ("a.csv", "b.csv"):
        (repo.path / "parts" / name).write_bytes(CSV)
    repo.git("init", "-q", "-b", "main")
    repo.dvc("init", "-q")
    repo.dvc("add", "-q", "t.csv", "parts")
    repo.commit()
    repo.dvc("remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    repo.dvc("push", "-q")
    repo.commit()
    repo.git("tag", "-a", "v1", "-m", "v1")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return repo


def test_a_table_of_a_tag_is_read_and_the_commit_told(other: Repo) -> None:
    commit = other.git("rev-parse", "HEAD")
    (other.path / "t.csv").write_bytes(CSV + b"1,1,x\n")
    other.dvc("add", "-q", "t.csv")
    other.commit()
    entry = {"source": "dvc:../other#t.csv@v1", "commit": commit, "bytes": len(CSV), "sha256": PIN}
    assert read("dvc:../other#t.csv@v1") == [entry]
    lines = f"{PIN}  a.csv\n{PIN}  b.csv\n"
    parts = read(f"dvc:file://{other.path}#parts@v1", hashlib.sha256(lines.encode()).hexdigest())
    assert [(each["source"].rpartition("/")[2], each["commit"]) for each in parts] == [
        ("a.csv", commit),
        ("b.csv", commit),
    ]
    assert read(f"dvc:{other.path}#git.csv@{commit}")[0]["sha256"] == PIN
    assert "changed since it was pinned" in line("dvc:../other#t.csv@main")


@pytest.mark.usefixtures("other")
def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    assert line("dvc:../other#t.csv") == (
        "params.yaml: fetch.source: must end in a revision: @COMMIT, @TAG or @BRANCH, got 'dvc:../other#t.csv'"
    )
    for name in ("dvc:../other", "dvc:../other#../t.csv@v1"):
        assert "must be dvc:REPOSITORY#PATH@REVISION, with a path inside the repository" in line(name)
    assert line("dvc:../other#t.csv@v2") == (
        "dvc:../other#t.csv@v2: the repository has no branch or tag 'v2'; a commit is given by all its 40 digits"
    )
    assert line("dvc:..#t.csv@v2") == "dvc:..#t.csv@v2: .. is no Git repository; see that fetch.source is right"
    assert line(f"dvc:file://{tmp_path}/none#t.csv@v2").endswith(
        "see that its address is right and that Git has your credentials"
    )
    assert line("dvc:../other#none.csv@v1").startswith("dvc:../other#none.csv@v1: ")
    assert "see that the path is right" in line("dvc:../other#none.csv@v1")
    assert "must not carry a user or a password" in line("dvc:https://me:planted@example.org/x#t.csv@v1")


def test_data_that_are_in_no_remote_are_said(other: Repo, tmp_path: Path) -> None:
    (tmp_path / "store").rename(tmp_path / "lost")
    subprocess.run(["git", "clone", "-q", str(other.path), str(tmp_path / "clone")], check=True)
    said = line("dvc:../clone#t.csv@v1")
    assert said.startswith("dvc:../clone#t.csv@v1: ")
    assert "are in the repository's DVC remote" in said
