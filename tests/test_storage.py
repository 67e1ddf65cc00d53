"""What a run says of its data: where they are kept, what they are and which commit had them first; never a secret."""

import json
import os
from collections.abc import Callable
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.conftest import PROJECT, Repo
from tests.test_tracking import TRIAL
from trialtree.tracking import committed, git, history, inputs, locks, publish, storage, stores, trials
from trialtree.tracking.inputs import Dataset

SECRET = "planted-5f2c"
ADDRESS = "import dvc.api, sys; print(*(dvc.api.get_url(path) for path in sys.argv[1:]), sep='\\n')"


def tags(repo: Repo) -> dict[str, str]:
    with chdir(repo.path):
        return trials.workspace().tags


@pytest.mark.parametrize("url", ["../a store", "s3://bucket/some/prefix/", "gs://bucket"])
def test_the_address_of_each_part_is_the_one_that_dvc_gives(ran: Repo, url: str) -> None:
    ran.dvc("remote", "add", "-d", "store", url)
    found = tags(ran)
    if url.startswith("gs"):  # whose library is not installed
        assert found["storage.raw"] == f"gs://bucket/files/md5/{found['data.raw'][:2]}/{found['data.raw'][2:]}"
        return
    paths = {"raw": "data/raw.parquet", "split": "data/split", "test": "data/split/test/part-000.parquet"}
    said = ran.run("python", "-c", ADDRESS, *paths.values()).stdout.splitlines()
    assert {name: found[f"storage.{name}"] for name in paths} == dict(zip(paths, said, strict=True))


def test_without_a_remote_there_is_no_address_and_no_error(ran: Repo) -> None:
    assert [name for name in tags(ran) if name.startswith("storage.")] == []
    ran.dvc("remote", "add", "-d", "store", "s3://bucket")
    ran.dvc("remote", "modify", "store", "version_aware", "true")
    assert [name for name in tags(ran) if name.startswith("storage.")] == []


def test_a_run_says_shares_hashes_libraries_and_the_commit_of_its_data(ran: Repo) -> None:
    first = ran.git("rev-parse", "HEAD")
    ran.params({"train.hyperparameters.C": 0.5})
    ran.dvc("repro", "evaluate")
    ran.commit("Another trial on the same data")
    found = tags(ran)
    assert (found["data_commit_hash"], found["train_test_split_ratio"]) == (first, "0.25")
    assert found["trialtree.commit"] == ran.git("rev-parse", "HEAD")
    versions = json.loads((ran.path / "models/model/versions.json").read_text(encoding="utf-8"))
    assert {name: found[f"library.{name}"] for name in versions} == versions
    ran.params({"split.seed": 1, "split.validation": 0.04, "split.test": 0.16})
    ran.dvc("repro", "evaluate")
    found = tags(ran)
    assert "data_commit_hash" not in found
    assert (found["train_test_split_ratio"], found["dirty"]) == ("0.2", "true")


@pytest.mark.slow
def test_the_parts_are_inputs_of_the_run_once_each(ran: Repo) -> None:
    ran.dvc("remote", "add", "-d", "store", "s3://bucket/prefix")
    ran.params({"split.files": {"train": 3}, "split.validation": 0.1})
    ran.dvc("repro")
    ran.stage("register")
    with chdir(ran.path):
        trial, store = trials.workspace(), stores.find()
        with store.opened() as client:
            run = publish(trial, client, store)
            found = client.get_run(run.id).inputs.dataset_inputs
    by_name = {entry.dataset.name: entry for entry in found}
    assert sorted(by_name) == ["data/split/test", "data/split/train", "data/split/validation"]
    assert len(found) == 3
    assert {entry.tags[0].value for entry in found} == {"training", "validation", "testing"}
    train = by_name["data/split/train"].dataset
    assert (train.digest, train.source_type) == (trial.tags["data.train"], "s3")
    assert json.loads(train.source)["files"] == trial.tags["storage.train"].split()
    assert json.loads(train.profile) == {"num_rows": 97, "num_elements": 97 * 5}
    assert [c["name"] for c in json.loads(train.schema)["mlflow_colspec"]][-1] == "species"


def test_an_input_that_is_logged_again_stays_one(tmp_path: Path) -> None:
    store = stores.Store(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    part = Dataset("data/split/test", "d" * 32, "testing", "code", '{"tags": {}}', "{}", '{"num_rows": 1}')
    with store.opened() as client:
        run = publish(replace(TRIAL, datasets=(part,)), client, store)
        for _ in range(2):
            inputs.log(client, client.get_run(run.id), [part])
        # Even where the run is not asked before, as when two processes publish at once.
        inputs.log(client, replace_inputs(client.get_run(run.id)), [part])
        assert [entry.dataset.name for entry in client.get_run(run.id).inputs.dataset_inputs] == ["data/split/test"]


def replace_inputs(run: object) -> object:
    """Return a run as it was before its inputs."""
    run._inputs = None  # type: ignore[attr-defined]
    return run


@pytest.mark.slow
def test_no_secret_reaches_mlflow_the_outputs_or_a_message(ran: Repo) -> None:
    ran.git("remote", "add", "origin", f"https://user:{SECRET}@host.invalid/team/x.git")
    ran.dvc("remote", "add", "-d", "store", f"https://user:{SECRET}@host.invalid/dvc?sig={SECRET}")
    ran.dvc("remote", "modify", "--local", "store", "password", SECRET)
    for path in ran.path.glob("mlflow.db*"):
        path.unlink()
    done = [ran.run("python", "-m", "stages.register"), ran.run("trialtree", "track")]
    done += [ran.run("trialtree", "lineage", "iris/1"), ran.run("trialtree", "lineage", "HEAD", "--json")]
    done.append(ran.run("trialtree", "data", "at", "HEAD", "data/raw.parquet", check=False))
    (ran.path / ".dvc/cache").rename(ran.path.parent / "kept")
    done.append(ran.run("trialtree", "data", "at", "HEAD", "data/raw.parquet", check=False))
    assert done[-1].returncode == 1
    assert "and the remote https://host.invalid/dvc cannot be read: " in done[-1].stderr
    assert [each.args for each in done if SECRET in each.stdout + each.stderr] == []
    assert tags(ran)["DVC_REPO_URL"] == "https://host.invalid/team/x.git"
    kept = {ran.path / ".git/config", ran.path / ".dvc/config", ran.path / ".dvc/config.local"}
    files = [path for path in ran.path.rglob("*") if path.is_file() and path not in kept]
    assert len([path for path in files if path.name.startswith("mlflow.db")]) >= 1
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


ODD = """
a: {texts: [yes, no, on, 'true', "1", 12:30, 1_0, =x, ~x, d8e8, 2001-1-x, '', "a\\tb"], none: [~, null, Null, ]}
b: [1e-3, 1e5, 0x1f, 0o17, 010, 1_000, .5, -.inf, 12e03, 1., +1, -0, 0b11, true, False, 2001-12-14]
c:
- 0123456789012345678901234567890a
- 01234567890123456789012345678901
- 123e4567890123456789012345678901
- "0123": {2: 2, true: 3}
d: |
  text
  of lines
"""


def test_yaml_is_read_as_dvc_reads_it_only_sooner() -> None:
    lock = (PROJECT / "dvc.lock").read_bytes()
    anchors = b"a: &x [1, 2]\nb: *x\nc: !!str 1\n"
    for content in (lock, (PROJECT / "params.yaml").read_bytes(), ODD.encode(), anchors, b"", b"a: 1e-3 # yes\n"):
        expected = YAML(typ="safe", pure=True).load(content)
        assert repr(locks.load(content)) == repr(expected)
    for content in (b"a: [", b"a: 1\na: 2\n", b"\xff\xfe\xff", b"a: <<\n"):
        with pytest.raises(locks.TrialError, match="is not YAML"):
            locks.load(content)


@pytest.fixture
def bare(tmp_path: Path, repo: Repo) -> Callable[[str, str], str]:
    """Commit a dvc.lock of some content, and return the commit."""
    del tmp_path

    def commit(content: str, message: str = "Lock") -> str:
        (repo.path / "dvc.lock").write_text(content, encoding="utf-8")
        return repo.commit(message)

    return commit


def test_the_first_commit_is_found_through_merges_and_reverts(repo: Repo, bare: Callable[..., str]) -> None:
    def first(commit: str, text: str) -> str | None:
        with chdir(repo.path), git.objects() as objects:
            return history.first(objects, commit, lambda content: text.encode() in content)

    old = bare("a: 1\n")
    repo.git("checkout", "-q", "-b", "side")
    side = bare("b: 1\n")
    bare("b: 1\nc: 1\n")
    repo.git("checkout", "-q", "main")
    (repo.path / "README.md").write_text("x", encoding="utf-8")
    repo.commit("Other")
    repo.git("merge", "-q", "--no-ff", "-m", "Merge", "side")
    head = repo.git("rev-parse", "HEAD")
    assert (first(head, "b: 1"), first(head, "a: 1"), first(old, "a: 1")) == (side, None, old)
    again = bare("a: 1\n", "Back")
    assert first(again, "a: 1") == again
    repo.git("clone", "-q", "--depth", "1", f"file://{repo.path}", "../shallow")
    with chdir(repo.path.parent / "shallow"), git.objects() as objects:
        assert history.first(objects, "HEAD", lambda content: b"a: 1" in content) is None


def test_a_commit_that_holds_its_trial_is_told_from_one_that_does_not(ran: Repo) -> None:
    head = ran.git("rev-parse", "HEAD")
    with chdir(ran.path):
        assert differing(head) == []
    module = ran.path / "stages/train.py"
    module.write_text(module.read_text(encoding="utf-8") + "# Changed.\n", encoding="utf-8")
    ran.dvc("repro", "evaluate")
    ran.git("stash", "push", "-q", "stages/train.py")
    half = ran.commit("Without the code")
    with chdir(ran.path):
        assert differing(half) == ["stages/train.py"]


def differing(commit: str) -> list[str]:
    """Return the files of a commit that are not those its trial ran with."""
    with git.objects() as objects:
        lock = locks.read_lock(history.lock_at(objects, commit) or b"")
        return committed.differing(objects, commit, lock)


def test_the_settings_of_dvc_are_those_of_the_repository_of_an_experiment(
    ran: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran.dvc("remote", "add", "--local", "-d", "store", "../store")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert storage.remote(storage.config()) is None
    monkeypatch.setenv("DVC_ROOT", os.fspath(ran.path))
    monkeypatch.setenv("DVC_EXP_NAME", "brisk-fox")
    assert storage.remote(storage.config()) == f"{ran.path.parent}/store"
