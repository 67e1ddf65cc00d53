"""The files of DVC's outputs by their hashes: from the cache of this machine, or brought into it from the remote."""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.errors import UserError
from trialtree.revisions import Out
from trialtree.tracking import git, storage

_LINE = 300  # characters of another program's message
_SHOWN = ("url", "endpointurl", "region", "profile")  # settings of a remote that a message may repeat


class ObjectError(UserError):
    """An object that is neither here nor in the remote."""


def located(out: Out, below: str = "") -> list[tuple[str, Path]]:
    """Return the files of an output, or those of it `below` a path in it: their paths and where the cache has them.

    What the cache lacks is brought from the default remote. In the order of
    their paths, part-1000 behind part-999; none where nothing is `below`.

    Raises:
        ObjectError: an object is neither in the cache nor in the remote, or damaged.
    """
    if not out.md5.endswith(".dir"):
        return [(out.path, _found([out.md5], out.path)[0])]
    listed = storage.manifest(_found([out.md5], out.path)[0])
    chosen = [
        (f"{out.path}/{entry['relpath']}", entry["md5"])
        for entry in listed
        if not below or entry["relpath"] == below or entry["relpath"].startswith(f"{below}/")
    ]
    chosen.sort(key=lambda file: (file[0].rpartition("/")[0], len(file[0]), file[0]))
    found = _found([md5 for _, md5 in chosen], out.path)
    return [(path, place) for (path, _), place in zip(chosen, found, strict=True)]


def _found(hashes: Sequence[str], path: str) -> list[Path]:
    """Return the files of objects in the cache, brought there where they are not."""
    settings = storage.config()
    caches = storage.caches(settings)
    places = [storage.cached(caches, md5) for md5 in hashes]
    missing = list(dict.fromkeys(md5 for md5, place in zip(hashes, places, strict=True) if place is None))
    if missing:
        said = _pull(missing, settings)
        places = [storage.cached(caches, md5) for md5 in hashes]
        lost = [md5 for md5, place in zip(hashes, places, strict=True) if place is None]
        if lost:
            raise ObjectError(_lost(lost, path, storage.remote(settings), said))
        _check(missing, caches)
    return [place for place in places if place is not None]


def _lost(lost: Sequence[str], path: str, remote: str | None, said: str) -> str:
    """Return the line for objects that are nowhere."""
    what = f"{path}: {lost[0]}" + (f" and {len(lost) - 1} more" if len(lost) > 1 else "")
    if remote is None:
        return (
            f"{what} is not in DVC's cache here, and there is no default remote; `trialtree remote URL` sets one up, "
            "and `dvc push` where the trial was made fills it"
        )
    if said:
        return f"{what} is not in DVC's cache here, and the remote {remote} cannot be read: {said}; mend that"
    return (
        f"{what} is neither in DVC's cache here nor in the remote {remote}; "
        "`dvc push` where the trial was made brings it there"
    )


def _pull(hashes: Sequence[str], settings: Mapping[str, Any]) -> str:
    """Bring objects from the default remote into the cache, as far as it has them; return what kept it from that."""
    if not settings.get("core", {}).get("remote"):
        return ""
    from dvc.repo import Repo

    # It lists at length what is missing; the one line says so.
    for name in ("dvc", "dvc_data", "dvc_objects"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    errors: list[BaseException] = []
    try:
        with Repo(str(storage.place())) as repo:
            source = repo.cloud.get_remote_odb()
            paths = [source.oid_to_path(md5) for md5 in hashes]
            repo.cache.local.add(paths, source.fs, list(hashes), on_error=lambda _, error: errors.append(error))
    except Exception as error:  # whatever the remote's library raises
        errors.append(error)
    said = next((error for error in errors if not isinstance(error, FileNotFoundError)), None)
    return _without_secrets(" ".join(str(said).split()), settings)[:_LINE] if said else ""


def _without_secrets(text: str, settings: Mapping[str, Any]) -> str:
    """Return a message without what DVC's configuration says of remotes beside where they are."""
    for remote in settings.get("remote", {}).values():
        for name, value in remote.items():
            if name not in _SHOWN and isinstance(value, str) and len(value) > 3:
                text = text.replace(value, "…")
    return git.without_credentials(text)


def _check(hashes: Iterable[str], caches: list[Path]) -> None:
    """See that what came from the remote is what its name says; what is not leaves the cache."""
    for md5 in hashes:
        place = storage.cached(caches, md5)
        if place is None:
            continue
        with place.open("rb") as file:
            actual = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if actual != md5.removesuffix(".dir"):
            place.unlink()
            raise ObjectError(f"the remote's {md5} has other content than its name says; `dvc push` where it was made")
