"""Where an endpoint of this machine is, and whether it lives.

Below the state folder ($XDG_STATE_HOME, else ~/.local/state):

    trialtree/endpoints/NAME/endpoint.json    its repository and all options
    trialtree/endpoints/NAME/status.json      what its server says of itself
    trialtree/endpoints/NAME/server.log       what its processes print
    trialtree/endpoints/NAME/alive.lock       locked by its server as long as that lives; has its process id
    trialtree/endpoints/NAME/metrics/         what its workers count
    trialtree/endpoints/NAME/requests/        the sample of requests
    trialtree/endpoints/.NAME.lock            locked by a command that changes it
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from stages.errors import UserError
from stages.files import write_json
from trialtree.serving import status
from trialtree.serving.registry import caching
from trialtree.serving.serve import Options, private

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


class EndpointError(UserError):
    """An endpoint that is not there, or cannot be made."""


class DamagedError(EndpointError):
    """An endpoint whose description cannot be read."""


@dataclass(frozen=True)
class Described:
    """What an endpoint is to be: its repository's top folder, and the options of its server."""

    top: str
    options: Options


@dataclass(frozen=True)
class Place:
    """The folder of an endpoint."""

    name: str

    def __post_init__(self) -> None:
        """Refuse a name that is none, or a path."""
        if not _NAME.fullmatch(self.name):
            raise EndpointError(f"an endpoint's name has letters, digits, _ and -, at most 63; got {self.name[:70]!r}")

    @property
    def folder(self) -> Path:
        """Its folder."""
        return _all() / self.name

    @property
    def log(self) -> Path:
        """What its processes print."""
        return self.folder / "server.log"

    @property
    def metrics(self) -> Path:
        """What its workers count."""
        return self.folder / "metrics"

    @property
    def status_file(self) -> Path:
        """What its server says of itself."""
        return self.folder / "status.json"

    def status(self) -> dict[str, Any]:
        """Return what its server said of itself last."""
        return status.read(self.status_file)

    def described(self) -> Described | None:
        """Return what it is to be; None where there is none."""
        try:
            found = json.loads((self.folder / "endpoint.json").read_text(encoding="utf-8"))
            return Described(found["repository"], Options.of(found["options"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise DamagedError(
                f"{self.folder}/endpoint.json is damaged; `trialtree endpoint delete {self.name}` and make it anew"
            ) from None

    def describe(self, wanted: Described) -> None:
        """Write what it is to be, where only its user reads it."""
        private(self.folder)
        self.folder.chmod(0o700)
        if wanted.options.log_folder:
            private(Path(wanted.options.log_folder))
        write_json(self.folder / "endpoint.json", {"repository": wanted.top, "options": wanted.options.as_json()})

    def pid(self) -> int | None:
        """Return the process id of its server; None where that does not live."""
        with suppress(OSError, ValueError), (self.folder / "alive.lock").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read())
        return None

    @contextmanager
    def living(self) -> Iterator[None]:
        """Be its server in the block.

        Raises:
            EndpointError: another process is.
        """
        with (self.folder / "alive.lock").open("a+") as file:
            until = status.patience()
            while not _locks(file):
                if not until():
                    raise EndpointError(f"the endpoint {self.name} has a server already")
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Be the only command that changes it in the block."""
        path = _all() / f".{self.name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            file = path.open("a")
            fcntl.flock(file, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                    break
            file.close()  # removed by the one before, after it was opened
        with file:
            try:
                yield
            finally:
                path.unlink()
                for empty in (_all(), caching.state()):
                    with suppress(OSError):
                        empty.rmdir()


def _locks(file: IO[Any]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _all() -> Path:
    return caching.state() / "endpoints"


def places() -> list[Place]:
    """Return all endpoints of this machine, by name."""
    return [Place(path.name) for path in sorted(_all().glob("[A-Za-z0-9]*")) if _NAME.fullmatch(path.name)]


def there(name: str) -> Place:
    """Return an endpoint that is there.

    Raises:
        EndpointError: it is not.
    """
    place = Place(name)
    if not place.folder.is_dir():
        others = ", ".join(each.name for each in places()) or "none"
        raise EndpointError(f"there is no endpoint {name!r} on this machine; there are: {others}")
    return place


def digests() -> set[str]:
    """Return the digests of the models that endpoints answer by, or answered by last."""
    return {model["digest"] for place in places() for model in status.models(place.status_file)}
