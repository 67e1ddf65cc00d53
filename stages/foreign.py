"""The model that a training script left, and how it is scored on the rows of the split.

models/model/ then has
    mlflow/         the MLflow model that the script registered, logged or saved
    files/          what it saved under SM_MODEL_DIR
    script.json     which script, and whether it reads the split
    columns.json    an empty list: which columns it takes stands in the model
    versions.json, manifest.json   as of any model

What differs between two equal runs is taken out: ids, times and paths of
MLflow's description, the order of skops files, the stamps of CatBoost's.
"""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages import models, storing
from stages.errors import UserError
from stages.files import replacing_folder, write_json

MLFLOW, FILES = "mlflow", "files"
LOADED = (".skops", ".cbm", ".joblib", ".pkl", ".pickle")  # the endings of files that hold one model
# What MLflow writes of a model that only says when and where it was made.
_MADE = re.compile(
    r"(?m)^(?:artifact_path|model_id|model_uuid|model_size_bytes|run_id|utc_time_created):.*\n(?:[ -].*\n)*"
)


class Unscored(UserError):  # noqa: N818  # said of a model
    """Why a script's model is not scored on the split."""


@dataclass(frozen=True)
class About:
    """What is known of a script's model."""

    script: str
    reads_split: bool  # whether the script reads the parts of the split


def write(of: About, model: Path | None, files: Mapping[str, Path], ids: Sequence[str]) -> list[str]:
    """Write the model's folder from an MLflow model and other files; return what is to be said.

    `ids` are those that MLflow drew; see `storing.settle`.
    """
    with replacing_folder(models.FOLDER) as folder:
        if model:
            shutil.copytree(model, folder / MLFLOW)
            described = folder / MLFLOW / "MLmodel"
            described.write_text(_MADE.sub("", described.read_text(encoding="utf-8")), encoding="utf-8")
        for name, path in files.items():
            (folder / FILES / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / FILES / name)
        for path in [path for path in folder.rglob("*") if path.is_file()]:
            storing.settle(path, ids)
        write_json(folder / "script.json", vars(of))
        write_json(folder / "columns.json", {"columns": [], "best_iteration": None})
        models.seal(folder, kind="script")
    if not model and not files:
        return [f"{of.script} left no model: it neither logged one to MLflow nor saved one under SM_MODEL_DIR"]
    return []


def about(folder: Path = models.FOLDER) -> About:
    """Return what is known of a script's model."""
    return About(**json.loads((folder / "script.json").read_text(encoding="utf-8")))


def there(folder: Path = models.FOLDER) -> bool:
    """Say whether a script's folder holds a model."""
    return (folder / MLFLOW).is_dir() or (folder / FILES).is_dir()


def single(folder: Path = models.FOLDER) -> Path:
    """Return the one file under files/ that holds a model.

    Raises:
        Unscored: there is none, or more than one.
    """
    found = sorted(path for path in (folder / FILES).rglob("*") if path.suffix in LOADED)
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise Unscored(f"{folder / FILES} must hold one file of {', '.join(LOADED)}, and there are: {names}")
    return found[0]
