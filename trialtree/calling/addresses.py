"""Where an endpoint is, and the key for it."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from trialtree.calling.asked import CallError

ENVIRONMENT = "TRIALTREE_KEY"
_PATHS = re.compile(r"/(invocations|score|docs|openapi\.json|ping|health|v2(/.*)?)?$")


def find(url: str) -> str:
    """Return the base of an endpoint's address, without a slash at its end.

    Raises:
        UserError: it is no address, and no endpoint of this machine has that name.
    """
    if "://" in url:
        return _checked(url)
    if re.search(r"[.:/]", url):
        raise CallError(f"{url}: must be http://… or https://…, or the name of an endpoint of this machine")
    from trialtree.endpoints.place import there

    place = there(url)
    if place.pid() is None:
        raise CallError(f"the endpoint {url} does not run; `trialtree endpoint logs {url}` may say why")
    return str(place.status()["address"])


def _checked(url: str) -> str:
    parts = urlsplit(url)
    try:
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # of a port that is none
        known = False
    if not known:
        raise CallError("the address must be http://HOST:PORT or https://HOST:PORT, with a path or without")
    if parts.username is not None or parts.query or parts.fragment:
        raise CallError(
            f"{parts.scheme}://{parts.hostname}: the address must have no user, password, query or fragment; "
            f"a key is read from --key-file or {ENVIRONMENT}"
        )
    return _PATHS.sub("", url)


def key(file: Path | None, env: Mapping[str, str] = os.environ) -> tuple[str | None, str]:
    """Return the key, None where there is none, and where it comes from.

    Raises:
        CallError: it cannot be read, or cannot stand in a header.
    """
    if file is None:
        found, where = env.get(ENVIRONMENT, ""), ENVIRONMENT
    else:
        where = f"--key-file {file.name}"
        try:
            found = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "is no text"
            raise CallError(f"{where}: cannot be read: {why}") from None
        if not found.strip():
            raise CallError(f"{where}: is empty; it must hold the key")
    found = found.strip()
    if not (found.isascii() and found.isprintable()) or " " in found:
        raise CallError(f"{where}: must hold one key and nothing else")
    return found or None, where
