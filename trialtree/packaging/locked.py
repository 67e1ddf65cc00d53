"""requirements.lock: which versions, with which hashes, stand there for a machine."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.utils import canonicalize_name

_FIRST = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[^\s;\\]+)\s*(?:;\s*(?P<marker>[^\\]+?))?\s*\\?")
_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")


@dataclass(frozen=True)
class Pin:
    """A version of a package, and what its files must be."""

    name: str
    version: str
    marker: str | None
    hashes: tuple[str, ...]

    def holds(self, machine: Mapping[str, str]) -> bool:
        """Say whether it is for a machine, which is told by its environment markers."""
        return self.marker is None or Marker(self.marker).evaluate(dict(machine))

    def __str__(self) -> str:
        """Return it as pip reads it."""
        first = f"{self.name}=={self.version}" + (f" ; {self.marker}" if self.marker else "")
        return " \\\n    ".join([first, *(f"--hash={each}" for each in self.hashes)])


Lock = Mapping[str, Sequence[Pin]]  # by name; more than one where machines differ


def read(path: Path) -> Lock:
    """Return the pins of a lock, which uv has written with hashes."""
    found: dict[str, list[Pin]] = {}
    for block in re.split(r"\n(?=\S)", path.read_text(encoding="utf-8")):
        if match := _FIRST.match(block):
            name = canonicalize_name(match["name"])
            found.setdefault(name, []).append(Pin(name, match["version"], match["marker"], tuple(_HASH.findall(block))))
    return found


def machine(python: str, architecture: str) -> dict[str, str]:
    """Return the environment markers of a Linux machine with a Python such as 3.11."""
    return {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": architecture,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
        "extra": "",
    }
