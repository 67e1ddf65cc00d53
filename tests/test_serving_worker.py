"""A worker and its parent: plans that change under load, shares, shadows, kept requests, counters, and the end."""

import hashlib
import json
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests import serving
from tests.serving import Client, Worker
from tests.slow import until

KIND = "catboost numbers"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two models of numbers, which differ, and one of all types of columns."""
    folder = tmp_path_factory.mktemp("models")
    serving.saved(KIND, folder)
    serving.saved(KIND, folder / "second", hyperparameters={"iterations": 3})
    serving.saved("pipeline", folder)
    return folder


@pytest.fixture(scope="module")
def first(base: Path) -> dict[str, Any]:
    return serving.planned(base / "catboost-numbers", version="1", alias="champion")


@pytest.fixture(scope="module")
def second(base: Path) -> dict[str, Any]:
    return serving.planned(base / "second" / "catboost-numbers", version="2", alias="challenger")


def body(rows: int = 1) -> dict[str, Any]:
    return {"instances": serving.as_lists(serving.rows_of(KIND, rows))}


def counted(worker: Worker, name: str, **labels: str) -> float:
    """Return the sum of a counter over all of its labels that are as given."""
    total = 0.0
    for line in worker.ask("/metrics").body.decode().splitlines():
        found = re.fullmatch(rf"{name}(?:\{{(.*)\}})? ([-+.e0-9]+)", line)
        if found and all(f'{key}="{value}"' in (found[1] or "") for key, value in labels.items()):
            total += float(found[2])
    return total


class Load:
    """Requests at a steady pace, over connections that are kept and over new ones."""

    def __init__(self, port: int, a_second: int) -> None:
        self.port, self.pause = port, 4 / a_second
        self.done = threading.Event()
        self.answers: list[tuple[int, str, bytes]] = []
        self.threads = [threading.Thread(target=self.ask, args=(number % 2 == 0,)) for number in range(4)]

    def ask(self, kept: bool) -> None:
        client, content, due = Client(self.port), json.dumps(body()).encode(), time.monotonic()
        while not self.done.is_set():
            if not kept:
                client.close()
                client = Client(self.port)
            try:
                answer = client.ask("/invocations", content)
                self.answers.append((answer.status, answer.headers.get("x-model-version", ""), answer.body))
            except OSError as error:
                self.answers.append((0, repr(error), b""))
            due += self.pause
            self.done.wait(max(0.0, due - time.monotonic()))
        client.close()

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        for thread in self.threads:
            thread.join()

    def wait(self, more: int) -> None:
        """Wait for so many more answers."""
        target = len(self.answers) + more
        until(lambda: len(self.answers) >= target)


def test_plans_change_under_load_without_a_failed_request(
    first: dict[str, Any], second: dict[str, Any], base: Path, tmp_path: Path
) -> None:
    alone = {version: serving.expected(Path(model["folder"]), serving.rows_of(KIND, 1))
             for version, model in (("1", first), ("2", second))}  # fmt: skip
    with serving.started(tmp_path / "log", first) as worker, Load(worker.port, 200) as load:
        load.wait(30)
        for change in range(1, 7):
            model = second if change % 2 else first
            assert worker.tell("plan", model) == {"said": "planned", "generation": change + 1}
            load.wait(30)
        # A model of another kind, whose libraries have to be imported while the first answers.
        other = serving.planned(base / "pipeline", version="3")
        assert (
            worker.tell("plan", {**first, "share": 1.0}, {**other, "share": 0.0, "shadow": True})["said"] == "planned"
        )
        load.wait(30)
    assert {status for status, _, _ in load.answers} == {200}
    assert {version for _, version, _ in load.answers} == {"1", "2"}
    for _, version, content in load.answers:
        assert json.loads(content)["predictions"] == alone[version]
    versions = [version for _, version, _ in load.answers]
    assert versions[0] == "1"
    assert versions[-1] == "1"


@pytest.fixture(scope="module")
def both(first: dict[str, Any], second: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker of two models, that share the requests."""
    folder = tmp_path_factory.mktemp("both")
    with serving.started(
        folder / "log", {**first, "share": 0.9}, {**second, "share": 0.1}, metrics_folder=str(folder / "metrics")
    ) as worker:
        yield worker


def test_requests_are_split_as_the_shares_say(both: Worker) -> None:
    versions = [both.ask("/invocations", body()).headers["x-model-version"] for _ in range(1000)]
    # 100 are expected of the second; 6 standard deviations are 57.
    assert 43 <= versions.count("2") <= 157
    assert counted(both, "trialtree_requests_total", model="model/2") == versions.count("2")
    assert counted(both, "trialtree_model_share", model="model/1", shadow="false") == 0.9


def test_a_version_that_is_named_is_asked_whatever_its_share(both: Worker) -> None:
    asked = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP64", "data": body()["instances"][0]}]}
    for version in ("1", "2"):
        answers = [both.ask(f"/v2/models/model/versions/{version}/infer", asked).json for _ in range(20)]
        assert {answer["model_version"] for answer in answers} == {version}
    assert both.ask("/v2/models/model/versions/3/infer", asked).status == 404
    assert both.ask("/v2/models/model").json["versions"] == ["1", "2"]


def test_a_share_that_is_taken_back_is_no_longer_told(
    both: Worker, first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert both.tell("plan", second)["said"] == "planned"
    assert {both.ask("/invocations", body()).headers["x-model-version"] for _ in range(20)} == {"2"}
    assert counted(both, "trialtree_model_share", model="model/1") == 0
    assert counted(both, "trialtree_model_share", model="model/2") == 1
    assert both.tell("plan", {**first, "share": 0.9}, {**second, "share": 0.1})["said"] == "planned"


def test_a_shadow_is_asked_too_and_its_differences_are_counted(
    first: dict[str, Any], second: dict[str, Any], base: Path, tmp_path: Path
) -> None:
    shadows = [{**second, "share": 0.0, "shadow": True}, {**first, "version": "1b", "share": 0.0, "shadow": True}]
    shadows.append({**serving.planned(base / "pipeline", version="3"), "share": 0.0, "shadow": True})
    table = serving.rows_of(KIND, 40)
    ours = serving.expected(Path(first["folder"]), table)
    theirs = serving.expected(Path(second["folder"]), table)
    with serving.started(tmp_path / "log", first, *shadows, metrics_folder=str(tmp_path / "metrics")) as worker:
        for _ in range(5):
            assert worker.ask("/invocations", body(40)).headers["x-model-version"] == "1"
            assert worker.ask("/invocations", body(40)).json["predictions"] == ours
        until(lambda: counted(worker, "trialtree_shadow_rows_total", model="model/2") == 400)
        assert counted(worker, "trialtree_shadow_differing_rows_total", model="model/2") == 10 * sum(
            a != b for a, b in zip(ours, theirs, strict=True)
        )
        distance = 10 * sum(abs(a - b) for a, b in zip(ours, theirs, strict=True))
        assert counted(worker, "trialtree_shadow_absolute_difference_total", model="model/2") == pytest.approx(distance)
        until(lambda: counted(worker, "trialtree_shadow_rows_total", model="model/1b") == 400)
        assert counted(worker, "trialtree_shadow_differing_rows_total", model="model/1b") == 0
        # A shadow that takes other columns misses all, and answers go on.
        until(lambda: counted(worker, "trialtree_shadow_missed_total", model="model/3") == 10)
        assert counted(worker, "trialtree_rows_total") == 400


def test_a_plan_that_cannot_be_loaded_leaves_the_one_before(
    first: dict[str, Any], second: dict[str, Any], tmp_path: Path
) -> None:
    damaged = Path(shutil.copytree(second["folder"], tmp_path / "damaged"))
    (damaged / "model.cbm").write_bytes(b"damaged")
    with serving.started(tmp_path / "log", first) as worker:
        for model, said in (
            ({**second, "folder": str(tmp_path / "nowhere")}, "holds no model"),
            ({**second, "digest": "0" * 64}, "holds another model than was registered"),
            ({**second, "folder": str(damaged)}, "is damaged"),
        ):
            found = worker.tell("plan", model)
            assert (found["said"], found["generation"]) == ("failed", worker.generation)
            assert said in found["error"]
            assert "\n" not in found["error"]
            assert worker.ask("/invocations", body()).headers["x-model-version"] == "1"
        (damaged / "columns.json").write_text("{}", encoding="utf-8")
        (damaged / "model.cbm").write_bytes((Path(second["folder"]) / "model.cbm").read_bytes())
        manifest = json.loads((damaged / "manifest.json").read_text(encoding="utf-8"))
        manifest["sha256"]["columns.json"] = hashlib.sha256(b"{}").hexdigest()
        (damaged / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        assert worker.tell("plan", serving.planned(damaged))["said"] == "failed"  # sealed, and yet no model
        assert worker.ask("/invocations", body()).headers["x-model-version"] == "1"
        assert worker.tell("plan", second)["said"] == "planned"
        assert worker.ask("/invocations", body()).headers["x-model-version"] == "2"


def test_a_worker_that_cannot_load_its_first_plan_says_why_and_ends(first: dict[str, Any], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listen:
        worker = Worker(tmp_path / "log", listen)
        found = worker.tell("start", {**first, "digest": "0" * 64}, settings=worker.settings)
        assert (found["said"], found["generation"]) == ("failed", 1)
        assert worker.process.wait(30) == 3
        worker.end()
    assert "Traceback" not in (tmp_path / "log").read_text(encoding="utf-8")


def begun(worker: Worker) -> tuple[socket.socket, bytes]:
    """Begin a request, and return its connection and the part of it that is not yet sent."""
    content = json.dumps(body()).encode()
    connection = socket.create_connection(("127.0.0.1", worker.port), timeout=30)
    head = "POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(content)}\r\n\r\n"
    connection.sendall(head.encode() + content[:10])
    return connection, content[10:]


@pytest.mark.parametrize("how", ["the parent is gone", "stop"])
def test_what_is_in_flight_is_answered_before_the_end(how: str, first: dict[str, Any], tmp_path: Path) -> None:
    with serving.started(tmp_path / "log", first, metrics_folder=None) as worker:
        assert worker.ask("/invocations", body()).status == 200  # over a connection that stays, and is idle
        connection, rest = begun(worker)
        until(lambda: b"trialtree_requests_running 1.0" in worker.ask("/metrics").body)
        if how == "stop":
            worker.say({"do": "stop", "grace": 20})
        else:
            worker.lines.close()
            worker.control.close()
        until(lambda: refused_to_connect(worker.port))
        assert worker.process.poll() is None
        connection.sendall(rest)
        assert serving.to_end(connection).startswith(b"HTTP/1.1 200 OK")
        connection.close()
        assert worker.process.wait(30) == 0
    assert "Traceback" not in (tmp_path / "log").read_text(encoding="utf-8")


def refused_to_connect(port: int) -> bool:
    """Whether a worker closes what is new: its parent still listens, so a connection alone says nothing."""
    client = Client(port)
    client.connection.timeout = 0.3
    try:
        client.ask("/ready")
    except OSError:
        return True
    else:
        return False
    finally:
        client.close()


def test_a_stop_does_not_wait_beyond_its_grace(first: dict[str, Any], tmp_path: Path) -> None:
    with serving.started(tmp_path / "log", first) as worker:
        connection, _ = begun(worker)
        began = time.monotonic()
        worker.say({"do": "stop", "grace": 1})
        assert worker.process.wait(30) == 0
        assert time.monotonic() - began < 8
        connection.close()


def test_a_parent_that_says_nothing_and_goes_leaves_no_worker(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listen:
        worker = Worker(tmp_path / "log", listen)
        assert worker.end() == 0


def test_new_settings_come_with_a_plan(first: dict[str, Any], tmp_path: Path) -> None:
    with serving.started(tmp_path / "log", first) as worker:
        assert worker.ask("/invocations", body(3)).status == 200
        assert worker.tell("plan", first, settings={**worker.settings, "max_rows": 2})["said"] == "planned"
        assert worker.ask("/invocations", body(3)).status == 413


def test_requests_are_kept_as_parquet_that_reads_back(base: Path, tmp_path: Path) -> None:
    table = serving.rows_of("pipeline")
    planned = serving.planned(base / "pipeline", version="4")
    kept = tmp_path / "kept"
    with serving.started(tmp_path / "log", planned, log_requests=1.0, log_folder=str(kept)) as worker:
        asked = worker.ask("/invocations", {"dataframe_records": serving.as_records(table)}, x_request_id="first")
        rows = {"dataframe_records": serving.as_records(table)}
        worker.ask("/invocations?probabilities=true", rows, x_request_id="second")
        assert worker.ask("/invocations", {"instances": []}).status == 422
        until(lambda: counted(worker, "trialtree_logged_requests_total") == 2)
        worker.say({"do": "stop"})
        assert worker.process.wait(30) == 0
    (path,) = kept.rglob("*.parquet")
    assert re.fullmatch(r"model-4-\d+-\d+-1\.parquet", path.name)
    found = pq.read_table(path)
    assert found.column_names == ["request", "time", "model", *table.column_names, "predicted"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert set(found["request"].to_pylist()) == {"first", "second"}
    assert set(found["model"].to_pylist()) == {"model/4"}
    assert found["predicted"].to_pylist() == 2 * asked.json["predictions"]
    for name in table.column_names:
        assert found[name].to_pylist() == 2 * table[name].to_pylist(), name


def test_columns_that_have_the_names_of_what_is_kept_with_them_stay(base: Path, tmp_path: Path) -> None:
    table = serving.rows_of("odd names", 5)
    planned = serving.planned(serving.saved("odd names", base), version="1")
    with serving.started(tmp_path / "log", planned, log_requests=1.0, log_folder=str(tmp_path / "kept")) as worker:
        assert worker.ask("/invocations", {"instances": serving.as_lists(table)}).status == 200
        until(lambda: counted(worker, "trialtree_logged_requests_total") == 1)
        worker.say({"do": "stop"})
        assert worker.process.wait(30) == 0
    (path,) = (tmp_path / "kept").rglob("*.parquet")
    found = pq.read_table(path)
    assert found.column_names == ["request", "_time", "model", *serving.ODD, "predicted"]
    assert found["time"].to_pylist() == table["time"].to_pylist()


def test_a_share_of_the_requests_is_kept(first: dict[str, Any], tmp_path: Path) -> None:
    with serving.started(tmp_path / "log", first, log_requests=0.2, log_folder=str(tmp_path / "kept")) as worker:
        for _ in range(300):
            assert worker.ask("/invocations", body()).status == 200
        # 60 are expected; 6 standard deviations are 42.
        assert 18 <= counted(worker, "trialtree_logged_requests_total") <= 102


def test_the_counters_of_two_workers_add_up(first: dict[str, Any], tmp_path: Path) -> None:
    metrics = str(tmp_path / "metrics")
    with (
        serving.started(tmp_path / "a", first, metrics_folder=metrics) as one,
        serving.started(tmp_path / "b", first, metrics_folder=metrics) as other,
    ):
        for worker, times in ((one, 3), (other, 4)):
            for _ in range(times):
                assert worker.ask("/invocations", body(5)).status == 200
        assert other.ask("/invocations", b"{").status == 400
        for worker in (one, other):
            until(lambda worker=worker: counted(worker, "trialtree_requests_total") == 8)  # counted once it is sent
            assert counted(worker, "trialtree_requests_total", status="200", protocol="mlflow", model="model/1") == 7
            assert counted(worker, "trialtree_rows_total") == 35
            assert counted(worker, "trialtree_request_seconds_count") == 8
            assert counted(worker, "trialtree_model_share") == 1
        from trialtree.serving.metrics import summary

        found = summary(metrics)
        assert {k: found[k] for k in ("requests", "errors", "refused", "rows")} == {
            "requests": 8, "errors": 0, "refused": 1, "rows": 35,
        }  # fmt: skip
        assert 0 < found["p50"] <= found["p99"]


def test_two_workers_on_one_socket_answer_alike(first: dict[str, Any], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listen:
        workers = [Worker(tmp_path / name, listen) for name in "ab"]
        for worker in workers:
            assert worker.tell("start", first, settings=worker.settings)["said"] == "ready"

        def ask(_: int) -> bytes:
            client = Client(workers[0].port)
            try:
                return client.ask("/invocations", body(3)).body
            finally:
                client.close()

        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(ask, range(100)))) == 1
        for worker in workers:
            assert worker.end() == 0


def test_a_worker_of_catboost_is_small_and_holds_no_large_library(first: dict[str, Any], tmp_path: Path) -> None:
    with serving.started(tmp_path / "log", first) as worker:
        assert worker.ask("/invocations", body()).status == 200
        assert worker.megabytes < 200
        mapped = Path(f"/proc/{worker.process.pid}/maps")
        if mapped.exists():
            lines = mapped.read_text(encoding="utf-8").splitlines()
            libraries = {Path(line.split()[-1]).name for line in lines if "/" in line}
            assert [
                name for name in libraries if name.startswith(("libarrow", "_isolation", "pandas_", "_duckdb"))
            ] == []


def test_over_tls_it_answers_alike(first: dict[str, Any], tmp_path: Path) -> None:
    import ssl
    import subprocess
    from http.client import HTTPSConnection

    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("no openssl here")
    with serving.started(tmp_path / "log", first, tls_cert=str(cert), tls_key=str(key)) as worker:
        context = ssl.create_default_context(cafile=str(cert))
        connection = HTTPSConnection("localhost", worker.port, context=context, timeout=30)
        connection.request("POST", "/invocations", json.dumps(body()), {"content-type": "application/json"})
        assert connection.getresponse().status == 200
        connection.close()
        assert worker.raw(b"GET /ping HTTP/1.1\r\n\r\n") == b""


def test_where_counters_have_no_room_they_are_in_memory(first: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "full").write_text("no folder")
    with serving.started(tmp_path / "a", first, metrics_folder=str(tmp_path / "full/metrics")) as worker:
        assert worker.ask("/invocations", body(5)).status == 200
        assert counted(worker, "trialtree_rows_total") == 5


def test_the_files_of_counters_have_no_holes(first: dict[str, Any], tmp_path: Path) -> None:
    with serving.started(tmp_path / "a", first, metrics_folder=str(tmp_path / "metrics")) as worker:
        assert worker.ask("/invocations", body(5)).status == 200
        files = list((tmp_path / "metrics").glob("*.db"))
        assert len(files) == 4
        for path in files:
            assert path.stat().st_blocks * 512 >= path.stat().st_size
