"""Every trial that Git holds becomes one run of MLflow, and a store that was lost is made again from them."""

import hashlib
import multiprocessing
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from tests import many
from tests.conftest import Repo
from tests.slow import until
from tests.test_live import embedded, live_runs, with_points
from trialtree.tracking import stores
from trialtree.tracking.curves import points
from trialtree.tracking.trials import COMMIT

Dump = dict[str, dict[str, Any]]


def dump(repo: Repo, uri: str | None = None) -> Dump:
    """Return all that MLflow has of the trials, by the name of their runs; times and the ids of runs are left out."""
    with chdir(repo.path):
        store = stores.Store(uri or f"sqlite:///{_copied(repo.path)}", repo.path)
        with store.opened() as client:
            experiments = {e.experiment_id: e.name for e in client.search_experiments()}
            runs = client.search_runs([*experiments], max_results=10_000)
            # A trial that no commit holds is named by the one that it was made at.
            alone = {r.info.run_id for r in runs if "trialtree.key" in r.data.tags and COMMIT not in r.data.tags}
            names = {r.info.run_id: r.info.run_name + "*" * (r.info.run_id in alone) for r in runs}
            assert len({*names.values()}) == len(names)
            return {
                names[run.info.run_id]: {
                    "experiment": experiments[run.info.experiment_id],
                    "status": run.info.status,
                    "params": run.data.params,
                    "tags": {
                        name: names[value] if name == "mlflow.parentRunId" else value
                        for name, value in run.data.tags.items()
                    },
                    "points": {
                        name: sorted((p.step, repr(p.value)) for p in client.get_metric_history(run.info.run_id, name))
                        for name in run.data.metrics
                    },
                    "inputs": sorted(
                        (i.dataset.name, i.dataset.digest, i.dataset.source, i.dataset.profile, i.tags[0].value)
                        for i in (run.inputs.dataset_inputs if run.inputs else ())
                    ),
                    "files": files(run.info.artifact_uri),
                }
                for run in runs
            }


def _copied(folder: Path) -> Path:
    """Return a copy of the embedded store: MLflow keeps the files of an address open, when others are put there too."""
    target = Path(tempfile.mkdtemp(dir=folder.parent)) / "mlflow.db"
    return Path(shutil.copy(folder / "mlflow.db", target))


def files(address: str) -> dict[str, str]:
    """Return the hash of each file of a run in the embedded store."""
    folder = Path(address.removeprefix("file://"))
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*")) if path.is_file()
    }  # fmt: skip


def lost(repo: Repo) -> None:
    """Delete the whole store."""
    for path in repo.path.glob("mlflow.db*"):
        path.unlink()
    shutil.rmtree(repo.path / "mlartifacts")


def with_remotes(ran: Repo, folder: Path) -> None:
    """Name a Git and a DVC remote, before anything is published: an input keeps the source that it had first."""
    lost(ran)
    ran.git("init", "-q", "--bare", "-b", "main", str(folder / "team.git"))
    ran.git("remote", "add", "origin", str(folder / "team.git"))
    ran.dvc("remote", "add", "-d", "store", str(folder / "objects"))
    ran.commit("Name the remote")
    ran.stage("register")


def set_c(value: float) -> str:
    return f"train.hyperparameters.C={value}"


@pytest.mark.slow
def test_a_store_that_was_lost_is_made_again_with_all_trials_of_all_kinds(ran: Repo, tmp_path: Path) -> None:
    with_remotes(ran, tmp_path)
    ran.git("push", "-q", "-u", "origin", "main")
    ran.dvc("push", "-q")
    # A colleague's experiment, pulled.
    colleague = Repo(tmp_path / "colleague", ran.env)
    ran.git("clone", "-q", str(tmp_path / "team.git"), str(colleague.path))
    colleague.dvc("pull", "-q")
    colleague.dvc("exp", "run", "--temp", "--name", "colleagues", "-S", set_c(0.1), "evaluate")
    colleague.dvc("exp", "push", "origin", "colleagues")
    ran.dvc("exp", "pull", "origin", "colleagues")
    # By hand, on a branch, as experiments in the workspace and elsewhere, from the queue, merged and tagged.
    ran.run("trialtree", "start", "soft", "-S", set_c(0.5))
    ran.run("trialtree", "run")
    ran.params({"train.hyperparameters.C": 0.6})
    ran.run("trialtree", "run")
    ran.git("switch", "-q", "main")
    ran.dvc("checkout", "-q")
    ran.dvc("exp", "run", "--name", "here", "-S", set_c(0.2))
    ran.git("restore", ".")
    ran.dvc("checkout", "-q")
    ran.dvc("exp", "run", "--temp", "--name", "elsewhere", "-S", set_c(0.3))
    ran.dvc("exp", "run", "--queue", "--name", "queued", "-S", set_c(0.4))
    ran.dvc("exp", "run", "--run-all")
    ran.git("merge", "-q", "--ff-only", "soft")
    ran.git("branch", "-q", "-d", "soft")
    ran.git("tag", "-a", "v1", "-m", "First")
    many.experiments(ran, 23)
    # One that no commit holds.
    ran.params({"train.hyperparameters.C": 7.0})
    ran.dvc("repro")
    ran.git("restore", ".")
    ran.dvc("checkout", "-q")
    said = ran.run("trialtree", "track", "--all").stdout.splitlines()
    assert said[0].startswith("30 trials in MLflow at sqlite:")
    assert re.fullmatch(r"1 run of trials that no commit here holds, .*: main@[0-9a-f]{7} \([0-9a-f]{8}\)", said[-1])
    before = dump(ran)
    (dirty,) = (name for name in before if name.endswith("*"))
    assert before[dirty]["tags"]["dirty"] == "true"
    lost(ran)
    assert ran.run("trialtree", "track", "--all").stdout.splitlines()[0].endswith(" 30 new, 0 brought up to date")
    after = dump(ran)
    del before[dirty]
    assert after.keys() == before.keys()
    for name, run in before.items():
        assert after[name] == run, name
    assert sorted(name[:5] for name, run in after.items() if run["tags"].get("branch") == "soft") == ["soft@", "soft@"]
    kinds = [run["tags"].get("trialtree.kind") for run in after.values()]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {None: 30, "branch": 1, "experiments": 2}
    assert ran.run("trialtree", "track", "--all").stdout.splitlines()[0] == (
        f"30 trials: all are in MLflow at sqlite:///{ran.path}/mlflow.db"
    )
    assert dump(ran) == after


def test_a_tag_that_moves_is_updated_and_never_doubled(ran: Repo) -> None:
    many.experiments(ran, 2)
    first = ran.git("rev-parse", "HEAD")
    ran.git("tag", "best")
    ran.run("trialtree", "track", "--all")
    before = dump(ran)
    assert before[f"main@{first[:7]}"]["tags"]["git.tags"] == "best"
    ran.git("tag", "-f", "best", ran.git("for-each-ref", "--format=%(objectname)", "refs/exps").split()[0])
    said = ran.run("trialtree", "track", "--all").stdout
    assert said.startswith(f"3 trials in MLflow at sqlite:///{ran.path}/mlflow.db: 0 new, 2 brought up to date\n")
    after = dump(ran)
    assert after.keys() == before.keys()
    assert "git.tags" not in after[f"main@{first[:7]}"]["tags"]
    assert [name for name, run in after.items() if run["tags"].get("git.tags") == "best"] == ["exp-00000"]


@pytest.mark.slow
def test_outputs_that_are_not_on_this_machine_are_said_and_added_when_they_come(ran: Repo, tmp_path: Path) -> None:
    with_remotes(ran, tmp_path)
    ran.dvc("push", "-q")
    ran.run("trialtree", "track", "--all")
    before = dump(ran)
    lost(ran)
    shutil.rmtree(ran.path / ".dvc/cache")
    said = ran.run("trialtree", "track", "--all").stdout.splitlines()
    assert said[1] == (
        "not in DVC's cache here, so missing from some runs: data/split, models/model, reports/curves.csv, "
        "reports/data.json; `dvc fetch --all-commits` brings what the remote has, and `trialtree track --all` adds it"
    )
    ran.dvc("fetch", "-q", "--all-commits")
    ran.run("trialtree", "track", "--all")
    assert dump(ran) == before


def test_a_shallow_clone_changes_nothing_of_what_a_whole_one_knows(ran: Repo, tmp_path: Path) -> None:
    for number in range(2):
        (ran.path / "README.md").write_text(f"{number}\n", encoding="utf-8")
        ran.commit("Write")
    ran.run("trialtree", "track")
    before = dump(ran)
    uri = f"sqlite:///{ran.path}/mlflow.db"
    shallow = Repo(tmp_path / "shallow", {**ran.env, "MLFLOW_TRACKING_URI": uri})
    ran.git("clone", "-q", "--depth", "1", f"file://{ran.path}", str(shallow.path))
    said = shallow.run("trialtree", "track").stdout.splitlines()
    assert [line.split(" is ")[1].split()[0] for line in said if " is " in line] == ["known", "known"]
    assert dump(ran) == before


def test_a_damaged_trial_is_said_and_the_others_are_published(ran: Repo) -> None:
    many.experiments(ran, 2)
    ran.params({"evaluate.metrics": ["accuracy"]})
    ran.dvc("repro", "evaluate")
    ran.params({"experiment": ...})
    bad = ran.commit("Lose the experiment's name")
    said = ran.run("trialtree", "track", "--all").stdout.splitlines()
    assert said[0].endswith(": 2 new, 1 brought up to date")
    assert said[1] == (
        f"left out: commit {bad[:7]}: params.yaml: experiment: must be the name of the experiment, got None"
    )
    assert ran.run("trialtree", "track", "main", check=False).stderr == said[1].removeprefix("left out: ") + "\n"


@pytest.mark.slow
def test_description_and_tags_of_params_are_those_of_the_run(ran: Repo) -> None:
    ran.params({"description": "A first look: ü", "tags": {"team": "pricing", "round": 2}})
    ran.commit("Describe it")
    ran.params({"train.hyperparameters.C": 0.5})
    ran.run("trialtree", "run")
    name = f"main@{ran.git('rev-parse', '--short=7', 'HEAD')}"
    tags = dump(ran)[name]["tags"]
    assert (tags["mlflow.note.content"], tags["team"], tags["round"]) == ("A first look: ü", "pricing", "2")
    ran.params({"tags.branch": "x"})
    assert ran.run("trialtree", "check", check=False).stderr == (
        "params.yaml: tags.branch: is a tag that trialtree sets itself; take another name\n"
    )
    ran.params({"tags": "pricing", "description": 5})
    assert ran.run("trialtree", "track", check=False).returncode == 0  # what HEAD holds
    said = ran.run("trialtree", "check", check=False).stderr
    assert said.startswith(
        "params.yaml: tags: must be a mapping of names to values, or a list of names, got 'pricing'\n"
    )


@pytest.mark.slow
def test_stages_get_runs_of_their_own_where_params_ask_for_them(ran: Repo) -> None:
    ran.params({"tracking": {"stages": True}, "train.hyperparameters.C": 0.5})
    ran.run("trialtree", "run")
    ran.run("trialtree", "track", "--all")
    found = dump(ran)
    lock = (ran.path / "dvc.lock").read_text(encoding="utf-8")
    name = f"main@{ran.git('rev-parse', '--short=7', 'HEAD')}"
    stages = {run: of["tags"] for run, of in found.items() if of["tags"].get("trialtree.kind") == "stage"}
    assert sorted(stages) == ["evaluate", "fetch", "split", "train"]
    assert {of["mlflow.parentRunId"] for of in stages.values()} == {name}
    assert stages["split"]["in.data/raw.parquet"] == stages["fetch"]["out.data/raw.parquet"]
    assert f"md5: {stages['split']['out.data/split']}" in lock
    assert stages["train"]["param.train.hyperparameters.C"] == "0.5"


def publish_all(path: str, uri: str, env: dict[str, str], barrier: Any) -> None:
    """Publish every trial of a clone, at the same moment as others do."""
    repo = Repo(Path(path), {**env, "MLFLOW_TRACKING_URI": uri})
    barrier.wait()
    repo.run("trialtree", "track", "--all")


@pytest.mark.slow
def test_four_processes_that_publish_the_same_trials_make_each_once(ran: Repo, postgresql: str, tmp_path: Path) -> None:
    many.experiments(ran, 99)
    clones = []
    for number in range(4):
        shutil.copytree(ran.path, tmp_path / f"clone{number}", symlinks=True)
        clones.append(str(tmp_path / f"clone{number}"))
    ran.run("trialtree", "track", MLFLOW_TRACKING_URI=postgresql)
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(4)
    processes = [spawn.Process(target=publish_all, args=(c, postgresql, dict(ran.env), barrier)) for c in clones]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    found = dump(ran, postgresql)
    trials = [name for name, run in found.items() if "trialtree.kind" not in run["tags"]]
    assert len(trials) == 100
    assert len(found) == 101  # and the parent of the experiments


@pytest.mark.slow
def test_a_fit_that_was_seen_while_it_ran_becomes_the_trials_one_run(slow: Callable[..., Repo]) -> None:
    repo = slow()
    repo.commit("Take a slow estimator")
    with subprocess.Popen(
        ["dvc", "repro"], cwd=repo.path, env={**repo.env, "TRIALTREE_LIVE_AFTER": "0"}, stdout=subprocess.DEVNULL
    ) as dvc:
        live = until(lambda: with_points(embedded(repo)))
        (repo.path / "enough").touch()
        assert dvc.wait() == 0
    (run,) = live_runs(embedded(repo))
    assert (run.info.run_id, run.info.status) == (live.info.run_id, "FINISHED")
    assert [name for name in run.data.tags if name.startswith("trialtree.live")] == []
    curve = [(name, step) for name, _, step in points((repo.path / "reports/curves.csv").read_bytes(), b"")]
    ((_, found),) = dump(repo).items()
    assert sorted((name, step) for name in found["points"] for step, _ in found["points"][name]
                  if name.startswith("curve.")) == sorted(curve)  # fmt: skip
    repo.commit("Run")
    repo.run("trialtree", "track")
    before = dump(repo)
    lost(repo)
    repo.run("trialtree", "track", "--all")
    assert dump(repo) == before


def test_two_at_once_in_one_repository_make_each_run_once(ran: Repo) -> None:
    many.experiments(ran, 10)
    lost(ran)
    command = ["trialtree", "track", "--all"]
    both = [subprocess.Popen(command, cwd=ran.path, env=ran.env, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert len(dump(ran)) == 12  # and the parent of the experiments


def test_an_experiment_that_is_removed_is_said_to_be_lost_and_its_group_goes(ran: Repo) -> None:
    many.experiments(ran, 2)
    ran.run("trialtree", "track", "--all")
    ran.dvc("exp", "remove", "exp-00001")
    said = ran.run("trialtree", "track", "--all").stdout.splitlines()
    assert re.fullmatch(r"1 run of trials that no commit here holds, .*: exp-00001 \([0-9a-f]{8}\)", said[-1])
    after = dump(ran)
    assert sorted(after)[:2] == ["exp-00000", "exp-00001"]
    assert [run["tags"].get("mlflow.parentRunId") for run in after.values()] == [None] * 3
    assert ran.run("trialtree", "track", "--all").stdout.startswith("2 trials: all are in MLflow")


def test_a_branch_that_goes_on_from_an_experiment_has_the_experiments_run(ran: Repo) -> None:
    many.experiments(ran, 1)
    ran.dvc("exp", "branch", "exp-00000", "feature")
    ran.git("switch", "-q", "feature")
    (ran.path / "NOTES.md").write_text("Promising.\n", encoding="utf-8")
    ran.commit("Write notes")
    assert " as run exp-00000 (" in ran.run("trialtree", "track").stdout
    ran.run("trialtree", "track", "--all")
    assert sorted(name[:5] for name in dump(ran)) == ["exp-0", "main@"]


def test_what_no_commit_holds_takes_nothing_from_the_run_of_a_commit(ran: Repo) -> None:
    ran.run("trialtree", "track", "--all")
    before = dump(ran)
    ran.params({"description": "Not committed", "tags": ["x"]})
    ran.stage("register")
    assert dump(ran) == before
    ran.commit("Describe it later")
    ran.stage("register")
    ran.run("trialtree", "track", "--all")
    after = dump(ran)
    for run in (*after.values(), *before.values()):
        del run["tags"]["trialtree.state"]
    assert after == before


def test_a_lock_of_another_tool_and_a_tag_that_mlflow_refuses_stop_nothing(ran: Repo) -> None:
    lock = (ran.path / "dvc.lock").read_text(encoding="utf-8")
    (ran.path / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  train: {cmd: python train.py, outs: }\n", encoding="utf-8"
    )
    ran.commit("Another pipeline")
    (ran.path / "dvc.lock").write_text(lock, encoding="utf-8")
    ran.commit("Ours again")
    assert ran.run("trialtree", "track", "--all").stdout.startswith("1 trial in MLflow")
    for tags, said in (
        ({"a/": 1}, "tags: a name must be of letters, digits, blanks, _ . - and / between them, got 'a/'"),
        ([f"{number:03}{'x' * 40}" for number in range(250)], "tags: a run holds 8000 characters of names, got 12500"),
    ):
        ran.params({"tags": tags})
        assert ran.run("trialtree", "check", check=False).stderr == f"params.yaml: {said}\n"
