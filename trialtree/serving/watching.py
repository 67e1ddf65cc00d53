"""The thread that asks where a server's plan comes from, and proves new models before workers get them."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stages.errors import UserError
from trialtree.serving.settings import Plan, Planned
from trialtree.serving.sources import Source

PROVE = (sys.executable, "-m", "trialtree.serving.prove")
_PATIENCE = 900  # seconds that a model may take to prove itself


@dataclass(frozen=True)
class News:
    """What the thread found: a plan, or why there is none, or neither where all is well again."""

    plan: Plan | None = None
    fault: str | None = None
    hangups: int = 0  # that asked for it


class Watcher:
    """Looks at a source again and again, in a thread of its own."""

    def __init__(
        self, source: Source, post: Callable[[News], None], prove: Sequence[str] | None, *, allow_pickle: bool
    ) -> None:
        self._source, self._post, self._prove, self._allow_pickle = source, post, prove, allow_pickle
        self._wanted = False
        self._hangups = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._proven: set[tuple[str, str]] = set()
        self._fault: str | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin, with the first plan."""
        self._thread.start()

    def again(self, hangups: int = 0) -> None:
        """Have all read anew, soon."""
        with self._lock:
            self._wanted = True
            self._hangups += hangups
        self._wake.set()

    def _run(self) -> None:
        try:
            plan = self._source.first()
        except Exception as error:
            self._post(News(fault=_line(error)))
            return
        self._proven = {_key(model) for model in plan.models}  # by the workers themselves
        self._post(News(plan))
        while True:
            self._wake.wait(min(self._source.pace, threading.TIMEOUT_MAX))
            self._wake.clear()
            self._look()

    def _look(self) -> None:
        with self._lock:
            anew, hangups = self._wanted, self._hangups
            self._wanted, self._hangups = False, 0
        try:
            plan = self._source.first() if anew else self._source.poll()
            if plan is not None:
                self._prove_new(plan)
        except Exception as error:
            fault = _line(error)
            if anew or fault != self._fault:  # a registry that is away is said once
                self._post(News(fault=fault, hangups=hangups))
            self._fault = fault
        else:
            if plan is not None or self._fault is not None:
                self._post(News(plan, hangups=hangups))
            self._fault = None

    def _prove_new(self, plan: Plan) -> None:
        """Try the models of a plan that were not tried, each in a process that is thrown away.

        Raises:
            UserError: one cannot be loaded.
        """
        for model in plan.models:
            if self._prove is None or _key(model) in self._proven:
                continue
            given = json.dumps({**model.as_json(), "allow_pickle": self._allow_pickle})
            try:
                done = subprocess.run(
                    [*self._prove, given], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE, text=True, check=False, timeout=_PATIENCE,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                raise UserError(f"{model.label} was not loaded in {_PATIENCE} s") from None
            if done.returncode:
                said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
                raise UserError(f"{model.label} is not taken: {said[-1]}")
            self._proven.add(_key(model))


def _key(model: Planned) -> tuple[str, str]:
    return model.folder, model.digest


def _line(error: Exception) -> str:
    """Return an error in one line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
