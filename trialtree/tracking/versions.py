"""A model becomes a version of the registry: one for each digest, bytes included, and whole after any crash.

The version is made last and in one call, with the model's digest as a tag,
when the files are all there. What a crash leaves before that is an unfinished
logged model, which the next start finds by its digest and completes.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages import models
from trialtree.tracking import packages, scripted
from trialtree.tracking.runs import Run
from trialtree.tracking.trials import COMMIT, COMMITS, DATA_COMMIT, DIGEST, KEY, Trial

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHALLENGER, CHAMPION = "challenger", "champion"
_ALIASED = "trialtree.aliased"  # tag: the version had its aliases, and whoever moves them since is obeyed
_LOST = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")
_MODEL = Path("data/model")  # in a version's files


@dataclass(frozen=True)
class Version:
    """A version of a registered model."""

    name: str
    number: str
    aliases: list[str]
    new: bool = False


@dataclass(frozen=True)
class Registered:
    """A version whose files are at hand."""

    number: str
    digest: str | None
    folder: Path | None  # of the model; None where the version is not one of ours, or has lost its files
    split: str | None  # DVC's hash of the split that it was fitted on


def register(client: "MlflowClient", name: str, trial: Trial, run: Run, *, move: bool) -> Version:
    """Return the version that holds the trial's model, made where there is none; `move` lets it take its aliases."""
    model, digest = models.FOLDER, trial.tags[DIGEST]
    found = _whole(client, name, digest, model)
    new = found is None
    if found is None:
        model_id = _logged(client, name, trial, run, model)
        _make_name(client, name)
        tags = {DIGEST: digest, KEY: trial.key} | {k: v for k, v in trial.tags.items() if k.startswith("data.")}
        tags |= _commits(trial)
        client.create_model_version(
            name, f"models:/{model_id}", run_id=run.id, tags=tags, await_creation_for=0, model_id=model_id
        )
        found = _one(client, name, digest)
    for tag, value in lacking(found.tags, trial).items():
        client.set_model_version_tag(name, str(found.version), tag, value)
    if move and _ALIASED not in found.tags:
        _alias(client, name, found.version)
    return Version(name, str(found.version), aliases(client, name, found.version), new)


def _commits(trial: Trial) -> dict[str, str]:
    """Return the tags of a committed trial that say so; none of one that is not."""
    if COMMIT not in trial.tags:
        return {}
    return {tag: trial.tags[tag] for tag in (COMMIT, COMMITS, DATA_COMMIT) if tag in trial.tags}


def lacking(had: Mapping[str, str], trial: Trial) -> dict[str, str]:
    """Return the tags of a trial's commit that a version has not; it keeps the first commit that it had."""
    wanted = _commits(trial) if COMMIT not in had or not trial.uncertain else {}
    if COMMIT in had and COMMITS in wanted:
        commits = dict.fromkeys([*had.get(COMMITS, "").split(), *wanted[COMMITS].split()])
        if wanted[COMMIT] != had[COMMIT]:
            wanted = {tag: value for tag, value in wanted.items() if tag != DATA_COMMIT}  # the first commit's stays
        wanted = {**wanted, COMMIT: had[COMMIT], COMMITS: " ".join(commits)}
    return {tag: value for tag, value in wanted.items() if had.get(tag) != value}


def add_commit(client: "MlflowClient", found: Sequence[Any], trial: Trial) -> Iterator[tuple[Any, bool]]:
    """Add a trial's commit to those of some versions that hold its model; yield each, and whether that was new."""
    for version in found:
        same = DIGEST in trial.tags and version.tags.get(DIGEST) == trial.tags[DIGEST]
        if same or version.tags.get(KEY) == trial.key:
            missing = lacking(version.tags, trial)
            for tag, value in missing.items():
                client.set_model_version_tag(version.name, version.version, tag, value)
            version.tags.update(missing)
            yield version, bool(missing)


def aliases(client: "MlflowClient", name: str, number: Any) -> list[str]:
    """Return the aliases of a version."""
    held = client.get_registered_model(name).aliases
    return sorted(alias for alias, version in held.items() if str(version) == str(number))


def champion(client: "MlflowClient", name: str, folder: Path) -> Registered | None:
    """Return the champion, its files below `folder` where they are not on this machine; None where there is none."""
    if not _exists(client, name):
        return None
    number = client.get_registered_model(name).aliases.get(CHAMPION)
    if number is None:
        return None
    tags = client.get_model_version(name, str(number)).tags
    return Registered(
        str(number), tags.get(DIGEST), _model_of(f"models:/{name}/{number}", folder), tags.get("data.split")
    )


def _model_of(address: str, folder: Path) -> Path | None:
    """Return the model folder of a version, brought below `folder` where it is elsewhere; None where it has none."""
    import mlflow.artifacts
    from mlflow import MlflowException

    try:
        files = Path(mlflow.artifacts.download_artifacts(address, dst_path=str(folder)))
    except MlflowException as error:
        if error.error_code not in _LOST:
            raise
        return None
    if not (place := files / _MODEL).is_dir():
        return None
    return scripted.whole(files, folder / "whole") if models.by_script(place) else place


def _exists(client: "MlflowClient", name: str) -> bool:
    return bool(client.search_registered_models(f"name = '{name}'"))


def _make_name(client: "MlflowClient", name: str) -> None:
    """Make the registered model, unless it is there."""
    from mlflow import MlflowException

    if _exists(client, name):
        return
    try:
        client.create_registered_model(name)
    except MlflowException as error:  # another machine was faster
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _versions(client: "MlflowClient", name: str, digest: str) -> list[Any]:
    """Return the versions that hold a model, the first made first."""
    found = client.search_model_versions(f"name = '{name}' and tag.`{DIGEST}` = '{digest}'")
    return sorted(found, key=lambda version: int(version.version))


def _one(client: "MlflowClient", name: str, digest: str) -> Any:
    """Return the first version that holds a model; later ones, which only a race makes, are deleted."""
    first, *others = _versions(client, name, digest)
    for other in others:
        client.delete_model_version(name, other.version)
    return first


def _whole(client: "MlflowClient", name: str, digest: str, model: Path) -> Any:
    """Return the version that holds a model, or None; lost files are put back, a lost logged model ends its version."""
    from mlflow import MlflowException

    for version in _versions(client, name, digest):
        model_id = version.source.removeprefix("models:/")
        try:
            client.get_logged_model(model_id)
            if not _complete(client, model_id, model):
                _fill(client, model_id, version.run_id, model)
        except MlflowException as error:
            if error.error_code not in _LOST:
                raise
            client.delete_model_version(name, version.version)
        else:
            return version
    return None


def _complete(client: "MlflowClient", model_id: str, model: Path) -> bool:
    """Say whether a logged model has its description, and each of the model's files in its size."""
    if models.by_script(model):
        return _sizes(client, model_id).items() >= scripted.expected(model).items()
    top = {entry.path for entry in client.list_logged_model_artifacts(model_id)}
    if "MLmodel" not in top:
        return False
    there = {
        Path(entry.path).name: entry.file_size
        for entry in client.list_logged_model_artifacts(model_id, _MODEL.as_posix())
    }
    return there == {path.name: path.stat().st_size for path in model.iterdir()}


def _sizes(client: "MlflowClient", model_id: str, folder: str | None = None) -> dict[str, int]:
    """Return the sizes of a logged model's files by path."""
    found: dict[str, int] = {}
    for entry in client.list_logged_model_artifacts(model_id, folder):
        found |= _sizes(client, model_id, entry.path) if entry.is_dir else {entry.path: entry.file_size}
    return found


def _logged(client: "MlflowClient", name: str, trial: Trial, run: Run, model: Path) -> str:
    """Return the id of a logged model that holds the files, complete and ready."""
    from mlflow.entities import LoggedModelOutput

    digest = trial.tags[DIGEST]
    found = client.search_logged_models([run.experiment_id], f"tags.`{DIGEST}` = '{digest}'")
    mine = [logged for logged in found if logged.source_run_id == run.id]
    logged = mine[0] if mine else client.create_logged_model(
        run.experiment_id, name=name.replace(".", "_"), source_run_id=run.id, tags={DIGEST: digest}
    )  # fmt: skip
    outputs = client.get_run(run.id).outputs
    if logged.model_id not in {output.model_id for output in (outputs.model_outputs if outputs else [])}:
        client.log_outputs(run.id, [LoggedModelOutput(logged.model_id, step=0)])
    if str(logged.status) != "READY" or not _complete(client, logged.model_id, model):
        _fill(client, logged.model_id, run.id, model)
    return str(logged.model_id)


def _fill(client: "MlflowClient", model_id: str, run_id: str, model: Path) -> None:
    """Put all files into a logged model, and say that it is ready."""
    with tempfile.TemporaryDirectory() as folder:
        packages.write(Path(folder), model, run_id, model_id)
        client.log_model_artifacts(model_id, folder)
    client.finalize_logged_model(model_id, "READY")


def _alias(client: "MlflowClient", name: str, number: Any) -> None:
    """Make a version the challenger, and the champion where there is none."""
    client.set_registered_model_alias(name, CHALLENGER, str(number))
    if CHAMPION not in client.get_registered_model(name).aliases:
        client.set_registered_model_alias(name, CHAMPION, str(number))
    client.set_model_version_tag(name, str(number), _ALIASED, "true")
