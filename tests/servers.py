"""Servers that tests talk to."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

KEY, SECRET = "AKIAPLANTEDKEY000001", "planted+secret/0123456789abcdefghijklmno"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}


@dataclass(frozen=True)
class S3:
    """A server that speaks S3."""

    url: str

    def client(self) -> Any:
        """Return boto3's client of it."""
        import boto3

        return boto3.client(
            "s3", endpoint_url=self.url, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1"
        )

    def bucket(self, name: str) -> str:
        """Make an empty bucket, and return its name."""
        client = self.client()
        client.create_bucket(Bucket=name)
        self.empty(name)
        return name

    def keys(self, bucket: str) -> list[str]:
        """Return the names of a bucket's objects."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return sorted(found["Key"] for page in pages for found in page.get("Contents", []))

    def empty(self, bucket: str) -> None:
        """Delete all objects of a bucket."""
        for key in self.keys(bucket):
            self.client().delete_object(Bucket=bucket, Key=key)


@contextmanager
def s3_server() -> Iterator[S3]:
    """Run moto's S3 server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield S3(f"http://{host}:{port}")
    server.stop()


@contextmanager
def answering(status: int, code: str, methods: str = "GET HEAD PUT POST DELETE") -> Iterator[str]:
    """Run a server that refuses these methods with an error of S3, and takes all else; yield its address."""
    body = (
        f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code} said by the server</Message></Error>".encode()
    )

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # with 100-continue, which botocore waits for
        kept: dict[str, bytes] = {}

        def answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            refused = self.command in methods.split()
            if self.command == "PUT" and not refused:
                self.kept[self.path] = content
            self.send_response(status if refused else 200)
            self.send_header("Content-Length", str(len(body) if refused else 0))
            self.end_headers()
            if refused and self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815  # the names that http.server calls

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class Line:
    """A line to a server, which can be made to stop in the middle of what is sent."""

    address: str
    left: int | None = None  # bytes that may still be sent before it stops
    stopped: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    ends: list[socket.socket] = field(default_factory=list)

    def stop_after(self, sent: int | None) -> None:
        """Stop after so many bytes, or never."""
        self.left = sent
        self.stopped.clear()
        self.go_on.clear()

    def pass_on(self, source: socket.socket, target: socket.socket, *, sent: bool) -> None:
        """Pass on bytes until either side ends; a side that is killed in the middle ends in the middle."""
        with suppress(OSError):
            while chunk := source.recv(2**16):
                if sent and self.left is not None:
                    target.sendall(chunk[: max(0, self.left)])
                    chunk, self.left = chunk[max(0, self.left) :], self.left - len(chunk)
                    if self.left <= 0:
                        self.stopped.set()
                        self.go_on.wait(60)
                        break
                target.sendall(chunk)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def line_to(url: str) -> Iterator[Line]:
    """Yield a line to a server of this machine."""
    server = socket.create_server(("127.0.0.1", 0))
    line = Line(f"http://127.0.0.1:{server.getsockname()[1]}")
    there = (urlsplit(url).hostname, urlsplit(url).port)

    def accept() -> None:
        with suppress(OSError):
            while True:
                ours, _ = server.accept()
                line.ends.append(ours)
                try:
                    theirs = socket.create_connection(there)
                except ConnectionRefusedError:  # the server is down: so is the line
                    ours.close()
                    continue
                line.ends.append(theirs)
                for source, target, sent in ((ours, theirs, True), (theirs, ours, False)):
                    threading.Thread(
                        target=line.pass_on, args=(source, target), kwargs={"sent": sent}, daemon=True
                    ).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield line
    finally:
        line.go_on.set()
        server.shutdown(socket.SHUT_RDWR)
        for end in (server, *line.ends):
            end.close()
