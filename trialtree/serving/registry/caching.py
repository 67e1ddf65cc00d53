"""Models on this disk by their digest, so that a registry that is lost or changed does not matter.

Below the state folder ($XDG_STATE_HOME, else ~/.local/state):

    trialtree/cache/DIGEST/model/            the model's folder
    trialtree/cache/DIGEST/signature.json    what its version said besides
    trialtree/cache/.DIGEST.lock             locked by each process that serves it
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from stages.files import put, replacing_folder

MODEL = "model"
_SIGNATURE = "signature.json"


def state() -> Path:
    """Return the folder of what trialtree keeps on this machine."""
    given = os.environ.get("XDG_STATE_HOME", "")
    base = Path(given) if Path(given).is_absolute() else Path.home() / ".local" / "state"
    return base / "trialtree"


def place(digest: str) -> Path:
    """Return the folder of a digest."""
    return state() / "cache" / digest


def found(digest: str) -> dict[str, Any] | None:
    """Return what a version said besides, where its model is here and whole; else None."""
    folder = place(digest)
    if fault(folder / MODEL, digest):
        return None
    try:
        said = json.loads((folder / _SIGNATURE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None


def keep(digest: str, model: Path, signature: dict[str, Any]) -> str | None:
    """Keep a copy of a model's folder, whole or not at all; return what is wrong with it, None where nothing is."""
    with replacing_folder(place(digest)) as partial:
        shutil.copytree(model, partial / MODEL, copy_function=shutil.copyfile)
        put(partial / _SIGNATURE, json.dumps(signature).encode())
        if wrong := fault(partial / MODEL, digest):
            shutil.rmtree(partial / MODEL)
    if wrong:
        shutil.rmtree(place(digest))
    return wrong


def fault(folder: Path, digest: str) -> str | None:
    """Return what a model's folder differs in from its digest, as `stages.models` has it; None where in nothing.

    The process that serves must stay small, and `stages.models` brings numpy and pydantic.
    """
    try:
        content = (folder / "manifest.json").read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            return "its manifest.json is another than was registered"
        expected = json.loads(content)["sha256"]
        present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
        if odd := (present - {"manifest.json"}) ^ expected.keys():
            return f"it lacks a file, or has one too many: {', '.join(sorted(odd))}"
        for name, digest_of in expected.items():
            with (folder / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest_of:
                    return f"{name} is damaged"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"it cannot be read ({type(error).__name__})"
    return None


class Hold:
    """A lock on a model: as long as this lives, nobody removes the model."""

    def __init__(self, digest: str) -> None:
        """Wait for whoever removes it just now."""
        path = _lock(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_SH)
            with suppress(FileNotFoundError):
                if os.fstat(self._fd).st_ino == path.stat().st_ino:
                    return
            os.close(self._fd)  # it was removed between the two

    def __del__(self) -> None:
        """Let go of it."""
        os.close(self._fd)


def clear(kept: Collection[str]) -> None:
    """Remove the models that no process serves and that are not to be kept."""
    for folder in (state() / "cache").glob("[0-9a-f]*"):
        if folder.name in kept:
            continue
        path = _lock(folder.name)
        with path.open("a") as file, suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
            path.unlink()
    for empty in (state() / "cache", state()):
        with suppress(OSError):
            empty.rmdir()


def _lock(digest: str) -> Path:
    return state() / "cache" / f".{digest}.lock"
