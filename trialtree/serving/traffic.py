"""Which models share the requests: `champion=90,challenger=10`, and a shadow."""

from dataclasses import dataclass

from stages.errors import UserError
from trialtree.serving.registry import asking
from trialtree.serving.registry.asking import Asked
from trialtree.serving.registry.resolving import Resolved
from trialtree.serving.settings import Planned

_WHOLE = 100  # percent


class TrafficError(UserError):
    """Shares that do not add up."""


@dataclass(frozen=True)
class Part:
    """A model that is asked for, and its part in answering."""

    asked: Asked
    share: float = 1.0
    shadow: bool = False

    def planned(self, found: Resolved) -> Planned:
        """Return what workers are told of it."""
        return Planned(
            name=found.name, version=found.version, folder=str(found.folder), digest=found.digest,
            alias=found.alias, gaps=found.gaps, share=self.share, shadow=self.shadow,
        )  # fmt: skip


def parts(model: str, traffic: str | None = None, shadow: str | None = None) -> tuple[Part, ...]:
    """Return what is asked for; each share is of 1.

    Raises:
        RegistryError: the model is not written as models are.
        TrafficError: the shares do not fit it, or each other.
    """
    asked = asking.parse(model)
    shares = _shares(asked, traffic) if traffic else {asked: 1.0}
    if traffic and (asked.alias or asked.version) and asked not in shares:
        raise TrafficError(f"--traffic {traffic}: {asked} has no part in it; add it, or leave it out of {model}")
    found = [Part(each, share) for each, share in shares.items()]
    if shadow:
        aside = _of(asked, shadow, "--shadow")
        if aside in shares:
            raise TrafficError(f"--shadow {shadow}: {aside} answers requests already")
        found.append(Part(aside, 0.0, shadow=True))
    return tuple(found)


def _shares(asked: Asked, text: str) -> dict[Asked, float]:
    """Return the share of each model."""
    found: dict[Asked, float] = {}
    for item in text.split(","):
        name, _, number = item.strip().partition("=")
        if not number.strip().removesuffix("%").replace(".", "", 1).isdecimal():
            raise TrafficError(f"--traffic {text}: must be like champion=90,challenger=10, got {item.strip()!r}")
        each = _of(asked, name.strip(), "--traffic")
        if each in found:
            raise TrafficError(f"--traffic {text}: {name.strip()} is there twice")
        found[each] = float(number.strip().removesuffix("%")) / _WHOLE
    if abs(sum(found.values()) - 1) > 1e-9:  # of floats that were added
        raise TrafficError(f"--traffic {text}: must add up to 100, got {sum(found.values()) * _WHOLE:g}")
    return found


def _of(asked: Asked, name: str, option: str) -> Asked:
    """Return the model by an alias, or by a version where a number is given."""
    try:
        return asking.parse(f"{asked.name}{'/' if name.isdecimal() else '@'}{name}")
    except asking.RegistryError:
        raise TrafficError(f"{option}: must name an alias or version of {asked.name}, got {name!r}") from None
