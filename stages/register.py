"""Publish the trial to MLflow, and register its model when every gate holds.

    python -m stages.register

Reads   dvc.lock, params.yaml, models/model/, data/split/, reports/
Writes  reports/register.json; a run and a version of MLflow

Runs in every `dvc repro`: what is there already is found and left, what was
lost or cut off is made again. Inside `dvc exp run` the run is published and
nothing is registered.
"""

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

from stages import command, foreign, gates, models, params, predictions, scores, scripts, tables
from stages.batches import Part
from stages.errors import UserError
from stages.files import write_json
from stages.gates import Champion, Gate, Result
from stages.params import PATH, ParamsError
from trialtree.tracking import Run, Trial, git, publish, stores, trials, versions

if TYPE_CHECKING:
    from mlflow import MlflowClient

REPORT = Path("reports/register.json")


def _registered_name(name: str) -> str:
    if not re.fullmatch(r"\w[\w .-]{0,199}", name):
        raise ValueError("must be letters, digits, blanks, _ . and -, at most 200 of them, a letter or digit first")
    return name


class RegisterParams(params.Section):
    """The register section."""

    # Of the registered model, as in models:/NAME@champion; without one nothing is registered.
    name: Annotated[str, AfterValidator(_registered_name)] | None = None
    gates: dict[str, Gate] = {}  # by metric of the test part, or by part.metric
    branch: str = "main"  # the only one on which aliases move
    required: bool = False  # a gate that fails stops the stage


class RegisterError(UserError):
    """A model that was not registered, where that is required."""


def score_champion(
    held: versions.Registered, names: Sequence[str], evaluate: Mapping[str, Any], split: str | None
) -> Champion:
    """Return the champion's metrics on this trial's test part, as its evaluate section has them."""
    if held.folder is None:
        return Champion(held.number, {}, "it has no model of a trialtree repository, or its files are lost")
    try:
        columns = tables.read_columns()
        model = _loaded(held.folder, columns, evaluate.get("labels"))
        predictions.check(model, columns)
        of = scores.positive(evaluate.get("positive"), model.labels)
        rows = predictions.of_rows(model, Part("test"), of)
        found, _ = scores.score(rows, names, "test")
    except UserError as error:
        return Champion(held.number, {}, f"it cannot be scored here: {error}")
    other = "it was fitted on another split, and may have seen these rows" if held.split != split else None
    return Champion(held.number, found, other)


def _loaded(folder: Path, columns: tables.Columns, labels: Any) -> models.Model:
    """Return the model of a folder over the split's rows; a script's only from a form that runs no code.

    Raises:
        UserError: it cannot be loaded, or not be scored on these rows.
    """
    if not models.by_script(folder):
        return models.load(folder)
    from stages import adapting

    return adapting.load(columns, labels, allow_pickle=False, folder=folder)[0]


def compare(client: "MlflowClient", p: RegisterParams, trial: Trial, evaluate: Mapping[str, Any]) -> Champion | None:
    """Return the champion with its metrics, where a gate asks for it and it is another model than this."""
    names = gates.asked_of_champion(p.gates)
    if not names or p.name is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        held = versions.champion(client, p.name, Path(folder))
        if held is None or held.digest == trial.tags[trials.DIGEST]:
            return None
        return score_champion(held, names, evaluate, trial.tags.get("data.split"))


def decide(
    client: "MlflowClient", p: RegisterParams, trial: Trial, run: Run, evaluate: Mapping[str, Any]
) -> tuple[versions.Version | None, list[Result], list[str]]:
    """Register the model when it may be; return the version, what came of the gates, and what to say."""
    results = gates.check(p.gates, trial.metrics, compare(client, p, trial, evaluate))
    said = [str(result) for result in results if not result.holds or result.note]
    if not all(result.holds for result in results):
        return None, results, said
    if models.by_script() and not foreign.there():
        return None, results, [*said, "nothing is registered: the script left no model"]
    if p.name is None:
        return None, results, [*said, "nothing is registered: params.yaml has no register.name"]
    if trial.dvc_experiment:
        return None, results, [*said, "nothing is registered inside `dvc exp run`"]
    branch = git.branch()  # checked out here; the trial may have been made on another
    move = branch == p.branch
    version = versions.register(client, p.name, trial, run, move=move)
    if not move:
        here = f"branch {branch}" if branch else "a detached HEAD"
        said.append(f"aliases stay as they are: this is {here}, and they move on {p.branch}")
    return version, results, said


def asked(p: RegisterParams) -> tuple[RegisterParams, list[str]]:
    """Return the section with the name that the training script asked for where it gives none, and what to say."""
    names = list(dict.fromkeys(each["name"] for each in scripts.registrations()))
    if not names:
        return p, []
    if p.name is not None:
        return p, [f"the script asks for the name {names[-1]}; register.name is {p.name}"] if names != [p.name] else []
    said = f"the name is {names[-1]}, for which the script asks"
    left = f"; left out: {', '.join(names[:-1])}" if names[:-1] else ""
    return p.model_copy(update={"name": _registered(names[-1])}), [said + left]


def _registered(name: str) -> str:
    """Return a name that a script gives its model, after holding it against the rule.

    Raises:
        ParamsError: it is none.
    """
    try:
        return _registered_name(name)
    except ValueError as error:
        raise ParamsError(f"{PATH}: register.name: give one; the script asks for {name!r}, and it {error}") from None


def main() -> None:
    """Run the stage."""
    content = params.load()
    p, about = asked(params.parse("register", content.get("register"), RegisterParams))
    REPORT.unlink(missing_ok=True)  # it would tell of another run
    trial, store = trials.workspace(), stores.find()
    with store.opened() as client:
        run = publish(trial, client, store)
        version, results, said = decide(client, p, trial, run, content.get("evaluate") or {})
    report = {
        "run_id": run.id,
        "experiment": trial.experiment,
        "tracking_uri": store.shown,
        "registered": version is not None,
        "name": p.name,
        "version": version.number if version else None,
        "aliases": version.aliases if version else [],
        "gates": gates.as_json(results),
    }
    write_json(REPORT, report)
    print(f"run {replace(trial, name=run.name).shown} ({run.id}) of experiment {trial.experiment}, in {store.shown}")
    print("\n".join([*run.notes, *about, *said, outcome(version)]))
    if p.required and not all(result.holds for result in results):
        raise RegisterError(f"{PATH}: register.required: a gate fails, and the model must be registered")


def outcome(version: versions.Version | None) -> str:
    """Return what came of the registration, as one line."""
    if version is None:
        return "registered: false"
    aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
    before = "" if version.new else ", from before"
    return f"registered: {version.name} version {version.number}{aliases}{before}"


if __name__ == "__main__":
    command.run(main)
