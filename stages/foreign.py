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
import pickle
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages import models, storing
from stages.errors import UserError
from stages.files import replacing_folder, write_json
from stages.params import PATH

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


def opened(folder: Path, allow_pickle: bool) -> Any:
    """Return the object that a script's model is.

    Raises:
        Unscored: it is in no form that is read here, or a pickle that may not be loaded.
    """
    path = _file(folder)
    try:
        if path.suffix == ".skops":
            return storing.load_skops(path)
        if path.suffix in (".cb", ".cbm"):
            return storing.load_any_catboost(path)
        if not allow_pickle:
            raise Unscored(
                f"{path} is a pickle, which runs code when it is loaded; {PATH}: evaluate.allow_pickle: true loads it"
            )
        return _unpickled(path)
    except (storing.Unsafe, storing.Damaged) as error:
        raise Unscored(str(error)) from None


def _unpickled(path: Path) -> Any:
    """Return the object of a pickle or a joblib file, which the user allowed."""
    try:
        if path.suffix != ".joblib":
            return storing.load_pickle(path, allowed=True)
        import joblib

        return joblib.load(path)
    except (ImportError, AttributeError, EOFError, ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise Unscored(f"{path} cannot be loaded here: {' '.join(str(error).split())[:200]}") from None


def _file(folder: Path) -> Path:
    """Return the file that holds the model itself.

    Raises:
        Unscored: it is a kind of model that is not read here.
    """
    described = folder / MLFLOW / "MLmodel"
    if not described.is_file():
        return single(folder)
    from ruamel.yaml import YAML

    flavors = YAML(typ="safe", pure=True).load(described.read_text(encoding="utf-8")).get("flavors", {})
    for flavor, key in (("sklearn", "pickled_model"), ("catboost", "data")):
        path = described.parent / str(flavors.get(flavor, {}).get(key))
        if path.is_file():
            return path
    names = ", ".join(sorted(set(flavors) - {"python_function"})) or "python_function"
    raise Unscored(f"the model is one of MLflow's flavor {names}, and sklearn and catboost are scored here")
