"""fetch from S3: a real server, and the refusals of one that answers as S3 does."""

import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from stages import streams
from tests.fetching import CSV, PIN, kept, line, read
from tests.web import Web, serving


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a running S3 server."""
    started = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    started.start()
    host, port = started.get_host_and_port()
    yield f"http://{host}:{port}"
    started.stop()


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("AWS_") or name == "DVC_ROOT"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "planted-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret")
    monkeypatch.setattr(streams, "_PAUSE", 0.0)


@pytest.fixture
def s3(server: str, tmp_path: Path) -> Iterator[Any]:
    """A client, and a bucket of the test's own, `bucket` in it."""
    client = boto3.client(
        "s3", endpoint_url=server, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y"
    )
    client.bucket = hashlib.md5(str(tmp_path).encode()).hexdigest()
    client.create_bucket(Bucket=client.bucket)
    client.put_object(Bucket=client.bucket, Key="in/t.csv", Body=CSV)
    yield client
    client.close()


def test_an_object_is_read_and_kept(s3: Any, server: str) -> None:
    name = f"s3://{s3.bucket}/in/t.csv"
    etag = hashlib.md5(CSV).hexdigest()
    entry = {"source": name, "etag": etag, "bytes": len(CSV), "sha256": PIN}
    assert read(name, endpoint=server) == [entry]
    s3.delete_object(Bucket=s3.bucket, Key="in/t.csv")
    assert read(name, endpoint=server, drop=["a"]) == [entry]


def test_the_version_of_an_object_is_told(s3: Any, server: str) -> None:
    s3.put_bucket_versioning(Bucket=s3.bucket, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=s3.bucket, Key="in/t.csv", Body=CSV)["VersionId"]
    assert read(f"s3://{s3.bucket}/in/t.csv", endpoint=server)[0]["version_id"] == version


@pytest.mark.parametrize("prefix", ["parts", "parts/"])
def test_the_tables_below_a_prefix_are_one_by_name(s3: Any, server: str, prefix: str) -> None:
    for key in ("parts/b.csv", "parts/a/c.csv", "parts/a/", "parts/_SUCCESS", "parts/.hidden", "parts/_tmp/d.csv"):
        s3.put_object(Bucket=s3.bucket, Key=key, Body=b"" if key.endswith("/") else CSV)
    lines = f"{PIN}  c.csv\n{PIN}  b.csv\n"
    read_ = read(f"s3://{s3.bucket}/{prefix}", hashlib.sha256(lines.encode()).hexdigest(), endpoint=server)
    assert [entry["source"] for entry in read_] == [f"s3://{s3.bucket}/parts/{name}" for name in ("a/c.csv", "b.csv")]


def test_the_remote_of_dvc_in_the_same_bucket_says_where_and_who(s3: Any, server: str, tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(
        f"[core]\n    remote = ours\n['remote \"theirs\"']\n    url = s3://elsewhere/x\n"
        f"['remote \"ours\"']\n    url = s3://{s3.bucket}/store\n    endpointurl = {server}\n",
        encoding="utf-8",
    )
    local = "['remote \"ours\"']\n    access_key_id = planted\n    secret_access_key = planted\n"
    (tmp_path / ".dvc" / "config.local").write_text(local, encoding="utf-8")
    os.environ.pop("AWS_ACCESS_KEY_ID")
    os.environ.pop("AWS_SECRET_ACCESS_KEY")
    assert "planted" not in str(read(f"s3://{s3.bucket}/in/t.csv"))


def test_the_endpoint_of_the_environment_counts(s3: Any, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server)
    assert read(f"s3://{s3.bucket}/in/t.csv")


def test_what_is_not_there_is_said(s3: Any, server: str) -> None:
    gone = (
        "there is no such object and no table below it; see that fetch.source in params.yaml is right, "
        "or put the data back"
    )
    assert line(f"s3://{s3.bucket}/none.csv", endpoint=server) == f"s3://{s3.bucket}/none.csv: {gone}"
    s3.delete_object(Bucket=s3.bucket, Key="in/t.csv")
    assert line(f"s3://{s3.bucket}/", endpoint=server) == f"s3://{s3.bucket}/: {gone}"
    assert line("s3://no-such-bucket/t.csv", endpoint=server) == (
        "s3://no-such-bucket/t.csv: there is no bucket no-such-bucket; see that its name and the endpoint are right"
    )
    assert not kept()


def test_without_credentials_it_is_said_where_they_go(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert line("s3://some-bucket/t.csv", endpoint=server) == (
        "s3://some-bucket/t.csv: there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
        "AWS_PROFILE, or those of the DVC remote by `dvc remote modify --local`"
    )
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert line("s3://some-bucket/t.csv", endpoint=server) == (
        "s3://some-bucket/t.csv: The config profile (nobody) could not be found; "
        "see AWS_PROFILE, ~/.aws/config and profile of the DVC remote"
    )


def test_a_wrong_endpoint_is_said() -> None:
    with socket.socket() as held:  # a port where nobody answers
        held.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{held.getsockname()[1]}"
        assert line("s3://some-bucket/t.csv", endpoint=endpoint) == (
            f"s3://some-bucket/t.csv: the server cannot be reached at {endpoint}: Connection refused; "
            "see that the network and the endpoint are right"
        )


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as server:
        yield server


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, "AccessDenied", "access denied; the credentials need s3:GetObject on it and s3:ListBucket on the bucket "
         "(without the latter, S3 says so of what is not there, too)"),
        (400, "ExpiredToken", "the credentials have expired (ExpiredToken); log in again (`aws sso login`) or renew "
         "AWS_SESSION_TOKEN"),
        (403, "SignatureDoesNotMatch", "the server does not take the credentials (SignatureDoesNotMatch); "
         "see AWS_ACCESS_KEY_ID, AWS_PROFILE, .dvc/config.local"),
        (400, "AuthorizationHeaderMalformed", "the bucket is in another region (AuthorizationHeaderMalformed); "
         "set AWS_REGION, or region of the DVC remote"),
        (418, "Teapot", "the server answers Teapot: why; see that the endpoint is one of S3"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_line_with_the_next_step(web: Web, status: int, code: str, said: str) -> None:
    web.status["/some-bucket/t.csv"] = [status] * 9
    web.said["/some-bucket/t.csv"] = f"<Error><Code>{code}</Code><Message>why</Message></Error>".encode()
    assert line("s3://some-bucket/t.csv", endpoint=web.address) == f"s3://some-bucket/t.csv: {said}"


def test_a_server_that_is_none_of_s3_is_said(web: Web) -> None:
    web.status["/some-bucket/t.csv"] = [404] * 9
    web.status["/some-bucket"] = [200] * 9
    web.said["/some-bucket"] = b"<html>hello"
    assert line("s3://some-bucket/t.csv", endpoint=web.address).endswith("see that the endpoint is one of S3")


def test_an_object_that_is_cut_off_is_gone_on_with(web: Web) -> None:
    web.files["/some-bucket/t.csv"] = CSV
    web.cuts["/some-bucket/t.csv"] = [1000, 5000]
    read("s3://some-bucket/t.csv", endpoint=web.address)
    assert [part for _, part in web.asked] == [None, "bytes=1000-", "bytes=6000-"]


def test_credentials_do_not_stand_in_params() -> None:
    assert line("s3://planted:planted@bucket/t.csv") == (
        "params.yaml: fetch.source: must not carry credentials, for it stands in Git; "
        "put them into the environment or .dvc/config.local, got 's3://***@bucket/t.csv'"
    )
    assert line("s3:///t.csv").startswith("params.yaml: fetch.source: must name a bucket, as s3://bucket/key")
    assert "fetch.endpoint: " in line("s3://bucket/t.csv", endpoint="https://me:planted@host")
    assert line("t.csv", endpoint="https://host") == "params.yaml: fetch: endpoint: for s3:// only"
