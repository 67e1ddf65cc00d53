"""fetch from OpenML: a server that answers as its documented API does."""

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages import streams
from tests.fetching import line, read
from tests.web import Web, serving

_FILE = io.BytesIO()
pq.write_table(pa.table({"a": range(20), "class": ["x", "y"] * 10}), _FILE)
TABLE = _FILE.getvalue()
PIN = hashlib.sha256(TABLE).hexdigest()


@pytest.fixture
def openml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(streams, "_PAUSE", 0.0)
    with serving() as web:
        monkeypatch.setenv("OPENML_SERVER", web.address)
        web.files["/datasets/0000/0061/dataset_61.pq"] = TABLE
        describe(web)
        yield web


def describe(web: Web, **changes: Any) -> None:
    """Describe the data set 61 as api/v1/json/data does."""
    described = {
        "id": "61", "name": "iris", "version": "1", "description": "…", "format": "ARFF", "licence": "Public",
        "url": "https://api.openml.org/data/v1/download/61/iris.arff",
        "parquet_url": f"{web.address}/datasets/0000/0061/dataset_61.pq", "file_id": "61",
        "default_target_attribute": "class", "visibility": "public", "status": "active",
        "md5_checksum": "ad484452702105cbf3d30f8deaba39a9",
    }  # fmt: skip
    content = {"data_set_description": {**described, **changes}}
    web.files["/api/v1/json/data/61"] = json.dumps(content).encode()


def test_a_table_is_read_as_parquet_with_its_name_and_version(openml: Web) -> None:
    assert read("openml:61", PIN) == [
        {
            "source": "openml:61", "name": "iris", "version": "1", "md5_of_arff": "ad484452702105cbf3d30f8deaba39a9",
            "url": f"{openml.address}/datasets/0000/0061/dataset_61.pq",
            "etag": openml.etag("/datasets/0000/0061/dataset_61.pq"), "bytes": len(TABLE), "sha256": PIN,
        }
    ]  # fmt: skip
    openml.files.clear()
    read("openml:61", PIN)


def test_faults_are_said(openml: Web) -> None:
    openml.status["/api/v1/json/data/62"] = [412]
    openml.said["/api/v1/json/data/62"] = b'{"error":{"code":"111","message":"Unknown dataset"}}'
    assert line("openml:62", PIN) == (
        "openml:62: OpenML says: Unknown dataset; see that the number in fetch.source is right"
    )
    assert line("openml:iris", PIN).startswith(
        "params.yaml: fetch.source: must be openml: and the number of a data set, got"
    )
    describe(openml, parquet_url=None)
    assert line("openml:61", PIN) == (
        "openml:61: OpenML has no Parquet file of it; download it and `trialtree data add FILE`"
    )
    describe(openml)
    openml.files["/datasets/0000/0061/dataset_61.pq"] = b"<html>"
    assert line("openml:61", PIN).endswith("is not Parquet; OpenML may be mending it: try later")
    openml.files["/api/v1/json/data/61"] = b"[]"
    assert line("openml:61", PIN).endswith("does not answer as OpenML does; see OPENML_SERVER")
    openml.files["/api/v1/json/data/61"] = b"<html>"
    assert line("openml:61", PIN).endswith("answers 200, and not as OpenML does; see OPENML_SERVER")


@pytest.mark.usefixtures("openml")
def test_no_network_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENML_SERVER", "http://no-such-host.invalid")
    assert line("openml:61", PIN).endswith("see that the network and the proxy are right")
