"""A model's folder loaded for prediction alone: digests checked, no code of the folder's run, few imports.

Only the repository's own modules and its fixed list of types are used, never
the copies or lists that lie beside a registered model.
"""

import json
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from stages import estimators, models, storing
from stages.matrices import Matrix, Preparation
from stages.models import Model, ModelError
from stages.recipes import Recipe
from stages.steps import Steps
from stages.tables import Column, Columns
from trialtree.serving import light

# What CatBoost and scikit-learn import where it is there, and prediction from a matrix never uses: 60 MB, 0.5 s.
_UNUSED = ("matplotlib", "pandas", "plotly")


@dataclass(frozen=True)
class Passed:
    """The preprocessing of a model that takes columns as they are, in its own order."""

    places: tuple[int, ...]

    def transform(self, values: Matrix) -> Matrix:
        """Return the columns (rows, columns) in the model's order."""
        return values if self.places == tuple(range(values.shape[1])) else values[:, list(self.places)]


def load(folder: Path, digest: str | None = None, allow_pickle: bool = False) -> Model:
    """Return the model of a folder; `digest` is the one that the registry has of it.

    Raises:
        UserError: the folder is damaged, another model's, or a pickle that is not allowed.
    """
    if not (folder / "manifest.json").is_file():
        raise ModelError(f"{folder} holds no model")
    if digest is not None and models.digest(folder) != digest:
        raise ModelError(f"{folder} holds another model than was registered: its SHA-256 differs")
    lean = _estimator(folder).startswith(("catboost.", "sklearn."))
    if not lean:
        light.show()
    with without(_UNUSED if lean else ()):
        places = passed(folder / "preprocess.skops") if (folder / "model.cbm").exists() else None
        if places is not None:
            model = _passing(folder, places)
            _settle_catboost()
            return model
        model = models.load(folder, allow_pickle=allow_pickle)
        _settle_catboost()
        return _stepwise(model)


def _estimator(folder: Path) -> str:
    """Return the class that a model is said to be of, before anything is checked; "" where nothing is said."""
    try:
        return str(json.loads((folder / "recipe.json").read_bytes())["estimator"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def passed(path: Path) -> tuple[int, ...] | None:
    """Return the places that a stored preprocessing passes on; None where it does anything to them."""
    try:
        with zipfile.ZipFile(path) as archive:
            node = json.loads(archive.read("schema.json"))
        content = node["content"]["content"]
        if node["__class__"] != "ColumnTransformer" or content["remainder"]["content"] != '"drop"':
            return None
        found: list[int] = []
        for group in content["transformers"]["content"]:
            _, steps, places = group["content"]
            if steps.get("content") != '"passthrough"':
                return None
            found += [json.loads(place["content"]) for place in places["content"]]
        return tuple(found) if all(type(place) is int for place in found) else None
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None


def _passing(folder: Path, places: Sequence[int]) -> Model:
    """Return a CatBoost model without preprocessing; scikit-learn and skops are not imported."""
    models.check(folder)
    columns = json.loads((folder / "columns.json").read_text(encoding="utf-8"))
    recipe = Recipe.model_validate_json((folder / "recipe.json").read_bytes())
    preparation = Preparation(
        columns=Columns(Column(c["name"], c["type"]) for c in columns["columns"]),
        categories={c["name"]: c["categories"] for c in columns["columns"] if "categories" in c},
        fitted=Passed(tuple(places)),
        outputs=columns["outputs"],
        natives=columns["natives"],
    )
    target = columns["target"]
    return Model(
        preparation=preparation,
        target=Column(target["name"], target["type"], "target"),
        task=columns["task"],
        labels=columns["labels"],
        recipe=recipe,
        estimator=storing.load_catboost(folder / "model.cbm", estimators.find(recipe.estimator)),
        best_iteration=columns["best_iteration"],
    )


def _stepwise(model: Model) -> Model:
    """Return a model whose ColumnTransformer is its steps alone: the same figures in a fifth of the time."""
    fitted = model.preparation.fitted
    if type(fitted).__name__ != "ColumnTransformer" or fitted.transformer_weights or fitted.remainder != "drop":
        return model
    parts = []
    for name, steps, places in fitted.transformers_:
        if name == "remainder":
            continue
        passing = type(steps).__name__ == "FunctionTransformer" and steps.func is None
        if not passing and type(steps).__name__ != "Pipeline" and steps != "passthrough":
            return model
        parts.append((name, "passthrough" if passing else steps, places))
    return replace(model, preparation=replace(model.preparation, fitted=Steps(parts)))


def _settle_catboost() -> None:
    """Give CatBoost's C code, where pandas was hidden, the stand-in that its Python code has for such a case."""
    core, native = sys.modules.get("catboost.core"), sys.modules.get("_catboost")
    if core is not None and native is not None and getattr(native, "pd", core) is None:
        native.pd = core.pd  # type: ignore[attr-defined]  # C code


@contextmanager
def without(names: Sequence[str]) -> Iterator[None]:
    """Let imports in the block find none of these packages, where nothing has imported them yet."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # how Python is told that there is none
    try:
        yield
    finally:
        for name in hidden:
            if sys.modules.get(name) is None:
                del sys.modules[name]
