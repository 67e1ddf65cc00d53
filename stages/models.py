"""A fitted model: preprocessing and estimator together, and the folder that holds them.

models/model/ has
    preprocess.skops    the fitted preprocessing
    estimator.skops, model.cbm or estimator.pkl
    columns.json        the columns it takes (order, type, categories), the target and its labels
    recipe.json         the train section that made it
    versions.json       the libraries that made it
    manifest.json       the SHA-256 of each other file

Every file's SHA-256 is checked before any is loaded: a damaged CatBoost file
loads and predicts other numbers. A folder that a training script left has
another content under such a manifest; see `foreign`.
"""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stages.errors import UserError
from stages.files import as_json, put, replacing_folder
from stages.matrices import Matrix, Preparation
from stages.recipes import Recipe
from stages.tables import Column, Columns

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = Path("models/model")
Task = Literal["classification", "regression"]
Label = str | int | float

_SMALL = 1_000_000  # bytes of a preprocessing that is kept to be used again
_FORMAT = 1  # of the folder; a reader refuses what it does not know
_version = cache(version)  # to look one up takes 0.5 ms
_VERSIONED = ("catboost", "imbalanced-learn", "numpy", "pyarrow", "scikit-learn", "scipy", "skops")


class ModelError(UserError):
    """A model folder that cannot be used."""


@dataclass(frozen=True)
class Prepared:
    """Rows as an estimator takes them."""

    values: Any
    num_rows: int


@dataclass(frozen=True)
class Model:
    """A fitted model over tables: what it takes, what it gives, and how it was made."""

    preparation: Preparation
    target: Column
    task: Task
    labels: list[Label]  # sorted; empty for regression
    recipe: Recipe
    estimator: Any = field(repr=False)
    best_iteration: int | None = None

    @property
    def columns(self) -> Columns:
        """The columns it takes, in order."""
        return self.preparation.columns

    @property
    def outputs(self) -> list[str]:
        """Names of the columns that the estimator sees."""
        return self.preparation.outputs

    def prepared(self, rows: "Prepared | pa.Table") -> "Prepared":
        """Return rows as the estimator takes them, to be given to several of the methods below."""
        return rows if isinstance(rows, Prepared) else Prepared(self.preparation(rows), rows.num_rows)

    def predict(self, rows: "Prepared | pa.Table") -> "np.ndarray[Any, Any]":
        """Return the estimator's own predictions (rows,): labels, or float64."""
        taken = self.prepared(rows)
        values = np.asarray(self.estimator.predict(taken.values)).reshape(taken.num_rows)
        if self.task == "regression":
            return values.astype(np.float64)
        return np.asarray(self.labels)[values.astype(int)] if self.coded else values

    def probabilities(self, rows: "Prepared | pa.Table") -> Matrix | None:
        """Return a probability for each label (rows, labels); None where the estimator has none."""
        if self.task == "regression" or not hasattr(self.estimator, "predict_proba"):
            return None
        found = self.estimator.predict_proba(self.prepared(rows).values)
        return self._in_order(np.asarray(found, dtype=np.float64))

    def decision(self, rows: "Prepared | pa.Table") -> Matrix | None:
        """Return the decision function, (rows,) for two labels or (rows, labels); None where there is none."""
        if self.task == "regression" or not hasattr(self.estimator, "decision_function"):
            return None
        scores = np.asarray(self.estimator.decision_function(self.prepared(rows).values), dtype=np.float64)
        return self._in_order(scores) if scores.ndim == 2 else scores

    def _in_order(self, scores: Matrix) -> Matrix:
        """Return scores (rows, labels) in the order of `labels`: CatBoost puts '10' behind '9'."""
        classes = [str(label) for label in self.estimator.classes_]
        wanted = list(map(str, range(len(self.labels)) if self.coded else self.labels))
        if sorted(classes) != sorted(wanted):
            raise ModelError(f"the estimator's labels are {', '.join(classes)}, and the model's {', '.join(wanted)}")
        return scores if classes == wanted else scores[:, [classes.index(label) for label in wanted]]

    def importances(self) -> dict[str, float] | None:
        """Return a weight for each output: the estimator's importances, or the mean size of its coefficients."""
        weights = _weights(self.estimator)
        if weights is None:
            return None
        names, weights = self.preparation.arranged_names, np.asarray(weights, dtype=float).ravel()
        return dict(zip(names, weights.tolist(), strict=True)) if len(weights) == len(names) else None

    @property
    def coded(self) -> bool:
        """Whether the estimator knows its labels by number only, as XGBoost does."""
        return needs_codes(self.recipe.estimator)


def _weights(estimator: Any) -> Any:
    """Return the weights of an estimator's columns, by whichever name it has them."""
    if hasattr(estimator, "get_feature_importance"):  # CatBoost's, which survives loading
        return estimator.get_feature_importance()
    weights = getattr(estimator, "feature_importances_", None)
    # An SVC has coefficients for a linear kernel only.
    coefficients = getattr(estimator, "coef_", None) if weights is None else None
    return weights if coefficients is None else np.abs(np.atleast_2d(coefficients)).mean(axis=0)


def needs_codes(estimator: str) -> bool:
    """Return whether an estimator takes labels as numbers from 0 only."""
    return estimator.startswith("xgboost.")


def save(model: Model, folder: Path = FOLDER) -> None:
    """Write a model's folder, whole or not at all.

    Raises:
        UserError: the estimator has no safe form, and the recipe does not allow a pickle.
    """
    from stages import storing

    with replacing_folder(folder) as partial:
        contents = {
            "preprocess.skops": storing.as_skops(model.preparation.fitted),
            **_estimator_skops(model, partial),
            "columns.json": as_json(_columns(model)),
            "recipe.json": as_json(model.recipe.model_dump(mode="json", exclude_unset=True)),
        }
        _seal(partial, contents)


def seal(folder: Path, **more: Any) -> None:
    """Write the versions of the libraries, and last the manifest, of a model's folder that is complete otherwise."""
    _seal(folder, {}, **more)


def _seal(folder: Path, contents: Mapping[str, bytes], **more: Any) -> None:
    """Write files, the versions of the libraries, and last the manifest of these and all that is in the folder."""
    versions = {"python": platform.python_version()} | {name: _version(name) for name in _VERSIONED}
    digests = {name: _sha256(folder / name) for name in _files(folder)}
    for name, content in {**contents, "versions.json": as_json(versions)}.items():
        put(folder / name, content)
        digests[name] = hashlib.sha256(content).hexdigest()
    manifest = {"format": _FORMAT, **more, "sha256": dict(sorted(digests.items()))}
    put(folder / "manifest.json", as_json(manifest))


def by_script(folder: Path = FOLDER) -> bool:
    """Say whether a training script left the model, not `save`."""
    path = folder / "manifest.json"
    return path.exists() and '"kind": "script"' in path.read_text(encoding="utf-8")


def load(folder: Path = FOLDER, allow_pickle: bool | None = None) -> Model:
    """Return the model of a folder, every file's SHA-256 checked first.

    `allow_pickle` None goes by the recipe that stands in the folder, as is
    right for a trial of one's own; False refuses a pickle whatever it says.

    Raises:
        ModelError: the folder is missing, incomplete, damaged, or of another format.
    """
    digests = check(folder)
    if by_script(folder):
        raise ModelError(f"{folder} holds the model of a training script, which takes its own form of rows")
    columns = _json(folder / "columns.json")
    recipe = Recipe.model_validate(_json(folder / "recipe.json"))
    preparation = Preparation(
        columns=Columns(Column(c["name"], c["type"]) for c in columns["columns"]),
        categories={c["name"]: c["categories"] for c in columns["columns"] if "categories" in c},
        fitted=_preprocessing(folder / "preprocess.skops", digests["preprocess.skops"]),
        outputs=columns["outputs"],
        natives=columns["natives"],
    )
    return Model(
        preparation=preparation,
        target=Column(columns["target"]["name"], columns["target"]["type"], "target"),
        task=columns["task"],
        labels=columns["labels"],
        recipe=recipe,
        estimator=_load_estimator(folder, recipe, recipe.allow_pickle if allow_pickle is None else allow_pickle),
        best_iteration=columns["best_iteration"],
    )


def check(folder: Path = FOLDER) -> Mapping[str, str]:
    """Hold each file of a model's folder against the digest that training wrote, and return these.

    Raises:
        ModelError: see `load`.
    """
    if not (folder / "manifest.json").exists():
        raise ModelError(f"{folder} holds no model; `dvc repro train` makes it")
    manifest = _json(folder / "manifest.json")
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT or "sha256" not in manifest:
        raise ModelError(f"{folder}/manifest.json is not of a format that this version reads")
    present = set(_files(folder)) - {"manifest.json"}
    if present != manifest["sha256"].keys():
        odd = ", ".join(sorted(present ^ manifest["sha256"].keys()))
        raise ModelError(f"{folder} lacks a file of its manifest.json, or has one too many: {odd}")
    for name, expected in manifest["sha256"].items():
        if _sha256(folder / name) != expected:
            raise ModelError(f"{folder / name} is damaged: its SHA-256 is not the one that training wrote")
    digests: Mapping[str, str] = manifest["sha256"]
    return digests


def digest(folder: Path = FOLDER) -> str:
    """Return the SHA-256 of a model: of its manifest, which holds those of all other files."""
    return _sha256(folder / "manifest.json")


def listed(folder: Path = FOLDER) -> list[str]:
    """Return the paths of a model's files, its manifest too."""
    return [*_json(folder / "manifest.json")["sha256"], "manifest.json"]


def _files(folder: Path) -> list[str]:
    """Return the paths of all files below a folder, in order."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _estimator_skops(model: Model, folder: Path) -> dict[str, bytes]:
    """Return the estimator as a skops file; one that has another form is written to the folder."""
    from stages import storing

    if model.recipe.estimator.startswith("catboost."):
        storing.dump_catboost(model.estimator, folder / "model.cbm")
        return {}
    try:
        return {"estimator.skops": storing.as_skops(model.estimator)}
    except storing.Unsafe:
        if not model.recipe.allow_pickle:
            raise
        storing.dump_pickle(model.estimator, folder / "estimator.pkl")
        return {}


def _preprocessing(path: Path, digest: str) -> Any:
    """Return the fitted preprocessing of a file whose digest was checked."""
    from stages import storing

    return storing.load_skops(path) if path.stat().st_size > _SMALL else _shared(path, digest)


@lru_cache(4)
def _shared(path: Path, _digest: str) -> Any:
    """Return the same object for the same content: nothing changes it, and many trials have the one preprocessing."""
    from stages import storing

    return storing.load_skops(path)


def _load_estimator(folder: Path, recipe: Recipe, allow_pickle: bool) -> Any:
    """Return the estimator of a folder whose digests were checked."""
    from stages import estimators, storing

    if (folder / "model.cbm").exists():
        return storing.load_catboost(folder / "model.cbm", estimators.find(recipe.estimator))
    if (folder / "estimator.pkl").exists():
        return storing.load_pickle(folder / "estimator.pkl", allow_pickle)
    return storing.load_skops(folder / "estimator.skops")


def _columns(model: Model) -> dict[str, Any]:
    """Return the content of columns.json."""
    preparation = model.preparation
    columns: list[dict[str, Any]] = [{"name": c.name, "type": c.type} for c in preparation.columns]
    for column in columns:
        if column["name"] in preparation.categories:
            column["categories"] = preparation.categories[column["name"]]
    return {
        "columns": columns,
        "target": {"name": model.target.name, "type": model.target.type},
        "task": model.task,
        "labels": model.labels,
        "best_iteration": model.best_iteration,
        "outputs": preparation.outputs,
        "natives": preparation.natives,
    }


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
