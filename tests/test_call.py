"""`trialtree call`: a table goes to a real endpoint, and comes back predicted; faults are one line."""

import io
import json
import re
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from stages import scores
from stages.errors import UserError
from stages.files import write
from tests.conftest import Repo
from tests.serving import (
    FILE,
    STREAM,
    TABLE,
    Client,
    Worker,
    as_csv,
    as_table,
    expected,
    planned,
    rows_of,
    saved,
    started,
)  # fmt: skip
from trialtree.calling import comparing, connection, telling
from trialtree.calling.asked import Asked, CallError
from trialtree.calling.described import Described
from trialtree.calling.sending import Answered

KEY = "a-key-of-forty-letters-0123456789abcdefgh"
Call = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("call")


@contextmanager
def serving(folder: Path, kind: str, **settings: Any) -> Iterator[Worker]:
    made = folder / kind.replace(" ", "-")
    if not made.exists():
        saved(kind, folder)
    with started(folder / "log", planned(made, name="houses"), name="houses", **settings) as worker:
        yield worker


@pytest.fixture(scope="module")
def linear(folder: Path) -> Iterator[Worker]:
    """A regression on numbers, integers, dates, categories and texts, with gaps."""
    with serving(folder, "linear") as worker:
        yield worker


@pytest.fixture(scope="module")
def yes_or_no(folder: Path) -> Iterator[Worker]:
    """A classification with probabilities."""
    with serving(folder, "pipeline") as worker:
        yield worker


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Call as the command line does, and return what is printed, beside it what is said; waits are short."""
    monkeypatch.setattr(connection, "_PAUSES", (0.0, 0.0, 0.0, 0.0))
    monkeypatch.delenv("TRIALTREE_KEY", raising=False)

    def run(at: Worker | str, table: str | Path, **options: Any) -> str:
        url = at if isinstance(at, str) else f"http://127.0.0.1:{at.port}"
        telling.call(Asked(url, str(table), tmp_path, **options), lambda line: print(f"note: {line}"))
        printed = capsys.readouterr().out
        return re.sub(r"in [\d.]+ s, [\d,]+ rows/s", "in a moment", re.sub(r" +\n", "\n", printed))

    return run


def refused(call: Call, *args: Any, **options: Any) -> str:
    """Return the one line that a call ends with."""
    with pytest.raises(UserError) as raised:
        call(*args, **options)
    line = str(raised.value)
    assert "\n" not in line
    assert KEY not in line
    return line


def written(path: Path, table: pa.Table) -> Path:
    """Write a table as its file's suffix says."""
    if path.suffix == ".csv":
        write(path, as_csv(table))
    elif path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        write(path, as_table(table, FILE if path.suffix == ".arrow" else STREAM))
    return path


HOUSES = TABLE.select(["width", "size", "floor", "colour", "sold", "note", "price", "good"])


@pytest.mark.parametrize("name", ["houses.csv", "houses.parquet", "houses.arrow", "houses.arrows"])
def test_every_row_is_predicted_the_last_one_too(linear: Worker, call: Call, tmp_path: Path, name: str) -> None:
    table = written(tmp_path / name, HOUSES)
    predicted = expected(linear.log.parent / "linear", rows_of("linear"))
    for batch in (1, 7, 1000):
        said = call(linear, table, batch=batch, rows=0, out=tmp_path / "out.parquet")
        assert said == f"written to out.parquet\n240 rows of {table} in a moment: houses/1\n"
        found = pq.read_table(tmp_path / "out.parquet")
        assert found.column_names == ["row", "price", "good", "predicted"]
        assert found.column("row").to_pylist() == list(range(240))
        assert found.column("predicted").to_pylist() == predicted


def test_standard_input_is_a_table_too(
    linear: Worker, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Piped:
        buffer = io.BytesIO(as_csv(HOUSES.slice(0, 3)))

    monkeypatch.setattr("sys.stdin", Piped)
    said = call(linear, "-", compare="price")
    assert said.splitlines()[0].split() == ["row", "price", "predicted"]
    table = written(tmp_path / "houses.csv", HOUSES.slice(0, 3))
    assert said == call(linear, table, compare="price").replace(str(table), "standard input")
    Piped.buffer = io.BytesIO()
    assert refused(call, linear, "-") == "standard input: is empty"


def test_the_error_is_that_of_the_metrics(linear: Worker, folder: Path, call: Call, tmp_path: Path) -> None:
    table = written(tmp_path / "houses.parquet", HOUSES)
    said = dict(line.split() for line in call(linear, table, compare="price", rows=0).splitlines()[:-1])
    predicted = np.array(expected(folder / "linear", rows_of("linear")))
    rows = scores.Predicted(HOUSES.column("price").to_numpy(), predicted)
    ours, _ = scores.score(rows, ("ae_p10", "ae_p50", "ae_p90", "mae", "rmse", "r2"), "test")
    assert said == {name: f"{value:.6g}" for name, value in ours.items()}


def test_labels_are_compared_and_probabilities_shown(
    yes_or_no: Worker, folder: Path, call: Call, tmp_path: Path
) -> None:
    table = written(tmp_path / "houses.csv", HOUSES)
    out = tmp_path / "out.csv"
    said = call(yes_or_no, table, probabilities=True, compare="good", rows=1, out=out).splitlines()
    first = expected(folder / "pipeline", rows_of("pipeline"), probabilities=True)[0]
    label = expected(folder / "pipeline", rows_of("pipeline"))[0]
    assert said[0].split() == ["row", "good", "predicted", "p_no", "p_yes"]
    assert said[1].split() == ["0", HOUSES.column("good")[0].as_py(), label, *(f"{each:.6g}" for each in first)]
    assert said[2] == "… and 239 more"
    assert [line.split()[0] for line in said[3:-2]] == [*scores.CLASSES, *scores.TWO_CLASSES]
    found = csv.read_csv(out)
    assert found.column_names == ["row", "price", "good", "predicted", "p_no", "p_yes"]
    assert found.column("predicted").to_pylist() == expected(folder / "pipeline", rows_of("pipeline"))
    without = call(yes_or_no, table, compare="good", rows=0).splitlines()
    assert [line.split()[0] for line in without[:-1]] == [
        "accuracy", "balanced_accuracy", "precision_macro", "recall_macro", "f1_macro", "mcc", "precision", "recall",
        "f1",
    ]  # fmt: skip
    assert set(without) < set(call(yes_or_no, table, compare="good", rows=0, probabilities=True).splitlines())


def test_a_label_may_be_a_number(folder: Path, call: Call, tmp_path: Path) -> None:
    with serving(folder, "integers") as worker:
        kinds = HOUSES.append_column("kind", TABLE.column("kind"))
        table = written(tmp_path / "houses.csv", kinds)
        plain = call(worker, table, compare="kind", rows=2)
        probable = call(worker, table, compare="kind", rows=2, probabilities=True)
        assert plain.splitlines()[1].split()[-1] == str(expected(folder / "integers", rows_of("integers"))[0])
        assert set(plain.splitlines()[3:]) < set(probable.splitlines())
        assert probable.splitlines()[0].split() == ["row", "kind", "predicted", "p_9", "p_10", "p_11"]
        rest = written(tmp_path / "odd.csv", HOUSES.append_column("kind", pa.array(["many"] * 240)))
        label = expected(folder / "integers", rows_of("integers"))[0]
        assert refused(call, worker, rest, compare="kind") == (
            f"--compare kind: row 0: must be a label like {label}, got 'many'"
        )


TRUE = pa.array([True, False, True])


@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize("values", [TRUE, TRUE.cast(pa.string()), pa.array(["True", "False", "TRUE"])], ids=str)
def test_a_boolean_target_is_compared_by_its_labels(values: pa.Array, probabilities: bool) -> None:
    found, notes = comparing.metrics(answered(values, ["true"] * 3, ["false", "true"], probabilities), "y")
    assert found["accuracy"] == 2 / 3
    assert not notes


def test_a_column_without_a_label_of_the_model_is_not_compared() -> None:
    values = pa.array(["No", "maybe", "x"])
    assert comparing.metrics(answered(values, ["no"] * 3, ["no", "yes"], True), "y")[0]["accuracy"] == 1 / 3
    with pytest.raises(CallError) as raised:
        comparing.metrics(answered(values.slice(1), ["no"] * 2, ["no", "yes"], True), "y")
    assert str(raised.value) == "--compare y: holds no label of the model (no, yes): 'maybe'"
    # Without probabilities a label that was not predicted may still be one.
    found, notes = comparing.metrics(answered(values.slice(1), ["no"] * 2, ["no", "yes"], False), "y")
    assert found["accuracy"] == 0
    assert notes[0] == "y holds no label that was predicted: 'maybe'"


def answered(values: pa.Array, predicted: list[str], labels: list[str], probabilities: bool) -> Answered:
    """Return an answer of a classification for a table of the column y."""
    said = np.array([[label == each for label in labels] for each in predicted], dtype=np.float64)
    return Answered(
        Described("houses", "y", (), str, classification=True), "t.csv", pa.table({"y": values}), np.array(predicted),
        said if probabilities else None, labels if probabilities else [], [], Counter(), 0.0,
    )  # fmt: skip


def test_a_table_that_may_have_gaps_may_lack_the_column(linear: Worker, call: Call, tmp_path: Path) -> None:
    table = written(tmp_path / "houses.csv", HOUSES.drop_columns(["size", "sold"]).slice(0, 2))
    said = call(linear, table, rows=0)
    assert said == f"note: {table} has no size, sold: sent as gaps\n2 rows of {table} in a moment: houses/1\n"
    other = written(tmp_path / "other.csv", HOUSES.select(["size", "note"]))
    assert refused(call, linear, other) == (
        f"{other}: has no column 'width' (and 1 more), which houses takes; it has: size, note"
    )


def test_a_bad_cell_is_named_by_its_row_in_the_whole_table(linear: Worker, call: Call, tmp_path: Path) -> None:
    widths: list[Any] = HOUSES.column("width").to_pylist()
    widths[33], widths[35], widths[200] = "wide", "", "inf"
    table = written(tmp_path / "houses.csv", HOUSES.set_column(0, "width", pa.array([str(width) for width in widths])))
    for batch, more in ((10, " (and 1 more)"), (35, ""), (1000, " (and 2 more)")):
        line = f"{table}: row 33, column 'width': must be a number, got text 'wide'{more}"
        assert refused(call, linear, table, batch=batch) == line
    infinite = HOUSES.set_column(0, "width", pa.array([float("inf") if i == 7 else 1.0 for i in range(240)]))
    table = written(tmp_path / "houses.parquet", infinite)
    assert "row 7, column 'width': must be a number, got text 'inf'" in refused(call, linear, table, batch=5)


def test_a_table_without_rows_or_one_that_is_none_is_refused(linear: Worker, call: Call, tmp_path: Path) -> None:
    for suffix in (".csv", ".parquet"):
        empty = written(tmp_path / f"empty{suffix}", HOUSES.slice(0, 0))
        assert refused(call, linear, empty) == f"{empty}: has no row"
    assert refused(call, linear, tmp_path / "no.csv") == f"there is no file '{tmp_path / 'no.csv'}'"
    ragged = tmp_path / "ragged.csv"
    ragged.write_bytes(as_csv(HOUSES.slice(0, 3)) + b"1,2\n")
    assert refused(call, linear, ragged) == f"{ragged}: row 3: has 2 cells, and the header 8"
    table = written(tmp_path / "houses.csv", HOUSES)
    assert refused(call, linear, table, compare="prize") == (
        f"--compare: {table} has no column 'prize'; it has: {', '.join(HOUSES.column_names)}"
    )
    assert refused(call, linear, table, out=tmp_path / "out.txt") == "--out: must end in .csv or .parquet, got out.txt"


def test_a_column_that_the_output_has_too_is_refused(linear: Worker, call: Call, tmp_path: Path) -> None:
    table = written(tmp_path / "houses.csv", HOUSES.append_column("predicted", HOUSES.column("price")).slice(0, 2))
    assert "2 rows of" in call(linear, table)
    line = f"{table}: has a column 'predicted', and so has what is printed; rename it"
    assert refused(call, linear, table, out=tmp_path / "out.csv") == line
    assert refused(call, linear, table, compare="predicted") == line


def test_a_key_in_plain_sight_is_warned_of(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(KEY, encoding="utf-8")
    shown = {
        url: connection.Connection.of(Asked(url, "x.csv", tmp_path, key_file=key)).shows_key
        for url in ("http://127.0.0.1:1", "http://houses.example:80", "https://houses.example")
    }
    assert shown == {
        "http://127.0.0.1:1": False, "http://houses.example:80": True, "https://houses.example": False,
    }  # fmt: skip


def test_rows_without_the_target_are_predicted_and_not_compared(linear: Worker, call: Call, tmp_path: Path) -> None:
    prices: list[Any] = HOUSES.column("price").to_pylist()
    prices[0] = prices[1] = None
    table = written(tmp_path / "houses.csv", HOUSES.set_column(6, "price", pa.array(prices)))
    said = call(linear, table, compare="price", rows=0)
    assert "note: 2 rows without price are not compared\n240 rows of" in said


def test_a_key_comes_from_a_file_or_the_environment(
    folder: Path, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hashlib import sha256

    keys = [["ci", sha256(KEY.encode()).hexdigest()]]
    table = written(tmp_path / "houses.csv", HOUSES.slice(0, 2))
    file = tmp_path / "key"
    with serving(folder, "linear", keys=keys) as worker:
        base = f"http://127.0.0.1:{worker.port}"
        assert refused(call, worker, table) == (
            f"{base}: asks for a key (401); name its file, --key-file FILE, or set TRIALTREE_KEY"
        )
        file.write_text(f"{KEY}x\n", encoding="utf-8")
        assert refused(call, worker, table, key_file=file) == f"{base}: does not know the key of --key-file key (401)"
        file.write_text(f"{KEY}\n", encoding="utf-8")
        assert "2 rows of" in call(worker, table, key_file=file)
        monkeypatch.setenv("TRIALTREE_KEY", KEY)
        assert "2 rows of" in call(worker, table)
        file.write_text("\n", encoding="utf-8")
        assert refused(call, worker, table, key_file=file) == "--key-file key: is empty; it must hold the key"
        file.write_text(f"{KEY}\n{KEY}", encoding="utf-8")
        assert refused(call, worker, table, key_file=file) == "--key-file key: must hold one key and nothing else"
        assert "No such file" in refused(call, worker, table, key_file=tmp_path / "none")
        named = f"http://me:{KEY}@127.0.0.1:{worker.port}"
        assert "must have no user, password" in refused(call, named, table)


def certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """Make a certificate of a host that is signed by itself."""
    cert, key = folder / f"{host}.pem", folder / f"{host}.key"
    kind = "IP" if host[0].isdigit() else "DNS"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={host}", "-addext", f"subjectAltName={kind}:{host}", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


def test_tls_must_be_trusted(folder: Path, call: Call, tmp_path: Path) -> None:
    table = written(tmp_path / "houses.csv", HOUSES.slice(0, 2))
    cert, key = certificate(tmp_path, "127.0.0.1")
    with serving(folder, "linear", tls_cert=str(cert), tls_key=str(key)) as worker:
        base = f"https://127.0.0.1:{worker.port}"
        assert "2 rows of" in call(base, table, ca=cert)
        assert refused(call, base, table) == (
            f"{base}: its certificate is not trusted: self-signed certificate; name who signed it by --ca FILE"
        )
        named = base.replace("127.0.0.1", "localhost")
        assert refused(call, named, table, ca=cert) == (
            f"{named}: its certificate is not trusted: Hostname mismatch, certificate is not valid for 'localhost'.; "
            "see whose certificates --ca names"
        )
        assert refused(call, base, table, ca=key) == f"--ca {key}: is no file of certificates (PEM)"
        plain = base.replace("https", "http")
        assert refused(call, plain, table) in (
            f"{plain}: ends the connection without an answer, 5 times",
            f"{plain}: answers with what is no HTTP; is it https://…?, 5 times",
        )
    with serving(folder, "linear") as worker:
        base = f"https://127.0.0.1:{worker.port}"
        assert refused(call, base, table) == f"{base}: does not speak TLS; is it http://…?"


def test_an_address_must_be_one(call: Call, tmp_path: Path) -> None:
    table = written(tmp_path / "houses.csv", HOUSES.slice(0, 2))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = f"http://127.0.0.1:{probe.getsockname()[1]}"
    assert refused(call, free, table) == f"{free}: cannot be reached (connection refused), 5 times"
    unknown = "http://no-such-host.invalid:1"
    assert refused(call, unknown, table) == f"{unknown}: the host has no address; see that its name is right"
    for wrong in ("ftp://host", "http://", "http://host:port"):
        assert refused(call, wrong, table) == (
            "the address must be http://HOST:PORT or https://HOST:PORT, with a path or without"
        )
    assert refused(call, "127.0.0.1:5001", table) == (
        "127.0.0.1:5001: must be http://… or https://…, or the name of an endpoint of this machine"
    )


class Between(ThreadingHTTPServer):
    """Stands before a worker, and answers in its place as long as it is told."""

    daemon_threads = True

    def __init__(self, worker: Worker) -> None:
        super().__init__(("127.0.0.1", 0), _Relay)
        self.worker = worker
        self.first: dict[str, list[tuple[int, dict[str, str], bytes, int | None]]] = {}
        self.asked: list[str] = []
        self.address = f"http://127.0.0.1:{self.server_port}"

    def say(self, path: str, status: int, body: bytes = b"", cut: int | None = None, **headers: str) -> None:
        """Have the next request for a path answered so; `cut`: after so many bytes the connection ends."""
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        self.first.setdefault(path, []).append((status, said, body, cut))


class _Relay(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Between

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0))) or None
        self.server.asked.append(self.path)
        cut = None
        if waiting := self.server.first.get(self.path):
            status, headers, content, cut = waiting.pop(0)
        else:
            client = Client(self.server.worker.port)
            answer = client.ask(self.path, body, self.headers.get("content-type"))
            status, content = answer.status, answer.body
            headers = {k: v for k, v in answer.headers.items() if k.startswith(("content-type", "x-"))}
            client.close()
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[:cut])
        self.close_connection = cut is not None

    def do_POST(self) -> None:
        self.do_GET()


@pytest.fixture
def between(linear: Worker) -> Iterator[Between]:
    server = Between(linear)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return written(tmp_path / "houses.csv", HOUSES.slice(0, 30))


def test_a_busy_endpoint_is_asked_again(between: Between, call: Call, table: Path) -> None:
    between.say("/openapi.json", 503)
    between.say("/invocations", 429, b'{"message": "too many"}', retry_after="0")
    between.say("/invocations", 503)
    between.say("/invocations", 200, b'{"predictions": [1', cut=10)
    assert call(between.address, table, rows=0, batch=20) == f"30 rows of {table} in a moment: houses/1\n"
    assert between.asked == [
        "/openapi.json", "/openapi.json", "/v2/models/houses", *["/invocations"] * 5,
    ]  # fmt: skip


def test_an_endpoint_that_stays_busy_or_broken_is_given_up(between: Between, call: Call, table: Path) -> None:
    for _ in range(5):
        between.say("/invocations", 429, b'{"message": "too many requests at once"}')
    line = refused(call, between.address, table)
    assert line == f"{between.address}: answers 429: too many requests at once, 5 times"
    for _ in range(5):
        between.say("/invocations", 200, b'{"predictions": [1, 2, 3]}', cut=12)
    assert refused(call, between.address, table) == f"{between.address}: the answer was cut off, 5 times"


@pytest.mark.parametrize(
    "case",
    [
        ("/openapi.json", 200, b"<html>Welcome</html>",
         "is no endpoint of trialtree: its /openapi.json has 20 bytes of text/html"),
        ("/openapi.json", 404, b'{"detail": "Not Found"}',
         "is no endpoint of trialtree: its /openapi.json answers 404 with Not Found"),
        ("/openapi.json", 200, b'{"openapi": "3.1.0", "info": {"title": "Pets"}}',
         "is a server, and no endpoint of trialtree: its /openapi.json does not say which columns a model takes"),
        ("/invocations", 200, b"<html>Log in</html>", "answers with 19 bytes of text/html, and no predictions"),
        ("/invocations", 200, b'{"predictions": [1, 2]}', "answers 2 predictions for 30 rows"),
        ("/invocations", 502, b"", "answers 502: 0 bytes of text/html"),
        ("/invocations", 500, b'{"message": "the model could not answer"}', "answers 500: the model could not answer"),
    ],
)  # fmt: skip
def test_another_server_is_told_from_an_endpoint(
    between: Between, call: Call, table: Path, case: tuple[str, int, bytes, str]
) -> None:
    path, status, body, said = case
    between.say(path, status, body, content_type="text/html; charset=utf-8")
    assert refused(call, between.address, table) == f"{between.address}: {said}"


def test_a_key_is_not_taken_elsewhere(
    between: Between, call: Call, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIALTREE_KEY", KEY)
    between.say("/openapi.json", 307, location="http://elsewhere.invalid/openapi.json")
    assert refused(call, between.address, table) == (
        f"{between.address}: answers 307 and leads to http://elsewhere.invalid/openapi.json; call that, if you trust it"
    )


def test_what_is_too_much_at_once_is_said_with_the_batch(folder: Path, call: Call, tmp_path: Path) -> None:
    table = written(tmp_path / "houses.csv", HOUSES)
    with serving(folder, "linear", max_rows=100) as worker:
        base = f"http://127.0.0.1:{worker.port}"
        assert refused(call, worker, table) == (
            f"{base}: there are 240 rows, and at most 100 are taken; send them in parts "
            "(413 for 240 rows, 0.0 MB); see --batch"
        )
        assert "240 rows of" in call(worker, table, batch=100)


def test_an_answer_must_come_in_time(call: Call, table: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        base = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert refused(call, base, table, timeout=0.2) == (
            f"{base}: no answer within the time; see --timeout and --batch"
        )


def test_numbers_arrive_as_they_are(linear: Worker, call: Call, tmp_path: Path) -> None:
    cells = ["0.1", " 1e-3 ", "+2", "12345678901234567890", "-0.0", "4.35"]
    some = HOUSES.slice(0, len(cells)).set_column(0, "width", pa.array(cells))
    as_text = call(linear, written(tmp_path / "cells.csv", some), rows=9, compare="price")
    numbers = HOUSES.slice(0, len(cells)).set_column(0, "width", pa.array([float(cell) for cell in cells]))
    as_numbers = call(linear, written(tmp_path / "cells.parquet", numbers), rows=9, compare="price")
    assert as_text.splitlines()[-7:-1] == as_numbers.splitlines()[-7:-1]


@pytest.mark.slow
def test_an_endpoint_is_called_by_its_name_with_a_table_of_a_revision(ran: Repo) -> None:
    create = ("trialtree", "endpoint", "create", "flowers", "--model", "iris@champion")
    assert "flowers is started: iris/1 (champion) at http://127.0.0.1:" in ran.run(*create).stdout
    try:
        said = ran.run("trialtree", "call", "flowers", "main:data/split/test", "--compare", "species", "--rows", "2")
        lines = [line.rstrip() for line in said.stdout.splitlines()]
        assert lines[:4] == [
            "row  species     predicted", "114  virginica   virginica", " 62  versicolor  versicolor",
            "… and 36 more",
        ]  # fmt: skip
        scored = json.loads((ran.path / "reports/metrics.json").read_text(encoding="utf-8"))["test"]
        assert f"accuracy {scored['accuracy']:.6g}" in lines
        assert re.fullmatch(r"38 rows of main:data/split/test in [\d.]+ s, [\d,]+ rows/s: iris/1", lines[-1])
    finally:
        ran.run("trialtree", "endpoint", "delete", "flowers")
    done = ran.run("trialtree", "call", "flowers", "main:data/split/test", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "there is no endpoint 'flowers' on this machine; there are: none\n"


def test_a_call_is_refused_before_anything_is_sent_when_it_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(CallError, match=r"^--out: must end in \.csv or \.parquet, got out$"):
        Asked("http://127.0.0.1:1", "x.csv", tmp_path, out=tmp_path / "out")
