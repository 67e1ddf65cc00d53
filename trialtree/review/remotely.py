"""The DVC remote, asked by a process that is ended when the remote does not answer.

    python -m trialtree.review.remotely < ASKED

ASKED is JSON, and so is what is printed. Libraries wait for a server that
takes a connection and says nothing for minutes, again and again.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from stages.errors import UserError
from trialtree.revisions import Out
from trialtree.tracking import storage

PATIENCE = 30.0  # seconds for reports, which are small, and for questions


class Remote:
    """The default remote of the repository; once it was silent it is asked nothing more."""

    def __init__(self, *, pull: bool = False) -> None:
        self.pull = pull  # data and models too
        self.silent: str | None = None
        self._held: dict[tuple[str, ...], str] = {}

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """DVC's configuration, read once."""
        return storage.config()

    @cached_property
    def caches(self) -> list[Path]:
        """Where objects may be on this machine."""
        return storage.caches(self.settings)

    def bring(self, wanted: Sequence[tuple[Out, str]], seconds: float | None = PATIENCE) -> list[str | None]:
        """Bring outputs, or what is below a path in them, into the cache; return why one is not there, if so."""
        asked = {"bring": [[out.path, out.md5, below] for out, below in wanted]}
        found = self._ask(asked, seconds)
        return [self.silent or "the remote cannot be asked"] * len(wanted) if found is None else list(found)

    def held(self, hashes: Sequence[str]) -> str:
        """Say how many of some objects the remote holds: yes, no, part (11 of 26), or why nobody knows; - for none."""
        if not hashes or not self.settings.get("core", {}).get("remote"):
            return "-"
        if (key := tuple(hashes)) not in self._held:
            found = self._ask({"held": list(hashes)}, PATIENCE)
            self._held[key] = f"unknown: {self.silent or 'the remote cannot be asked'}" if found is None else str(found)
        return self._held[key]

    def _ask(self, asked: dict[str, Any], seconds: float | None) -> Any:
        if self.silent:
            return None
        try:
            done = subprocess.run(
                [sys.executable, "-m", "trialtree.review.remotely"],
                input=json.dumps(asked), capture_output=True, text=True, timeout=seconds, check=False,
            )  # fmt: skip
            return json.loads(done.stdout.splitlines()[-1])
        except subprocess.TimeoutExpired:
            self.silent = f"the remote did not answer within {seconds:.0f} s"
        except (IndexError, ValueError):
            pass  # it ended in a way of its own
        return None


def _bring(wanted: Sequence[Sequence[str]]) -> list[str | None]:
    from trialtree import objects

    found: list[str | None] = []
    for path, md5, below in wanted:
        try:
            objects.located(Out(path, md5), below)
            found.append(None)
        except UserError as error:
            found.append(str(error))
    return found


def _held(hashes: Sequence[str]) -> str:
    import logging

    from dvc.repo import Repo

    from trialtree.remotes import faults
    from trialtree.remotes.presence import Cloud

    logging.getLogger("dvc").setLevel(logging.CRITICAL)
    with Repo() as repo:
        cloud = Cloud(repo)
        if not cloud.named:
            return "-"
        objects = cloud.contents(hashes)
        try:
            count = len(cloud.held(objects))
        except Exception as error:  # whatever the remote's library raises
            return f"unknown: {faults.line(error, cloud.where, 'asked which data it holds')}"
    return "yes" if count == len(objects) else f"part ({count} of {len(objects)})" if count else "no"


def main() -> None:
    """Do what is asked."""
    asked = json.load(sys.stdin)
    print(json.dumps(_bring(asked["bring"]) if "bring" in asked else _held(asked["held"])))


if __name__ == "__main__":
    main()
