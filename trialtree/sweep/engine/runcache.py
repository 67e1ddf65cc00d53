"""Results of stages that DVC has kept: found by what the stage is and what it depends on."""

import os
import re
from contextlib import suppress
from pathlib import Path

from trialtree.sweep.engine.caching import Cache
from trialtree.sweep.engine.entries import Entry, hashes, text
from trialtree.sweep.engine.hashes import Hash
from trialtree.sweep.engine.pipeline import Stage

# An output in an entry as DVC writes it. A parser takes 40 ms for an entry with its dependencies.
_ITEM = re.compile(
    r"- path: (?P<path>[\w./-]+)\n  hash: md5\n  md5: (?P<md5>[0-9a-f]{32}(?:\.dir)?)\n  size: (?P<size>\d+)\n"
    r"(?:  nfiles: (?P<nfiles>\d+)\n)?"
)


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
    outs = _outs(Path(newest.path))
    return outs if outs and all(cache.has(out) for out in outs.values()) else None


def _outs(path: Path) -> dict[str, Hash]:
    """Return the outputs that a kept entry names; none where it is damaged."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    with suppress(OSError, UnicodeDecodeError, YAMLError, AttributeError, KeyError, TypeError):
        written = path.read_text(encoding="utf-8")
        listed = written.partition("\nouts:\n")[2]
        items = list(_ITEM.finditer(listed))
        if items and "".join(item[0] for item in items) == listed:
            return {item["path"]: Hash(item["md5"], int(item["size"]), _number(item["nfiles"])) for item in items}
        return hashes(YAML(typ="safe", pure=True).load(written)["outs"])
    return {}


def _number(digits: str | None) -> int | None:
    return None if digits is None else int(digits)


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
