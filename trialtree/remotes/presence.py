"""Which of a trial's data the default DVC remote holds."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from trialtree.remotes import faults, proving


class Cloud:
    """The default remote of a repository, asked in batches."""

    def __init__(self, repo: Any) -> None:
        self._repo = repo
        name = repo.config["core"].get("remote")
        section = repo.config["remote"].get(name) or {}
        self.named = bool(section)
        self.where = faults.Where.of(section)

    def contents(self, objects: Iterable[str]) -> list[str]:
        """Return objects with all files of the folders among them, as far as their lists are in the cache."""
        found = dict.fromkeys(objects)
        for oid in list(found):
            if oid.endswith(".dir"):
                listed = Path(self._repo.cache.local.oid_to_path(oid))
                if listed.exists():
                    found |= dict.fromkeys(entry["md5"] for entry in json.loads(listed.read_text(encoding="utf-8")))
        return list(found)

    def held(self, objects: Sequence[str]) -> set[str]:
        """Return those of the objects that the remote holds; one question for all of them.

        Raises:
            Exception: whatever the remote's file system raises.
        """
        return set(proving.impatient(self._repo).odb.oids_exist(list(objects)))

    def put(self, objects: Iterable[str]) -> list[str]:
        """Upload objects out of the cache; return those that it lacks."""
        cache, odb = self._repo.cache.local, self._repo.cloud.get_remote_odb()
        lost = []
        for oid in sorted(objects, key=lambda oid: oid.endswith(".dir")):  # a folder's list last: it says all is there
            path = cache.oid_to_path(oid)
            if Path(path).exists():
                odb.add(path, cache.fs, oid)
            else:
                lost.append(oid)
        return lost
