"""What the machines share beside the Git remote, for as long as a block runs: an S3 server, an MLflow server."""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from examples.walkthrough.machines import WalkError

_SETTINGS = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
_PATIENCE = 120  # seconds to wait for MLflow's first word


@contextlib.contextmanager
def s3() -> Iterator[str]:
    """Run moto's S3 server with an empty bucket `walkthrough`; yield its address."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # no line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        boto3.client("s3", endpoint_url=address, region_name="us-east-1").create_bucket(Bucket="walkthrough")
        yield address
    finally:
        server.stop()


@contextlib.contextmanager
def mlflow(folder: Path) -> Iterator[str]:
    """Run an MLflow server that keeps all it has in a new folder; yield its address.

    Raises:
        WalkError: it does not answer.
    """
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files"),
    ]  # fmt: skip
    # It is to know nothing of the bucket, and to start no workers for jobs that nobody gives it.
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with (
        (folder / "server.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env={**env, **_SETTINGS}) as process,
    ):
        try:
            _wait(f"http://127.0.0.1:{port}", process, folder / "server.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _wait(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    import requests

    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{address}/health", timeout=5).ok:
                return
        time.sleep(0.2)
    raise WalkError(f"the MLflow server does not answer, {log} says why: {log.read_text(encoding='utf-8')[-300:]!r}")
