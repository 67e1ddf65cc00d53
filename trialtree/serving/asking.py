"""A request from its head to its answer: who asks, how much, of which model, and what is counted of it."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from trialtree.serving import bodies, events, heads
from trialtree.serving.bodies import GoneError
from trialtree.serving.endpoint import Answered, Endpoint
from trialtree.serving.faults import Fault, Refused
from trialtree.serving.protocols.base import TABLES, Question, Request
from trialtree.serving.serving import Served

_SMALL = 256_000  # bytes of a body that is answered at once; others wait in line beside
_HELD = 0.02  # seconds for which such an answer may hold all others up
_TELLING = 4_000  # bytes of a body whose time tells that of others
_GONE = 499  # status of a request whose answer nobody reads, in logs and metrics
_MANY = 20_000  # rows for which CatBoost takes all processors

# The body and type of an answer, who gave it, and what is to be done once it is sent.
Found = tuple[bytes, str, Served, Callable[[], Any] | None]


@dataclass
class Asked:
    """A request that is being answered."""

    protocol: str
    began: float
    id: str
    key: str | None = None
    model: str = ""
    rows: int = 0
    faults: int = 0
    computing: bool = False  # in a thread


class Asking:
    """The part of an application that answers by a protocol."""

    def __init__(self, endpoint: Endpoint, protocol: ModuleType) -> None:
        self.endpoint, self.protocol = endpoint, protocol

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        headers = dict(scope["headers"])
        asked = Asked(self.protocol.NAME, time.perf_counter(), heads.request_id(headers))
        self.endpoint.running += 1
        self.endpoint.metrics.running.inc()
        status, body, more, after = 500, b"", {"content-type": "application/json"}, None
        try:
            body, media, served, after = await self._answered(scope, receive, headers, asked)
            status, more = 200, {"content-type": media, "x-model-version": served.planned.version}
        except Refused as refusal:
            asked.faults = len(refusal.faults)
            status = self.protocol.INVALID if refusal.status == 422 else refusal.status
            body = self.protocol.error(status, refusal.reason, refusal.faults)
            more |= refusal.headers
        except GoneError:
            status = _GONE
        except Exception as error:
            events.log("fault", id=asked.id, kind=type(error).__name__, where=_where(error))
            body = self.protocol.error(500, f"the model could not answer; the log has more under {asked.id}", [])
        finally:
            if not asked.computing:
                self._let_go()
        if status != _GONE:
            await heads.answer(send, status, body, {**more, "x-request-id": asked.id})
        self._count(asked, status)
        if after:
            after()

    async def _answered(self, scope: Any, receive: Any, headers: Mapping[bytes, bytes], asked: Asked) -> Found:
        """Return the answer to a request.

        Raises:
            Refused: it gets none.
            GoneError: the client went away.
        """
        endpoint, settings = self.endpoint, self.endpoint.settings
        asked.key = endpoint.keys.admit(headers)
        if endpoint.running > settings.concurrency:
            raise Refused(429, "too many requests at once; ask again", headers={"retry-after": "1"})
        content = await bodies.read(receive, headers, settings.max_body, settings.timeout)
        served = self._served(scope)
        request = self._request(scope, headers, content, served)
        quick = len(content) * endpoint.pace.get(served.label, 0.0) < _HELD
        if len(content) <= _SMALL and quick and request.media not in TABLES:
            return self._figured(served, request, asked)
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(endpoint.workers, self._figured, served, request, asked)
        asked.computing = True  # also when nobody waits for it any longer
        future.add_done_callback(self._let_go)
        return await _within(future, settings.timeout)

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
        media, options = heads.content_type(headers.get(b"content-type", b""))
        accept = headers.get(b"accept", b"").decode("latin-1").lower()
        asked = heads.probabilities(scope["query_string"]) if scope["query_string"] else None
        planned = served.planned
        name = self.endpoint.serving.plan.name
        return Request(content, media, options, accept, asked, self.endpoint.settings.max_rows, (name, planned.version))

    def _figured(self, served: Served, request: Request, asked: Asked) -> Found:
        """Return what a model answers."""
        scorer = served.scorer
        question: Question = self.protocol.question(scorer.schema, request)
        values, began = question.taken.values, time.perf_counter()
        asked.model, asked.rows = served.label, len(values)
        threads = (os.cpu_count() or 1) if len(values) >= _MANY else 1
        figures = scorer.probabilities(values, threads) if question.probabilities else scorer.predict(values, threads)
        _refuse_infinite(figures)
        names = scorer.probability_names if question.probabilities else None
        body, media = question.render(figures, names)
        endpoint = self.endpoint
        if len(request.body) > _TELLING:
            endpoint.pace[served.label] = (time.perf_counter() - began) / len(request.body)
        if endpoint.keeper is None and not endpoint.serving.shadows:
            return body, media, served, None
        done = Answered(served, request, asked.id, question, figures)
        return body, media, served, lambda: endpoint.afterwards(self.protocol, done)

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
            events.log("request", **about)


def _refuse_infinite(figures: Any) -> None:
    """Refuse rows for which a model gives no number: they are beyond what it can count with."""
    if figures.dtype.kind == "f" and not np.isfinite(figures).all():
        rows = np.flatnonzero(~np.isfinite(figures.reshape(len(figures), -1)).all(axis=1))
        faults = [Fault(int(row), None, "is beyond what the model can count with") for row in rows[:10]]
        raise Refused.of(faults, len(rows))


async def _within(future: "asyncio.Future[Found]", seconds: float) -> Found:
    """Return what is being computed, if it is there within so many seconds."""
    done, _ = await asyncio.wait([future], timeout=seconds)
    if not done:
        raise Refused(504, f"the answer was not there within {seconds:g} s")
    return future.result()


def _where(error: BaseException) -> Sequence[str]:
    """Return the last places of an error's traceback, without what they held."""
    places, trace = [], error.__traceback__
    while trace:
        code = trace.tb_frame.f_code
        places.append(f"{os.path.basename(code.co_filename)}:{trace.tb_lineno} {code.co_name}")  # noqa: PTH119  # no path is opened
        trace = trace.tb_next
    return places[-6:]
