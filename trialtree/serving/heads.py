"""The heads of requests and answers: ids, types of bodies, queries."""

import re
import secrets
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs

from trialtree.serving.faults import Refused, cut

_REQUEST_ID = re.compile(rb"[\w.:-]{1,64}", re.ASCII)


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
