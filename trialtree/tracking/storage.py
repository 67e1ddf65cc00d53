"""Where DVC keeps an object: in a cache of this machine, in the default remote.

The remote's address is made from DVC's configuration and the object's hash, as
`dvc.api.get_url` makes it, without opening the repository or its lock.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trialtree.tracking import git

_HASH = re.compile(r"[0-9a-f]{32}(\.dir)?")
_REFERENCE = "remote://"


@dataclass(frozen=True)
class Settings:
    """Where this repository keeps objects."""

    caches: tuple[Path, ...]
    remote: str | None
    origin: str | None  # the address of Git's remote, without credentials


def read() -> Settings:
    """Return where the repository around the working folder keeps objects."""
    found = config()
    return Settings(tuple(caches(found)), remote(found), git.origin())


def place() -> Path:
    """Return the folder whose .dvc counts: in a temporary folder of `dvc exp run`, the repository it belongs to."""
    return Path(os.environ["DVC_ROOT"]) if {"DVC_ROOT", "DVC_EXP_NAME"} <= os.environ.keys() else Path()


def config() -> Mapping[str, Any]:
    """Return DVC's configuration of the repository, all levels in one; empty where it cannot be read."""
    from dvc.config import Config, ConfigError

    try:
        found: Mapping[str, Any] = Config(str(place() / ".dvc"), validate=False)
    except ConfigError:
        return {}
    return found


def remote(settings: Mapping[str, Any]) -> str | None:
    """Return the address below which the default remote has its objects, without credentials.

    None where there is no default remote, or where it keeps files under their own names (`version_aware`, `worktree`).
    """
    remotes = settings.get("remote", {})
    found = remotes.get(settings.get("core", {}).get("remote"))
    url = str(found.get("url", "")) if found else ""
    if not url or any(str(found.get(key, "")).lower() == "true" for key in ("version_aware", "worktree")):
        return None
    if url.startswith(_REFERENCE):
        name, _, rest = url.removeprefix(_REFERENCE).partition("/")
        url = f"{str(remotes.get(name, {}).get('url', '')).rstrip('/')}/{rest}"
    if "://" not in url:
        return Path(url).absolute().as_posix().rstrip("/")
    # What stands behind a question mark may be a signature.
    return git.without_credentials(url).partition("?")[0].rstrip("/")


def address(remote: str, md5: str) -> str:
    """Return the address of an object in a remote."""
    return f"{remote}/files/md5/{md5[:2]}/{md5[2:]}"


def caches(settings: Mapping[str, Any]) -> list[Path]:
    """Return the folders in which DVC may have objects on this machine."""
    given = settings.get("cache", {}).get("dir")
    roots = (place(), Path(), git.shared_top(place()))
    usual = [(root / ".dvc" / "cache").absolute() for root in roots]
    return list(dict.fromkeys([Path(given).absolute()] if given else usual))


def cached(caches: list[Path], md5: str) -> Path | None:
    """Return the file of an object, where a cache has it."""
    if not _HASH.fullmatch(md5):
        return None
    # Texts: a thousand trials ask for thirty thousand.
    places = (f"{cache}/files/md5/{md5[:2]}/{md5[2:]}" for cache in caches)
    return next((Path(path) for path in places if os.path.isfile(path)), None)  # noqa: PTH113  # the same


def manifest(path: Path | None) -> list[dict[str, str]]:
    """Return DVC's list of a folder's files, in their order; empty without one."""
    if path is None:
        return []
    listed: list[dict[str, str]] = json.loads(path.read_bytes())
    return sorted(listed, key=lambda entry: entry["relpath"])
