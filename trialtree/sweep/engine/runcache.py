"""Results of stages that DVC has kept: found by what the stage is and what it depends on."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from trialtree.sweep.engine.caching import Cache
from trialtree.sweep.engine.entries import Entry, hashes, text
from trialtree.sweep.engine.hashes import Hash
from trialtree.sweep.engine.pipeline import Stage


def key(stage: Stage, made: Entry) -> str:
    """Return what the results of an entry are found by; its outputs count by their paths alone."""
    from dvc.stage.cache import _get_cache_hash

    return str(_get_cache_hash({**made, "outs": [{"path": out.path} for out in stage.outs]}, key=True))


def find(cache: Cache, of: str) -> dict[str, Hash] | None:
    """Return the outputs that are kept under a key, the newest; None where there are none, or not all of them."""
    folder = cache.runs / of[:2] / of
    try:
        names = [entry for entry in os.scandir(folder) if len(entry.name) == 64]
    except FileNotFoundError:
        return None
    if not names:
        return None
    newest = max(names, key=lambda entry: entry.stat().st_mtime)
    found = _read(Path(newest.path))
    outs = hashes(found.get("outs", ())) if found else {}
    return outs if outs and all(cache.has(out) for out in outs.values()) else None


def _read(path: Path) -> Mapping[str, Any] | None:
    """Return a kept entry; None where it is damaged."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    with suppress(OSError, UnicodeDecodeError, YAMLError):
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else None
    return None


def save(cache: Cache, of: str, made: Entry) -> None:
    """Keep a stage's entry under a key."""
    from dvc.stage.cache import _get_cache_hash

    folder = cache.runs / of[:2] / of
    path = folder / str(_get_cache_hash(made))
    if path.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{os.getpid()}.tmp"
    partial.write_text(text(made), encoding="utf-8")
    partial.rename(path)
