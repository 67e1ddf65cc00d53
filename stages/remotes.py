"""Sources that are elsewhere: which there are, and how each is downloaded and kept."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stages import buckets, downloads, keeping, masking, openml, queries, revisions
from stages.content import Facts, File, sha256
from stages.queries import Sql

KINDS = "https://…, s3://…, dvc:REPOSITORY#PATH@REVISION, openml:NUMBER"

Item = str | Sql
_FAULTS: dict[str, Callable[[str], str | None]] = {
    **dict.fromkeys(downloads.SCHEMES, downloads.fault),
    buckets.SCHEME: buckets.fault,
    revisions.SCHEME: revisions.fault,
    openml.SCHEME: openml.fault,
}


def is_remote(item: Item) -> bool:
    """Say whether a source is elsewhere, and not a path or a table of scikit-learn."""
    return isinstance(item, Sql) or item.startswith(tuple(_FAULTS))


def fault(name: str) -> str | None:
    """Return what is wrong with a remote source's name."""
    return next((check(name) for scheme, check in _FAULTS.items() if name.startswith(scheme)), None)


def shown(item: Item) -> str:
    """Return what messages call a source."""
    return masking.masked(item) if isinstance(item, str) else item.shown


def key(item: Item, endpoint: str | None) -> str:
    """Return the name under which a source's files are kept."""
    words: list[Any] = [item if isinstance(item, str) else item.model_dump()]
    if isinstance(item, str):
        words += [endpoint or ""] if item.startswith(buckets.SCHEME) else []
        words += [openml.server()] if item.startswith(openml.SCHEME) else []
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:20]


def kept(item: Item, endpoint: str | None) -> list[list[File]]:
    """Return the files of the download last used and of the newest, as `keeping.versions` does."""
    return keeping.versions(key(item, endpoint), queries.digest if isinstance(item, Sql) else sha256)


def refreshed(item: Item, endpoint: str | None, known: Sequence[File] | None) -> list[File]:
    """Return the files of a source as it is now: `known`, where it still has these, else those of a new download.

    Raises:
        DataError: it cannot be had.
    """

    def download(folder: Path, known: Sequence[File] | None) -> Sequence[File] | None:
        return _download(item, endpoint, folder, [file.entry for file in known] if known else None)

    return keeping.refreshed(key(item, endpoint), shown(item), known, download)


def is_still(item: Item, endpoint: str | None, known: Sequence[Facts]) -> list[File] | None:
    """Return None where a source still has the files of these entries, by what its server says; else its files now.

    Raises:
        DataError: it cannot be had.
    """
    seen: list[None] = []

    def download(folder: Path, _: Sequence[File] | None) -> Sequence[File] | None:
        found = _download(item, endpoint, folder, known)
        if found is None:
            seen.append(None)
        return found

    files = keeping.refreshed(key(item, endpoint), shown(item), None, download)
    return None if seen else files


def _download(item: Item, endpoint: str | None, folder: Path, known: Sequence[Facts] | None) -> Sequence[File] | None:
    """Download a source into a folder; None where it still has the `known` files."""
    if isinstance(item, Sql):
        return queries.download(item, folder)
    if item.startswith(downloads.SCHEMES):
        return downloads.download(item, folder, known)
    if item.startswith(buckets.SCHEME):
        return buckets.download(item, endpoint, folder, known)
    if item.startswith(openml.SCHEME):
        return openml.download(item, folder, known)
    return revisions.download(item, folder, known)
