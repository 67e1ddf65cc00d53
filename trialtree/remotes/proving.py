"""Prove a DVC remote by writing, reading, listing and deleting a small object, as `dvc push` and `dvc pull` would."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

from trialtree.remotes import faults

# Seconds. DVC's own patience is a minute for each of five times five tries.
_PATIENCE = {"connect_timeout": 10, "read_timeout": 20}
_TRIES = 2


def prove(repo: Any, name: str, section: Mapping[str, Any]) -> list[str]:
    """Write, read, list and delete an object in the remote with these options; return what to say.

    Args:
        repo: a `dvc.repo.Repo`; its configuration is changed in memory only.
        section: the remote's options.

    Raises:
        RemoteFaultError: a step failed: one line that names the remote, the step and what to do.
    """
    where = faults.Where.of(section)
    shown = where.url
    with _told(where, "reached"):
        remote = impatient(repo, name, section)
        fs, path = remote.fs, remote.fs.join(remote.path, f".trialtree-proof-{uuid4().hex}")
    content = path.encode()
    with _told(where, "written to"):
        if not faults.is_object_store(fs):
            fs.makedirs(remote.path, exist_ok=True)
        fs.pipe_file(path, content)
    try:
        with _told(where, "read"):
            if fs.cat_file(path) != content:
                raise faults.RemoteFaultError(f"{shown} gives back other bytes than were written; it cannot keep data")
        with _told(where, "listed"):
            fs.ls(remote.path, detail=False)
    except BaseException:
        with suppress(Exception):
            fs.rm_file(path)
        raise
    return [f"{shown}: written, read and listed", *_cleared(fs, path, shown)]


def impatient(repo: Any, name: str | None = None, section: Mapping[str, Any] | None = None) -> Any:
    """Return DVC's remote, by default the default one, that gives up soon."""
    name = name or repo.config["core"]["remote"]
    section = section or repo.config["remote"][name]
    s3 = str(section["url"]).startswith("s3://")
    repo.config["remote"][name] = {**(_PATIENCE if s3 else {}), **section}
    os.environ.setdefault("AWS_MAX_ATTEMPTS", str(_TRIES))
    remote = repo.cloud.get_remote(name)
    if s3:
        remote.fs.fs.retries = _TRIES  # s3fs's own, around botocore's
    return remote


def proved_again(repo: Any) -> str | None:
    """Return the line that says why the default remote does not work, or None where it does or there is none."""
    name = repo.config["core"].get("remote")
    section = repo.config["remote"].get(name)
    if section is None:
        return None
    try:
        prove(repo, name, section)
    except faults.RemoteFaultError as fault:
        return str(fault)
    return None


def _cleared(fs: Any, path: str, shown: str) -> list[str]:
    """Delete the object; a remote that only grows is a good one too."""
    try:
        fs.rm_file(path)
    except Exception:
        name = path.rsplit("/", 1)[-1]
        return [f"{shown}: nothing can be deleted there; push and pull need not, but {name} stays"]
    return []


@contextmanager
def _told(where: faults.Where, step: str) -> Iterator[None]:
    """Turn what a step raises into one line."""
    try:
        yield
    except faults.RemoteFaultError:
        raise
    except Exception as error:
        raise faults.RemoteFaultError(faults.line(error, where, step)) from None
