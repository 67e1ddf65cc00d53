"""Make an endpoint, bring one to other options, start one again; always until it answers by them."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from stages.errors import UserError
from trialtree.endpoints import stopping
from trialtree.endpoints.place import Described, EndpointError, Place, places, there
from trialtree.serving import binding, serve, traffic
from trialtree.serving.registry import asking
from trialtree.serving.serve import Options
from trialtree.serving.status import label, patience

_PORT = 5001
_MODELS = ("model", "traffic", "shadow")  # options that a server takes up while it answers
_LONGEST = 900.0  # seconds that models may take to be fetched, proven and loaded


def create(name: str, options: Options, port: int | None, top: Path, say: Callable[[str], None]) -> None:
    """Make an endpoint answer by some options, and say where; `port` None is the one that it has, or a free one.

    Raises:
        UserError: it cannot; a new one is gone then, another as it was described before.
    """
    place = Place(name)
    with place.changing():
        had = place.described()
        if had is not None and had.top != str(top):
            raise EndpointError(f"the endpoint {name} is of the repository {had.top}; name this one differently")
        options = replace(options, port=port or _port(place, options, had))
        if options.log_requests and not options.log_folder:
            options = replace(options, log_folder=str(place.folder / "requests"))
        if note := serve.check(options):
            say(note)
        traffic.parts(options.model, options.traffic, options.shadow)
        _bring(place, had, Described(str(top), options), say)


def share(name: str, shares: str | None, shadow: str | None, no_shadow: bool, say: Callable[[str], None]) -> None:
    """Give an endpoint's models other shares of the requests, or another shadow.

    Raises:
        UserError: it cannot answer by them; it goes on as before.
    """
    place = there(name)
    with place.changing():
        had = place.described()
        if had is None:
            raise EndpointError(f"{place.folder} has no endpoint.json; `trialtree endpoint delete {name}`")
        options = had.options
        if shares is not None:
            options = replace(options, model=asking.parse(options.model).name, traffic=shares)
        options = replace(options, shadow=None if no_shadow else shadow or options.shadow)
        traffic.parts(options.model, options.traffic, options.shadow)
        _bring(place, had, replace(had, options=options), say)


def _port(place: Place, options: Options, had: Described | None) -> int:
    """Return the port of an endpoint: the one that it had, else the first that is free and no other endpoint's."""
    if had is not None:
        return had.options.port
    others = {found.options.port for each in places() if each != place and (found := each.described())}
    for port in (_PORT, 0, 0, 0):
        try:
            with binding.listening(options.host, port) as listener:
                number: int = listener.getsockname()[1]
        except binding.BindingError:
            if not port:
                raise
        else:
            if number not in others:
                return number
    raise EndpointError(f"no port of {options.host} was found free; name one: --port")


def _bring(place: Place, had: Described | None, wanted: Described, say: Callable[[str], None]) -> None:
    """Have an endpoint answer as it is wanted, by the mildest means."""
    pid = place.pid()
    if pid is not None and had == wanted:
        _wait_ready(place, pid, lambda: place.pid() == pid)
        say(f"{place.name} is unchanged: {_told(place)}")
    elif pid is not None and had is not None and _only_models(had.options, wanted.options):
        _hang_up(place, pid, had, wanted)
        say(f"{place.name} is updated: {_told(place)}")
    else:
        if had is not None:
            stopping.stop(place)  # workers too, that may outlive their server for a while
        try:
            _start(place, had, wanted)
        except UserError as error:
            if had is None or pid is None:
                raise
            _start(place, had, had)
            raise EndpointError(f"{error}; {place.name} answers as before") from None
        say(f"{place.name} is {'started' if had is None or pid is None else 'restarted'}: {_told(place)}")


def _only_models(had: Options, wanted: Options) -> bool:
    return replace(had, **{name: getattr(wanted, name) for name in _MODELS}) == wanted


def _hang_up(place: Place, pid: int, had: Described, wanted: Described) -> None:
    """Have a server take up other models while it answers by those that it has.

    Raises:
        EndpointError: it does not.
    """
    _wait_ready(place, pid, lambda: place.pid() == pid)
    before = place.status()
    place.describe(wanted)
    os.kill(pid, signal.SIGHUP)
    more = patience(_LONGEST)
    while more():
        now = place.status()
        if place.pid() != pid:
            raise EndpointError(f"the server of {place.name} ended; see `trialtree endpoint logs {place.name}`")
        if now["answered"] == before["answered"]:
            continue
        if now["error"] is not None and now["error"] != before["error"]:
            place.describe(had)
            raise EndpointError(f"{now['error']['line']}; {place.name} answers as before")
        if now["generation"] > before["generation"]:
            return
    raise EndpointError(f"{place.name} has not taken up its models in {_LONGEST:.0f} s; see its logs")


def _start(place: Place, had: Described | None, wanted: Described) -> None:
    """Start a server that outlives this process and its terminal, and wait until it is ready.

    Raises:
        EndpointError: it ended; its last line says why.
    """
    if not Path(wanted.top).is_dir():
        raise EndpointError(f"the repository of {place.name} is gone: {wanted.top}")
    place.describe(wanted)
    begun = place.log.stat().st_size if place.log.exists() else 0
    with place.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "trialtree.endpoints.running", place.name], cwd=wanted.top,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        _wait_ready(place, process.pid, lambda: process.poll() is None, _last_line(place, begun))
    except BaseException:
        process.terminate()
        process.wait()
        if had is None:
            shutil.rmtree(place.folder)
            stopping.clear()
        else:
            place.describe(had)
        raise


def _last_line(place: Place, begun: int) -> Callable[[], str]:
    """Return what tells the last line that was printed since the log had so many bytes."""

    def told() -> str:
        lines = place.log.read_bytes()[begun:].decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    return told


def _wait_ready(place: Place, pid: int, runs: Callable[[], bool], why: Callable[[], str] | None = None) -> None:
    """Wait until the server of an endpoint answers.

    Raises:
        EndpointError: it ended, or takes too long.
    """
    more = patience(_LONGEST)
    while more():
        now = place.status()
        if now.get("pid") == pid and now["state"] == "ready":
            return
        if not runs():
            raise EndpointError(why() if why else f"the server of {place.name} ended")
    raise EndpointError(f"{place.name} was not ready in {_LONGEST:.0f} s; see its logs")


def _told(place: Place) -> str:
    """Return where an endpoint is, and what it answers by."""
    now: dict[str, Any] = place.status()
    return f"{', '.join(label(model) for model in now['models'])} at {now['address']}"
