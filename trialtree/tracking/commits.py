"""A trial's commit, once there is one, is added to its run and to the versions of its model.

The run was published before the commit existed: it is found by the content
key, which is that of the commit's dvc.lock.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trialtree.tracking import committed, git, locks, runs, stores, trials
from trialtree.tracking.committed import Committed
from trialtree.tracking.trials import COMMIT, COMMITS, DATA_COMMIT, DIGEST, EXPERIMENT, KEY

if TYPE_CHECKING:
    from mlflow import MlflowClient

_LATER = "the commit stays as it is; `trialtree track {}` adds it once that is mended"


def add(commit: str) -> list[str]:
    """Add a commit to the run and the model versions of the trial that it holds, and return what to print.

    Done twice, it changes nothing more. A second commit of an equal trial is
    added behind the first.

    Raises:
        TrialError: the commit holds no whole trial.
        GitError: there is no such commit.
        StoreError: MLflow cannot be reached.
    """
    found = git.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}")
    if found is None:
        raise git.GitError(f"{commit} is no commit of this repository; `git log` shows those there are")
    of = committed.read(found)
    store = stores.find()
    with store.opened(after=_LATER.format(found[:7])) as client:
        equal = _runs(client, experiment(found), of)
        said = [_add_to_run(client, run, of) for run in equal]
        said += [_add_to_version(client, version, of) for version in _versions(client, of, equal)]
    if not equal:
        said.append(
            f"no run of MLflow at {store.shown} holds the trial of commit {found[:7]}: check it out, then "
            "`dvc repro register` publishes it"
        )
    return [*said, *_inexact(of)]


def experiment(commit: str) -> str | None:
    """Return the experiment of a commit's params.yaml; None where it names none."""
    with git.objects() as objects:
        content = locks.load(objects.read(f"{commit}:./params.yaml") or b"")
    name = content.get("experiment") if isinstance(content, Mapping) else None
    return name if isinstance(name, str) else None


def _runs(client: "MlflowClient", name: str | None, of: Committed) -> list[Any]:
    """Return the runs of the trial: those outside of DVC experiments, or of the one that the commit is."""
    found = client.get_experiment_by_name(name) if name else None
    if found is None:
        return []
    equal = client.search_runs([found.experiment_id], f"tags.`{KEY}` = '{of.key}'")
    return [run for run in equal if run.data.tags.get(EXPERIMENT, "") in (of.names or [""])]


def _versions(client: "MlflowClient", of: Committed, equal: list[Any]) -> list[Any]:
    """Return the model versions that hold the trial's model."""
    asked = [f"tag.`{KEY}` = '{of.key}'"]
    asked += [f"tag.`{DIGEST}` = '{run.data.tags[DIGEST]}'" for run in equal if DIGEST in run.data.tags]
    found = [version for text in dict.fromkeys(asked) for version in client.search_model_versions(text)]
    return list({(version.name, version.version): version for version in found}.values())


def _add_to_run(client: "MlflowClient", run: Any, of: Committed) -> str:
    """Add the commit to a run, and say so."""
    missing = _missing(run.data.tags, of)
    for name, value in missing.items():
        client.set_tag(run.info.run_id, name, value)
    return f"commit {of.commit[:7]} {_done(missing)} run {run.info.run_name} ({run.info.run_id})"


def _add_to_version(client: "MlflowClient", version: Any, of: Committed) -> str:
    """Add the commit to a model version, and say so."""
    known = {name: value for name, value in trials.commit_tags(of).items() if name in (COMMIT, COMMITS, DATA_COMMIT)}
    missing = _missing(version.tags, of, known)
    for name, value in missing.items():
        client.set_model_version_tag(version.name, version.version, name, value)
    return f"commit {of.commit[:7]} {_done(missing)} {version.name} version {version.version}"


def _missing(had: Mapping[str, str], of: Committed, tags: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the tags that are to be set."""
    wanted = runs.merged(had, tags or trials.commit_tags(of))
    return {name: value for name, value in wanted.items() if had.get(name) != value}


def _done(missing: Mapping[str, str]) -> str:
    return "is added to" if missing else "is known to"


def _inexact(of: Committed) -> list[str]:
    """Return a line for a commit that lacks what its trial ran with."""
    if of.exact:
        return []
    named = ", ".join(of.differing[:3]) + (f" and {len(of.differing) - 3} more" if len(of.differing) > 3 else "")
    return [
        f"commit {of.commit[:7]} is not all that its trial came from: it has another {named} than the stages ran with; "
        "commit that too, or run `dvc repro`"
    ]
