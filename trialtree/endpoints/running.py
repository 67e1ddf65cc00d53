"""The server of an endpoint, in a process of its own session.

    python -m trialtree.endpoints.running NAME

Reads   endpoint.json, at the start and at a hangup
Writes  status.json and the metrics; prints into server.log
"""

import shutil
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from trialtree import repository

_LARGEST = 100_000_000  # bytes of a log, which is kept once more as server.log.1
_LOOK = 30.0  # seconds between two looks at its size


def _main() -> None:
    repository.enter()
    from trialtree.endpoints.place import EndpointError, Place
    from trialtree.serving import serve, status
    from trialtree.serving.settings import Plan, Planned

    place = Place(sys.argv[1])

    def options() -> serve.Options:
        found = place.described()
        if found is None:
            raise EndpointError(f"the endpoint {place.name} is gone")
        return found.options

    with place.living():
        models = status.models(place.status_file)
        last = Plan(0, models[0]["name"], tuple(map(Planned.of, models))) if models else None
        shutil.rmtree(place.metrics, ignore_errors=True)
        place.metrics.mkdir()
        threading.Thread(target=_keep_short, args=(place.log,), daemon=True).start()
        serve.run(
            options, lambda line: print(line, flush=True), place.metrics,
            name=place.name, status=place.status_file, last=lambda: last,
        )  # fmt: skip


def _keep_short(log: Path) -> None:
    """Put a log aside when it is large; its writers go on at the beginning, as they append."""
    while True:
        time.sleep(_LOOK)
        with suppress(OSError):
            if log.stat().st_size > _LARGEST:
                shutil.copyfile(log, log.with_name("server.log.1"))
                with log.open("r+") as file:
                    file.truncate(0)


if __name__ == "__main__":
    repository.run(_main)
