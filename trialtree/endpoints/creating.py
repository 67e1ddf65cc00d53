"""Make an endpoint, bring one to other options, start one again; always until it answers by them."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from stages.errors import UserError
from trialtree.endpoints import stopping
from trialtree.endpoints.place import DamagedError, Described, EndpointError, Place, places, there
from trialtree.serving import binding, serve, traffic
from trialtree.serving.registry import asking
from trialtree.serving.serve import Options
from trialtree.serving.status import label, patience

_PORT = 5001
_MODELS = ("model", "traffic", "shadow")  # options that a server takes up while it answers
_RECOVERY = 20.0  # seconds that workers get, all of which have died, until one is ready
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
        _bring(place, had, Described(str(top), options), serve.inputs(options), say)


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
        # Not of this environment, nor the certificate: who shares requests out need not have what it was made with.
        _bring(place, had, replace(had, options=options), {"keys": serve.keys_digest(options)}, say)


def _port(place: Place, options: Options, had: Described | None) -> int:
    """Return the port of an endpoint: the one that it had, else the first that is free and no other endpoint's."""
    if had is not None:
        return had.options.port
    others = {number for each in places() if each != place for number in _ports(each)}
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


def _ports(place: Place) -> list[int]:
    """Return the port of another endpoint; none where that is damaged."""
    with suppress(DamagedError):
        return [found.options.port] if (found := place.described()) else []
    return []


def _bring(
    place: Place, had: Described | None, wanted: Described, inputs: dict[str, str], say: Callable[[str], None]
) -> None:
    """Have an endpoint answer as it is wanted, by keys and a certificate of these digests, by the mildest means."""
    pid = place.pid()
    means = "started" if pid is None or had is None else _means(place, pid, had, wanted, inputs)
    if pid is not None and means == "unchanged":
        _wait_ready(place, pid, lambda: place.pid() == pid)
    elif pid is not None and had is not None and means == "updated":
        _hang_up(place, pid, had, wanted, inputs)
    else:
        serve.check(wanted.options)
        if had is not None:
            stopping.stop(place)  # workers too, that may outlive their server for a while
        try:
            _start(place, had, wanted)
        except UserError as error:
            if had is None or pid is None:
                raise
            _start(place, had, had)
            raise EndpointError(f"{error}; {place.name} answers as before") from None
    say(f"{place.name} is {means}: {_told(place)}")


def _means(place: Place, pid: int, had: Described, wanted: Described, inputs: dict[str, str]) -> str:
    """Return what a server that runs needs: nothing, a hangup, or another in its place."""
    if not _only_models(had.options, wanted.options):
        return "restarted"
    _wait_ready(place, pid, lambda: place.pid() == pid, states=("ready", "failing"))
    now = place.status()
    read = now.get("inputs", {})
    changed = {name for name, digest in inputs.items() if read.get(name) != digest}
    if changed - {"keys"}:
        return "restarted"
    if had == wanted and not changed:
        return "unchanged"
    return "updated" if now["state"] == "ready" else "restarted"


def _only_models(had: Options, wanted: Options) -> bool:
    return replace(had, **{name: getattr(wanted, name) for name in _MODELS}) == wanted


def _hang_up(place: Place, pid: int, had: Described, wanted: Described, inputs: dict[str, str]) -> None:
    """Have a server take up other models and keys while it answers by those that it has.

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
        only_keys = (
            had == wanted and now.get("inputs", {}).get("keys") == inputs["keys"]
        )  # taken whatever the registry says
        if now["error"] is not None and now["error"] != before["error"] and not only_keys:
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


def _wait_ready(
    place: Place,
    pid: int,
    runs: Callable[[], bool],
    why: Callable[[], str] | None = None,
    states: tuple[str, ...] = ("ready",),
) -> None:
    """Wait until the server of an endpoint answers.

    Raises:
        EndpointError: it ended, its workers go on to fail, or it takes too long.
    """
    more, recovers = patience(_LONGEST), patience(_RECOVERY)
    while more():
        now = place.status()
        state = now["state"] if now.get("pid") == pid else "starting"
        if state in states:
            return
        if state == "failing" and not recovers():
            line = now["error"]["line"] if now["error"] else "see its logs"
            raise EndpointError(f"no worker of {place.name} gets ready: {line}")
        if not runs():
            raise EndpointError(why() if why else f"the server of {place.name} ended")
    raise EndpointError(f"{place.name} was not ready in {_LONGEST:.0f} s; see its logs")


def _told(place: Place) -> str:
    """Return where an endpoint is, and what it answers by."""
    now: dict[str, Any] = place.status()
    return f"{', '.join(label(model) for model in now['models'])} at {now['address']}"
