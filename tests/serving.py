"""Models of many kinds, workers that answer by them, and clients that speak plainly."""

import datetime as dt
import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from stages import fitting, models, params
from stages.recipes import Recipe
from stages.tables import Column, Columns
from tests.conftest import PROJECT

JSON, CSV = "application/json", "text/csv"
STREAM, FILE, PARQUET = (
    "application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.file", "application/vnd.apache.parquet",
)  # fmt: skip
ROWS = 240
_DRAWN = np.random.RandomState(7)


def _gaps(values: Sequence[Any], every: int) -> list[Any]:
    return [None if i % every == 0 else value for i, value in enumerate(values)]


_WIDTH = _DRAWN.standard_normal(ROWS).round(4)
_SIZE = (10 * _DRAWN.standard_normal(ROWS)).round(3)
_FLOOR = _DRAWN.randint(-3, 9, ROWS)
_COLOUR = [("red", "green", "größe", 'a "b", c')[i] for i in _DRAWN.randint(0, 4, ROWS)]
_SCORE = _WIDTH + _SIZE / 10 + _FLOOR / 5
TABLE = pa.table({
    "width": _WIDTH, "depth": _DRAWN.standard_normal(ROWS).round(4), "size": pa.array(_gaps(_SIZE.tolist(), 7)),
    "floor": _FLOOR, "colour": pa.array(_gaps(_COLOUR, 11)),
    "sold": pa.array(_gaps([dt.datetime(2024, 1, 1, i % 24) + dt.timedelta(days=5 * i) for i in range(ROWS)], 13),
                     pa.timestamp("us")),
    "note": [f"note {i}" for i in _DRAWN.randint(0, 5, ROWS)],
    "p_x": _WIDTH * 3, "row": _FLOOR, " blank ": _SIZE, 'quo"te, ü\n2': _WIDTH - 1, "time": _WIDTH + 1,
    "good": np.where(_SCORE > 0, "yes", "no"), "kind": np.digitize(_SCORE, [-1, 1]) + 9, "price": _SCORE * 3 + 0.25,
})  # fmt: skip
_TYPES: dict[str, Any] = {
    "width": "number", "depth": "number", "size": "number", "floor": "integer", "colour": "category", "sold": "date",
    "note": "text", "p_x": "number", "row": "integer", " blank ": "number", 'quo"te, ü\n2': "number", "time": "number",
    "good": "category", "kind": "integer", "price": "number",
}  # fmt: skip
GAPS = ("size", "colour", "sold")
PLAIN = ("width", "depth", "time")
MIXED = ("width", "size", "floor", "colour", "sold", "note")
ODD = ("p_x", "row", " blank ", 'quo"te, ü\n2', "time")
_SCALED: dict[str, Any] = {"number": {"scale": "standard", "impute": "median"}, "text": {"encode": "onehot"}}
_NATIVE: dict[str, Any] = {"features": {"text": {"encode": "native"}}}
_ONE_HOT: dict[str, Any] = {"features": {"text": {"encode": "onehot"}}}
_FEW = {"iterations": 10}

# Of each kind: the columns, the target, the estimator, and more of the recipe.
KINDS: dict[str, tuple[tuple[str, ...], str, str, dict[str, Any]]] = {
    "catboost numbers": (PLAIN, "price", "catboost.CatBoostRegressor", {"hyperparameters": _FEW}),
    "catboost categories": (MIXED, "good", "catboost.CatBoostClassifier", {"hyperparameters": _FEW, **_NATIVE}),
    "catboost integers": (MIXED, "kind", "catboost.CatBoostClassifier", {"hyperparameters": _FEW, **_NATIVE}),
    "catboost scaled": (PLAIN, "price", "catboost.CatBoostRegressor",
                        {"hyperparameters": _FEW, "features": {"number": {"scale": "standard"}}}),
    "pipeline": (MIXED, "good", "sklearn.linear_model.LogisticRegression", {"features": _SCALED}),
    "integers": (MIXED, "kind", "sklearn.linear_model.LogisticRegression", {"features": _SCALED}),
    "calibrated": (PLAIN, "good", "sklearn.svm.SVC", {"calibrate": True}),
    "svc": (PLAIN, "good", "sklearn.svm.SVC", {}),
    "linear": (MIXED, "price", "sklearn.linear_model.LinearRegression", {"features": _SCALED}),
    "ridge": (MIXED, "price", "sklearn.linear_model.Ridge",
              {"features": {"category": {"encode": "target"}, "text": {"encode": "ordinal"}}}),
    "knn": (PLAIN, "price", "sklearn.neighbors.KNeighborsRegressor", {}),
    "mlp": (PLAIN, "good", "sklearn.neural_network.MLPClassifier", {"hyperparameters": {"max_iter": 30}}),
    "forest": (MIXED, "good", "sklearn.ensemble.RandomForestClassifier",
               {"hyperparameters": {"n_estimators": 7}, **_ONE_HOT}),
    "boosting": (MIXED, "price", "sklearn.ensemble.HistGradientBoostingRegressor",
                 {"hyperparameters": {"max_iter": 7}, **_ONE_HOT}),
    "components": (PLAIN, "price", "sklearn.linear_model.LinearRegression", {"features": {"pca": 2}}),
    "one column": (("width",), "good", "sklearn.linear_model.LogisticRegression", {}),
    "one text": (("note",), "good", "sklearn.linear_model.LogisticRegression", {"features": _SCALED}),
    "odd names": (ODD, "price", "sklearn.linear_model.LinearRegression", {}),
}  # fmt: skip


def saved(kind: str, folder: Path, **recipe: Any) -> Path:
    """Fit a model of a kind, and return the folder that holds it."""
    names, target, estimator, more = KINDS[kind]
    columns = Columns([*(Column(name, _TYPES[name]) for name in names), Column(target, _TYPES[target], "target")])
    section = params.parse("train", {"estimator": estimator, **more, **recipe}, Recipe)
    made = folder / kind.replace(" ", "-")
    models.save(fitting.fit(section, columns, TABLE).model, made)
    return made


def rows_of(kind: str, rows: int = ROWS, table: pa.Table = TABLE) -> pa.Table:
    """Return rows of the columns that a kind of model takes."""
    found = table.select(KINDS[kind][0])
    times = -(-rows // found.num_rows)
    return pa.concat_tables([found] * times).slice(0, rows).combine_chunks()


def plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    return value.isoformat() if isinstance(value, dt.datetime) else value


def as_records(table: pa.Table) -> list[dict[str, Any]]:
    return [{k: plain(v) for k, v in row.items()} for row in table.to_pylist()]


def as_lists(table: pa.Table) -> list[list[Any]]:
    return [list(row.values()) for row in as_records(table)]


def as_split(table: pa.Table) -> dict[str, Any]:
    return {"columns": table.column_names, "data": as_lists(table)}


def as_csv(table: pa.Table, header: bool = True) -> bytes:
    """Return CSV as Python writes it."""
    import csv
    import io

    text = io.StringIO(newline="")
    writer = csv.writer(text)
    if header:
        writer.writerow(table.column_names)
    writer.writerows(as_lists(table))
    return text.getvalue().encode()


def as_table(table: pa.Table, media: str, **options: Any) -> bytes:
    """Return Arrow or Parquet."""
    sink = pa.BufferOutputStream()
    if media == PARQUET:
        pq.write_table(table, sink, **options)
    else:
        new = pa.ipc.new_stream if media == STREAM else pa.ipc.new_file
        with new(sink, table.schema, **options) as writer:
            writer.write_table(table)
    return sink.getvalue().to_pybytes()


def read_table(body: bytes, media: str) -> pa.Table:
    if media == PARQUET:
        return pq.read_table(pa.BufferReader(body))
    with (pa.ipc.open_stream if media == STREAM else pa.ipc.open_file)(body) as reader:
        return reader.read_all()


def planned(folder: Path, name: str = "model", version: str = "1", **more: Any) -> dict[str, Any]:
    """Return what a plan says of a model."""
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    return {"name": name, "version": version, "alias": None, "folder": str(folder), "digest": digest,
            "gaps": [name for name in GAPS if name in (folder / "columns.json").read_text(encoding="utf-8")],
            **more}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]  # names in small letters
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection that is kept."""

    def __init__(self, port: int) -> None:
        self.connection = HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(
        self, path: str, body: Any = None, media: str | None = JSON, method: str | None = None, **headers: str
    ) -> Answer:
        """POST a body, JSON where it is no bytes, or GET where there is none."""
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if media is not None and content is not None:
            sent["content-type"] = media
        try:
            self.connection.request(method or ("GET" if body is None else "POST"), path, content, sent)
            response = self.connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        except BaseException:  # so that the next request has a connection of its own
            self.close()
            raise

    def close(self) -> None:
        self.connection.close()


class Worker:
    """A worker of an endpoint, and this test its parent."""

    def __init__(self, log: Path, listen: socket.socket, **settings: Any) -> None:
        self.log, self.port = log, listen.getsockname()[1]
        self.control, theirs = socket.socketpair()
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "trialtree.serving.worker", "--control", str(theirs.fileno()), "--listen",
                 str(listen.fileno())],
                cwd=PROJECT, pass_fds=[theirs.fileno(), listen.fileno()], stderr=settings.pop("stderr", stderr),
                env={k: v for k, v in os.environ.items() if k != "PROMETHEUS_MULTIPROC_DIR"},
            )  # fmt: skip
        theirs.close()
        self.control.settimeout(60)
        self.lines = self.control.makefile("rb")
        self.settings = {"name": "test", **settings}
        self.generation = 0
        self.client = Client(self.port)
        self.ask = self.client.ask

    def tell(self, what: str, *served: Mapping[str, Any], name: str = "model", **more: Any) -> dict[str, Any]:
        """Tell it a plan, and return what it says."""
        self.generation += 1
        plan = {"generation": self.generation, "name": name, "models": served}
        self.say({"do": what, "plan": plan, **more})
        return self.said()

    def say(self, told: Any) -> None:
        self.control.sendall(json.dumps(told).encode() + b"\n")

    def said(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.lines.readline() or b'{"said": "nothing"}')
        return found

    @property
    def alive(self) -> bool:
        return self.process.poll() is None and self.ask("/live").status == 200

    @property
    def megabytes(self) -> float:
        """The memory that it holds."""
        return psutil.Process(self.process.pid).memory_info().rss / 1e6

    def events(self) -> list[dict[str, Any]]:
        """Return what it logged."""
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]

    def end(self) -> int:
        """Let the parent go, and return with what status the worker ends."""
        self.client.close()
        self.lines.close()
        self.control.close()
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()

    def raw(self, sent: bytes, seconds: float = 10) -> bytes:
        """Send bytes over a connection of their own, and return all that comes until its end."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            connection.sendall(sent)
            return to_end(connection)


def to_end(connection: socket.socket) -> bytes:
    """Return all that comes over a connection until it is closed."""
    found = b""
    try:
        while part := connection.recv(2**16):
            found += part
    except ConnectionResetError:
        pass
    return found


@contextmanager
def started(log: Path, *served: Mapping[str, Any], name: str = "model", **settings: Any) -> Iterator[Worker]:
    """Run a worker that is ready."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listen:
        worker = Worker(log, listen, **settings)
        try:
            said = worker.tell("start", *served, name=name, settings=worker.settings)
            assert said["said"] == "ready", said
            yield worker
        finally:
            worker.end()


def expected(folder: Path, table: pa.Table, probabilities: bool = False) -> list[Any]:
    """Return what the model itself predicts."""
    model = models.load(folder)
    found = model.probabilities(table) if probabilities else model.predict(table)
    assert found is not None
    listed: list[Any] = found.tolist()
    return listed


def close(ours: Sequence[Any], theirs: Sequence[Any]) -> bool:
    """Whether predictions are equal: labels exactly, numbers to 1e-12."""
    if theirs and isinstance(theirs[0], str):
        return list(ours) == list(theirs)
    return np.shape(ours) == np.shape(theirs) and bool(np.allclose(ours, theirs, rtol=1e-12, atol=1e-12))
