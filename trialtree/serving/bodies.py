"""The body of a request, read within limits of size and time, and unpacked."""

import asyncio
import zlib
from collections.abc import Mapping
from typing import Any

from trialtree.serving.faults import Refused

_DISCARDED = 256_000_000  # bytes that are read and thrown away, so that the client gets to read why
_MEMBERS = 100  # of a gzip file, which may be several in a row
_TAKEN = {b"gzip": 31, b"x-gzip": 31, b"deflate": 47}  # wbits of zlib


class GoneError(Exception):
    """The client went away."""


async def read(receive: Any, headers: Mapping[bytes, bytes], most: int, seconds: float) -> bytes:
    """Return a body of at most `most` bytes, packed and unpacked, that arrives within `seconds`.

    Raises:
        Refused: it is too large, too slow, or packed in a way that is not known.
        GoneError: the client went away.
    """
    said = headers.get(b"content-length", b"0")
    if said.isdigit() and int(said) > most:
        await _discard(receive, headers, int(said), seconds)
        raise _too_large(most)
    message = await _soon(receive, seconds, seconds)
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        body = await _rest(receive, body, most, seconds)
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding not in (b"identity", b""):
        return unpacked(body, encoding, most)
    if len(body) > most:
        raise _too_large(most)
    return body


async def _soon(receive: Any, left: float, seconds: float) -> Any:
    """Return the next message, if it comes in the seconds that are left of those that the body has."""
    try:
        async with asyncio.timeout(left):
            message = await receive()
    except TimeoutError:
        raise Refused(408, f"the body did not arrive within {seconds:g} s", headers={"connection": "close"}) from None
    if message["type"] == "http.disconnect":
        raise GoneError
    return message


async def _rest(receive: Any, first: bytes, most: int, seconds: float) -> bytes:
    """Return the first part of a body and all that follow, all of which has so many seconds."""
    loop = asyncio.get_running_loop()
    until, parts, size, more = loop.time() + seconds, [first], len(first), True
    while more:
        message = await _soon(receive, max(0.0, until - loop.time()), seconds)
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size <= most:
            parts.append(part)
        elif size > _DISCARDED:
            break
    if size > most:
        raise _too_large(most)
    return b"".join(parts)


async def _discard(receive: Any, headers: Mapping[bytes, bytes], size: int, seconds: float) -> None:
    """Read a body that is too large to its end, unless the client waits for leave to send it."""
    if b"expect" in headers or size > _DISCARDED:
        return
    loop = asyncio.get_running_loop()
    until, more = loop.time() + seconds, True
    while more and loop.time() < until:
        more = (await _soon(receive, max(0.0, until - loop.time()), seconds)).get("more_body", False)


def unpacked(body: bytes, encoding: bytes, most: int) -> bytes:
    """Return what a packed body holds, at most `most` bytes of it.

    Raises:
        Refused: it holds more, is damaged, or packed in a way that is not known.
    """
    if encoding not in _TAKEN:
        known = ", ".join(sorted(name.decode() for name in _TAKEN))
        raise Refused(415, f"the content encoding is none of {known}", headers={"accept-encoding": "gzip, deflate"})
    found = b""
    for _ in range(_MEMBERS):
        packer = zlib.decompressobj(_TAKEN[encoding])
        try:
            found += packer.decompress(body, most + 1 - len(found))
        except zlib.error:
            raise Refused(400, f"the body is no {encoding.decode()}, or damaged") from None
        if len(found) > most:
            raise _too_large(most)
        if not packer.eof:
            raise Refused(400, f"the {encoding.decode()} body is cut off")
        body = packer.unused_data
        if not body:
            return found
    raise Refused(400, f"the {encoding.decode()} body has more than {_MEMBERS} parts")


def _too_large(most: int) -> Refused:
    return Refused(413, f"the body is larger than {most / 1e6:g} MB", headers={"connection": "close"})
