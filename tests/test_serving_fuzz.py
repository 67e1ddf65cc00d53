"""Random requests by the thousand: none is answered by 5xx, none ends the worker, and none leaves memory behind."""

import collections
import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests import serving
from tests.serving import CSV, FILE, JSON, PARQUET, STREAM, Worker

KIND = "catboost categories"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
GROWTH = 20  # MB after the worker is warm
_OURS = re.compile(rb"Traceback|File \"|/tmp/|/work/|/root/|site-packages")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for kind in (KIND, "pipeline", "odd names"):
        serving.saved(kind, folder)
    return folder


@pytest.fixture(scope="module")
def worker(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    planned = serving.planned(base / KIND.replace(" ", "-"))
    with serving.started(tmp_path_factory.mktemp("log") / "log", planned, timeout=5.0) as found:
        yield found


def held(worker: Worker, pid: int, before: float) -> None:
    """Hold a worker to what it must be after any requests."""
    assert worker.process.pid == pid
    assert worker.ask("/live").status == 200
    assert worker.megabytes < before + GROWTH
    events = worker.events()
    assert [event for event in events if event["event"] == "fault"] == []
    assert [event for event in events if event.get("status", 0) >= 500] == []
    assert "Traceback" not in worker.log.read_text(encoding="utf-8")


# Bodies: whole ones of every form, and what becomes of them.


def whole_bodies() -> list[tuple[str, str, bytes]]:
    """Return addresses, types and bodies that are answered."""
    table = serving.rows_of(KIND, 4)
    kinds = dict(zip(serving.MIXED, ("FP64", "FP64", "INT64", "BYTES", "BYTES", "BYTES"), strict=True))
    records, lists = serving.as_records(table), serving.as_lists(table)
    tensors = [{"name": n, "shape": [4], "datatype": k, "data": [r[n] for r in records]} for n, k in kinds.items()]
    bodies: list[tuple[str, str, Any]] = [
        ("/invocations", JSON, {"dataframe_split": serving.as_split(table)}),
        ("/invocations", JSON, {"dataframe_records": records, "params": {"probabilities": True}}),
        ("/invocations", JSON, {"instances": lists}), ("/invocations", JSON, {"inputs": table.to_pydict()}),
        ("/score", JSON, {"data": lists}), ("/score", JSON, {"input_data": serving.as_split(table)}),
        ("/v2/models/model/infer", JSON, {"id": "x", "inputs": tensors, "outputs": [{"name": "predict_proba"}]}),
    ]  # fmt: skip
    found = [(path, media, json.dumps(body, default=serving.plain).encode()) for path, media, body in bodies]
    found += [("/invocations", CSV, serving.as_csv(table, header=header)) for header in (True, False)]
    found += [("/invocations?probabilities=true", media, serving.as_table(table, media))
              for media in (STREAM, FILE, PARQUET)]  # fmt: skip
    coded = table.set_column(3, "colour", table["colour"].dictionary_encode())
    found.append(("/invocations", STREAM, serving.as_table(coded, STREAM)))
    return found


WHOLE = whole_bodies()
OTHERS = (None, JSON, CSV, STREAM, PARQUET)  # types that a body may be said to have
ODD = [b"null", b"NaN", b"-1", b"1e308", b"9" * 40, b'"\\u0000"', b"[]", b"{}", b"true", b"\xff", b"\x00" * 8,
       b"[" * 50, b'"' + b"x" * 300 + b'"', b",", b'"', b"\r\n", b"\xef\xbb\xbf", b"\xff\xff\xff\x7f",
       b"\x80" * 9]  # fmt: skip
CHANGE = st.tuples(st.sampled_from(["put", "cut", "flip", "repeat", "drop"]), st.floats(0, 1), st.sampled_from(ODD),
                   st.integers(1, 40))  # fmt: skip
HEADERS = st.dictionaries(
    st.sampled_from(["accept", "content-encoding", "x-request-id", "expect", "authorization", "x-api-key", "te"]),
    st.sampled_from(
        ["", "text/csv", JSON, "*/*", "gzip", "deflate", "br", "identity", "100-continue", "a b", "x" * 200]
    ),
    max_size=2,
)  # fmt: skip


def changed(body: bytes, changes: list[tuple[str, float, bytes, int]]) -> bytes:
    """Return a body, changed here and there."""
    for how, where, odd, size in changes:
        at = int(where * len(body))
        if how == "put":
            body = body[:at] + odd + body[at:]
        elif how == "cut":
            body = body[:at]
        elif how == "flip":
            body = body[:at] + bytes(byte ^ 1 << size % 8 for byte in body[at : at + 1]) + body[at + 1 :]
        elif how == "repeat":
            body = body[:at] + body[at : at + size] * 3 + body[at + size :]
        else:
            body = body[:at] + body[at + size :]
    return body


def ask_changed(worker: Worker, requests: int) -> collections.Counter[int]:
    """Send so many requests with changed bodies, and return how many got each status."""
    statuses: collections.Counter[int] = collections.Counter()

    @settings(max_examples=requests, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(
        st.sampled_from(WHOLE),
        st.lists(CHANGE, max_size=4),
        HEADERS,
        st.sampled_from([None, JSON, CSV, STREAM, PARQUET]),
    )
    def ask(whole: tuple[str, str, bytes], changes: list[Any], headers: dict[str, str], media: str | None) -> None:
        path, own, body = whole
        answer = worker.ask(path, changed(body, changes), media if media and len(changes) == 3 else own, **headers)
        statuses[answer.status] += 1
        assert answer.status < 500, [e["where"] for e in worker.events() if e["event"] == "fault"][-1:]
        assert not _OURS.search(answer.body)
        assert answer.status == 200 or len(answer.body) < 4000

    ask()
    return statuses


def test_every_whole_body_is_answered(worker: Worker) -> None:
    for path, media, body in WHOLE:
        assert worker.ask(path, body, media).status == 200


def test_changed_bodies_are_answered_and_leave_nothing_behind(worker: Worker) -> None:
    pid = worker.process.pid
    ask_changed(worker, 60)
    before = worker.megabytes
    statuses = ask_changed(worker, 150)
    assert set(statuses) >= {200, 400, 422}
    held(worker, pid, before + 20)  # which is not warm yet


@pytest.mark.slow
def test_thousands_of_changed_bodies_are_answered_and_leave_nothing_behind(worker: Worker) -> None:
    pid = worker.process.pid
    ask_changed(worker, 1500)
    before = worker.megabytes
    statuses = ask_changed(worker, 6000)
    assert set(statuses) >= {200, 400, 415, 422}
    held(worker, pid, before)


# Bytes over a socket: what is no HTTP, or hardly.

HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nConnection: close\r\n"


def send_changed(worker: Worker, requests: int) -> None:
    """Send so many requests over sockets of their own, changed anywhere."""
    body = serving.as_csv(serving.rows_of(KIND, 2), header=False)
    whole = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)

    @settings(max_examples=requests, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.sampled_from([whole, chunked, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"]),
           st.lists(CHANGE, min_size=1, max_size=3))  # fmt: skip
    def send(request: bytes, changes: list[Any]) -> None:
        with socket.create_connection(("127.0.0.1", worker.port), timeout=30) as connection:
            connection.sendall(changed(request, changes))
            connection.shutdown(socket.SHUT_WR)
            found = serving.to_end(connection)
        assert not re.search(rb"HTTP/1.1 5\d\d", found)
        assert not _OURS.search(found)

    send()


def test_bytes_that_are_hardly_http_end_their_own_connection_alone(worker: Worker) -> None:
    pid, before = worker.process.pid, worker.megabytes
    send_changed(worker, 100)
    held(worker, pid, before + 20)


@pytest.mark.slow
def test_thousands_of_connections_with_hardly_http_leave_nothing_behind(worker: Worker) -> None:
    pid = worker.process.pid
    send_changed(worker, 500)
    before = worker.megabytes
    send_changed(worker, 2000)
    held(worker, pid, before)


# The description: what it says is what is answered.


def by_description(worker: Worker, folder: Path, *options: str) -> int:
    """Let schemathesis ask what the description says, and return how many requests that were."""
    command = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("schemathesis is not here")
    done = subprocess.run(
        [command, "run", f"http://127.0.0.1:{worker.port}/openapi.json", "--checks", CHECKS, "--no-color", "--seed",
         "7", *options],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    cases = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert cases
    assert cases[1] == cases[2]
    return int(cases[1])


@pytest.mark.parametrize("kind", ["pipeline", pytest.param("odd names", marks=pytest.mark.slow)])
def test_answers_are_what_the_description_says(kind: str, base: Path, tmp_path: Path) -> None:
    planned = serving.planned(base / kind.replace(" ", "-"))
    with serving.started(tmp_path / "log", planned) as worker:
        assert by_description(worker, tmp_path, "--max-examples", "4", "--phases", "examples,fuzzing") > 20
        held(worker, worker.process.pid, 1000)


@pytest.mark.slow
def test_thousands_of_answers_are_what_the_description_says(worker: Worker, tmp_path: Path) -> None:
    pid = worker.process.pid
    before = worker.megabytes
    worker.client.close()  # idle for longer than it would be kept
    assert by_description(worker, tmp_path, "--max-examples", "500") > 1500
    assert worker.megabytes < before + GROWTH + 20
    held(worker, pid, worker.megabytes)
