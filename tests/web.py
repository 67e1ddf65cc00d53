"""A web server for tests that keeps to what it is told: files with ETags and ranges, faults, answers cut off."""

import gzip
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Web:
    """What the server has, and what it was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = {}  # of a path, beside its own
        self.status: dict[str, list[int]] = {}  # of the next answers for a path, in place of the file
        self.said: dict[str, bytes] = {}  # what is said with them
        self.cuts: dict[str, list[int]] = {}  # bytes after which the next answers for a path break off
        self.etags = True
        self.stops: dict[str, int] = {}  # bytes after which the answers for a path stop, and go on when told
        self.stopped, self.go_on = threading.Event(), threading.Event()
        self.asked: list[tuple[str, str | None]] = []  # path with its query, and range
        self.address = ""

    def etag(self, path: str) -> str:
        """Return the ETag of a file."""
        return f'"{hashlib.md5(self.files[path]).hexdigest()}"'


def _handler(web: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            web.asked.append((self.path, self.headers.get("Range")))
            if web.status.get(path):
                self.answer(web.status[path].pop(0), {}, web.said.get(path, b""))
            elif path not in web.files:
                self.answer(404, {}, b"")
            else:
                self.send_file(path)

        def send_file(self, path: str) -> None:
            body, headers = web.files[path], dict(web.headers.get(path, {}))
            if web.etags:
                headers.setdefault("ETag", web.etag(path))
            if headers.get("Content-Encoding") == "gzip":
                body = gzip.compress(body, mtime=0)
            asked, status = self.headers.get("Range"), 200
            fresh = self.headers.get("If-Range") in (None, headers.get("ETag"), headers.get("Last-Modified"))
            if asked and fresh and "no-ranges" not in headers:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                if start >= len(body):
                    self.answer(416, {}, b"")
                    return
                headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
                body, status = body[start:], 206
            self.answer(status, headers, body, web.cuts[path].pop(0) if web.cuts.get(path) else None)

        def answer(self, status: int, headers: dict[str, str], body: bytes, cut: int | None = None) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                stop = web.stops.get(self.path, len(body))
                self.wfile.write(body[: min(stop, len(body) if cut is None else cut)])
                if stop < len(body):
                    web.stopped.set()
                    web.go_on.wait(60)
                self.wfile.write(body[stop:cut])
            except OSError:  # the other side has read enough
                self.close_connection = True
            if cut is not None:
                self.close_connection = True

    return Handler


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Say nothing of a client that hangs up: many tests have one."""


@contextmanager
def serving() -> Iterator[Web]:
    """Yield a running server."""
    web = Web()
    server = _Server(("127.0.0.1", 0), _handler(web))
    web.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
