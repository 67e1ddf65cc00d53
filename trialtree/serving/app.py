"""The application of an endpoint: its addresses, and what stands behind each."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trialtree.serving import events, openapi, page
from trialtree.serving.asking import Asking
from trialtree.serving.endpoint import Endpoint
from trialtree.serving.faults import Refused
from trialtree.serving.protocols import azure, base, mlflow, v2

_JSON = "application/json"
# A page of our own, with nothing in it from elsewhere.
_SAFE = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff", "referrer-policy": "no-referrer",
}  # fmt: skip


def application(endpoint: Endpoint, version: str) -> Starlette:
    """Return the application that answers by an endpoint's models; `version` is trialtree's."""
    plain = _Plain(endpoint, version)
    asking = {protocol.NAME: Asking(endpoint, protocol) for protocol in (mlflow, azure, v2)}
    infer = "/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer"
    known = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
    open_to_all = {"/ping": plain.ready, "/health": plain.ready, "/ready": plain.ready, "/live": plain.live,
                   "/v2/health/ready": plain.ready, "/v2/health/live": plain.live}  # fmt: skip
    of_callers: dict[str, Callable[[Request], Awaitable[Response]]] = {
        "/version": plain.version, "/metrics": plain.metrics, "/openapi.json": plain.described, "/": plain.page,
        "/docs": plain.page, "/v2": plain.server, **dict.fromkeys(known, plain.model),
        **{f"{path}/ready": plain.model_ready for path in known},
    }  # fmt: skip
    found = Starlette(
        routes=[
            Route("/invocations", asking[mlflow.NAME], methods=["POST"]),
            Route("/score", asking[azure.NAME], methods=["POST"]),
            *(Route(path, asking[v2.NAME], methods=["POST"]) for path in infer),
            *(Route(path, method, methods=["GET"]) for path, method in open_to_all.items()),
            *(Route(path, _keyed(endpoint, method), methods=["GET"]) for path, method in of_callers.items()),
        ],
        exception_handlers={HTTPException: _unknown, Refused: _refused, Exception: _failed},
    )
    found.router.redirect_slashes = False  # an address is one, or is not
    return found


class _Plain:
    """What an endpoint says of itself."""

    def __init__(self, endpoint: Endpoint, version: str) -> None:
        self.endpoint, self.own = endpoint, version

    async def live(self, _: Request) -> Response:
        """Say that the process answers."""
        return _said({"live": True})

    async def ready(self, _: Request) -> Response:
        """Say whether it takes requests: not while it stops."""
        if self.endpoint.stopping:
            return Response(base.dumped({"ready": False}), 503, media_type=_JSON)
        return Response(b"\n", media_type="text/plain")

    async def version(self, _: Request) -> Response:
        """Say which versions are served, and by what."""
        models = [
            {"name": each.name, "version": each.version, "alias": each.alias, "sha256": each.digest,
             "share": each.share, "shadow": each.shadow}
            for each in self.endpoint.serving.plan.models
        ]  # fmt: skip
        return _said({"trialtree": self.own, "generation": self.endpoint.serving.plan.generation, "models": models})

    async def metrics(self, _: Request) -> Response:
        """Return what was counted."""
        content, media = self.endpoint.metrics.page()
        return Response(content, headers={"content-type": media})

    async def described(self, _: Request) -> Response:
        """Return the OpenAPI description."""
        return _said(openapi.document(self.endpoint.serving, self.own, keyed=bool(self.endpoint.settings.keys)))

    async def page(self, request: Request) -> Response:
        """Return the page for people."""
        address = str(request.base_url).rstrip("/")
        found = page.html(self.endpoint.serving, self.endpoint.settings, address)
        return Response(found, media_type="text/html", headers=_SAFE)

    async def server(self, _: Request) -> Response:
        """Return the metadata of the server."""
        return _said({"name": "trialtree", "version": self.own, "extensions": []})

    async def model(self, request: Request) -> Response:
        """Return the metadata of a model."""
        served = self._named(request)
        scorer, serving = served.scorer, self.endpoint.serving
        versions = list(dict.fromkeys(each.planned.version for each in serving.answering))
        described = v2.described(scorer.schema, serving.plan.name, versions, scorer.labels, scorer.has_probabilities)
        return _said(described)

    async def model_ready(self, request: Request) -> Response:
        """Say whether a model takes requests."""
        self._named(request)
        ready = not self.endpoint.stopping
        return Response(base.dumped({"ready": ready}), 200 if ready else 503, media_type=_JSON)

    def _named(self, request: Request) -> Any:
        serving, named = self.endpoint.serving, request.path_params
        found = serving.of(named["version"]) if "version" in named else serving.first
        if named["name"] != serving.plan.name or found is None:
            raise Refused(404, "there is no such model here")
        return found


def _keyed(endpoint: Endpoint, method: Callable[[Request], Awaitable[Response]]) -> Any:
    """Return a method that only those may ask who have a key."""

    async def keyed(request: Request) -> Response:
        endpoint.keys.admit(dict(request.scope["headers"]))
        return await method(request)

    return keyed


def _said(value: Any) -> Response:
    return Response(base.dumped(value), media_type=_JSON)


def _error(request: Request, status: int, reason: str, headers: dict[str, str]) -> Response:
    protocol = v2 if request.url.path.startswith("/v2") else mlflow
    return Response(protocol.error(status, reason, []), status, headers, media_type=_JSON)


async def _unknown(request: Request, error: Exception) -> Response:
    """Answer what has no address here, or another method."""
    if not isinstance(error, HTTPException):
        raise error
    reason = {404: "there is nothing at this address", 405: "the address does not take this method"}
    return _error(request, error.status_code, reason.get(error.status_code, error.detail), dict(error.headers or {}))


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, Refused):
        raise error
    return _error(request, error.status, error.reason, error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    events.log("fault", kind=type(error).__name__)
    return _error(request, 500, "the request could not be answered", {})
