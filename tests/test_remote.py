"""`trialtree remote`: a DVC remote that is proved, and carries a trial to another machine without a secret in Git."""

import os
from pathlib import Path

import pytest

from stages.errors import UserError
from tests.conftest import PROJECT, Repo, isolated
from tests.servers import CREDENTIALS, KEY, S3, SECRET, answering
from trialtree.remotes import setting
from trialtree.remotes.setting import Wanted

CONFIG = Path(".dvc/config")


@pytest.fixture
def inside(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """Stand in a fresh repository, with its environment and the credentials of the S3 servers."""
    monkeypatch.chdir(repo.path)
    for name in set(os.environ) - set(repo.env):
        monkeypatch.delenv(name)
    for name, value in {**repo.env, **CREDENTIALS}.items():
        monkeypatch.setenv(name, value)
    return repo


def config(repo: Repo) -> str:
    """Return what .dvc/config has gained."""
    lines = repo.git("diff", "-U0", "--", str(CONFIG)).splitlines()
    return "\n".join(line[1:].strip() for line in lines if line.startswith("+") and not line.startswith("+++"))


def files_with(folder: Path, text: str) -> list[str]:
    """Return the files below a folder that hold a text, .dvc/config.local aside."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != "config.local")
    return [str(path) for path in found if text.encode() in path.read_bytes()]


def test_a_remote_is_proved_set_once_and_set_anew(inside: Repo, s3: S3, tmp_path: Path) -> None:
    bucket = s3.bucket("set-once")
    wanted = Wanted(f"s3://{bucket}/team", endpoint=s3.url)
    proved = f"s3://{bucket}/team: written, read and listed"
    assert setting.set_up(wanted) == [
        proved,
        f"remote store is s3://{bucket}/team, the default, in .dvc/config",
        "next: `git commit -m 'Name the remote' .dvc/config`, then `dvc push`",
    ]
    section = f"['remote \"store\"']\nurl = s3://{bucket}/team\nverify = true\nendpointurl = {s3.url}"
    assert config(inside) == f"remote = store\n{section}"
    assert s3.keys(bucket) == []

    before = (CONFIG.read_bytes(), CONFIG.stat().st_mtime_ns)
    assert setting.set_up(wanted) == [
        proved, f"remote store is s3://{bucket}/team, the default; nothing changed in .dvc/config",
    ]  # fmt: skip
    assert (CONFIG.read_bytes(), CONFIG.stat().st_mtime_ns) == before

    # An option that somebody set stays; what is not asked for any more goes.
    inside.dvc("remote", "modify", "store", "jobs", "3")
    setting.set_up(Wanted(setting.located("../kept", inside.path)))
    assert config(inside) == "remote = store\n['remote \"store\"']\njobs = 3\nurl = ../../kept\nverify = true"
    assert list((tmp_path / "kept").iterdir()) == []
    setting.set_up(Wanted(setting.located("../kept", inside.path)))
    assert "url = ../../kept\n" in config(inside)


OWN = " (those of AWS_ACCESS_KEY_ID)"


@pytest.mark.parametrize(
    ("status", "code", "methods", "said"),
    [
        (400, "ExpiredToken", "PUT", f"written to: the credentials have expired{OWN}; get new ones"),
        (403, "AccessDenied", "PUT", f"written to: the credentials have no permission for this{OWN}; ask its owner for "
         "s3:GetObject, PutObject and ListBucket"),
        (403, "AccessDenied", "GET", f"read: the credentials have no permission for this{OWN}; ask its owner for "
         "s3:GetObject, PutObject and ListBucket"),
        (403, "InvalidAccessKeyId", "PUT", f"written to: the access key is not known there{OWN}; "
         "see that key and endpoint belong together"),
        (403, "SignatureDoesNotMatch", "PUT", "written to: the secret key does not fit the access key"
         f"{OWN}; set both anew"),
        (404, "NoSuchBucket", "PUT", "written to: there is no such bucket; make it, or mend the name"),
        (501, "NotImplemented", "PUT", "written to: what answers there is no S3 server; mend --endpoint"),
    ],
)  # fmt: skip
def test_what_a_server_refuses_is_said_and_nothing_is_kept(
    inside: Repo, status: int, code: str, methods: str, said: str
) -> None:
    with answering(status, code, methods) as url, pytest.raises(UserError) as caught:
        setting.set_up(Wanted("s3://bucket/p", endpoint=url))
    assert str(caught.value) == f"s3://bucket/p cannot be {said}"
    assert inside.git("status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted("s3://b/p", endpoint="http://127.0.0.1:9"),
         "s3://b/p cannot be written to: nothing answers at http://127.0.0.1:9; mend --endpoint, or start the server"),
        (Wanted("s3://b/p", profile="nobody"), "s3://b/p cannot be reached: there is no such profile (nobody); "
         "see ~/.aws/config, or name another --profile"),
        (Wanted("s3://Bad_Bucket!/p", endpoint="http://127.0.0.1:9"),
         "s3://Bad_Bucket!/p cannot be written to: this is no name of a bucket; mend it"),
        (Wanted("s3://b/p", endpoint="127.0.0.1"),
         "--endpoint must be an address such as http://127.0.0.1:9000, got '127.0.0.1'"),
        (Wanted("s3://b/p", name="a b"), "--name must be letters, digits, _ . and -, got 'a b'"),
        (Wanted(f"s3://{KEY}:x@b/p"), "the URL holds credentials, and .dvc/config goes to Git: leave them out, and set "
         "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or --profile) instead"),
        (Wanted("s3://b/p", endpoint="http://u:x@h"), "--endpoint holds credentials, and .dvc/config goes to Git: "
         "leave them out, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or --profile) instead"),
        (Wanted("/dev/null/p"), "/dev/null/p cannot be written to: this is no folder; name a folder"),
    ],
    ids=lambda value: value.url if isinstance(value, Wanted) else "",
)  # fmt: skip
def test_a_remote_that_cannot_be_is_said_and_not_kept(inside: Repo, wanted: Wanted, said: str) -> None:
    with pytest.raises(UserError) as caught:
        setting.set_up(wanted)
    assert str(caught.value) == said
    assert inside.git("status", "--porcelain") == ""


def test_without_credentials_it_says_which_to_set(repo: Repo, s3: S3) -> None:
    bucket = s3.bucket("no-credentials")
    none = {"AWS_EC2_METADATA_DISABLED": "true"}
    done = repo.run("trialtree", "remote", f"s3://{bucket}", "--endpoint", s3.url, check=False, **none)
    assert (done.returncode, done.stderr) == (
        1,
        f"s3://{bucket} cannot be written to: there are no credentials; set AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, or name a --profile\n",
    )
    done = repo.run("trialtree", "remote", f"s3://{bucket}", "--save-credentials", check=False)
    assert done.stderr == (
        "--save-credentials takes AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, which are not both set\n"
    )


def test_saved_credentials_are_in_the_local_file_alone(inside: Repo, s3: S3, tmp_path: Path) -> None:
    bucket = s3.bucket("saved")
    said = setting.set_up(Wanted(f"s3://{bucket}", endpoint=s3.url, save_credentials=True))
    local = inside.path / ".dvc/config.local"
    assert f"access_key_id = {KEY}\n    secret_access_key = {SECRET}\n" in local.read_text(encoding="utf-8")
    assert local.stat().st_mode & 0o777 == 0o600
    inside.commit("Name the remote")
    # The environment's are gone, and what DVC needs is still there.
    inside.stage("fetch")
    inside.dvc("commit", "-f", "-q", "fetch")
    pushed = inside.dvc("push", "fetch")
    assert "2 files pushed" in pushed.stdout
    assert [line for line in [*said, pushed.stdout, pushed.stderr] if SECRET in line or KEY in line] == []
    assert files_with(tmp_path, SECRET) == []


def test_git_that_would_take_the_local_file_is_a_reason_to_stop(inside: Repo) -> None:
    (inside.path / ".dvc/.gitignore").write_text("/cache\n/tmp\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"\.dvc/config\.local is not ignored by Git"):
        setting.set_up(Wanted("s3://bucket", save_credentials=True))


@pytest.mark.slow
def test_an_empty_machine_gets_the_same_tree_and_runs_no_stage(ran: Repo, s3: S3, tmp_path: Path) -> None:
    bucket = s3.bucket("second-clone")
    ran.run("trialtree", "remote", f"s3://{bucket}/p", "--endpoint", s3.url, **CREDENTIALS)
    ran.commit("Name the remote")
    ran.dvc("push", "-q", **CREDENTIALS)
    ran.git("clone", "-q", str(ran.path), str(tmp_path / "clone"))
    clone = Repo(tmp_path / "clone", isolated(tmp_path / "other home"))
    said = clone.dvc("repro", "--pull", "--no-run-cache", **CREDENTIALS).stdout
    assert [line for line in said.splitlines() if line.startswith("> ")] == ["> python -m stages.register"]
    assert clone.git("status", "--porcelain") == ""
    assert "up to date" in clone.dvc("status", "fetch", "split", "train", "evaluate").stdout
    for folder in ("data", "models", "reports"):
        ours = {p.relative_to(ran.path): p.read_bytes() for p in (ran.path / folder).rglob("*") if p.is_file()}
        theirs = {p.relative_to(clone.path): p.read_bytes() for p in (clone.path / folder).rglob("*") if p.is_file()}
        skipped = {Path("reports/register.json")}  # the other machine has a store of its own
        assert {p: b for p, b in ours.items() if p not in skipped} == {
            p: b for p, b in theirs.items() if p not in skipped
        }
    assert files_with(tmp_path, SECRET) == []

    # An object that was changed under its name is refused, not taken.
    key = next(key for key in s3.keys(bucket) if not key.endswith(".dir"))
    s3.client().put_object(Bucket=bucket, Key=key, Body=b"other bytes")
    ran.git("clone", "-q", str(ran.path), str(tmp_path / "third"))
    third = Repo(tmp_path / "third", isolated(tmp_path / "third home"))
    assert third.dvc("pull", check=False, **CREDENTIALS).returncode != 0


def test_the_repository_itself_names_no_remote() -> None:
    assert "remote" not in (PROJECT / CONFIG).read_text(encoding="utf-8")
