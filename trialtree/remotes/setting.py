"""Name the DVC remote of a repository, once it has proved to work.

    trialtree remote s3://bucket/prefix

Reads   .dvc/config, .dvc/config.local
Writes  .dvc/config; credentials, when asked to, to .dvc/config.local, which Git ignores
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stages.errors import UserError
from trialtree.remotes import proving
from trialtree.tracking import git

CONFIG = Path(".dvc/config")
LOCAL = Path(".dvc/config.local")
# What `trialtree remote` sets; other options of the remote stay as they are.
_OWN = ("url", "verify", "endpointurl", "profile", "region")
# Options of config.local by the variable of the environment that they are taken from.
_SECRETS = {
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
}


class RemoteError(UserError):
    """A remote that cannot be set."""


@dataclass(frozen=True)
class Wanted:
    """A remote as it is asked for."""

    url: str
    name: str = "store"
    endpoint: str | None = None
    profile: str | None = None
    region: str | None = None
    save_credentials: bool = False


def located(url: str, folder: Path) -> str:
    """Return an address as seen from the working folder: a relative path was given from `folder`."""
    if "://" in url or url.startswith("~") or Path(url).is_absolute():
        return url
    return os.path.relpath(folder / url)


def set_up(wanted: Wanted) -> list[str]:
    """Prove the remote, make it the default one, and return what to print.

    Done again with the same values it proves the remote and changes nothing; with others it sets these.

    Raises:
        RemoteError: the address holds credentials, or there are none to save.
        RemoteFaultError: the remote does not work; the configuration stays as it was.
    """
    from dvc.config import Config, ConfigError
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    _refuse_credentials(wanted)
    name = wanted.name.lower()  # as DVC has it
    secrets = _secrets() if wanted.save_credentials else {}
    try:
        config = Config(str(Path(".dvc").absolute()))
        shared, local = config.load_one("repo"), config.load_one("local")
        section = _section(wanted, shared["remote"].get(name, {}))
        kept = _kept(local["remote"].get(name, {}), secrets, wanted.url)
        with Repo() as repo:
            said = proving.prove(repo, name, {**section, **kept})
        changed = _store(config, name, section, kept)
    except (ConfigError, DvcException) as error:
        raise RemoteError(f"{CONFIG}: {' '.join(str(error).split())}") from None
    return [*said, *_next(name, wanted.url, changed)]


def _refuse_credentials(wanted: Wanted) -> None:
    """Stop where an address holds a password or, for S3, a user; nothing of it is said."""
    for key, address in (("the URL", wanted.url), ("--endpoint", wanted.endpoint or "")):
        parts = urlsplit(address)
        user, at, _ = parts.netloc.rpartition("@")
        if at and (":" in user or parts.scheme in ("s3", "http", "https")):
            raise RemoteError(
                f"{key} holds credentials, and {CONFIG} goes to Git: leave them out, and set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY (or --profile) instead"
            )
    if not re.fullmatch(r"[\w.-]+", wanted.name):
        raise RemoteError(f"--name must be letters, digits, _ . and -, got {wanted.name!r}")
    if wanted.endpoint and not re.match(r"https?://.", wanted.endpoint):
        raise RemoteError(f"--endpoint must be an address such as http://127.0.0.1:9000, got {wanted.endpoint!r}")


def _secrets() -> dict[str, str]:
    """Return the credentials of the environment, by DVC's options."""
    found = {option: os.environ[name] for option, name in _SECRETS.items() if os.environ.get(name)}
    if not {"access_key_id", "secret_access_key"} <= set(found):
        raise RemoteError(
            "--save-credentials takes AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, which are not both set"
        )
    if git.run("check-ignore", "--quiet", str(LOCAL)) is None:
        raise RemoteError(
            f"{LOCAL} is not ignored by Git, so no credentials go there: add /config.local to .dvc/.gitignore"
        )
    return found


def _section(wanted: Wanted, before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the remote's section of .dvc/config."""
    given = {"endpointurl": wanted.endpoint, "profile": wanted.profile, "region": wanted.region}
    # An object that was changed under its old name is refused on pull.
    ours = {"url": wanted.url, "verify": "true", **{key: value for key, value in given.items() if value}}
    return {**{key: value for key, value in before.items() if key not in _OWN}, **ours}


def _kept(before: Mapping[str, Any], secrets: Mapping[str, str], url: str) -> dict[str, Any]:
    """Return the remote's section of .dvc/config.local; new credentials replace all old ones."""
    if not secrets and url.startswith("s3://"):
        return dict(before)
    return {**{key: value for key, value in before.items() if key not in _SECRETS}, **secrets}


def _store(config: Any, name: str, section: Mapping[str, Any], kept: Mapping[str, Any]) -> bool:
    """Write what differs, and say whether .dvc/config did."""
    if kept != config.load_one("local")["remote"].get(name, {}):
        os.close(os.open(LOCAL, os.O_CREAT, 0o600))
        LOCAL.chmod(0o600)
        with config.edit("local", validate=False) as content:
            content["remote"][name] = dict(kept)
    shared = config.load_one("repo")
    before = shared["remote"].get(name, {})
    if _stored(before, config) == _stored(section, config) and shared["core"].get("remote") == name:
        return False
    with config.edit("repo") as content:
        content["remote"][name] = dict(section)
        content["core"]["remote"] = name
    return True


def _stored(section: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """Return a section as it stands in the file: there a relative path counts from .dvc/."""
    return {key: config._to_relpath(config.dvc_dir, value) if key == "url" else value for key, value in section.items()}


def _next(name: str, url: str, changed: bool) -> list[str]:
    if not changed:
        return [f"remote {name} is {url}, the default; nothing changed in {CONFIG}"]
    return [
        f"remote {name} is {url}, the default, in {CONFIG}",
        f"next: `git commit -m 'Name the remote' {CONFIG}`, then `dvc push`",
    ]
