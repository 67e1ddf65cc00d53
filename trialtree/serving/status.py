"""What a server says of itself in a file, for those who manage it."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from stages.files import write_json
from trialtree.serving import events
from trialtree.serving.pool import Worker
from trialtree.serving.settings import Plan

_MOMENT = 0.02  # seconds between two looks at what another process does


class Status:
    """The status of a server, written whenever it changes; to no file where there is none."""

    def __init__(self, path: Path | None, address: str) -> None:
        self._path = path
        self._before = models(path)
        self._written: dict[str, Any] = {}
        self._since: dict[tuple[str, str, str | None, bool], str] = {}
        self.started = events.now()
        self.address = address
        self.state = "starting"
        self.answered = 0  # how often it was asked to read its settings anew, and has
        self.error: dict[str, str] | None = None
        self.inputs: dict[str, str] = {}  # digests of what its settings were read from

    def failed(self, line: str) -> None:
        """Note what went wrong last."""
        self.error = {"time": events.now(), "line": line}

    def write(self, plan: Plan | None, generation: int, workers: Sequence[Worker]) -> None:
        """Write it, where it has changed; `generation` is the one that all workers answer by."""
        found = {
            "pid": os.getpid(),
            "started": self.started,
            "address": self.address,
            "state": self.state,
            "generation": generation,
            "answered": self.answered,
            "models": self._models(plan) if plan else self._before,  # what it answered by last
            "workers": [worker.as_json() for worker in workers],
            "error": self.error,
            "inputs": self.inputs,
        }
        if self._path is not None and found != self._written:
            with suppress(OSError):  # a full disk must not end the server
                write_json(self._path, found)
                self._written = found

    def _models(self, plan: Plan) -> list[dict[str, Any]]:
        keys = {(m.name, m.version, m.alias, m.shadow): m for m in plan.models}
        self._since = {key: self._since.get(key, events.now()) for key in keys}
        return [{**m.as_json(), "since": self._since[key]} for key, m in keys.items()]


def read(path: Path) -> dict[str, Any]:
    """Return the status that stands in a file; empty where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def models(path: Path | None) -> list[dict[str, Any]]:
    """Return the models that a server answered by last."""
    found = read(path).get("models", []) if path else []
    return found if isinstance(found, list) else []


def patience(seconds: float = 5.0) -> Callable[[], bool]:
    """Return what waits a moment each time it is called, and says whether there is time left."""
    until = time.monotonic() + seconds

    def wait() -> bool:
        time.sleep(_MOMENT)
        return time.monotonic() < until

    return wait


def label(model: Mapping[str, Any]) -> str:
    """Return a model of a status in a few words."""
    alias = f" ({model['alias']})" if model["alias"] else ""
    part = " as shadow" if model["shadow"] else f" {model['share']:.0%}" if model["share"] < 1 else ""
    return f"{model['name']}/{model['version']}{alias}{part}"
