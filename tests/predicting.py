"""What tests of batch prediction share: a CatBoost model of a table with all kinds of columns, and calls of it."""

import csv
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import Repo, make_repo
from tests.servers import CREDENTIALS

ROWS = 300
TAKEN = ["city", "since", "rooms", "size"]
Predict = Callable[..., str]

_MADE: dict[str, Repo] = {}  # once for all modules


def table(rows: int = ROWS, seed: int = 0) -> pa.Table:
    """Return a key, four features (city and size with gaps, size and since with many values), and a target."""
    drawn = np.random.RandomState(seed)
    city = np.array(["Bern", "Oslo", "Rome, Italy"], dtype=object)[drawn.randint(0, 3, rows)]
    city[drawn.uniform(size=rows) < 0.1] = None
    size = drawn.uniform(20, 200, rows).round(2)
    worth = size + 30 * (city == "Oslo") + drawn.uniform(0, 20, rows)
    size[drawn.uniform(size=rows) < 0.1] = np.nan
    days = drawn.randint(10_000, 20_000, rows).astype("datetime64[D]").astype("datetime64[us]")
    return pa.table({
        "id": [f"k{i:05}" for i in range(rows)],
        "city": pa.array(city, pa.string()),
        "since": pa.array(days, pa.timestamp("us")),
        "rooms": pa.array(drawn.randint(1, 7, rows), pa.int64()),
        "size": pa.array(size, pa.float64(), from_pandas=True),
        "price": pa.array(np.array(["high", "low", "mid"])[np.digitize(-worth, [-150, -80])], pa.string()),
    })  # fmt: skip


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A repository with a registered CatBoost classifier of such a table; for reading only."""
    if "mixed" not in _MADE:
        folder = tmp_path_factory.mktemp("mixed")
        repo = make_repo(folder / "repo", folder / "home")
        pq.write_table(table(), folder / "flats.parquet")
        repo.run("trialtree", "data", "add", str(folder / "flats.parquet"))
        repo.params({
            "experiment": "flats", "split": {"target": "price", "test": 0.2, "seed": 0, "key": "id"}, "sweep": ...,
            "train": {"estimator": "catboost.CatBoostClassifier", "hyperparameters": {"iterations": 20, "depth": 4}},
            "evaluate": {}, "register": {"name": "flats"},
            "fetch.types": {"city": "category"},
        })  # fmt: skip
        repo.dvc("repro", "-q")
        repo.commit("Run")
        _MADE["mixed"] = repo
    return _MADE["mixed"]


@pytest.fixture
def predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Predict:
    """Return a function that predicts in this process, as `trialtree predict` does in its own, in a temporary folder.

    It returns the last line; `say` is called with the others.
    """
    (tmp_path / "in").mkdir()

    def run(repo: Repo, *inputs: str, out: str, model: str = "flats", **options: Any) -> str:
        from trialtree.predicting import running
        from trialtree.predicting.asked import Asked

        monkeypatch.chdir(repo.path)
        for name in set(os.environ) - set(repo.env):
            monkeypatch.delenv(name)
        for name, value in {**repo.env, **CREDENTIALS, "no_proxy": "*"}.items():
            monkeypatch.setenv(name, value)
        say = options.pop("say", lambda _: None)
        return running.run(Asked(model, inputs, Path(out), tmp_path, **{"quiet": True, **options}), say)

    return run


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of an output."""
    return read(path).to_pylist()


def read(path: Path) -> pa.Table:
    """Return an output, CSV as text."""
    if path.suffix == ".parquet":
        return pq.read_table(path)
    if path.suffix == ".arrow":
        with pa.ipc.open_file(path) as file:
            return file.read_all()
    with path.open(newline="", encoding="utf-8") as file:
        return pa.Table.from_pylist(list(csv.DictReader(file)))


def by_mlflow(repo: Repo, path: Path, probabilities: bool = False, model: str = "flats") -> list[Any]:
    """Return what MLflow's pyfunc says of the rows of a Parquet file."""
    script = (
        "import json, sys, mlflow, pandas as pd\n"
        "from trialtree.tracking import stores\n"
        "mlflow.set_tracking_uri(stores.find().uri)\n"
        "frame = pd.read_parquet(sys.argv[1])\n"
        "loaded = mlflow.pyfunc.load_model(f'models:/{sys.argv[2]}/1')\n"
        "params = {'probabilities': True} if sys.argv[3] == 'True' else None\n"
        "found = loaded.predict(frame, params=params)\n"
        "print('FOUND', json.dumps(found.to_numpy().tolist() if params else list(found)))\n"
    )
    done = repo.run("python", "-c", script, str(path), model, str(probabilities), PYTHONPATH=str(repo.path))
    line = next(line for line in done.stdout.splitlines() if line.startswith("FOUND "))
    return list(json.loads(line.removeprefix("FOUND ")))


def parts(out: Path) -> Iterator[Path]:
    """Yield what is left of the parts of an output."""
    yield from out.parent.glob(f".{out.name}*")
