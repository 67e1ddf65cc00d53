"""The model of a training script becomes an MLflow model: the script's own files at its top, as they are.

A version of it loads by whatever flavor the script logged it with. What was
only saved as a file is described here so that MLflow loads it.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages import foreign, models, storing

if TYPE_CHECKING:
    from mlflow.models import Model

DATA = Path("data/model")  # in the package: all but what stands at its top
_JOBLIB = "trialtree_joblib"  # a module for what MLflow has no flavor for
_LOADER = '''"""Loads the joblib file beside MLmodel."""

import joblib


def _load_pyfunc(path):
    return joblib.load(path)
'''


def expected(model: Path) -> dict[str, int]:
    """Return the size of each file that a package has of a script's model, by its path in the package."""
    return {_packed(name, model).as_posix(): (model / name).stat().st_size for name in models.listed(model)}


def write(target: Path, model: Path, described: "Model") -> list[str]:
    """Write a script's model folder as an MLflow model into the folder `target`, and return the packages it needs.

    None are returned where the script's own MLflow model says which.

    Raises:
        Unscored: the script saved several files, and which one is the model is not certain.
    """
    for name in models.listed(model):
        place = target / _packed(name, model)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model / name, place)
    if (target / "MLmodel").exists():
        return []
    return _describe(target, foreign.single(model), described)


def whole(package: Path, folder: Path) -> Path:
    """Return the model folder of a version's files, put together again in the new folder `folder`."""
    shutil.copytree(package / DATA, folder)
    for name in models.listed(folder):
        place = folder / name
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(package / Path(*Path(name).parts[1:]), place)
    return folder


def _packed(name: str, model: Path) -> Path:
    """Return where a file of the model folder stands in the package: MLflow's at its top, else the one model."""
    top, inner = name.partition("/")[::2]
    if (model / foreign.MLFLOW).is_dir():
        return Path(inner) if top == foreign.MLFLOW else DATA / name
    return Path(inner) if top == foreign.FILES and model / name == foreign.single(model) else DATA / name


def _describe(target: Path, file: Path, described: "Model") -> list[str]:
    """Write the file by which MLflow knows a model that was saved as one file; return the packages that it needs."""
    import mlflow.pyfunc

    name = file.relative_to(next(parent for parent in file.parents if parent.name == foreign.FILES)).as_posix()
    more: dict[str, Any]
    if file.suffix == ".cbm":
        kind = type(storing.load_any_catboost(file)).__name__
        described.add_flavor("catboost", model_type=kind, save_format="cbm", data=name)
        loader, more, needed = "mlflow.catboost", {"data": name}, ["catboost"]
    elif file.suffix == ".joblib":
        (target / "code").mkdir()
        (target / f"code/{_JOBLIB}.py").write_text(_LOADER, encoding="utf-8")
        loader, more, needed = _JOBLIB, {"data": name, "code": "code"}, ["joblib"]
    else:
        form, types = ("skops", storing.trusted_types(file)) if file.suffix == ".skops" else ("pickle", None)
        described.add_flavor("sklearn", pickled_model=name, serialization_format=form, skops_trusted_types=types)
        loader, more, needed = "mlflow.sklearn", {"model_path": name, "predict_fn": "predict"}, ["skops"]
    mlflow.pyfunc.add_to_model(
        described, loader_module=loader, conda_env="conda.yaml", python_env="python_env.yaml", **more
    )
    described.save(target / "MLmodel")
    return ["mlflow", "numpy", "pandas", "scikit-learn", "scipy", *needed]
