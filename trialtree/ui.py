"""Serve the MLflow page of the repository's store.

The application is the one that `mlflow server` starts in processes below its
own. Here it runs in this process: it answers in half the time, and whatever
ends this process leaves nothing behind.
"""

import errno
import fcntl
import hashlib
import os
import socket
import sys
import threading
import time
import warnings
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stages.errors import UserError
from trialtree.tracking import addresses, stores

_AFTER = "`trialtree ui` shows it once that is mended"
_PATIENCE = 60  # seconds that the one who serves already may take to start
_EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104  # compared with, and warned of
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class PageError(UserError):
    """A page that cannot be shown."""


def show(host: str, port: int, *, browser: bool, say: Callable[[str], None]) -> None:
    """Say the address of the page, open it, and serve it until Ctrl-C where nobody else does.

    Raises:
        StoreError: the store cannot be used.
        PageError: it has no page, or the host or port cannot be had.
    """
    with suppress(KeyboardInterrupt):
        _show(stores.find(), host, port, browser, say)


def _show(store: stores.Store, host: str, port: int, browser: bool, say: Callable[[str], None]) -> None:
    if addresses.scheme(store.uri) not in (*addresses.SERVERS, *addresses.DATABASES):
        raise PageError(
            f"MLflow at {store.shown} has no page that trialtree could open; open it where you log in to it"
        )
    if store.served:
        with store.opened(_AFTER):
            _announce(store.shown, store.shown, browser, say)
        return
    with _alone(_seat(store)) as seat:
        if isinstance(seat, str):
            _wait_for(seat)
            _announce(seat, f"{store.shown}, served already", browser, say)
            return
        with _listening(host, port, say) as listener:
            address = _address(host, listener.getsockname()[1])
            seat.write_text(address, encoding="utf-8")
            with store.opened(_AFTER) as client:
                client.search_experiments(max_results=1)
            # A browser may come back late, and must not keep the page waiting.
            said = (address, f"{store.shown}; Ctrl-C ends it", browser, say)
            _serve(store, listener, threading.Thread(target=_announce, args=said, daemon=True).start)


def _seat(store: stores.Store) -> Path:
    """Return the file in which the one who serves a store says where."""
    own = "" if store.embedded else f"-{hashlib.sha256(store.uri.encode()).hexdigest()[:8]}"
    return store.top / f"mlflow.db.ui{own}"


@contextmanager
def _alone(path: Path) -> Iterator[Path | str]:
    """Yield the file, nobody else having it, or what the one who has it wrote there.

    Raises:
        PageError: it cannot be written.
    """
    try:
        file = path.open("a+")
    except OSError as error:
        raise PageError(f"{path} cannot be written: {error.strerror}; see who owns the folder") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield _said(path)
            return
        file.truncate(0)
        yield path
        file.truncate(0)


def _said(path: Path) -> str:
    """Return the address that another process is about to write, or has written."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        if said := path.read_text(encoding="utf-8"):
            return said
        time.sleep(0.05)
    raise PageError(f"another `trialtree ui` of this repository holds {path}, and does not start; end it")


@contextmanager
def _listening(host: str, port: int, say: Callable[[str], None]) -> Iterator[socket.socket]:
    """Yield a socket on the port, or on a free one where it is taken.

    Raises:
        PageError: the host is not this machine's, or the port is not for everyone.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        try:
            listener = socket.create_server((host, port), family=family)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            listener = socket.create_server((host, 0), family=family)
            say(f"port {port} is taken; {listener.getsockname()[1]} is free")
    except PermissionError:
        raise PageError(f"port {port} is not for every user; name another: --port 5000") from None
    except OSError as error:
        why = str(error.strerror).partition(" (")[0]  # Python adds its own words
        raise PageError(f"--host {host}: {why}; it must be an address of this machine") from None
    if host not in _LOOPBACK:
        say("whoever reaches this machine can read and change the store: the page asks for no password")
    with listener:
        yield listener


def _address(host: str, port: int) -> str:
    """Return the page's address for a browser on this machine."""
    shown = "127.0.0.1" if host in _EVERYWHERE else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def _wait_for(address: str) -> None:
    """Wait until the other one's page answers.

    Raises:
        PageError: it does not.
    """
    import requests

    try:
        requests.get(f"{address}/health", timeout=_PATIENCE)
    except requests.RequestException:
        raise PageError(f"another `trialtree ui` is to serve {address}, and does not answer; end it") from None


def _announce(address: str, store: str, browser: bool, say: Callable[[str], None]) -> None:
    """Say where the page is, and open it where there is a screen."""
    say(f"{address}  ({store})" if store != address else address)
    screen = sys.platform == "darwin" or {"DISPLAY", "WAYLAND_DISPLAY", "BROWSER"} & os.environ.keys()
    if browser and screen:
        with suppress(webbrowser.Error, OSError):
            webbrowser.open(address)


def _settings(store: stores.Store) -> dict[str, str]:
    """Return what MLflow's application reads of its environment, as `mlflow server` sets it."""
    root = store.artifacts or ""
    return {
        "_MLFLOW_SERVER_FILE_STORE": store.uri,
        "_MLFLOW_SERVER_REGISTRY_STORE": store.uri,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": root,
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": os.environ.get("MLFLOW_ARTIFACTS_DESTINATION", root),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "_MLFLOW_IN_JOB_EXECUTOR": "false",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # nobody gives it jobs
    }


def _serve(store: stores.Store, listener: socket.socket, started: Callable[[], None]) -> None:
    """Serve until a signal; call `started` once the page answers."""
    os.environ.update(_settings(store))
    with stores.uncollected(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import uvicorn
        from mlflow.server import fastapi_app

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            started()

    # Connections that a browser holds open must not keep it from ending.
    config = uvicorn.Config(
        fastapi_app.app, log_config=None, log_level="error", access_log=False, timeout_graceful_shutdown=2
    )
    Server(config).run(sockets=[listener])
