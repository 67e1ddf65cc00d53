"""A request from its head to its answer: who asks, how much, of which model, and what is counted of it."""

import asyncio
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs

import numpy as np

from trialtree.serving import access, bodies
from trialtree.serving.bodies import GoneError
from trialtree.serving.faults import Fault, Refused, cut
from trialtree.serving.keeping import Keeper
from trialtree.serving.metrics import Metrics
from trialtree.serving.protocols.base import Question, Request
from trialtree.serving.serving import Served, Serving
from trialtree.serving.settings import Settings

_SMALL = 256_000  # bytes of a body that is answered at once; others wait in line beside
_MANY = 20_000  # rows for which CatBoost takes all processors
_SHADOWS = 8  # requests that wait for a shadow at most
_REQUEST_ID = re.compile(rb"[\w.:-]{1,64}", re.ASCII)


@dataclass
class Asked:
    """A request that is being answered."""

    protocol: str
    path: str
    began: float
    id: str
    key: str | None = None
    model: str = ""
    rows: int = 0
    faults: int = 0


@dataclass
class Endpoint:
    """What answers requests: a plan of models under limits. Its parts are replaced, never changed."""

    settings: Settings
    serving: Serving
    metrics: Metrics
    keeper: Keeper | None = None
    stopping: bool = False
    running: int = 0
    shadows: int = 0
    workers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "predict"))

    def __post_init__(self) -> None:
        """Know the keys."""
        self.keys = access.Keys(self.settings.keys)

    def take(self, serving: Serving, settings: Settings) -> None:
        """Answer by another plan, and under other limits and keys, from now on."""
        self.serving, self.settings = serving, settings
        self.keys = access.Keys(settings.keys)
        self.metrics.planned(serving.plan)


class Asking:
    """The part of an application that answers by a protocol."""

    def __init__(self, endpoint: Endpoint, protocol: ModuleType) -> None:
        self.endpoint, self.protocol = endpoint, protocol

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        headers = dict(scope["headers"])
        asked = Asked(self.protocol.NAME, scope["path"], time.perf_counter(), request_id(headers))
        endpoint = self.endpoint
        status, body, more = 500, b"", {}
        endpoint.running += 1
        endpoint.metrics.running.inc()
        after: Callable[[], Any] | None = None
        held = False
        try:
            asked.key = endpoint.keys.admit(headers)
            if endpoint.running > endpoint.settings.concurrency:
                raise Refused(429, "too many requests at once; ask again", headers={"retry-after": "1"})
            content = await bodies.read(receive, headers, endpoint.settings.max_body, endpoint.settings.timeout)
            served = self._served(scope)
            request = self._request(scope, headers, content, served)
            if len(content) <= _SMALL:
                found = self._answer(served, request, asked)
            else:
                future = asyncio.get_running_loop().run_in_executor(
                    endpoint.workers, self._answer, served, request, asked
                )
                held = True
                future.add_done_callback(self._let_go)
                found = await _within(future, endpoint.settings.timeout)
            body, media, after = found
            status, more = 200, {"content-type": media, "x-model-version": served.planned.version}
        except Refused as refusal:
            status, asked.faults = refusal.status, len(refusal.faults)
            status = self.protocol.INVALID if status == 422 else status
            body = self.protocol.error(status, refusal.reason, refusal.faults)
            more = {"content-type": "application/json", **refusal.headers}
        except GoneError:
            status = 499  # nobody reads the answer
        except Exception as error:
            access.say("fault", id=asked.id, kind=type(error).__name__, where=_where(error))
            body = self.protocol.error(500, f"the model could not answer; the log has more under {asked.id}", [])
            more = {"content-type": "application/json"}
        finally:
            if not held:
                self._let_go()
        if status != 499:
            await answer(send, status, body, {**more, "x-request-id": asked.id})
        self._count(asked, status)
        if after:
            after()

    def _let_go(self, _: Any = None) -> None:
        self.endpoint.running -= 1
        self.endpoint.metrics.running.dec()

    def _served(self, scope: Any) -> Served:
        """Return the model that is to answer."""
        serving = self.endpoint.serving
        named = scope.get("path_params", {})
        if not named:
            return serving.choose()
        if named.get("name") != serving.plan.name:
            raise Refused(404, "there is no model of this name here")
        if "version" not in named:
            return serving.choose()
        if (found := serving.of(named["version"])) is None:
            raise Refused(404, "this version is not served here")
        return found

    def _request(self, scope: Any, headers: Mapping[bytes, bytes], content: bytes, served: Served) -> Request:
        media, options = content_type(headers.get(b"content-type", b""))
        accept = headers.get(b"accept", b"").decode("latin-1").lower()
        asked = probabilities(scope["query_string"]) if scope["query_string"] else None
        planned = served.planned
        name = self.endpoint.serving.plan.name
        return Request(content, media, options, accept, asked, self.endpoint.settings.max_rows, (name, planned.version))

    def _answer(self, served: Served, request: Request, asked: Asked) -> tuple[bytes, str, Callable[[], Any] | None]:
        """Return the body and type of an answer, and what is to be done once it is sent."""
        scorer = served.scorer
        question: Question = self.protocol.question(scorer.schema, request)
        values = question.taken.values
        asked.model, asked.rows = served.label, len(values)
        threads = (os.cpu_count() or 1) if len(values) >= _MANY else 1
        figures = scorer.probabilities(values, threads) if question.probabilities else scorer.predict(values, threads)
        _refuse_infinite(figures)
        names = scorer.probability_names if question.probabilities else None
        body, media = question.render(figures, names)
        endpoint = self.endpoint
        if endpoint.keeper is None and not endpoint.serving.shadows:
            return body, media, None
        return body, media, lambda: self._afterwards(served, request, asked, question, figures)

    def _afterwards(self, served: Served, request: Request, asked: Asked, question: Question, figures: Any) -> None:
        """Keep a request, and ask the shadows too."""
        endpoint = self.endpoint
        if endpoint.keeper and not question.probabilities:
            if endpoint.keeper.take(served.scorer, served.label, asked.id, question.taken.values, figures):
                endpoint.metrics.kept.inc()
            if endpoint.keeper.due():
                endpoint.workers.submit(endpoint.keeper.write)
        for shadow in endpoint.serving.shadows:
            if endpoint.shadows >= _SHADOWS:
                endpoint.metrics.shadow_missed.labels(shadow.label).inc()
                continue
            endpoint.shadows += 1
            endpoint.workers.submit(self._compare, shadow, request, question.probabilities, figures)

    def _compare(self, shadow: Served, request: Request, probabilities: bool, figures: Any) -> None:
        """Ask a shadow what was asked, and count how far its answer is from the one that was given."""
        metrics = self.endpoint.metrics
        try:
            values = self.protocol.question(shadow.scorer.schema, request).taken.values
            other = shadow.scorer.probabilities(values) if probabilities else shadow.scorer.predict(values)
            differing, distance = difference(figures, other)
            metrics.shadow_rows.labels(shadow.label).inc(len(values))
            metrics.shadow_differing.labels(shadow.label).inc(differing)
            metrics.shadow_difference.labels(shadow.label).inc(distance)
        except Exception as error:  # whatever a shadow does, requests go on
            metrics.shadow_missed.labels(shadow.label).inc()
            if not isinstance(error, Refused):
                access.say("shadow failed", model=shadow.label, kind=type(error).__name__)
        finally:
            self.endpoint.shadows -= 1

    def _count(self, asked: Asked, status: int) -> None:
        seconds = time.perf_counter() - asked.began
        self.endpoint.metrics.answered(asked.protocol, status, asked.model, seconds, asked.rows if status == 200 else 0)
        if self.endpoint.settings.access_log:
            about: dict[str, Any] = {"id": asked.id, "protocol": asked.protocol, "status": status}
            about |= {"ms": round(1000 * seconds, 3), "rows": asked.rows, "model": asked.model}
            if asked.key:
                about["key"] = asked.key
            if asked.faults:
                about["faults"] = asked.faults
            access.say("request", **about)


def _refuse_infinite(figures: Any) -> None:
    """Refuse rows for which a model gives no number: they are beyond what it can count with."""
    if figures.dtype.kind == "f" and not np.isfinite(figures).all():
        rows = np.flatnonzero(~np.isfinite(figures.reshape(len(figures), -1)).all(axis=1))
        faults = [Fault(int(row), None, "is beyond what the model can count with") for row in rows[:10]]
        raise Refused.of(faults, len(rows))


async def _within(future: "asyncio.Future[Any]", seconds: float) -> Any:
    """Return what is being computed, if it is there within so many seconds."""
    done, _ = await asyncio.wait([future], timeout=seconds)
    if not done:
        raise Refused(504, f"the answer was not there within {seconds:g} s")
    return future.result()


async def answer(send: Any, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    """Send an answer."""
    head = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    head += [(b"content-length", str(len(body)).encode()), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


def request_id(headers: Mapping[bytes, bytes]) -> str:
    """Return the id that a client gives its request, if it is one, or a new one."""
    given = headers.get(b"x-request-id", b"")
    return given.decode() if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


@lru_cache(256)
def content_type(header: bytes) -> tuple[str, dict[str, str]]:
    """Return a body's type in small letters, and its parameters."""
    media, *options = header.decode("latin-1").split(";")
    pairs = (option.partition("=") for option in options)
    return media.strip().lower(), {k.strip().lower(): v.strip().strip('"') for k, _, v in pairs}


@lru_cache(256)
def probabilities(query: bytes) -> bool | None:
    """Return whether a query asks for probabilities; None where it says nothing of them.

    Raises:
        Refused: it says something else.
    """
    said = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    if strange := said.keys() - {"probabilities"}:
        raise Refused(422, f"the query has no {cut(min(strange))!r}; it may have probabilities=true")
    value = said.get("probabilities", [""])[-1].lower()
    if value not in ("true", "false", "1", "0"):
        raise Refused(422, f"probabilities must be true or false, got {cut(value)!r}")
    return value in ("true", "1")


def difference(figures: Any, other: Any) -> tuple[int, float]:
    """Return in how many rows two answers differ, and the sum of the absolute differences of their numbers."""
    if figures.shape != other.shape or figures.dtype.kind != other.dtype.kind:
        return len(figures), 0.0
    rows = (figures != other).reshape(len(figures), -1).any(axis=1)
    distance = float(np.abs(figures - other).sum()) if figures.dtype.kind == "f" else 0.0
    return int(rows.sum()), distance


def _where(error: BaseException) -> Sequence[str]:
    """Return the last places of an error's traceback, without what they held."""
    places, trace = [], error.__traceback__
    while trace:
        code = trace.tb_frame.f_code
        places.append(f"{os.path.basename(code.co_filename)}:{trace.tb_lineno} {code.co_name}")  # noqa: PTH119  # no path is opened
        trace = trace.tb_next
    return places[-6:]
