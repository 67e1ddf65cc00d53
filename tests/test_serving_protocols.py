"""Every protocol of an endpoint over HTTP, as its own clients speak it: the same predictions on all of them."""

import csv
import gzip
import io
import re
import socket
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import requests

from tests import serving
from tests.serving import CSV, FILE, JSON, PARQUET, STREAM, Answer, Worker
from tests.slow import until

Workers = Callable[[str], Worker]
ALL = ("catboost numbers", "catboost categories", "pipeline", "integers", "linear")
FEW = 30  # rows


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    base, made = tmp_path_factory.mktemp("models"), dict[str, Any]()

    def find(kind: str) -> Any:
        if kind not in made:
            made[kind] = serving.saved(kind, base)
        return made[kind]

    return find


@pytest.fixture(scope="module")
def workers(folders: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Workers by the kind of their model, each started once."""
    logs = tmp_path_factory.mktemp("logs")
    with ExitStack() as stack:
        running = dict[str, Worker]()

        def find(kind: str) -> Worker:
            if kind not in running:
                planned = serving.planned(folders(kind), version="7")
                running[kind] = stack.enter_context(serving.started(logs / kind, planned))
            return running[kind]

        yield find


@pytest.fixture
def table(request: pytest.FixtureRequest) -> pa.Table:
    return serving.rows_of(request.node.callspec.params["kind"], FEW)


@pytest.fixture
def wanted(request: pytest.FixtureRequest, folders: Callable[[str], Any], table: pa.Table) -> list[Any]:
    return serving.expected(folders(request.node.callspec.params["kind"]), table)


def logged(worker: Worker, request: str) -> dict[str, Any]:
    """Return what a worker logs of a request, which it does once that is answered."""
    found: dict[str, Any] = until(lambda: [event for event in worker.events() if event.get("id") == request])[0]
    return found


def good(answer: Answer) -> Answer:
    assert answer.status == 200, answer.body
    assert answer.headers["x-model-version"] == "7"
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])
    return answer


@pytest.mark.parametrize("kind", [*ALL, "odd names"])
def test_every_form_of_json_and_csv_is_answered_by_the_models_predictions(
    kind: str, workers: Workers, table: pa.Table, wanted: list[Any]
) -> None:
    records, lists, split = serving.as_records(table), serving.as_lists(table), serving.as_split(table)
    columns = {name: [plain[name] for plain in records] for name in table.column_names}
    of_one = {name: [[value] for value in values] for name, values in columns.items()}
    for body in (
        {"dataframe_split": split}, {"dataframe_split": {**split, "index": list(range(FEW))}},
        {"dataframe_split": {"data": lists}}, {"dataframe_records": records}, {"instances": records},
        {"instances": lists}, {"inputs": records}, {"inputs": lists}, {"inputs": columns}, {"instances": columns},
        {"inputs": of_one}, {"instances": lists, "params": {}}, {"inputs": lists, "params": {"probabilities": False}},
    ):  # fmt: skip
        answer = good(workers(kind).ask("/invocations", body))
        assert answer.headers["content-type"] == JSON
        assert list(answer.json) == ["predictions"]
        assert serving.close(answer.json["predictions"], wanted), list(body)
    for body in ({"data": lists}, {"data": records}, {"data": columns}, {"input_data": lists}, {"input_data": split}):
        assert serving.close(good(workers(kind).ask("/score", body)).json, wanted), list(body)
    answer = good(workers(kind).ask("/invocations", serving.as_csv(table), CSV, accept="*/*"))
    assert serving.close(answer.json["predictions"], wanted)


@pytest.mark.parametrize("kind", ALL)
def test_a_client_of_sagemaker_gets_a_line_for_each_row(
    kind: str, workers: Workers, table: pa.Table, wanted: list[Any]
) -> None:
    body = serving.as_csv(table, header=False)
    for media in (CSV, "text/csv; charset=utf-8", "Text/CSV;charset=UTF-8;header=absent", 'text/csv; charset="utf-8"'):
        answer = good(workers(kind).ask("/invocations", body, media))
        assert answer.headers["content-type"].startswith(CSV)
        found = [line[0] for line in csv.reader(io.StringIO(answer.body.decode()))]
        assert serving.close([type(w)(f) for f, w in zip(found, wanted, strict=True)], wanted)
    asked = good(workers(kind).ask("/invocations", body, CSV, accept=JSON))
    assert serving.close(asked.json["predictions"], wanted)
    asked = good(workers(kind).ask("/invocations", {"instances": serving.as_lists(table)}, accept=CSV))
    assert asked.body == answer.body


@pytest.mark.parametrize("kind", ALL)
def test_a_client_of_version_2_gets_tensors(kind: str, workers: Workers, table: pa.Table, wanted: list[Any]) -> None:
    worker, records = workers(kind), serving.as_records(table)
    described = worker.ask("/v2/models/model").json
    assert (described["name"], described["versions"], described["platform"]) == ("model", ["7"], "trialtree")
    for shape in ([FEW], [FEW, 1]):
        inputs = [
            {"name": i["name"], "shape": shape, "datatype": i["datatype"], "data": [r[i["name"]] for r in records]}
            for i in described["inputs"]
        ]
        for path in ("/v2/models/model/infer", "/v2/models/model/versions/7/infer"):
            answer = good(worker.ask(path, {"id": "a-1", "inputs": inputs, "outputs": [{"name": "predict"}]})).json
            (output,) = answer.pop("outputs")
            assert answer == {"model_name": "model", "model_version": "7", "id": "a-1"}
            assert serving.close(output.pop("data"), wanted)
            assert output == {**described["outputs"][0], "shape": [FEW]}


@pytest.mark.parametrize("kind", ["catboost numbers"])
def test_a_client_of_version_2_may_send_one_tensor_of_all_columns(
    kind: str, workers: Workers, table: pa.Table, wanted: list[Any]
) -> None:
    lists = serving.as_lists(table)
    for data in (lists, [value for row in lists for value in row]):
        tensor = {"name": "x", "shape": [FEW, len(lists[0])], "datatype": "FP64", "data": data}
        answer = good(workers(kind).ask("/v2/models/model/infer", {"inputs": [tensor]}))
        assert serving.close(answer.json["outputs"][0]["data"], wanted)
        assert "id" not in answer.json


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("media", [STREAM, FILE, PARQUET])
def test_a_table_is_answered_by_a_table_of_its_kind(
    kind: str, media: str, workers: Workers, table: pa.Table, wanted: list[Any]
) -> None:
    worker = workers(kind)
    turned = table.select(table.column_names[::-1])
    for body in (serving.as_table(table, media), serving.as_table(turned, media)):
        answer = good(worker.ask("/invocations", body, media))
        assert answer.headers["content-type"] == media
        found = serving.read_table(answer.body, media)
        assert found.column_names == ["prediction"]
        assert serving.close(found["prediction"].to_pylist(), wanted)
        answer = good(worker.ask("/invocations", body, media, accept=JSON))
        assert serving.close(answer.json["predictions"], wanted)


@pytest.mark.parametrize("kind", ["catboost categories"])
@pytest.mark.parametrize(
    "form",
    ["lz4", "zstd", "dictionary", "views", "batches", "parquet gzip", "parquet zstd", "parquet plain", "parquet 1",
     "pandas parquet", "pandas feather", "groups"],
)  # fmt: skip
def test_tables_as_other_tools_write_them(
    kind: str, form: str, workers: Workers, table: pa.Table, wanted: list[Any]
) -> None:
    frame, sink, media = table.to_pandas(), io.BytesIO(), STREAM
    if form in ("lz4", "zstd"):
        body = serving.as_table(table, STREAM, options=pa.ipc.IpcWriteOptions(compression=form))
    elif form == "dictionary":
        body = serving.as_table(table.set_column(3, "colour", table["colour"].dictionary_encode()), STREAM)
    elif form == "views":
        body = serving.as_table(table.set_column(3, "colour", table["colour"].cast(pa.string_view())), STREAM)
    elif form == "batches":
        body = serving.as_table(pa.concat_tables([table.slice(i, 7) for i in range(0, FEW, 7)]), STREAM)
    elif form == "pandas feather":
        frame.to_feather(sink)
        body, media = sink.getvalue(), FILE
    elif form == "pandas parquet":
        frame.astype({"colour": "category"}).to_parquet(sink)
        body, media = sink.getvalue(), PARQUET
    else:
        options: dict[str, Any] = {
            "parquet gzip": {"compression": "gzip"},
            "parquet zstd": {"compression": "zstd", "data_page_version": "2.0"},
            "parquet plain": {"compression": "none", "use_dictionary": False}, "parquet 1": {"version": "1.0"},
            "groups": {"row_group_size": 4, "compression": "snappy"},
        }  # fmt: skip
        body, media = serving.as_table(table, PARQUET, **options[form]), PARQUET
    answer = good(workers(kind).ask("/invocations", body, media, accept=JSON))
    assert serving.close(answer.json["predictions"], wanted)


@pytest.mark.parametrize("kind", ["catboost categories", "pipeline", "integers"])
def test_probabilities_are_the_models_on_every_protocol(
    kind: str, workers: Workers, table: pa.Table, folders: Callable[[str], Any]
) -> None:
    worker, query = workers(kind), "/invocations?probabilities=true"
    wanted = serving.expected(folders(kind), table, probabilities=True)
    names = [f"p_{label}" for label in ("no", "yes")] if kind != "integers" else ["p_9", "p_10", "p_11"]
    lists = {"instances": serving.as_lists(table)}
    asked = [
        worker.ask(query, lists), worker.ask("/invocations", {**lists, "params": {"probabilities": True}}),
        worker.ask(query, {**lists, "params": {"probabilities": False}}),
        worker.ask("/invocations?probabilities=1", serving.as_csv(table), CSV),
        worker.ask(query, serving.as_table(table, STREAM), STREAM, accept=JSON),
    ]  # fmt: skip
    for answer in asked:
        found = good(answer).json["predictions"]
        assert [list(row) for row in found] == [names] * FEW
        assert serving.close([list(row.values()) for row in found], wanted)
    found = good(worker.ask("/score?probabilities=true", {"data": lists["instances"]})).json
    assert serving.close([list(row.values()) for row in found], wanted)
    lines = good(worker.ask(query, serving.as_csv(table, header=False), CSV)).body.decode()
    assert serving.close([list(map(float, line.split(","))) for line in lines.splitlines()], wanted)
    for media in (STREAM, FILE, PARQUET):
        answered = serving.read_table(good(worker.ask(query, serving.as_table(table, media), media)).body, media)
        assert answered.column_names == names
        assert serving.close(np.transpose(list(answered.to_pydict().values())).tolist(), wanted)
    described = worker.ask("/v2/models/model").json
    inputs = [
        {"name": i["name"], "shape": [FEW], "datatype": i["datatype"],
         "data": [row[i["name"]] for row in serving.as_records(table)]}
        for i in described["inputs"]
    ]  # fmt: skip
    for body, path in (
        ({"inputs": inputs, "outputs": [{"name": "predict_proba"}]}, "/v2/models/model/infer"),
        ({"inputs": inputs, "parameters": {"probabilities": True}}, "/v2/models/model/infer"),
        ({"inputs": inputs}, "/v2/models/model/infer?probabilities=true"),
    ):
        (output,) = good(worker.ask(path, body)).json["outputs"]
        assert (output["name"], output["shape"]) == ("predict_proba", [FEW, len(names)])
        assert output["parameters"] == {"labels": names}
        assert serving.close(np.reshape(output["data"], output["shape"]).tolist(), wanted)
    answer = worker.ask("/invocations?probabilities=false", {**lists, "params": {"probabilities": True}})
    assert isinstance(good(answer).json["predictions"][0], str | int)


def test_a_model_without_probabilities_says_so(workers: Workers) -> None:
    table = serving.as_lists(serving.rows_of("linear", 1))
    answer = workers("linear").ask("/invocations?probabilities=true", {"instances": table})
    assert (answer.status, answer.json["message"]) == (
        422, "sklearn.linear_model.LinearRegression has no probabilities; it predicts numbers",
    )  # fmt: skip
    tensors = [{"name": n, "shape": [1], "datatype": "BYTES", "data": [v]}
               for n, v in zip(serving.MIXED, table[0], strict=True)]  # fmt: skip
    asked = {"inputs": tensors, "outputs": [{"name": "predict_proba"}]}
    answer = workers("linear").ask("/v2/models/model/infer", asked)
    assert (answer.status, list(answer.json)) == (400, ["error"])


@pytest.mark.parametrize("kind", ["one text"])
def test_one_column_may_come_as_a_plain_list(kind: str, workers: Workers, table: pa.Table, wanted: list[Any]) -> None:
    notes = table["note"].to_pylist()
    for path, body in (("/invocations", {"instances": notes}), ("/invocations", {"inputs": {"note": notes}}),
                       ("/score", {"data": notes})):  # fmt: skip
        found = good(workers(kind).ask(path, body)).json
        assert serving.close(found if isinstance(found, list) else found["predictions"], wanted)


@pytest.mark.parametrize("kind", ["pipeline"])
def test_a_packed_body_is_unpacked(kind: str, workers: Workers, table: pa.Table, wanted: list[Any]) -> None:
    body, worker = serving.as_csv(table), workers(kind)
    lines = body.splitlines(keepends=True)
    parts = gzip.compress(b"".join(lines[:9])) + gzip.compress(b"".join(lines[9:]))
    packed_once = gzip.compress(body)
    for encoding, packed in (
        ("gzip", packed_once), ("x-gzip", packed_once), ("GZIP", packed_once), ("gzip", parts),
        ("deflate", zlib.compress(body)), ("identity", body),
    ):  # fmt: skip
        answer = good(worker.ask("/invocations", packed, CSV, content_encoding=encoding))
        assert serving.close(answer.json["predictions"], wanted)
    chunked = requests.post(
        f"http://127.0.0.1:{worker.port}/invocations", data=iter(lines), headers={"content-type": CSV}, timeout=30
    )
    assert serving.close(chunked.json()["predictions"], wanted)


@pytest.mark.parametrize("kind", ["linear", "pipeline"])
def test_mlflows_own_clients_get_the_predictions(
    kind: str, workers: Workers, table: pa.Table, wanted: list[Any]
) -> None:
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    client = ScoringServerClient("127.0.0.1", workers(kind).port)
    client.wait_server_ready(timeout=10)
    assert "trialtree" in client.get_version()
    frame = table.to_pandas().assign(sold=[plain and str(plain) for plain in table["sold"].to_pylist()])
    answer = client.invoke(frame)
    assert serving.close(answer.get_predictions()[0].tolist(), wanted)


@pytest.mark.parametrize("kind", ["linear"])
def test_pandas_own_json_is_taken(kind: str, workers: Workers, table: pa.Table, wanted: list[Any]) -> None:
    frame = table.to_pandas()
    for orient, form in (("split", "dataframe_split"), ("records", "dataframe_records")):
        body = f'{{"{form}": {frame.to_json(orient=orient, date_format="iso", force_ascii=False)}}}'.encode()
        assert serving.close(good(workers(kind).ask("/invocations", body)).json["predictions"], wanted)
    body = frame.to_csv(index=False).encode()
    assert serving.close(good(workers(kind).ask("/invocations", body, CSV)).json["predictions"], wanted)


def test_what_an_endpoint_says_of_itself(workers: Workers, folders: Callable[[str], Any]) -> None:
    worker = workers("pipeline")
    for path in ("/ping", "/health", "/ready", "/v2/health/ready"):
        assert (worker.ask(path).status, worker.ask(path).body) == (200, b"\n")
    for path in ("/live", "/v2/health/live"):
        assert worker.ask(path).json == {"live": True}
    version = worker.ask("/version").json
    planned = serving.planned(folders("pipeline"))
    assert version["models"] == [
        {"name": "model", "version": "7", "alias": None, "sha256": planned["digest"], "share": 1.0, "shadow": False}
    ]
    assert worker.ask("/v2").json == {"name": "trialtree", "version": version["trialtree"], "extensions": []}
    assert worker.ask("/v2/models/model/ready").json == {"ready": True}
    assert worker.ask("/v2/models/model/versions/7/ready").status == 200
    described = worker.ask("/v2/models/model/versions/7").json
    assert [each["datatype"] for each in described["inputs"]] == ["FP64", "FP64", "INT64", "BYTES", "BYTES", "BYTES"]
    assert described["outputs"] == [
        {"name": "predict", "datatype": "BYTES", "shape": [-1]},
        {"name": "predict_proba", "datatype": "FP64", "shape": [-1, 2]},
    ]
    page = worker.ask("/")
    assert "größe" in page.body.decode()
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert worker.ask("/docs").body == page.body
    assert set(worker.ask("/openapi.json").json["paths"]) >= {"/invocations", "/score", "/v2/models/model/infer"}


@pytest.mark.parametrize("path", ["/nothing", "/invocations/", "/v2/models/other", "/v2/models/model/versions/8",
                                  "/v2/models/model/infer/x", "/../etc/passwd", "//ping"])  # fmt: skip
def test_another_address_is_404_in_the_form_of_its_protocol(path: str, workers: Workers) -> None:
    answer = workers("pipeline").ask(path)
    assert answer.status == 404
    assert list(answer.json) == (["error"] if path.startswith("/v2") else ["error_code", "message"])


def test_another_method_is_405_and_says_which_is_taken(workers: Workers) -> None:
    worker = workers("pipeline")
    for path, method, allowed in (
        ("/invocations", "GET", {"POST"}), ("/score", "PUT", {"POST"}), ("/ping", "DELETE", {"GET", "HEAD"}),
        ("/v2/models/model/infer", "GET", {"POST"}), ("/invocations", "OPTIONS", {"POST"}),
        ("/ping", "POST", {"GET", "HEAD"}), ("/invocations", "TRACE", {"POST"}),
    ):  # fmt: skip
        answer = worker.ask(path, method=method)
        assert (answer.status, set(answer.headers["allow"].split(", "))) == (405, allowed)
        assert "does not take this method" in answer.body.decode()
    head = worker.ask("/ping", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert worker.ask("/invocations", method="HEAD").status == 405
    assert worker.ask("/ping").status == 200  # over the same connection


def test_the_id_of_a_request_is_that_of_its_client_if_it_is_one(workers: Workers) -> None:
    body = {"instances": serving.as_lists(serving.rows_of("linear", 1))}
    worker = workers("linear")
    assert worker.ask("/invocations", body, x_request_id="a.b:c-1").headers["x-request-id"] == "a.b:c-1"
    for odd in ("a b", "x" * 65, "<script>", "é"):
        assert re.fullmatch("[0-9a-f]{16}", worker.ask("/invocations", body, x_request_id=odd).headers["x-request-id"])
    assert worker.ask("/invocations", b"x", x_request_id="wrong-1").headers["x-request-id"] == "wrong-1"
    assert logged(worker, "wrong-1")["status"] == 400


def test_requests_are_logged_without_what_they_hold(workers: Workers) -> None:
    worker = workers("linear")
    body = {"instances": [["secret-payload"] * 6], "params": {"probabilities": False}}
    assert worker.ask("/invocations", body, x_request_id="logged-1").status == 422
    event = logged(worker, "logged-1")
    assert {k: event[k] for k in ("event", "protocol", "status", "rows", "faults")} == {
        "event": "request", "protocol": "mlflow", "status": 422, "rows": 0, "faults": 5,
    }  # fmt: skip
    assert "secret-payload" not in worker.log.read_text(encoding="utf-8")


def test_a_row_asked_alone_over_http_gets_the_figure_that_it_gets_among_many(workers: Workers) -> None:
    for kind in ("linear", "catboost numbers"):
        lists = serving.as_lists(serving.rows_of(kind, 240))
        whole = workers(kind).ask("/invocations", {"instances": lists}).json["predictions"]
        for place in (0, 17, 239):
            alone = workers(kind).ask("/invocations", {"instances": [lists[place]]}).json["predictions"]
            assert alone == [whole[place]]


def test_http_1_0_and_pipelined_requests_are_answered_in_order(workers: Workers) -> None:
    worker = workers("linear")
    lists = serving.as_lists(serving.rows_of("linear", 3))
    found = worker.raw(b"GET /ping HTTP/1.0\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 200 OK\r\n")
    bodies = [pd.io.json.ujson_dumps({"instances": [row]}).encode() for row in lists]
    sent = b"".join(
        b"POST /invocations HTTP/1.1\r\nHost: x\r\nX-Request-Id: n%d\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (number, len(body), body)
        for number, body in enumerate(bodies)
    )
    found = worker.raw(sent + b"GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert re.findall(rb"x-request-id: (\w+)", found) == [b"n0", b"n1", b"n2"]
    assert found.count(b"HTTP/1.1 200 OK") == 4
    predictions = [float(figure) for figure in re.findall(rb'"predictions":\[([^\]]+)\]', found)]
    assert predictions == worker.ask("/invocations", {"instances": lists}).json["predictions"]


def test_a_client_that_waits_for_leave_to_send_its_body_gets_it(workers: Workers) -> None:
    body = b'{"instances": [[1, 2, 3]]}'
    with socket.create_connection(("127.0.0.1", workers("catboost numbers").port), timeout=30) as connection:
        connection.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
            b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert serving.to_end(connection).startswith(b"HTTP/1.1 200 OK")
