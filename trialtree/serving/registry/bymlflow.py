"""A registry that only MLflow can read, and the download of files: in a process that imports MLflow and ends.

python -m trialtree.serving.registry.bymlflow look NAME [NUMBER]
python -m trialtree.serving.registry.bymlflow bring NAME NUMBER FOLDER
"""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from trialtree.serving.registry.books import Held, Known
from trialtree.tracking import stores
from trialtree.tracking.addresses import StoreError

_AFTER = "try again once that is mended"


class Mlflow:
    """A registry that is read by MLflow in a process of its own."""

    pace = 60.0

    def __init__(self, store: stores.Store) -> None:
        self.shown = store.shown

    def names(self) -> list[str]:
        """Return the names of all models."""
        found: list[str] = _asked("look", "")["names"]
        return found

    def known(self, name: str) -> Known | None:
        """Return what there is of a model."""
        found = _asked("look", name)["known"]
        return found and Known(found["aliases"], found["versions"])

    def held(self, name: str, number: str) -> Held:
        """Return a version."""
        return Held(name, number, _asked("look", name, number)["tags"])


def bring(name: str, number: str, folder: Path) -> None:
    """Download the files of a version into a folder.

    Raises:
        StoreError: they cannot be had.
    """
    _asked("bring", name, number, str(folder))


def _asked(*args: str) -> Any:
    """Return what the process says.

    Raises:
        StoreError: it says that it cannot.
    """
    command = [sys.executable, "-m", "trialtree.serving.registry.bymlflow", *args]
    # It ends when this process does: then its standard input does.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout  # noqa: S101  # they are pipes
        assert process.stderr  # noqa: S101  # the same
        faults: list[str] = []
        aside = threading.Thread(target=lambda: faults.extend(process.stderr or ()), daemon=True)
        aside.start()
        said = process.stdout.read()
        aside.join()
    if process.returncode:
        last = faults[-1].strip() if faults else f"MLflow's process ended with {process.returncode}"
        raise StoreError(last)
    return json.loads(said)


def _look(client: Any, name: str, number: str | None = None) -> dict[str, Any]:
    if not name:
        return {"names": sorted(model.name for model in client.search_registered_models())}
    if number is not None:
        return {"tags": dict(client.get_model_version(name, number).tags)}
    found = client.search_registered_models(f"name = '{name}'")
    if not found:
        return {"known": None}
    # Of all stores, only get gives the aliases.
    aliases = {alias: str(at) for alias, at in client.get_registered_model(name).aliases.items()}
    versions = sorted(int(version.version) for version in client.search_model_versions(f"name = '{name}'"))
    return {"known": {"aliases": aliases, "versions": [str(each) for each in versions]}}


def _bring(name: str, number: str, folder: str) -> dict[str, Any]:
    import mlflow.artifacts

    mlflow.artifacts.download_artifacts(f"models:/{name}/{number}", dst_path=folder)
    return {}


def main() -> None:
    """Do what the arguments say, and print it as JSON; end when standard input does."""
    from stages.errors import UserError

    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    out, sys.stdout = sys.stdout, sys.stderr  # whatever others print
    what, *args = sys.argv[1:]
    try:
        with stores.find().opened(_AFTER) as client:
            found = _bring(*args) if what == "bring" else _look(client, *args)
    except UserError as error:
        sys.exit(str(error))
    print(json.dumps(found), file=out, flush=True)
    os._exit(0)  # standard input is read by a thread that nothing else would end


if __name__ == "__main__":
    main()
