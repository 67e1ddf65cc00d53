"""`trialtree run`, `list` and `finish`: trials on branches, pushed to a real S3 server and a bare Git remote."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Repo, isolated
from tests.servers import CREDENTIALS, S3, SECRET
from trialtree.branches import commands, committing, unlocking

COLD = ["fetch", "split", "train", "evaluate"]


@pytest.fixture
def pushed(ran: Repo, s3: S3, tmp_path: Path) -> tuple[Repo, str]:
    """A repository with a bare Git remote and an S3 one, both in use; and its bucket."""
    bucket = s3.bucket(f"team-{abs(hash(tmp_path))}")
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(tmp_path / "origin.git")], check=True)
    ran.git("remote", "add", "origin", str(tmp_path / "origin.git"))
    ran.run("trialtree", "remote", f"s3://{bucket}/p", "--endpoint", s3.url, **CREDENTIALS)
    ran.commit("Name the remote")
    ran.run("trialtree", "run", "--push", "fetch", **CREDENTIALS)
    return ran, bucket


def colleague(repo: Repo, folder: Path) -> Repo:
    """Return a clone on another machine."""
    repo.git("clone", "-q", repo.git("remote", "get-url", "origin"), str(folder / "clone"))
    return Repo(folder / "clone", {**isolated(folder / "other home"), **CREDENTIALS})


def up_to_date(repo: Repo) -> bool:
    """Say whether dvc.lock is that of the params."""
    return "up to date" in repo.dvc("status", *COLD).stdout


def test_a_trial_is_one_commit_and_a_repeat_makes_none(ran: Repo) -> None:
    ran.run("trialtree", "start", "soft", "-S", "train.hyperparameters.C=0.5")
    (ran.path / "notes.txt").write_text("mine\n", encoding="utf-8")
    (ran.path / "pyproject.toml").write_text("# edited\n", encoding="utf-8")
    said = ran.run("trialtree", "run").stdout.splitlines()
    summary = "sklearn:iris, 150 rows: SVC, accuracy 0.9737, roc_auc 0.9842"
    at = ran.git("rev-parse", "--short", "HEAD")
    committed = said.index(f"committed {at} on soft: {summary}")
    assert said[committed + 1] == "with it: pyproject.toml"
    assert said[committed + 2].partition(" run ")[0] == f"commit {at} is added to"
    assert ran.git("show", "--name-only", "--format=%s").splitlines() == [
        summary, "", "dvc.lock", "params.yaml", "pyproject.toml", "reports/metrics.json",
    ]  # fmt: skip
    assert ran.git("status", "--porcelain") == "?? notes.txt"
    assert up_to_date(ran)

    head = ran.git("rev-parse", "HEAD")
    said = ran.run("trialtree", "run", "fetch", "-m", "Again").stdout.splitlines()
    assert f"nothing changed since {head[:7]} ({summary}): no commit" in said
    assert ran.git("rev-parse", "HEAD") == head


def test_what_stops_a_run_is_one_line_and_no_commit(ran: Repo) -> None:
    head = ran.git("rev-parse", "HEAD")

    def said(*args: str, **env: str) -> str:
        done = ran.run("trialtree", "run", *args, check=False, **env)
        assert done.returncode == 1
        assert ran.git("rev-parse", "HEAD") == head
        return done.stderr.splitlines()[-1]

    assert said("--push") == "there is no Git remote called origin: `git remote add origin ADDRESS`"
    ran.git("remote", "add", "origin", "../origin.git")
    assert said("--push") == "there is no DVC remote to push the data to: `trialtree remote s3://BUCKET/PREFIX`"
    assert said(GIT_AUTHOR_EMAIL="", GIT_AUTHOR_NAME="") == (
        "Git does not know who you are: `git config user.name NAME` and `git config user.email ADDRESS`"
    )
    own = ran.path / "stages/own.py"
    own.write_text("", encoding="utf-8")
    text = (ran.path / "dvc.yaml").read_text(encoding="utf-8")
    (ran.path / "dvc.yaml").write_text(text.replace("- stages/train.py", "- stages/train.py\n    - stages/own.py"))
    assert said() == "stages/own.py: a stage depends on it, and Git does not know it: `git add` it first"
    own.unlink()
    ran.git("restore", "dvc.yaml")
    ran.params({"split.target": "nothing"})
    assert said("split") == (
        "dvc repro failed, as it says above; nothing is committed: mend that, and the same command goes on"
    )
    ran.git("restore", ".")
    ran.git("switch", "-q", "--detach")
    assert said() == (
        "HEAD is detached, and a trial is committed on a branch: `git switch BRANCH`, or `trialtree start NAME` to "
        "make one here"
    )


def test_a_file_edited_while_the_pipeline_runs_is_noticed(ran: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ran.path)
    before = committing.snapshot()
    (ran.path / "dvc.lock").write_text("a result\n", encoding="utf-8")
    committing.check_unchanged(before)
    with (ran.path / "stages/train.py").open("a", encoding="utf-8") as file:
        file.write("# edited\n")
    with pytest.raises(commands.CommandError) as caught:
        committing.check_unchanged(before)
    assert str(caught.value) == (
        "stages/train.py: changed while the pipeline ran, so what came of it is uncertain; nothing is committed: "
        "`dvc repro --force` makes it anew, then repeat"
    )


@pytest.mark.slow
def test_two_people_push_one_branch_and_nothing_is_overwritten(
    pushed: tuple[Repo, str], s3: S3, tmp_path: Path
) -> None:
    repo, bucket = pushed
    other = colleague(repo, tmp_path)
    other.params({"train.hyperparameters.C": 0.5})
    said = other.run("trialtree", "run", "--pull", "--push")
    assert [line for line in said.stdout.splitlines() if line.startswith("> ")] == [
        "> python -m stages.train", "> python -m stages.evaluate", "> python -m stages.register",
    ]  # fmt: skip
    theirs = other.git("rev-parse", "HEAD")

    repo.params({"train.hyperparameters.kernel": "rbf"})
    done = repo.run("trialtree", "run", "--push", check=False, **CREDENTIALS)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        "origin/main moved: it has what is not here, 1 commit, the last by Test (sklearn:iris, 150 rows: SVC, accuracy "
        "0.9737, roc_auc 0.9842); nothing there is overwritten, and your data are uploaded. `trialtree finish main "
        "--onto origin/main` takes them in, then `trialtree run --push`",
    )
    assert other.git("ls-remote", "origin", "main").split()[0] == theirs

    repo.run("trialtree", "finish", "main", "--onto", "origin/main")
    # Half of what was uploaded is lost, lists of folders aside: DVC takes it to be there.
    for key in [key for key in s3.keys(bucket) if not key.endswith(".dir")][::2]:
        s3.client().delete_object(Bucket=bucket, Key=key)
    done = repo.run("trialtree", "run", "fetch", "--push", **CREDENTIALS)
    assert re.search(r"data: 28 objects are in the DVC remote, \d+ of them put back\n", done.stdout)
    assert done.stdout.splitlines()[-1] == "branch main: pushed to origin"
    other.git("pull", "-q", "--ff-only")
    assert "kernel: rbf\n    C: 0.5\n" in (other.path / "params.yaml").read_text(encoding="utf-8")
    other.dvc("pull", "-q")
    assert up_to_date(other)

    # The list is the same for both, and all of it is in the remote.
    rows = [json.loads(r.run("trialtree", "list", "--json", **CREDENTIALS).stdout) for r in (repo, other)]
    assert rows[0] == rows[1]
    assert [(row["names"], row["in_remote"], row["who"]) for row in rows[0]] == [(["main"], "yes", "Test")]
    everything = json.loads(repo.run("trialtree", "list", "--json", "--all-commits", **CREDENTIALS).stdout)
    assert [row["params"] for row in everything] == [
        {"train.hyperparameters.kernel": kernel, "train.hyperparameters.C": c}
        for kernel, c in (("rbf", "0.5"), ("rbf", "1.0"), ("linear", "0.5"), ("linear", "1.0"))
    ]

    # A remote that is away makes the list no shorter.
    gone = repo.run("trialtree", "list", AWS_ACCESS_KEY_ID="", AWS_EC2_METADATA_DISABLED="true")
    assert "unknown" in gone.stdout
    assert gone.stderr == (
        f"s3://{bucket}/p cannot be asked which data it holds: there are no credentials; set AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, or name a --profile\n"
    )
    for path in (p for p in tmp_path.rglob("*") if p.is_file() and not p.is_symlink()):
        assert SECRET.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_finish_takes_main_in_and_makes_the_trial_anew_once(ran: Repo) -> None:
    for name, key, value in (("one", "evaluate.cross_validation.folds", "3"), ("two", "register.name", "other")):
        ran.run("trialtree", "start", name, "--base", "main", "-S", f"{key}={value}")
        ran.commit(name)
    ran.git("switch", "-q", "main")
    ran.git("merge", "-q", "--ff-only", "one")
    said = ran.run("trialtree", "finish", "two").stdout.splitlines()
    assert said[-1] == "two holds all of main; next: `git switch main && git merge --ff-only two`"
    params = (ran.path / "params.yaml").read_text(encoding="utf-8")
    assert ("folds: 3}" in params, "  name: other\n" in params, up_to_date(ran)) == (True, True, True)
    assert ran.run("trialtree", "finish", "two").stdout.splitlines() == said[-1:]
    ran.git("switch", "-q", "main")
    ran.git("merge", "-q", "--ff-only", "two")
    assert ran.git("status", "--porcelain") == ""


@pytest.mark.slow
def test_a_run_that_is_stopped_or_killed_is_made_whole_by_a_repeat(ran: Repo) -> None:
    head = ran.git("rev-parse", "HEAD")
    ran.params({"train.hyperparameters.C": 0.5})
    ran.run("trialtree", "run")
    whole = ran.git("rev-parse", "HEAD^{tree}")
    moments = (
        "Running stage 'train'",
        "> python -m stages.evaluate",
        "rows ",
        "> python -m stages.register",
        "run main@",
    )
    for number, moment in enumerate((*moments, *moments)):
        ran.git("reset", "-q", "--hard", head)
        ran.run("rm", "-rf", ".dvc/cache/runs", "models", "reports/predictions.parquet")
        ran.dvc("checkout", "-q")
        ran.params({"train.hyperparameters.C": 0.5})
        process = subprocess.Popen(
            [sys.executable, "-m", "trialtree.cli", "run"], cwd=ran.path, env=ran.env, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        next(line for line in process.stdout if moment in line)
        stopped = number < len(moments)
        os.killpg(process.pid, signal.SIGINT if stopped else signal.SIGKILL)
        _, said = process.communicate()
        assert ran.git("rev-parse", "HEAD") == head
        if stopped:
            assert "Traceback" not in said
            assert said.splitlines()[-1] == (
                "stopped; what was finished is kept, nothing is committed; the same command goes on"
            )
        ran.run("trialtree", "run")
        assert ran.git("rev-parse", "HEAD^{tree}") == whole
        assert ran.git("status", "--porcelain") == ""


@pytest.mark.slow
@pytest.mark.parametrize("command", [["start", "x", "-S", "split.test=0.5"], ["remote", "../store"], ["run"]])
def test_a_disk_without_room_is_one_line_and_leaves_nothing(ran: Repo, command: list[str]) -> None:
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0));from trialtree.cli import main; main()"
    )
    before = (ran.git("rev-parse", "HEAD"), ran.git("branch", "--list"), ran.git("status", "--porcelain"))
    done = ran.run("python", "-c", code, *command, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert len(done.stderr.splitlines()) == 1 or command == ["run"]  # dvc says more
    assert (ran.git("rev-parse", "HEAD"), ran.git("branch", "--list"), ran.git("status", "--porcelain")) == before


@pytest.mark.parametrize(
    ("lock", "command"),
    [("index.lock", ("add", "--update", ".")), ("refs/heads/new.lock", ("update-ref", "refs/heads/new", "HEAD"))],
)
def test_a_file_that_a_killed_git_leaves_is_named(
    repo: Repo, monkeypatch: pytest.MonkeyPatch, lock: str, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(repo.path)
    (repo.path / ".git" / lock).touch()
    with pytest.raises(commands.CommandError) as caught:
        commands.git(*command)
    assert str(caught.value) == (
        f"git {command[0]}: .git/{lock} is there: another git is at work, or was killed; when none runs, "
        "delete that file"
    )


@pytest.mark.parametrize("lock", ["index.lock", "HEAD.lock", "refs/heads/main.lock"])
def test_a_run_says_before_it_runs_what_would_keep_it_from_committing(repo: Repo, lock: str) -> None:
    (repo.path / ".git" / lock).touch()
    done = repo.run("trialtree", "run", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (
        1, "", f".git/{lock} is there: another git is at work, or was killed; when none runs, delete that file\n",
    )  # fmt: skip


@pytest.mark.slow
def test_what_a_killed_dvc_leaves_does_not_stop_the_next_run(ran: Repo) -> None:
    left = ran.path / ".dvc/tmp/rwlock"
    for content in (
        "",
        json.dumps({"write": {str(ran.path / "data/raw.parquet"): {"pid": 1, "cmd": "dvc repro"}}, "read": {}}),
    ):
        left.write_text(content, encoding="utf-8")
        ran.run("trialtree", "run", "fetch")


@pytest.mark.parametrize("cut", ["", "schema: '2.", "\n  split:\n    cm"])
def test_half_a_dvc_lock_is_put_back(ran: Repo, monkeypatch: pytest.MonkeyPatch, cut: str) -> None:
    monkeypatch.chdir(ran.path)
    lock = ran.path / "dvc.lock"
    whole = lock.read_text(encoding="utf-8")
    unlocking.clear()
    assert lock.read_text(encoding="utf-8") == whole
    lock.write_text(whole[: whole.index(cut) + len(cut)], encoding="utf-8")
    unlocking.clear()
    assert lock.read_text(encoding="utf-8") == whole


def test_half_made_objects_of_a_killed_dvc_go_and_those_of_one_at_work_stay(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo.path)
    half, whole = (repo.path / ".dvc/cache/files/md5/1b" / name for name in (".bYg4kt4yRerCwCJEnxzB1A.tmp", "00"))
    (repo.path / ".dvc/tmp").mkdir()
    half.parent.mkdir(parents=True)
    half.touch()
    whole.touch()
    with subprocess.Popen(["dvc", "60"], executable="sleep", cwd=repo.path / "stages") as at_work:
        unlocking.clear()
        assert half.exists()
        at_work.kill()
    unlocking.clear()
    assert list(half.parent.iterdir()) == [whole]


@pytest.mark.slow
def test_a_finished_trial_merges_as_a_fast_forward(ran: Repo) -> None:
    for name, key, value in (("one", "kernel", "rbf"), ("two", "C", "0.5"), ("three", "C", "2.0")):
        ran.run("trialtree", "start", name, "--base", "main", "-S", f"train.hyperparameters.{key}={value}")
        # Their metrics are not asked for here: a commit of the params, as somebody may make it, must do.
        ran.commit(name)
    ran.git("switch", "-q", "main")
    ran.git("merge", "-q", "--ff-only", "one")

    said = ran.run("trialtree", "finish", "two").stdout.splitlines()
    assert said[0] == "switched to two"
    committed = f"committed {ran.git('rev-parse', '--short', 'HEAD')} on two: Merge main into two: "
    assert any(line.startswith(committed) for line in said)
    assert said[-1] == "two holds all of main; next: `git switch main && git merge --ff-only two`"
    assert "kernel: rbf\n    C: 0.5\n" in (ran.path / "params.yaml").read_text(encoding="utf-8")
    assert up_to_date(ran)
    assert ran.run("trialtree", "finish", "two").stdout.splitlines() == said[-1:]
    assert len(ran.git("log", "-1", "--format=%P").split()) == 2
    ran.git("switch", "-q", "main")
    ran.git("merge", "-q", "--ff-only", "two")

    # A key that both changed; a conflict of another file; and killed on the way.
    ran.git("switch", "-q", "three")
    (ran.path / "notes.txt").write_text("three\n", encoding="utf-8")
    ran.commit("Notes")
    ran.git("switch", "-q", "main")
    (ran.path / "notes.txt").write_text("main\n", encoding="utf-8")
    ran.commit("Notes")
    done = ran.run("trialtree", "finish", "three", check=False)
    assert "params.yaml: train.hyperparameters.C: 2.0 here, 0.5 there: the first stands" in done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (
        1, "notes.txt: both changed it; mend it, then `git add` it and repeat `trialtree finish three`\n",
    )  # fmt: skip
    assert ran.run("trialtree", "run", check=False).stderr == (
        "a merge is under way: `trialtree finish three` goes on with it, `git merge --abort` ends it\n"
    )
    (ran.path / "notes.txt").write_text("both\n", encoding="utf-8")
    ran.git("add", "notes.txt")
    process = subprocess.Popen(
        [sys.executable, "-m", "trialtree.cli", "finish", "three"], cwd=ran.path, env=ran.env, start_new_session=True,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    next(line for line in process.stdout if "stages.train" in line)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    ran.run("trialtree", "finish", "three")
    assert "kernel: rbf\n    C: 2.0\n" in (ran.path / "params.yaml").read_text(encoding="utf-8")
    assert (len(ran.git("log", "-1", "--format=%P").split()), up_to_date(ran)) == (2, True)
    ran.git("switch", "-q", "main")
    ran.git("merge", "-q", "--ff-only", "three")
    assert ran.git("status", "--porcelain") == ""


def test_a_branch_without_a_commit_of_its_own_goes_forward(ran: Repo) -> None:
    ran.git("branch", "behind")
    (ran.path / "notes.txt").write_text("\n", encoding="utf-8")
    main = ran.commit("Notes")
    said = ran.run("trialtree", "finish", "behind").stdout.splitlines()
    assert said == [
        "switched to behind", f"behind has no commit that main lacks; it is now at {main[:7]}, as main is",
    ]  # fmt: skip
    assert ran.git("rev-parse", "behind") == main
    for args, line in (
        (["nope"], "there is no branch nope here; see `trialtree list`"),
        (["behind", "--onto", "nope"], "--onto: there is no nope; see `git branch --all`, or `git fetch` first"),
    ):
        assert ran.run("trialtree", "finish", *args, check=False).stderr == f"{line}\n"


@pytest.mark.slow
def test_the_list_names_branches_and_experiments_and_fits_80_columns(ran: Repo) -> None:
    ran.git("branch", "same")
    ran.dvc("exp", "run", "--temp", "--name", "exp-one", "-S", "train.hyperparameters.C=0.5", "evaluate")
    commit, exp = (
        ran.git("rev-parse", "--short", "HEAD"),
        ran.git("for-each-ref", "--format=%(objectname)", "refs/exps"),
    )
    day, exp_day = (ran.git("log", "-1", "--format=%ad", "--date=format:%Y-%m-%d", of) for of in (commit, exp))
    lines = [line.split() for line in ran.run("trialtree", "list").stdout.splitlines()]
    data = json.loads(ran.run("trialtree", "list", "--json").stdout)[0]["data"][:7]
    assert lines[0] == ["trial", "commit", "data", "remote", "accuracy", "roc_auc", "params", "who", "when"]
    assert sorted(lines[1:]) == [
        ["exp", "exp-one", exp[:7], data, "-", "0.9737", "0.9842", "C=0.5", "Test", exp_day],
        ["main,", "same", commit, data, "-", "0.9737", "0.9832", "C=1.0", "Test", day],
    ]
    wide = ran.run("trialtree", "list", FORCE_COLOR="1", COLUMNS="80", TERM="dumb").stdout
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in wide.splitlines()) <= 80


def test_a_repository_without_a_trial_says_how_to_make_one(repo: Repo) -> None:
    done = repo.run("trialtree", "list")
    assert (done.stdout, done.stderr) == ("", "no trial yet: `trialtree run` makes one\n")


@pytest.mark.slow
def test_stages_that_did_not_run_are_another_trials_and_neither_pushed_nor_published(
    ran: Repo, s3: S3, tmp_path: Path
) -> None:
    """In a clone without the results of main, and with no remote that has them."""
    ran.git("init", "-q", "--bare", "-b", "main", str(tmp_path / "team.git"))
    ran.git("remote", "add", "origin", str(tmp_path / "team.git"))
    ran.git("push", "-q", "origin", "main")
    clone = Repo(tmp_path / "clone", ran.env)
    ran.git("clone", "-q", str(tmp_path / "team.git"), str(clone.path))
    bucket = s3.bucket("stages-not-run")
    clone.run("trialtree", "remote", f"s3://{bucket}/iris", "--endpoint", s3.url, **CREDENTIALS)
    clone.commit("Name the remote")
    clone.run("trialtree", "start", "wide", "-S", "split.test=0.5")
    said = clone.run("trialtree", "run", "split", "--push", **CREDENTIALS).stdout.splitlines()
    at = clone.git("rev-parse", "--short", "HEAD")
    assert said[said.index(f"committed {at} on wide: sklearn:iris, 150 rows: SVC, not scored") + 1 :] == [
        "7 files pushed", "data: 7 objects are in the DVC remote", "branch wide: pushed to origin",
    ]  # fmt: skip
