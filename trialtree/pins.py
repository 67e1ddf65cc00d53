"""Say whether the source of params.yaml has changed since it was pinned, and take what it has become."""

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from stages import content, fetch, keeping, params, progress, remotes, sources
from stages.errors import UserError
from trialtree import editing


def check() -> list[str]:
    """Return a line for each change of the source since it was pinned; none when it is as it was.

    What the server says (ETag, version, commit) is enough where it is what it was; else the source is read.

    Raises:
        UserError: the source cannot be had, or nothing pins it.
    """
    p = params.read("fetch", fetch.FetchParams)
    if p.bundled is not None:
        return []
    lines = [f"{path}: changed since `dvc add`; `trialtree data update` takes the new one" for path in _edited(p)]
    if p.sha256 is None:
        if _watched(p):
            return lines
        raise UserError("params.yaml: fetch.sha256: nothing pins the source yet; `trialtree data update` does")
    now = _digest_now(p, p.sha256)
    if now != p.sha256.lower():
        lines.append(sources.changed(p.source, p.shown, now, p.sha256))
    return lines


def _digest_now(p: fetch.FetchParams, sha256: str) -> str:
    """Return the hash of what the source holds now."""
    items = sources.items_of(p.source)
    away = [remotes.key(item, p.endpoint) for item in items if remotes.is_remote(item)]
    with keeping.held(away):
        if away and len(items) == 1 and (recorded := _recorded(items[0], p.endpoint, sha256)):
            found = remotes.is_still(items[0], p.endpoint, recorded)
            return sha256.lower() if found is None else content.digest(found)
        return content.digest(sources.current(p.source, p.endpoint))


def update() -> list[str]:
    """Pin what the source is now, and return what to print: what changed, what to do next; none if nothing did.

    Raises:
        UserError: the source cannot be had.
    """
    with editing.alone():
        p = params.read("fetch", fetch.FetchParams)
        if p.bundled is not None:
            return []
        edited = _edited(p)
        if edited:
            dvc("add", "--quiet", *edited)
            dvc("unprotect", "--quiet", *edited)
        lines = [f"{path}: under DVC as it is now" for path in edited]
        if p.sha256 is not None or not _watched(p):
            lines += _repin(p)
        return [*lines, "next: `dvc repro`"] if lines else []


def digest(source: sources.Source, endpoint: str | None) -> tuple[str, int]:
    """Return the hash of what a source holds now, which is kept for fetch, and its size in bytes (0 if unknown)."""
    items = sources.items_of(source)
    with keeping.held([remotes.key(item, endpoint) for item in items if remotes.is_remote(item)]):
        files = sources.current(source, endpoint)
    return content.digest(files), sum(file.facts.get("bytes", 0) for file in files)


def _repin(p: fetch.FetchParams) -> list[str]:
    """Write the hash of the source as it is now into params.yaml; return what changed."""
    now, size = digest(p.source, p.endpoint)
    if p.sha256 is not None and now == p.sha256.lower():
        return []
    editing.save(params.PATH, editing.with_key(params.PATH.read_text(encoding="utf-8"), "sha256", now))
    what = f"{p.shown} ({progress.amount(size, 'bytes')})" if size else p.shown
    was = f"was {p.sha256}" if p.sha256 else "was not pinned"
    return [f"{what}: fetch.sha256 of {params.PATH} is now {now}, {was}"]


def _watched(p: fetch.FetchParams) -> bool:
    """Say whether DVC watches all of the source."""
    items = sources.items_of(p.source)
    paths = sources.paths_of(items)
    return len(paths) == len(items) and all(map(sources.is_tracked, paths))


def _edited(p: fetch.FetchParams) -> list[str]:
    """Return the tables under data/source/ that differ from what DVC has of them."""
    paths = sources.paths_of(sources.items_of(p.source))
    names = {file.shown for path in paths for file in sources.expanded(path) if sources.is_tracked(file.shown)}
    above = {str(path) for name in names for path in (Path(name), *Path(name).parents)}
    tables = sorted(path for path in above if Path(f"{path}.dvc").is_file())
    if not tables:
        return []
    said = json.loads(dvc("status", "--json", *(f"{path}.dvc" for path in tables)) or "{}")
    return sorted(path.removesuffix(".dvc") for path in said)


def _recorded(item: remotes.Item, endpoint: str | None, sha256: str) -> Sequence[content.Facts] | None:
    """Return what is known of the files that are pinned, from those that are kept or from reports/data.json."""
    candidates: list[Any] = [[file.entry for file in files] for files in remotes.kept(item, endpoint)]
    with suppress(OSError, ValueError, KeyError, TypeError):
        candidates.append(json.loads(fetch.PROFILE.read_text(encoding="utf-8"))["source"])
    return next((entries for entries in candidates if _is_pinned(entries, sha256)), None)


def _is_pinned(entries: Any, sha256: str) -> bool:
    try:
        return content.digest_of(entries) == sha256.lower()
    except (LookupError, TypeError):
        return False


def dvc(*args: str) -> str:
    """Run dvc and return what it printed; what it says against it becomes one line."""
    done = subprocess.run([sys.executable, "-m", "dvc", *args], capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit status {done.returncode}"]
        raise UserError(f"dvc {args[0]}: {said[0].removeprefix('ERROR: ')}")
    return done.stdout
