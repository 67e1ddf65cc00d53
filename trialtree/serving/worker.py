"""A worker of an endpoint: answers requests on a socket that it shares with others, as its parent tells it.

    python -m trialtree.serving.worker --control FD --listen FD

What goes over the control socket, a line of JSON each way, stands in
`trialtree.serving.pool`. When that socket closes, the worker finishes
what it is answering, and ends.
"""

import argparse
import asyncio
import gc
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import Any

import orjson

_GRACE = 30.0  # seconds for what is being answered when the parent is gone
_LIMIT = 10_000_000  # bytes of a line of control
_HEAD = 15.0  # seconds for the head of a request to arrive
_LARGEST_HEAD = 65_536  # bytes of it
_FAILED = 3  # status of a worker that cannot load its first plan


class Worker:
    """Answers requests until it is told to stop."""

    def __init__(self, control: socket.socket, listen: socket.socket) -> None:
        self.control, self.listen = control, listen
        self.endpoint: Any = None
        self.server: Any = None
        self.writer: asyncio.StreamWriter | None = None

    async def run(self) -> int:
        """Do as the parent says; return the status to end with."""
        reader, self.writer = await asyncio.open_connection(sock=self.control, limit=_LIMIT)
        import uvicorn  # noqa: F401  # while the parent finds the model

        from trialtree.serving import app, serving  # noqa: F401  # the same

        line = await reader.readline()
        if not line:
            return 0
        started = await self._start(orjson.loads(line))
        if not started:
            return _FAILED
        told = asyncio.create_task(self._obey(reader))
        kept = asyncio.create_task(self._write_kept())
        await self.server.serve(sockets=[self.listen])
        for task in (told, kept):
            task.cancel()
        if self.endpoint.keeper:
            self.endpoint.keeper.write()
        return 0

    async def _start(self, told: Any) -> bool:
        """Load the first plan, and prepare to serve."""
        from trialtree.serving import app, events, serving
        from trialtree.serving.endpoint import Endpoint
        from trialtree.serving.keeping import Keeper
        from trialtree.serving.metrics import Metrics
        from trialtree.serving.settings import Plan, Settings

        settings, plan = Settings.of(told["settings"]), Plan.of(told["plan"])
        try:
            loaded = serving.load(plan, settings)
        except Exception as error:  # whatever it is, the parent has to know
            await self._say("failed", plan.generation, error=_line(error))
            return False
        keeper = None
        if settings.log_requests and settings.log_folder:
            keeper = Keeper(settings.log_folder, settings.log_requests, events.log)
        self.endpoint = Endpoint(settings, loaded, Metrics(settings.metrics_folder), keeper)
        self.endpoint.take(loaded, settings)
        self.server = _server(app.application(self.endpoint, _version()), settings, self._ready)
        return True

    async def _ready(self) -> None:
        gc.collect()
        gc.freeze()  # what is loaded stays: not to be looked over at each collection
        await self._say("ready", self.endpoint.serving.plan.generation)

    async def _obey(self, reader: asyncio.StreamReader) -> None:
        """Do what the parent says, until it says stop or is gone."""
        grace = _GRACE
        with suppress(ConnectionError):
            while line := await reader.readline():
                told = orjson.loads(line)
                if told["do"] == "stop":
                    grace = told.get("grace", _GRACE)
                    break
                if told["do"] == "plan":
                    await self._replan(told)
        self.endpoint.stopping = True
        self.server.config.timeout_graceful_shutdown = grace
        self.server.should_exit = True

    async def _replan(self, told: Any) -> None:
        """Load another plan beside the one that answers, and put it in its place."""
        from trialtree.serving import serving
        from trialtree.serving.settings import Plan, Settings

        plan, settings = Plan.of(told["plan"]), self.endpoint.settings
        if "settings" in told:
            settings = Settings.of(told["settings"])
        try:
            loaded = await asyncio.to_thread(serving.load, plan, settings, self.endpoint.serving)
        except Exception as error:  # whatever it is, the plan before goes on
            await self._say("failed", plan.generation, error=_line(error))
            return
        self.endpoint.take(loaded, settings)
        await self._say("planned", plan.generation)

    async def _write_kept(self) -> None:
        """Write what is kept of the requests also when no more come."""
        while True:
            await asyncio.sleep(5)
            if self.endpoint.keeper and self.endpoint.keeper.due():
                await asyncio.to_thread(self.endpoint.keeper.write)

    async def _say(self, said: str, generation: int, **more: Any) -> None:
        if self.writer:
            with suppress(ConnectionError):
                self.writer.write(orjson.dumps({"said": said, "generation": generation, **more}) + b"\n")
                await self.writer.drain()


def _server(application: Any, settings: Any, ready: Any) -> Any:
    """Return the server of an application; `ready` is called once it accepts requests."""
    import uvicorn
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    _log_as_lines()
    head_seconds = min(_HEAD, settings.timeout)

    class Protocol(HttpToolsProtocol):
        """Ends a connection on which the head of a request does not arrive in time, or never ends."""

        timer: asyncio.TimerHandle | None = None
        head: int | None = None  # bytes that came of the head that is arriving

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.head is not None:
                self.head += len(data)
                if self.head > _LARGEST_HEAD:
                    self._refuse(b"431 Request Header Fields Too Large")
            elif self.timer is None and self.timeout_keep_alive_task is None and self._answered():
                self._wait()  # neither a head nor a body that anyone reads: it has to end some time

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.head = 0
            self._wait()

        def on_headers_complete(self) -> None:
            self._arrived()
            self.head = None
            super().on_headers_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._arrived()
            super().connection_lost(exc)

        def _wait(self) -> None:
            self._arrived()
            self.timer = self.loop.call_later(head_seconds, self._give_up)

        def _arrived(self) -> None:
            if self.timer is not None:
                self.timer.cancel()
                self.timer = None

        def _give_up(self) -> None:
            if self.head and self._answered():
                self._refuse(b"408 Request Timeout")
            elif not self.transport.is_closing():
                self.transport.close()

        def _answered(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _refuse(self, status: bytes) -> None:
            if not self.transport.is_closing():
                self.transport.write(b"HTTP/1.1 %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)
                self.transport.close()

    class Server(uvicorn.Server):
        """Says when it accepts requests, and leaves signals to the parent."""

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            await ready()

        def install_signal_handlers(self) -> None:
            """Take none."""

        def capture_signals(self) -> Any:
            """Take none."""
            from contextlib import nullcontext

            return nullcontext()

    config = uvicorn.Config(
        application, http=Protocol, ws="none", lifespan="off", log_config=None, access_log=False, proxy_headers=False,
        server_header=False, date_header=True, timeout_keep_alive=75, h11_max_incomplete_event_size=65_536,
        ssl_certfile=settings.tls_cert, ssl_keyfile=settings.tls_key, backlog=2048,
    )  # fmt: skip
    return Server(config)


def _log_as_lines() -> None:
    """Write what the server says of connections as lines of JSON, too."""
    import logging

    from trialtree.serving import events

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            events.log("server", level=record.levelname.lower(), said=record.getMessage()[:200])

    logger = logging.getLogger("uvicorn")
    logger.handlers, logger.propagate = [Lines(logging.WARNING)], False


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("trialtree")
    except PackageNotFoundError:  # in a container, which holds the modules alone
        return "0"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def main() -> None:
    """Serve until the parent says stop, or is gone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--listen", type=int, required=True)
    asked = parser.parse_args()
    # The parent tells when to stop; a Ctrl-C reaches all processes of a terminal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # BLAS adds in another order when it shares the work: one thread, so that figures stay. Read when numpy is imported.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    import uvloop

    from trialtree.serving import light

    light.hide()

    control, listen = socket.socket(fileno=asked.control), socket.socket(fileno=asked.listen)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        status = runner.run(Worker(control, listen).run())
    with suppress(OSError, ValueError):  # a log that is full or gone does not change how it ended
        sys.stderr.flush()
    os._exit(status)  # threads that still compute for nobody do not hold it


if __name__ == "__main__":
    main()
