"""What bad input gets: the right status and a clear line, and a worker that goes on."""

import gzip
import hashlib
import json
import re
import shutil
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import serving
from tests.serving import CSV, FILE, JSON, PARQUET, STREAM, Answer, Worker
from tests.slow import until

KEY = "a key of the tests"
ROW = {"width": 1.0, "size": 2.0, "floor": 3, "colour": "red", "sold": "2026-11-29", "note": "note 1"}
NUMBERS = {"instances": [[1.0, 2.0, 3.0]]}
MARK = "the-content-of-a-body-"
_OURS = re.compile(rb"Traceback|File \"|\.py\b|/tmp|/work|/home|/root|site-packages|line \d+, in ")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("models")
    serving.saved("catboost numbers", base)
    return serving.saved("pipeline", base)


@pytest.fixture(scope="module")
def worker(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker of a model of all types of columns, under the limits that it has unless told otherwise."""
    planned = serving.planned(folder)
    with serving.started(tmp_path_factory.mktemp("log") / "log", planned, metrics_folder=None) as found:
        yield found
        assert found.alive
        assert [event for event in found.events() if event["event"] == "fault"] == []


@pytest.fixture(scope="module")
def strict(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker of a model of numbers, with a key, a second for each body, and few requests at once."""
    planned = serving.planned(folder.parent / "catboost-numbers")
    keys = [["tests", hashlib.sha256(KEY.encode()).hexdigest()]]
    log = tmp_path_factory.mktemp("log") / "log"
    with serving.started(log, planned, keys=keys, timeout=1.0, concurrency=2, max_rows=50) as found:
        yield found
        assert found.alive
        assert [event for event in found.events() if event["event"] == "fault"] == []


def refused(answer: Answer, status: int, said: str = "") -> str:
    """Return the message of an answer, which is of a status and holds nothing that is not for its reader."""
    assert answer.status == status, answer.body[:500]
    found = answer.json
    message = found.get("message", found.get("error"))
    assert said in message
    assert not _OURS.search(answer.body)
    assert len(answer.body) < 3000
    return str(message)


def record(**changes: Any) -> dict[str, Any]:
    changed = {**ROW, **changes}
    return {"dataframe_records": [{k: v for k, v in changed.items() if v is not ...}]}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "the body is empty"), (b"  \n ", 400, "the body is empty"), (b"{", 400, "no JSON"),
        (b'{"instances": [[1,2', 400, "no JSON"), (b"[" * 100_000, 400, "no JSON"),
        (b'{"a":' * 100_000, 400, "no JSON"),
        (b'{"instances": [[1e999, 2, 3]]}', 400, "no JSON"), (b'{"instances": "\xff\xfe"}', 400, "no JSON"),
        (b'\xff\xfe{\x00"\x00', 400, "no JSON"), (b'{"a": NaN' + b"[" * 100_000, 400, "no JSON"),
        (b'{"instances": ["\\ud800", NaN]}', 400, "no JSON"), (b'{"instances": [[0x1]]}', 400, "no JSON"),
        (b"{'instances': []}", 400, "no JSON"), (b'{"instances": [[1,2,3]]} x', 400, "no JSON"),
        (b"null", 422, "got null"), (b"17", 422, "got 17"), (b'"text"', 422, "got text"), (b"[]", 422, "got a list"),
        (b"{}", 422, "got 0 of them"), (b'{"instances": [], "inputs": []}', 422, "got 2 of them"),
        (b'{"rows": [[1]]}', 422, "got 'rows'"), (b'{"instances": []}', 422, "there are no rows"),
        (b'{"instances": [], "params": []}', 422, "there are no rows"), (b'{"instances": null}', 422, "must be a list"),
        (b'{"dataframe_records": {}}', 422, "must be a list"),
        (b'{"dataframe_records": [[1]]}', 422, "must be an object"),
        (b'{"dataframe_split": []}', 422, "columns and data"),
        (b'{"dataframe_split": {"columns": []}}', 422, "columns and"),
        (b'{"dataframe_split": {"columns": "x", "data": [[1]]}}', 422, "columns: must be a list"),
        (b'{"dataframe_split": {"data": [[1]], "index": [1, 2]}}', 422, "index: must be a list of as many"),
        (b'{"dataframe_split": {"data": [[1]], "rows": 1}}', 422, "not 'rows'"), (b'{"inputs": {}}', 422, "is missing"),
        (b'{"instances": [[]]}', 422, "must have 6 values, has 0"), (b'{"instances": [{}]}', 422, "is missing"),
        (b'{"instances": [[[[1]]]]}', 422, "must have 6 values"),
        (b'{"inputs": {"width": [[1, 2]]}}', 422, "is missing"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_a_body_that_is_not_understood(body: bytes, status: int, said: str, worker: Worker) -> None:
    refused(worker.ask("/invocations", body), status, said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"width": None}, "row 0, column 'width': is missing"), ({"width": "1.0"}, "got text '1.0'"),
        ({"width": ...}, "row 0, column 'width': is missing"), ({"width": True}, "got true"),
        ({"floor": 1.5}, "must be a whole number, got 1.5"), ({"floor": 10**17}, "must be at most"),
        ({"colour": "pink"}, "has no category 'pink'"), ({"colour": ["red"]}, "must be a text, got a list"),
        ({"sold": "soon"}, "must be an ISO 8601 date"), ({"other": 1}, "there is no column 'other'"),
        ({"note": None}, "row 0, column 'note': is missing"), ({"": 1}, "there is no column ''"),
        ({"x" * 10_000: 1}, f"there is no column '{'x' * 40}...'"), ({"colour": MARK * 1000}, MARK),
        ({"\x00\x1b[31m": 1}, "there is no column '\\x00\\x1b[31m'"), ({"width": {"a": MARK}}, "got an object"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_a_row_that_the_model_does_not_take(changes: dict[str, Any], said: str, worker: Worker) -> None:
    refused(worker.ask("/invocations", record(**changes)), 422, said)
    refused(worker.ask("/score", {"data": record(**changes)["dataframe_records"]}), 422, said)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_none_is_named_by_row_and_column(constant: str, worker: Worker) -> None:
    said = "row 0, column 'width': is missing" if constant == "NaN" else "row 0, column 'width': must be finite"
    refused(worker.ask("/invocations", json.dumps(record(width=float(constant))).encode()), 422, said)
    body = f"{constant},2,3,red,2026-11-29,note 1\n".encode()
    refused(worker.ask("/invocations", body, CSV), 422, said)
    gap = worker.ask("/invocations", json.dumps(record(size=float("nan"))).encode())
    assert gap.status == 200
    assert gap.body == worker.ask("/invocations", record(size=None)).body
    digits = b'{"dataframe_records": [{"width": ' + b"9" * 10_000 + b', "x": NaN}]}'
    refused(worker.ask("/invocations", digits), 422)


def test_no_answer_repeats_more_of_a_body_than_a_few_words(worker: Worker) -> None:
    long = "".join(f"{MARK}{i}" for i in range(2000))
    pieces = {long[i : i + 100].encode() for i in range(len(long) - 100)}
    for body, media in (
        (record(colour=long), JSON), (record(**{long: 1}), JSON), ({long: 1}, JSON), (long.encode(), JSON),
        ({"dataframe_split": {"columns": [long], "data": [[1]]}}, JSON), ({"instances": [[long] * 6] * 50}, JSON),
        ({"instances": [], "params": {long: 1}}, JSON), (long.encode(), CSV), (f"width\n{long}".encode(), CSV),
        (b"x", long[:5000]), (long.encode(), STREAM), (long.encode(), PARQUET), ({"inputs": {long: [1]}}, JSON),
        (serving.as_table(pa.table({long: [1]}), STREAM), STREAM),
        (serving.as_table(pa.table({long: [1]}), PARQUET), PARQUET),
        (serving.as_table(pa.table({"width": [{long: 1}]}), STREAM), STREAM),
    ):  # fmt: skip
        for path in ("/invocations", "/score", "/v2/models/model/infer", f"/invocations?{long[:5000]}=1"):
            answer = worker.ask(path, body, media)
            assert 400 <= answer.status < 500
            assert not any(answer.body[i : i + 100] in pieces for i in range(len(answer.body)))
            assert len(answer.body) < 4000
    tensor = {"name": long, "shape": [1], "datatype": long, "data": [long]}
    for changes in ({}, {"datatype": "FP64"}, {"shape": long}, {"name": 1}):
        answer = worker.ask("/v2/models/model/infer", {"inputs": [{**tensor, **changes}]})
        assert answer.status == 400
        assert not any(answer.body[i : i + 100] in pieces for i in range(len(answer.body)))
    assert MARK not in worker.log.read_text(encoding="utf-8")


@pytest.mark.parametrize("media", [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data",
                                   "application/json-seq", "text/csv2", "x" * 3000, ";",
                                   "application/octet-stream"])  # fmt: skip
def test_another_type_of_body_is_415(media: str | None, worker: Worker) -> None:
    for path in ("/invocations", "/score", "/v2/models/model/infer"):
        refused(worker.ask(path, json.dumps(record()).encode(), media), 415, "the content type must be")


@pytest.mark.parametrize("media", ["text/csv; charset=latin-1", "text/csv; charset=utf-16", "text/csv; header=maybe"])
def test_another_charset_is_415(media: str, worker: Worker) -> None:
    refused(worker.ask("/invocations", b"1,2,3", media), 415)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "the body is empty"), (b"\n\n", 400, "the body is empty"), (b"\xff\xfe1\x00", 400, "not UTF-8"),
        (b'1,2,3,red,"2026', 400, "no CSV"), (b"width,size,floor,colour,sold,note\n", 422, "there are no rows"),
        (b"1,2\n", 422, "row 0: must have 6 values, has 2"), (b"width,width\n1,2\n", 422, "is there twice"),
        (b"width,other\n1,2\n", 422, "there is no column 'other'"), (b"width\n1\n", 422, "column 'floor': is missing"),
        (b"a,2,3,red,2026-11-29,x\n", 422, "row 0, column 'width': must be a number, got 'a'"),
        (b"1,2,3,red,2026-11-29,x\n1,2,3,pink,2026-11-29,x\n", 422, "row 1, column 'colour': has no category 'pink'"),
        (b"\x00,2,3,red,2026-11-29,x\n", 422, "got '\\x00'"), (b"9" * 300_000, 400, "no CSV"),
        (b"1,2,3.5,red,2026-11-29,x\n", 422, "must be a whole number, got 3.5"),
        (b"," * 200_000, 422, "must have 6 values"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_csv_that_the_model_does_not_take(body: bytes, status: int, said: str, worker: Worker) -> None:
    refused(worker.ask("/invocations", body, CSV), status, said)


def tensors(**changes: Any) -> dict[str, Any]:
    kinds = dict(zip(ROW, ("FP64", "FP64", "INT64", "BYTES", "BYTES", "BYTES"), strict=True))
    found = {n: {"name": n, "shape": [1], "datatype": kinds[n], "data": [v]} for n, v in ROW.items()}
    found["width"] |= changes
    return {"inputs": list(found.values())}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], "must be an object with inputs"), ({}, "with inputs"), ({"inputs": []}, "with inputs"),
        ({"inputs": [1]}, "inputs[0]: must be an object, got 1"), ({"inputs": {}}, "with inputs"),
        (tensors(name=None), "inputs[0].name"), (tensors(name="other"), "there is no column 'other'"),
        (tensors(name="size"), "'size' is there twice"), (tensors(shape=[2]), "has 2 values, and data 1"),
        (tensors(shape=[-1]), "shape: must be"), (tensors(shape="1"), "shape: must be"),
        (tensors(shape=[True]), "shape"),
        (tensors(shape=[1, 1, 1]), "shape: must be"), (tensors(shape=[10**18, 10**18]), "values, and data 1"),
        (tensors(shape=[]), "shape: must be"), (tensors(shape=[1.0]), "shape: must be"),
        (tensors(shape=[0], data=[]), "row"),
        (tensors(datatype="FP128"), "datatype: must be"), (tensors(data=None), "data: must be a list"),
        (tensors(data=[[1], 2]), "data: must be flat"), (tensors(data=[None]), "column 'width': is missing"),
        (tensors(data=["1"]), "got text '1'"), (tensors(shape=[2, 1], data=[1, 2]), "rows, and inputs[0] 2"),
        (tensors(shape=[1, 2], data=[1, 2]), "shape: must be [1] or [1, 1]"),
        ({**tensors(), "id": 1}, "id: must be a text"),
        ({**tensors(), "id": "x" * 201}, "id: must be a text"), ({**tensors(), "more": 1}, "there is no 'more'"),
        ({**tensors(), "outputs": [{"name": "x"}]}, "outputs: must name"),
        ({**tensors(), "outputs": {}}, "outputs: must"),
        ({**tensors(), "parameters": []}, "parameters: must be"), ({**tensors(), "outputs": []}, "outputs: must name"),
        ({**tensors(), "parameters": {"probabilities": 1}}, "must be true or false"),
    ],
    ids=lambda value: str(value)[-40:],
)  # fmt: skip
def test_what_is_wrong_by_version_2_is_400(body: Any, said: str, worker: Worker) -> None:
    assert worker.ask("/v2/models/model/infer", tensors()).status == 200
    answer = worker.ask("/v2/models/model/infer", body)
    refused(answer, 400, said)
    assert list(answer.json) == ["error"]


@pytest.mark.parametrize(
    ("path", "said"),
    [("?probabilities=maybe", "must be true or false"), ("?other=1", "has no 'other'"), ("?probabilities", "must be"),
     ("?probabilities=true&x", "has no 'x'"), ("?%ff=1", "the query has no"), (f"?{'x' * 5000}=1", "the query has no")],
)  # fmt: skip
def test_a_query_that_is_not_known(path: str, said: str, worker: Worker) -> None:
    refused(worker.ask(f"/invocations{path}", record()), 422, said)
    refused(worker.ask(f"/v2/models/model/infer{path}", tensors()), 400, said)


@pytest.mark.parametrize(
    "path",
    ["/v2/models/..%2f..%2fetc/infer", "/v2/models/%2e%2e/infer", "/v2/models/model%00/infer",
     "/v2/models/%ff%fe/infer",
     f"/v2/models/{'x' * 20_000}/infer", "/v2/models/model/versions/..%2f1/infer", "/v2/models/model/versions//infer",
     "/v2/models//infer", "/v2/models/model;x/infer", "/v2/models/MODEL/infer", "/v2/models/model%20/infer",
     "/..%2f..%2f..%2fetc%2fpasswd", "/v2/models/%7b%7b7*7%7d%7d/infer", "/%", "/%zz", "/v2/models/model%3f/infer"],
    ids=lambda path: path[:40],
)  # fmt: skip
def test_tricks_in_a_path_find_nothing(path: str, worker: Worker) -> None:
    refused(worker.ask(path, tensors()), 404)
    assert worker.ask(path).status in (404, 405)


def test_every_known_address_survives_an_odd_host_and_an_odd_query(worker: Worker) -> None:
    for host in ("[", "a b", "evil.example:99999", "", "\xff", "]", "[::1", "x" * 3000, "a/b?c#d@e", '"><script>'):
        for path in ("/", "/nothing", "/v2/nothing", "/ping", "/openapi.json", "/?%ff"):
            sent = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("latin-1")
            found = worker.raw(sent)
            assert found.split()[1] in (b"200", b"404", b"400"), (host, path, found)
            assert b"<script>" not in found
    for query in (b"\xff", b"?x\xff=1", b"a=%zz"):
        found = worker.raw(b"GET /?" + query + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert found.split()[1] in (b"200", b"400")


@pytest.mark.parametrize("status", [401])
@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {KEY}"}, {"authorization": "Bearer "},
     {"x_api_key": "wrong"}, {"x_api_key": ""}, {"authorization": f"Bearer {KEY}x"}, {"authorization": "Bearer \xe9"},
     {"authorization": f"Bearer wrong {KEY}", "x_api_key": KEY},
     {"x_api_key": hashlib.sha256(KEY.encode()).hexdigest()}],
    ids=str,
)  # fmt: skip
def test_without_a_known_key_nothing_is_answered(headers: dict[str, str], status: int, strict: Worker) -> None:
    for path in ("/invocations", "/score", "/v2/models/model/infer"):
        answer = strict.ask(path, NUMBERS, **headers)
        refused(answer, status)
        assert answer.headers["www-authenticate"] == "Bearer"
    for path in ("/", "/metrics", "/openapi.json", "/version", "/v2", "/v2/models/model", "/v2/models/model/ready"):
        refused(strict.ask(path, **headers), status)
    assert strict.ask("/ready", **headers).status == strict.ask("/live", **headers).status == 200


def test_with_a_key_everything_is_answered_and_the_log_has_its_name_alone(strict: Worker) -> None:
    for headers in ({"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer  {KEY} "}, {"x_api_key": KEY}):
        assert strict.ask("/invocations", NUMBERS, **headers).status == 200
        assert strict.ask("/version", **headers).status == 200
    until(lambda: [event for event in strict.events() if event.get("key") == "tests"])
    assert KEY not in strict.log.read_text(encoding="utf-8")


def test_a_large_body_without_a_key_is_refused_before_it_is_read(strict: Worker) -> None:
    refused(strict.ask("/invocations", b"x" * 5_000_000), 401)
    assert strict.ask("/ready").status == 200


def keyed(strict: Worker, body: Any, media: str = JSON, **headers: str) -> Answer:
    return strict.ask("/invocations", body, media, x_api_key=KEY, **headers)


def test_too_many_rows_are_413_on_every_protocol(strict: Worker) -> None:
    table = serving.rows_of("catboost numbers", 51)
    for media, body in (
        (JSON, {"instances": serving.as_lists(table)}), (JSON, {"dataframe_records": serving.as_records(table)}),
        (JSON, {"dataframe_split": serving.as_split(table)}), (JSON, {"inputs": {n: [1] * 51 for n in serving.PLAIN}}),
        (CSV, serving.as_csv(table)), (CSV, serving.as_csv(table, header=False)),
        (STREAM, serving.as_table(table, STREAM)),
        (FILE, serving.as_table(table, FILE)), (PARQUET, serving.as_table(table, PARQUET)),
    ):  # fmt: skip
        refused(keyed(strict, body, media), 413, "and at most 50 are taken")
    for media in (STREAM, FILE, PARQUET):
        assert keyed(strict, serving.as_table(table.slice(1), media), media).status == 200
    assert keyed(strict, serving.as_csv(table.slice(1)), CSV).status == 200
    tensor = {"name": "x", "shape": [51, 3], "datatype": "FP64", "data": [1] * 153}
    answer = strict.ask("/v2/models/model/infer", {"inputs": [tensor]}, x_api_key=KEY)
    refused(answer, 413, "there are 51 rows")


def test_a_body_of_100_megabytes_is_413_and_its_client_gets_to_read_it(worker: Worker) -> None:
    before = worker.megabytes
    body = b"x" * 100_000_000
    answer = serving.Client(worker.port).ask("/invocations", body)
    refused(answer, 413, "the body is larger than 16 MB")
    client = serving.Client(worker.port)
    parts = (b"x" * 1_000_000 for _ in range(100))
    client.connection.request("POST", "/invocations", parts, {"content-type": JSON}, encode_chunked=True)
    assert client.connection.getresponse().status == 413
    assert worker.megabytes < before + 60


def test_a_client_that_asks_first_is_refused_before_it_sends(worker: Worker) -> None:
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\nExpect: 100-continue\r\n\r\n"
    found = worker.raw(head)
    assert found.startswith(b"HTTP/1.1 413")
    assert b"100 Continue" not in found
    assert worker.raw(head.replace(b"Expect: 100-continue\r\n", b"")).startswith(b"HTTP/1.1 413")


def test_a_body_that_is_small_packed_and_large_unpacked_is_413(worker: Worker) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    start = packer.compress(b"0" * 1000) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b"0" * 10_000_000) + packer.flush(zlib.Z_FULL_FLUSH)
    bomb = start + 100 * block  # a gigabyte
    before = worker.megabytes
    for encoding, body in (
        ("gzip", bomb),
        ("deflate", zlib.compress(b"0" * 50_000_000)),
        ("gzip", gzip.compress(bomb) * 20),
    ):
        answer = worker.ask("/invocations", body, content_encoding=encoding)
        assert answer.status in (400, 413)
    members = gzip.compress(b"") * 500_000
    began = time.perf_counter()
    refused(worker.ask("/invocations", members, content_encoding="gzip"), 400, "more than 100 parts")
    assert time.perf_counter() - began < 5
    assert worker.megabytes < before + 80


@pytest.mark.parametrize(
    ("encoding", "body", "status", "said"),
    [
        ("gzip", gzip.compress(json.dumps(record()).encode())[:-5], 400, "cut off"), ("gzip", b"", 400, "cut off"),
        ("gzip", b"no gzip", 400, "damaged"), ("gzip", gzip.compress(b"{}") + b"rubbish", 400, "damaged"),
        ("br", b"x", 415, "none of deflate, gzip"), ("zstd", b"x", 415, "none of"),
        ("gzip, gzip", b"x", 415, "none of"),
        ("gzip", gzip.compress(b""), 400, "the body is empty"), ("x" * 3000, b"x", 415, "none of"),
        ("gzip", gzip.compress(gzip.compress(b"{}")), 400, "no JSON"),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_packing_that_is_not_known_or_damaged(
    encoding: str, body: bytes, status: int, said: str, worker: Worker
) -> None:
    refused(worker.ask("/invocations", body, content_encoding=encoding), status, said)


def test_a_body_that_trickles_in_is_408(strict: Worker) -> None:
    with socket.create_connection(("127.0.0.1", strict.port), timeout=30) as connection:
        connection.sendall(
            f"POST /invocations HTTP/1.1\r\nHost: x\r\nX-Api-Key: {KEY}\r\nContent-Length: 1000\r\n\r\n".encode()
        )
        began, done = time.monotonic(), threading.Event()

        def trickle() -> None:
            with suppress(OSError):
                while not done.wait(0.05):
                    connection.sendall(b" ")

        thread = threading.Thread(target=trickle)
        thread.start()
        found = serving.to_end(connection)
        done.set()
        thread.join()
    assert found.startswith(b"HTTP/1.1 408")
    assert b"the body did not arrive within 1 s" in found
    assert time.monotonic() - began < 6


@pytest.mark.parametrize("head", [b"POST /invocations HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"", b"GET"], ids=str)
def test_a_head_that_does_not_arrive_ends_the_connection(head: bytes, strict: Worker) -> None:
    began = time.monotonic()
    found = strict.raw(head)
    assert time.monotonic() - began < 6
    assert found.startswith(b"HTTP/1.1 408") if head else found == b""


def test_a_head_without_end_is_431(worker: Worker) -> None:
    for sent in (b"GET / HTTP/1.1\r\nX: " + b"x" * 5_000_000, b"GET /" + b"x" * 3_000_000,
                 b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 500_000):  # fmt: skip
        before = worker.megabytes
        with socket.create_connection(("127.0.0.1", worker.port), timeout=30) as connection:
            with suppress(ConnectionResetError, BrokenPipeError):
                connection.sendall(sent)
            found = serving.to_end(connection)
        assert found in (b"",) or found.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400"))
        assert worker.megabytes < before + 20
        assert worker.ask("/live").status == 200


def test_a_connection_that_only_sends_line_ends_does_not_stay(strict: Worker) -> None:
    with socket.create_connection(("127.0.0.1", strict.port), timeout=30) as connection:
        connection.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        found = b""
        while not found.endswith(b'{"live":true}'):
            found += connection.recv(1000)
        connection.sendall(b"\r\n")
        assert serving.to_end(connection) == b""


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n\r\n", b"\x00" * 100, b"rubbish\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
        b"GET  / HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01",
        b"POST /invocations HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nxxxxxx",
        b"POST /invocations HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"CONNECT example.org:443 HTTP/1.1\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"OPTIONS * HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET http://evil.example/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\x00b\r\n\r\n", b"POST /invocations HTTP/1.1\r\nConnection: close\r\n\r\n",
    ],
    ids=lambda sent: sent[:30].decode("latin-1") + str(len(sent)),
)  # fmt: skip
def test_what_is_no_http_ends_its_own_connection_alone(sent: bytes, strict: Worker) -> None:
    found = strict.raw(sent)
    assert not _OURS.search(found)
    assert not found or found.split()[1][:1] in (b"2", b"4"), found
    assert strict.ask("/live").status == 200


def test_a_length_that_lies_is_waited_for_and_the_rest_is_another_request(strict: Worker) -> None:
    head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nX-Api-Key: {KEY}\r\nContent-Type: {JSON}\r\n"
    body = json.dumps(NUMBERS)
    assert strict.raw(f"{head}Content-Length: {len(body) + 9}\r\n\r\n{body}".encode()).startswith(b"HTTP/1.1 408")
    found = strict.raw(f"{head}Content-Length: {len(body)}\r\n\r\n{body}rubbish\r\n\r\n".encode())
    assert found.split()[1] in (b"200", b"400")
    assert b"HTTP/1.1 400" in found
    assert strict.ask("/live").status == 200


def test_clients_that_go_away_leave_nothing_behind(worker: Worker) -> None:
    body = json.dumps({"instances": serving.as_lists(serving.rows_of("pipeline", 240)) * 20}).encode()
    head = (
        f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    )
    files = len(list(Path(f"/proc/{worker.process.pid}/fd").iterdir()))
    for sent in (head, head + body[:100_000], head + body, head[:20], b""):
        for abrupt in (False, True):
            connection = socket.create_connection(("127.0.0.1", worker.port), timeout=30)
            connection.sendall(sent)
            if abrupt:  # a reset instead of an end
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
    until(lambda: len(list(Path(f"/proc/{worker.process.pid}/fd").iterdir())) <= files)
    assert worker.ask("/invocations", record()).status == 200
    until(lambda: b"trialtree_requests_running 0.0\n" in worker.ask("/metrics").body)


def test_more_requests_at_once_than_are_taken_get_429(strict: Worker) -> None:
    waiting = []
    for _ in range(2):
        connection = socket.create_connection(("127.0.0.1", strict.port), timeout=30)
        connection.sendall(
            f"POST /invocations HTTP/1.1\r\nHost: x\r\nX-Api-Key: {KEY}\r\nContent-Length: 9\r\n\r\n".encode()
        )
        waiting.append(connection)
    answer = until(lambda: found if (found := keyed(strict, NUMBERS)).status == 429 else None, 5)
    refused(answer, 429)
    assert answer.headers["retry-after"] == "1"
    assert strict.ask("/live").status == 200
    for connection in waiting:
        connection.close()
    until(lambda: keyed(strict, NUMBERS).status == 200)


def test_numbers_beyond_what_a_model_counts_with_are_422(worker: Worker, tmp_path: Path) -> None:
    assert worker.ask("/invocations", record(width=1.7e308, size=-1.7e308)).status in (200, 422)
    planned = serving.planned(serving.saved("linear", tmp_path))
    with serving.started(tmp_path / "log", planned) as other:
        answer = other.ask("/invocations", {"dataframe_records": [ROW, {**ROW, "width": 1.7e308, "size": 1.7e308}]})
        if answer.status == 200:
            assert None not in answer.json["predictions"]
        else:
            refused(answer, 422)


def test_thousands_of_faults_are_answered_quickly_and_in_few_words(worker: Worker) -> None:
    before = worker.megabytes
    columns = [f"c{i}" for i in range(200_000)]
    of_nothing = {"width": pa.nulls(20_000), "floor": pa.nulls(20_000), "note": ["x"] * 20_000}
    bodies: list[tuple[Any, str]] = [
        ({"instances": [[None] * 6] * 20_000}, JSON), ({"dataframe_records": [{"x": 1}] * 20_000}, JSON),
        ({"instances": [[True, "x", [], "pink", 7, 8]] * 20_000}, JSON), (b"x,x,x,x,x,x\n" * 20_000, CSV),
        ({"dataframe_split": {"columns": columns, "data": [[1]]}}, JSON), (b"c," * 400_000, CSV),
        ({"dataframe_split": {"columns": [*columns, "c9"], "data": [[1]]}}, JSON), ({"instances": [1] * 20_000}, JSON),
        ({"inputs": {name: [1] for name in columns}}, JSON), ({"dataframe_records": [dict.fromkeys(columns, 1)]}, JSON),
        (serving.as_table(pa.table(of_nothing), STREAM), STREAM),
    ]  # fmt: skip
    for body, media in bodies:
        began = time.perf_counter()
        refused(worker.ask("/invocations", body, media), 422)
        assert time.perf_counter() - began < 5
    tensor = {"name": "width", "shape": [1], "datatype": "FP64", "data": [1]}
    refused(worker.ask("/v2/models/model/infer", {"inputs": [tensor] * 50_000}), 400, "is there twice")
    assert worker.megabytes < before + 250


@pytest.mark.slow
def test_sixteen_megabytes_of_faults_leave_the_worker_small_and_answering(worker: Worker) -> None:
    before, done = worker.megabytes, threading.Event()
    slowest = 0.0

    def ask_beside() -> None:
        nonlocal slowest
        client = serving.Client(worker.port)
        while not done.is_set():
            began = time.perf_counter()
            assert client.ask("/invocations", record()).status == 200
            slowest = max(slowest, time.perf_counter() - began)
        client.close()

    thread = threading.Thread(target=ask_beside)
    thread.start()
    rows = [[None] * 6] * 100_000
    for body, status in (({"instances": rows}, 422), ({"instances": rows * 5}, 413),
                         ({"instances": [[MARK * 6, MARK, True, MARK, MARK, 1]] * 50_000}, 422)):  # fmt: skip
        refused(worker.ask("/invocations", body), status)
    done.set()
    thread.join()
    assert slowest < 5
    assert worker.megabytes < before + 400


@pytest.mark.parametrize("media", [STREAM, FILE, PARQUET])
def test_what_is_no_table_is_400(media: str, worker: Worker) -> None:
    whole = serving.as_table(serving.rows_of("pipeline", 5), media)
    for body in (b"", b"x", b"ARROW1", b"ARROW1" * 9, b"PAR1", b"PAR1PAR1", b"PAR1\xff\xff\xff\x7fPAR1", b"\xff" * 100,
                 b"\xff\xff\xff\xff\xff\xff\xff\x7f", whole[: len(whole) // 2], whole[:-1], whole[1:],
                 b"\x00" * 1000):  # fmt: skip
        answer = worker.ask("/invocations", body, media)
        if answer.status != 200:  # a stream needs no last byte
            refused(answer, 400)


def arrow_bomb(media: str, compression: str) -> bytes:
    zeros = pa.array(np.zeros(20_000_000))
    return serving.as_table(pa.table({"width": zeros}), media, options=pa.ipc.IpcWriteOptions(compression=compression))


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
@pytest.mark.parametrize("media", [STREAM, FILE])
def test_arrow_that_unpacks_to_very_much_is_413_before_it_is_unpacked(
    media: str, compression: str, worker: Worker
) -> None:
    body, before = arrow_bomb(media, compression), worker.megabytes
    refused(worker.ask("/invocations", body, media), 422, "is missing")
    nulls = pa.table({
        **{name: pa.nulls(100, kind) for name, kind in zip(ROW, (pa.float64(), pa.float64(), pa.int64(), pa.string(),
                                                               pa.timestamp("us"), pa.string()), strict=True)},
    })  # fmt: skip
    text = pa.array(["x" * 150_000_000] + [None] * 99)
    options = pa.ipc.IpcWriteOptions(compression=compression)
    refused(
        worker.ask("/invocations", serving.as_table(nulls.set_column(5, "note", text), media, options=options), media),
        413,
    )
    coded = nulls.set_column(5, "note", text.dictionary_encode())
    refused(worker.ask("/invocations", serving.as_table(coded, media, options=options), media), 413)
    assert worker.megabytes < before + 40


def test_views_of_one_long_text_are_413(worker: Worker) -> None:
    text = pa.array(["x" * 2_000_000]).cast(pa.string_view())
    view = text.buffers()[1].to_pybytes()
    many = pa.StringViewArray.from_buffers(pa.string_view(), 1000, [None, pa.py_buffer(view * 1000), text.buffers()[2]])
    table = serving.rows_of("pipeline", 1000).set_column(5, "note", many)
    began = time.perf_counter()
    refused(worker.ask("/invocations", serving.as_table(table, STREAM), STREAM), 413)
    assert time.perf_counter() - began < 5


def test_parquet_that_unpacks_to_very_much_is_413_before_it_is_unpacked(worker: Worker) -> None:
    before = worker.megabytes
    codes = pa.array([0] + [1] * 999, pa.int32())
    texts = pa.DictionaryArray.from_arrays(codes, pa.array(["x" * 150_000_000, "y"]))
    table = serving.rows_of("pipeline", 1000).set_column(5, "note", texts)
    body = serving.as_table(table, PARQUET, compression="zstd")
    assert len(body) < 1_000_000
    refused(worker.ask("/invocations", body, PARQUET), 413)
    assert worker.megabytes < before + 60


def with_a_modest_footer(body: bytes) -> bytes:
    """Return a Parquet file whose footer says that its columns are small, whatever their pages hold."""
    import pyarrow.parquet as pq

    size = pq.ParquetFile(pa.BufferReader(body)).metadata.row_group(0).column(5).total_uncompressed_size
    told, number = b"", 2 * size
    while number > 127:
        told, number = told + bytes([number & 127 | 128]), number >> 7
    told += bytes([number])
    assert body.count(told) >= 1
    return body.replace(told, b"\x80" * (len(told) - 1) + b"\x01")


def test_what_a_parquet_footer_says_of_sizes_is_not_believed(worker: Worker) -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 10, pa.int32()), pa.array(["x" * 150_000_000]))
    table = serving.rows_of("pipeline", 10).set_column(5, "note", texts)
    body = with_a_modest_footer(serving.as_table(table, PARQUET, compression="zstd"))
    before = worker.megabytes
    refused(worker.ask("/invocations", body, PARQUET), 413)
    assert worker.megabytes < before + 60


def test_a_parquet_file_of_a_long_text_in_every_row_stays_small(worker: Worker) -> None:
    before = worker.megabytes
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array(["x" * 10_000_000]))
    table = serving.rows_of("pipeline", 100_000).set_column(5, "note", texts)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", dictionary_pagesize_limit=2**30)
    answer = worker.ask("/invocations", sink.getvalue().to_pybytes(), PARQUET, accept=JSON)
    assert answer.status == 200
    assert len(answer.json["predictions"]) == 100_000
    assert worker.megabytes < before + 400


def test_a_parquet_file_that_repeats_the_start_of_each_text_is_refused(worker: Worker) -> None:
    before = worker.megabytes
    table = serving.rows_of("pipeline", 1000)
    table = table.set_column(5, "note", pa.array([f"{'x' * 100_000}{i}" for i in range(1000)]))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, use_dictionary=False, column_encoding={"note": "DELTA_BYTE_ARRAY"}, compression="zstd")
    body = sink.getvalue().to_pybytes()
    assert len(body) < 200_000
    refused(worker.ask("/invocations", body, PARQUET), 400)
    assert worker.megabytes < before + 60


@pytest.mark.parametrize("media", [STREAM, PARQUET])
def test_tables_with_columns_that_no_model_takes(media: str, worker: Worker) -> None:
    table = serving.rows_of("pipeline", 3)
    for name, column, said in (
        ("width", pa.array([[1.0], [2.0], None]), "and is of type list"),
        ("other", pa.array([1, 2, 3]), "no column 'other'"),
        ("width", pa.array(["1", "2", "3"]), "and is of type string"),
        ("width", pa.array([1.0, None, 3.0]), "is missing"),
        ("width", pa.array([b"12", b"12", b"12"], pa.binary(2)), "and is of type fixed_size_binary"),
        ("colour", pa.array([1, 2, 3]), "and is of type int64"),
        ("floor", pa.array([1.5, 2, 3]), "row 0, column 'floor'"),
    ):  # fmt: skip
        place = table.column_names.index(name) if name in table.column_names else 0
        refused(
            worker.ask("/invocations", serving.as_table(table.set_column(place, name, column), media), media), 422, said
        )
    refused(worker.ask("/invocations", serving.as_table(table.slice(0, 0), media), media), 422, "there are no rows")
    refused(
        worker.ask("/invocations", serving.as_table(table.drop_columns(["floor"]), media), media), 422, "is missing"
    )
    twice = pa.Table.from_arrays([*table.columns, table["width"]], names=[*table.column_names, "width"])
    refused(worker.ask("/invocations", serving.as_table(twice, media), media), 422, "is there twice")


def test_files_of_a_model_that_are_deleted_or_changed_while_it_is_served_do_not_matter(
    folder: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    with serving.started(tmp_path / "log", serving.planned(copy)) as worker:
        before = worker.ask("/invocations?probabilities=true", record())
        (copy / "estimator.skops").write_bytes(b"changed")
        (copy / "columns.json").unlink()
        assert worker.ask("/invocations?probabilities=true", record()).body == before.body
        shutil.rmtree(copy)
        assert worker.ask("/invocations?probabilities=true", record()).body == before.body
        assert worker.ask("/openapi.json").status == worker.ask("/").status == 200


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
def test_a_full_disk_stops_no_answer(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with Path("/dev/full").open("wb") as full, serving.started(
        tmp_path / "log", serving.planned(folder), stderr=full, log_requests=1.0,
        log_folder=str(tmp_path / "file" / "kept"),
    ) as worker:  # fmt: skip
        many = {"instances": serving.as_lists(serving.rows_of("pipeline", 240)) * 25}
        for _ in range(5):
            assert worker.ask("/invocations", many).status == 200
        worker.say({"do": "stop"})
        assert worker.process.wait(30) == 0


def test_the_worker_goes_on_under_many_bad_clients_at_once(worker: Worker) -> None:
    bodies: list[tuple[bytes, str]] = [
        (b"{", JSON),
        (b"\xff", CSV),
        (b"x", PARQUET),
        (json.dumps(record()).encode(), JSON),
    ]

    def ask(number: int) -> int:
        client = serving.Client(worker.port)
        try:
            return client.ask("/invocations", *bodies[number % 4]).status
        finally:
            client.close()

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(200))) == [400, 400, 400, 200] * 50


def test_an_answer_that_takes_too_long_is_504(folder: Path, tmp_path: Path) -> None:
    many = gzip.compress(json.dumps({"dataframe_records": record()["dataframe_records"] * 60_000}).encode())
    with serving.started(tmp_path / "log", serving.planned(folder), timeout=0.1) as found:
        refused(found.ask("/invocations", many, content_encoding="gzip"), 504, "not there within 0.1 s")
        assert found.ask("/invocations", record()).status == 200
        assert found.alive


@pytest.fixture(autouse=True)
def no_traceback(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hold each test to a log without a traceback of the request's making."""
    yield
    find: Callable[[str], Any] = request.getfixturevalue
    for name in {"worker", "strict"} & set(request.fixturenames):
        running = find(name)
        if isinstance(running, Worker):
            assert running.process.poll() is None
            assert "Traceback" not in running.log.read_text(encoding="utf-8")
