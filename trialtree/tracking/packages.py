"""A model folder becomes an MLflow model that needs neither the repository nor trialtree.

It holds the folder as it is, the modules of stages/ that predict with it, a
signature, a few rows to try it with, and the exact libraries. No pickle, no
cloudpickle.
"""

import hashlib
import json
import math
import platform
import re
import shutil
import zipfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages import models, tables
from stages.tables import Column
from trialtree import modules
from trialtree.tracking import scripted

if TYPE_CHECKING:
    from mlflow.models import Model

_ROOT = "pyfunc"  # the module of stages/ that MLflow loads
_DATA = "data/model"  # the model's folder in the package
_LOCK = Path("requirements.lock")
_EXAMPLE_ROWS = 5
_NEEDED = ("mlflow", "numpy", "pandas", "pyarrow", "pydantic", "scikit-learn", "scipy", "skops")
# Packages whose classes a model may hold, and how they are called where they are installed from.
_DISTRIBUTIONS = {"catboost": "catboost", "imblearn": "imbalanced-learn", "xgboost": "xgboost",
                  "lightgbm": "lightgbm", "skorch": "skorch"}  # fmt: skip


def write(target: Path, model: Path, run_id: str, model_id: str) -> None:
    """Write the package of the model folder `model` into the folder `target`.

    Raises:
        ModelError: the model is damaged.
    """
    from mlflow.models import Model

    models.check(model)
    if models.by_script(model):
        needed = scripted.write(target, model, Model(run_id=run_id, model_id=model_id))
        if needed:
            _write_environment(target, [f"{name}=={_running(name)}" for name in sorted(needed)])
        return
    shutil.copytree(model, target / _DATA, copy_function=shutil.copyfile)
    columns = json.loads((model / "columns.json").read_text(encoding="utf-8"))
    recipe = json.loads((model / "recipe.json").read_text(encoding="utf-8"))
    gaps = _with_gaps()
    loader = _write_code(target / "code", classes(model, recipe["estimator"]))
    _write_environment(target, requirements(model, recipe["estimator"]))
    example = _write_example(target, columns)
    described = Model(
        run_id=run_id, model_id=model_id, signature=signature(columns, gaps), saved_input_example_info=example
    )
    _write_mlmodel(target, loader, described)


def signature(columns: dict[str, Any], gaps: set[str]) -> Any:
    """Return the MLflow signature of a model's columns.json; a column with gaps may be left out.

    An integer with gaps is a double: a frame has no other way to hold it.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    kinds = {"integer": "long", "number": "double", "category": "string", "text": "string", "date": "datetime"}
    inputs = [
        ColSpec(
            "double" if c["type"] == "integer" and c["name"] in gaps else kinds[c["type"]],
            c["name"],
            required=c["name"] not in gaps,
        )
        for c in columns["columns"]
    ]
    if columns["task"] == "regression":
        return ModelSignature(Schema(inputs), Schema([ColSpec("double")]))
    answers = ParamSchema([ParamSpec("probabilities", "boolean", False)])
    return ModelSignature(Schema(inputs), Schema([ColSpec(kinds[columns["target"]["type"]])]), answers)


def requirements(model: Path, estimator: str) -> list[str]:
    """Return the exact versions of the libraries that prediction needs: those that made the model, then the lock's."""
    made = json.loads((model / "versions.json").read_text(encoding="utf-8"))
    lock = _LOCK.read_text(encoding="utf-8") if _LOCK.exists() else ""
    locked = dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock, re.MULTILINE))
    named = {name.partition(".")[0] for name in classes(model, estimator)}
    names = {*_NEEDED, *(_DISTRIBUTIONS[name] for name in named if name in _DISTRIBUTIONS)}
    return [f"{name}=={made.get(name) or _running(name) or locked[name]}" for name in sorted(names)]


def _running(name: str) -> str | None:
    """Return the version of a distribution in this environment, which is the lock's."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def classes(model: Path, estimator: str) -> set[str]:
    """Return the modules of the classes that a model holds: its estimator's, and those that its skops files name."""
    found = {estimator.rpartition(".")[0]}
    for path in model.glob("*.skops"):
        with zipfile.ZipFile(path) as archive:
            schema = archive.read("schema.json").decode()
        found |= set(re.findall(r'"__module__":\s*"([\w.]+)"', schema))
    return found


def _with_gaps() -> set[str]:
    """Return the columns of the raw table that have gaps; all where nothing is known."""
    path = Path("reports/data.json")
    columns = json.loads(path.read_text(encoding="utf-8"))["by_column"] if path.exists() else []
    return {column["name"] for column in columns if column["missing"]}


def _write_code(target: Path, classes: Iterable[str]) -> str:
    """Copy the modules that predict under a package name of their own, and return the loader's name.

    The name holds a digest of the code: two versions in one process share
    equal code and never get each other's.
    """
    own = [name.split(".")[1] for name in classes if name.startswith("stages.")]
    needed = {path for name in (_ROOT, *own) for path in modules.needed(name)}
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(needed)}
    texts["__init__.py"] = '"""The modules of the repository that predict with the model beside them."""\n'
    digest = hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()
    package = f"trialtree_model_{digest[:16]}"
    folder = target / package
    folder.mkdir(parents=True)
    for name, text in texts.items():
        renamed = re.sub(r"^(\s*)from stages(?=[. ])", rf"\1from {package}", text, flags=re.MULTILINE)
        (folder / name).write_text(renamed, encoding="utf-8")
    return f"{package}.{_ROOT}"


def _write_environment(target: Path, lines: list[str]) -> None:
    """Write requirements.txt, and the two files by which MLflow makes environments of it."""
    python = platform.python_version()
    pip = f"pip=={_running('pip')}" if _running("pip") else "pip"
    (target / "requirements.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    # JSON is YAML.
    conda = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", pip, {"pip": lines}],
    }
    virtual = {"python": python, "build_dependencies": [pip], "dependencies": ["-r requirements.txt"]}
    for name, content in (("conda.yaml", conda), ("python_env.yaml", virtual)):
        (target / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _write_example(target: Path, columns: dict[str, Any]) -> dict[str, Any]:
    """Write the first rows of the test part as MLflow's input example, and return what MLmodel says of it."""
    rows = _first_rows([Column(c["name"], c["type"]) for c in columns["columns"]])
    names = [c["name"] for c in columns["columns"]]
    data = [[_plain(row[name]) for name in names] for row in rows]
    split = {"columns": names, "data": data}
    (target / "input_example.json").write_text(json.dumps(split, ensure_ascii=False), encoding="utf-8")
    served = {"dataframe_split": split}
    (target / "serving_input_example.json").write_text(json.dumps(served, ensure_ascii=False), encoding="utf-8")
    return {
        "artifact_path": "input_example.json",
        "type": "dataframe",
        "pandas_orient": "split",
        "serving_input_path": "serving_input_example.json",
    }


def _first_rows(columns: list[Column]) -> list[dict[str, Any]]:
    """Return the first rows of the test part, without reading all of it where it is Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = tables.part_files("test")
    if not files or files[0].suffix != ".parquet":
        rows: list[dict[str, Any]] = tables.read_part("test", columns).slice(0, _EXAMPLE_ROWS).to_pylist()
        return rows
    names = [c.name for c in columns]
    with pq.ParquetFile(files[0]) as file:
        first = next(file.iter_batches(batch_size=_EXAMPLE_ROWS, columns=names), None)
    table = pa.Table.from_batches([first]) if first is not None else pa.table({n: [] for n in names})
    rows = table.select(names).to_pylist()
    return rows  # noqa: RET504  # its type


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: dates as ISO 8601; NaN and infinity as gaps."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_mlmodel(target: Path, loader: str, described: "Model") -> None:
    """Write the file by which MLflow knows the model."""
    import mlflow.pyfunc

    mlflow.pyfunc.add_to_model(
        described,
        loader_module=loader,
        data=_DATA,
        code="code",
        conda_env="conda.yaml",
        python_env="python_env.yaml",
    )
    described.model_size_bytes = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    described.save(target / "MLmodel")
