"""`trialtree lineage`: what came of what, by commits, whatever becomes of branches."""

import json
import re
import subprocess
from collections.abc import Mapping
from contextlib import chdir, closing, redirect_stdout
from io import StringIO
from sqlite3 import connect

import pytest

from tests.conftest import Repo
from trialtree import lineage as chains
from trialtree import revisions
from trialtree.tracking import track as tracking

METRICS = ("accuracy", "balanced_accuracy", "precision_macro", "recall_macro", "f1_macro", "roc_auc", "mcc")


@pytest.fixture(autouse=True)
def own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def lineage(repo: Repo, asked: str, *, as_json: bool = False) -> str:
    """Return what `trialtree lineage` prints; in this process, which has MLflow already."""
    said = StringIO()
    with chdir(repo.path), redirect_stdout(said):
        chains.show(asked, as_json=as_json)
    return said.getvalue()


def chain(repo: Repo, asked: str) -> Mapping[str, object]:
    found: Mapping[str, object] = json.loads(lineage(repo, asked, as_json=True))
    return found


def tags(repo: Repo, run: str) -> dict[str, str]:
    """Return the tags of a run by its name."""
    query = "SELECT key, value FROM tags JOIN runs USING (run_uuid) WHERE name = ?"
    with closing(connect(repo.path / "mlflow.db")) as database:
        return dict(database.execute(query, [run]).fetchall())


def version_tags(repo: Repo, number: int) -> dict[str, str]:
    query = "SELECT key, value FROM model_version_tags WHERE version = ?"
    with closing(connect(repo.path / "mlflow.db")) as database:
        return dict(database.execute(query, [number]).fetchall())


def trial_on_branch(repo: Repo, name: str, c: float) -> str:
    """Make a trial on a branch of its own, add its commit to MLflow, and return the commit."""
    repo.git("checkout", "-q", "-b", name)
    repo.params({"train.hyperparameters.C": c})
    repo.dvc("repro")
    commit = repo.commit(f"Trial {name}")
    track(repo)
    return commit


def track(repo: Repo, rev: str = "HEAD") -> str:
    """Return what `trialtree track` prints."""
    with chdir(repo.path):
        return "".join(f"{line}\n" for line in tracking.some([revisions.commit(rev)]))


def test_a_model_version_leads_to_commit_params_metrics_data_and_source(ran: Repo) -> None:
    track(ran)
    commit = ran.git("rev-parse", "HEAD")
    run = chain(ran, "iris/1")["trials"][0]["runs"][0]  # type: ignore[index]
    said = ran.run("trialtree", "lineage", "iris@champion").stdout
    shown = (
        said.replace(commit[:12], "COMMIT").replace(run["id"], "RUN").replace(run["name"], "NAME")
        .replace(f"by {run['user']}", "by USER")
    )  # fmt: skip
    shown = re.sub(
        r"\d{4}-\d\d-\d\d", "DAY", re.sub(r"(?<=: )[\d.]{4,}", "N", re.sub(r"[0-9a-f]{32,64}", "HASH", shown))
    )
    assert shown == (
        "model version iris/1 (challenger, champion)\n"
        "├── model sha256 HASH\n"
        f"└── trial {run_key(ran)[:12]}\n"
        "    ├── commit COMMIT Run (Test, DAY)\n"
        "    ├── run NAME (RUN) of experiment iris, on branch main, by USER\n"
        "    ├── params\n"
        "    │   ├── fetch.source: sklearn:iris\n"
        "    │   ├── split.target: species\n"
        "    │   ├── split.validation: 0.0\n"
        "    │   ├── split.test: N\n"
        "    │   ├── split.seed: 0\n"
        "    │   ├── train.estimator: sklearn.svm.SVC\n"
        "    │   ├── train.hyperparameters.kernel: linear\n"
        "    │   ├── train.hyperparameters.C: 1.0\n"
        "    │   └── evaluate.cross_validation.folds: 5\n"
        "    ├── metrics\n"
        + "".join(f"    │   ├── test.{name}: N\n" for name in METRICS)
        + "    │   ├── test.rows: 38\n"
        + "".join(f"    │   ├── cv.{name}: N\n" for name in METRICS[:-1])
        + "    │   └── cv.mcc: N\n"
        "    └── data/split HASH.dir\n"
        "        ├── first in commit COMMIT Run (Test, DAY)\n"
        "        └── data/raw.parquet HASH\n"
        "            └── source sklearn:iris\n"
    )


def run_key(repo: Repo) -> str:
    return tags(repo, "main@" + repo.git("rev-parse", "--short=7", "HEAD"))["trialtree.key"]


def test_every_name_of_a_trial_leads_to_the_same(ran: Repo) -> None:
    run = chain(ran, "HEAD")["trials"][0]["runs"][0]["id"]  # type: ignore[index]
    ran.git("tag", "v1")
    names = ("main", "v1", run, run[:8])
    assert {lineage(ran, name) for name in names} == {lineage(ran, "HEAD")}
    versions = ("iris/1", "iris@challenger", "models:/iris/1", "models:/iris@champion")
    assert {lineage(ran, name) for name in versions} == {lineage(ran, "iris@champion")}


@pytest.mark.slow
def test_data_lead_to_all_their_trials_on_branches_and_experiments_and_to_their_models(ran: Repo) -> None:
    one = trial_on_branch(ran, "one", 0.5)
    ran.git("checkout", "-q", "main")
    ran.dvc("exp", "run", "--temp", "--name", "brisk-fox", "-S", "train.hyperparameters.C=0.25")
    assert "is added to run brisk-fox (" in track(ran, "brisk-fox")
    exp = ran.git("for-each-ref", "--format=%(objectname)", "refs/exps/").split()[0]
    assert tags(ran, "brisk-fox")["trialtree.commit"] == tags(ran, "brisk-fox")["mlflow.source.git.commit"] == exp
    ran.git("merge", "-q", "-s", "ours", "-m", "Merge one", "one")
    ran.git("branch", "-D", "one")
    found = chain(ran, "data/split@HEAD")
    trials: list[dict[str, object]] = found["trials"]  # type: ignore[assignment]
    by_c = {trial["params"]["train.hyperparameters.C"]: trial for trial in trials}  # type: ignore[index]
    assert sorted(by_c) == [0.25, 0.5, 1.0]
    assert [commit["id"] for commit in by_c[0.5]["commits"]] == [one]  # type: ignore[union-attr]
    assert [run["dvc_experiment"] for run in by_c[0.25]["runs"]] == ["brisk-fox"]  # type: ignore[union-attr]
    assert {c: [v["number"] for v in trial["versions"]] for c, trial in by_c.items()} == {  # type: ignore[union-attr]
        1.0: ["1"], 0.5: ["2"], 0.25: [],
    }  # fmt: skip
    split, raw = found["data"][0]["split"], found["data"][0]["raw"]  # type: ignore[index]
    assert {lineage(ran, name) for name in (split, raw, split.removesuffix(".dir"), "data/raw.parquet@main")} == {
        lineage(ran, "data/split@HEAD")
    }


def test_a_branch_that_is_moved_deleted_or_collected_changes_nothing_that_is_known(ran: Repo) -> None:
    commit = trial_on_branch(ran, "fleeting", 0.5)
    ran.git("checkout", "-q", "main")
    asked = ("iris/2", commit, "data/split@main")
    before = [lineage(ran, name) for name in asked]
    assert f"commit {commit[:12]} Trial fleeting (Test, " in before[0]
    ran.git("branch", "-f", "fleeting", "main")
    assert [lineage(ran, name) for name in asked] == before
    ran.git("branch", "-D", "fleeting")
    assert [lineage(ran, name) for name in asked] == before
    ran.git("reflog", "expire", "--expire=now", "--all")
    ran.git("gc", "-q", "--prune=now")
    after = lineage(ran, "iris/2")
    assert f"commit {commit} (commit is not in this repository)" in after
    kept = [line for line in before[0].splitlines() if "fleeting" not in line or "on branch" in line]
    missing = [line for line in kept if line not in after and "source" not in line and "data/raw" not in line]
    assert missing == []


def test_without_mlflow_the_part_of_git_is_printed_with_one_warning(ran: Repo) -> None:
    done = ran.run("trialtree", "lineage", "HEAD", MLFLOW_TRACKING_URI="http://u:secret@127.0.0.1:9")
    assert done.stderr == "MLflow at http://127.0.0.1:9: cannot be reached (ConnectionError); this is what Git holds\n"
    whole = lineage(ran, "HEAD").splitlines()
    assert [line for line in done.stdout.splitlines() if line[4:] not in {text[4:] for text in whole}] == []
    (ran.path / "mlflow.db").unlink()
    done = ran.run("trialtree", "lineage", "data/split@HEAD")
    assert done.stderr.endswith(" yet; this is what Git holds\n")
    assert not (ran.path / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("nope", "nope is no model version, run, revision or hash of data here; name one as NAME/3"),
        ("iris/9", "iris/9 is no model version"),
        ("HEAD~1", "holds no trial: its dvc.lock has no fetch, split, train, evaluate"),
        ("data/other@HEAD", "there: data/raw.parquet, data/split"),
        ("data/split@nope", "nope is no commit, branch, tag or experiment of this repository"),
        ("--json", "Missing argument"),
    ],
)
def test_what_is_not_there_is_one_line(ran_once: Repo, asked: str, said: str) -> None:
    done = ran_once.run("trialtree", "lineage", asked, check=False)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_with_two_meanings_is_not_guessed(ran: Repo) -> None:
    ran.git("branch", "iris/1")
    done = ran.run("trialtree", "lineage", "iris/1", check=False)
    assert done.stderr == (
        f"iris/1 stands for 2 things; name one: model version models:/iris/1, commit {ran.git('rev-parse', 'HEAD')}\n"
    )
    assert lineage(ran, "models:/iris/1") == lineage(ran, "iris@champion")


def test_a_thousand_commits_are_read_at_once(ran: Repo) -> None:
    lock, head = (ran.path / "dvc.lock").read_text(encoding="utf-8"), ran.git("rev-parse", "HEAD")
    stream = []
    for number in range(1000):
        content = lock.replace("C: 1.0", f"C: {number + 2}.5")
        ref = "refs/heads/many" if number < 500 else f"refs/exps/{head[:2]}/{head[2:]}/exp-{number}"
        start = f"from {head}\n" if number in (0, *range(500, 1000)) else ""
        stream.append(
            f"commit {ref}\ncommitter T <t@example.org> {1800000000 + number} +0530\ndata 1\nt\n{start}"
            f"M 100644 inline dvc.lock\ndata {len(content.encode())}\n{content}\n"
        )
    subprocess.run(
        ["git", "fast-import", "--quiet"], input="".join(stream), cwd=ran.path, env=ran.env, text=True, check=True
    )
    assert "1001 trials on these data" in lineage(ran, "data/split@HEAD")


def test_the_commit_is_added_once_to_run_and_version(ran: Repo) -> None:
    start, commit = ran.git("rev-parse", "HEAD~1"), ran.git("rev-parse", "HEAD")
    name = f"main@{commit[:7]}"
    assert {"trialtree.commit", "data_commit_hash"} & tags(ran, f"main@{start[:7]}").keys() == set()
    said = ran.run("trialtree", "track").stdout
    assert re.fullmatch(
        rf"commit {commit[:7]} is added to run {name} \([0-9a-f]{{32}}\)\n"
        rf"commit {commit[:7]} is added to iris version 1\n",
        said,
    )
    known = {"trialtree.commit": commit, "trialtree.commits": commit, "data_commit_hash": commit}
    first = tags(ran, name)
    assert first.items() >= {**known, "mlflow.source.git.commit": commit, "dirty": "false"}.items()
    assert (first["baseline_commit"], first["branch"], first["git.branches"]) == (start, "main", "main")
    assert version_tags(ran, 1).items() >= known.items()
    assert track(ran, "main") == said.replace("added to", "known to")
    ran.path.joinpath("README.md").write_text("Read me.\n", encoding="utf-8")
    ran.commit("Say what it is")
    assert track(ran) == said.replace("added to", "known to")
    ran.stage("register")
    assert tags(ran, name) == first


def test_publishing_a_committed_trial_adds_its_commit_too(ran: Repo) -> None:
    commit = ran.git("rev-parse", "HEAD")
    ran.git("checkout", "-q", "-b", "later")
    ran.stage("register")
    found = tags(ran, f"main@{commit[:7]}")
    assert (found["trialtree.commit"], found["branch"], found["dirty"]) == (commit, "main", "false")
    assert (version_tags(ran, 1)["trialtree.commit"], version_tags(ran, 1)["data_commit_hash"]) == (commit, commit)
    assert "is known to iris version 1" in track(ran)


@pytest.mark.slow
def test_an_equal_trial_on_a_second_branch_is_added_behind_the_first(ran: Repo) -> None:
    first = trial_on_branch(ran, "one", 0.5)
    named = f"one@{first[:7]}"
    before = tags(ran, named)
    ran.git("checkout", "-q", "main")
    second = trial_on_branch(ran, "two", 0.5)
    assert second != first
    after = tags(ran, named)
    assert (after["trialtree.commits"], after["git.branches"]) == (f"{first} {second}", "one two")
    moved = ("trialtree.commits", "trialtree.state", "git.branches", "mlflow.parentRunId")
    assert [name for name, value in after.items() if before.get(name) != value and name not in moved] == []
    assert lineage(ran, first) == lineage(ran, second)


def test_a_trial_of_uncommitted_changes_says_so_until_its_commit_holds_them(ran: Repo) -> None:
    ran.params({"train.hyperparameters.C": 0.5})
    head = ran.git("rev-parse", "--short=7", "HEAD")
    assert f"run main@{head} + uncommitted changes (" in ran.dvc("repro").stdout
    assert tags(ran, f"main@{head}")["dirty"] == "true"
    ran.git("commit", "-q", "-m", "Half", "dvc.lock", "reports/metrics.json")
    half = ran.git("rev-parse", "--short=7", "HEAD")
    assert track(ran).splitlines()[-1] == (
        f"commit {half} is not all that its trial came from: it has another params.yaml than the stages ran with; "
        "commit that too, or run `dvc repro`"
    )
    first = tags(ran, f"main@{half}")
    assert (first["dirty"], first["mlflow.source.git.commit"][:7]) == ("true", head)
    ran.git("commit", "-q", "--amend", "-a", "-m", "Whole")
    track(ran)
    whole = ran.git("rev-parse", "HEAD")
    found = tags(ran, f"main@{whole[:7]}")
    assert (found["dirty"], found["trialtree.commits"].split()) == ("false", [whole])


def test_a_commit_without_a_run_gets_one_and_a_commit_without_a_trial_is_said(ran: Repo) -> None:
    (ran.path / "mlflow.db").unlink()
    commit = ran.git("rev-parse", "--short=7", "HEAD")
    assert re.fullmatch(rf"commit {commit} is published as run main@{commit} \([0-9a-f]{{32}}\)\n", track(ran))
    done = ran.run("trialtree", "track", "HEAD~1", check=False)
    assert done.returncode == 1
    assert done.stderr.endswith(" has no dvc.lock: the pipeline has not run there\n")
