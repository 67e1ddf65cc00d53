"""What a worker of an endpoint is told: its limits and keys, and the models that it answers by."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class _Told:
    """A record that goes from process to process as JSON."""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Return the record of a JSON object; keys of another version are left out."""
        known = {each.name for each in fields(cls)}
        return cls(**{k: _frozen(v) for k, v in given.items() if k in known})


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


@dataclass(frozen=True)
class Settings(_Told):
    """How a worker answers."""

    name: str  # of the endpoint
    max_body: int = 16 * MEGABYTE  # bytes, unpacked too
    max_rows: int = 100_000
    timeout: float = 30.0  # seconds for the body to arrive, and again for the answer to be computed
    concurrency: int = 64  # requests of a worker at once
    keys: tuple[tuple[str, str], ...] = ()  # name and SHA-256, in hexadecimal, of each; none: nobody is asked for one
    keyed: bool = False  # keys were asked for: without any, nobody may ask
    inputs: tuple[tuple[str, str], ...] = ()  # a digest of each thing that these were read from, by its name
    log_requests: float = 0.0  # share of the requests that are kept
    log_folder: str | None = None
    metrics_folder: str | None = None
    unknown: bool = False  # take categories that the training rows did not have
    allow_pickle: bool = False
    access_log: bool = True
    tls_cert: str | None = None
    tls_key: str | None = None


@dataclass(frozen=True)
class Planned(_Told):
    """A model that a worker answers by."""

    name: str
    version: str
    folder: str
    digest: str
    alias: str | None = None
    gaps: tuple[str, ...] = ()  # columns in which a gap is no fault
    share: float = 1.0  # of the requests
    shadow: bool = False  # asked too, and its answer only compared

    @property
    def label(self) -> str:
        """How it is named in metrics and answers."""
        return f"{self.name}/{self.version}"


@dataclass(frozen=True)
class Plan(_Told):
    """The models that a worker answers by."""

    generation: int
    name: str  # by which clients know the model
    models: tuple[Planned, ...]

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Return the plan of a JSON object."""
        return cls(given["generation"], given["name"], tuple(Planned.of(each) for each in given["models"]))
