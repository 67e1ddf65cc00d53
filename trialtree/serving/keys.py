"""Keys that clients show, of which only hashes are kept: `trialtree endpoint key` makes them.

A file of keys has a line `NAME:SHA256` for each; empty lines and those that
start with # say nothing. Environment:

    TRIALTREE_KEYS     such lines, with line ends or commas between
    TRIALTREE_TOKEN    a key itself, named `token`
"""

import fcntl
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from stages.errors import UserError

Key = tuple[str, str]  # its name, and its SHA-256 in hexadecimal

_PREFIX = "tt_"  # by which scanners for leaked secrets know a key
_LINE = re.compile(r"([\w.-]+):([0-9a-f]{64})")
_NAME = re.compile(r"[\w.-]{1,64}")
_SHORTEST = 16  # characters of a key that is given whole
_LARGEST = 5_000_000  # bytes of all keys as JSON; a worker takes lines of twice as many


class KeysError(UserError):
    """Keys that cannot be read or written; the line never has what stands there."""


def hashed(token: str) -> str:
    """Return the SHA-256 of a key."""
    return hashlib.sha256(token.encode()).hexdigest()


def gathered(file: Path | None, env: Mapping[str, str] = os.environ) -> tuple[Key, ...]:
    """Return the keys of a file and of the environment.

    Raises:
        KeysError: one is not to be read.
    """
    found = list(_read(file)) if file else []
    found += _parsed("TRIALTREE_KEYS", re.split(r"[,\n]", env.get("TRIALTREE_KEYS", "")))
    if token := env.get("TRIALTREE_TOKEN"):
        if len(token) < _SHORTEST:
            raise KeysError(f"TRIALTREE_TOKEN: must have at least {_SHORTEST} characters, got {len(token)}")
        found.append(("token", hashed(token)))
    names = [name for name, _ in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise KeysError(f"the key {sorted(twice)[0]!r} is there twice; name each differently")
    if (size := len(json.dumps(found))) > _LARGEST:
        raise KeysError(f"{len(found)} keys are too many: {size / 1e6:.1f} MB of at most {_LARGEST / 1e6:.0f}")
    return tuple(found)


def digest(keys: Iterable[Key]) -> str:
    """Return what tells keys from others, whatever their order."""
    return hashlib.sha256(json.dumps(sorted(keys)).encode()).hexdigest()


def make(name: str, file: Path) -> str:
    """Return a new key, and add its hash to a file that nobody else can read.

    Raises:
        KeysError: the name is taken or odd, or the file cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise KeysError(f"a key's name has letters, digits, _, - and ., at most 64; got {name[:64]!r}")
    token = _PREFIX + secrets.token_urlsafe(32)
    with _changing(file):
        had = list(_read(file)) if file.exists() else []
        if name in {each for each, _ in had}:
            raise KeysError(f"{file} has a key {name!r} already; name this one differently, or remove that line")
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        text += "\n" if text and not text.endswith("\n") else ""
        _write(file, f"{text}{name}:{hashed(token)}\n")
    return token


@contextmanager
def _changing(file: Path) -> Iterator[None]:
    """Be the only one who changes a file of keys in the block; its lock is gone afterwards."""
    path = file.with_name(f".{file.name}.lock")
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = path.open("a")
        except OSError as error:
            raise KeysError(f"{file} cannot be written: {error.strerror}") from None
        with suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.fstat(lock.fileno()).st_ino == path.stat().st_ino:
                break
        lock.close()  # removed by the one before, after it was opened
    with lock:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _write(file: Path, text: str) -> None:
    from stages.files import replacing

    try:
        with replacing(file) as partial:
            partial.touch(mode=0o600)
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise KeysError(f"{file} cannot be written: {error.strerror}") from None


def _read(file: Path) -> Iterator[Key]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        hint = (
            f"; `trialtree endpoint key NAME --file {file}` makes one" if isinstance(error, FileNotFoundError) else ""
        )
        raise KeysError(f"{file} cannot be read: {why}{hint}") from None
    yield from _parsed(str(file), lines)


def _parsed(where: str, lines: Iterable[str]) -> Iterator[Key]:
    for number, line in enumerate(lines, start=1):
        if not (text := line.strip()) or text.startswith("#"):
            continue
        found = _LINE.fullmatch(text)
        if not found:
            raise KeysError(f"{where}: line {number} must be NAME:SHA256, as `trialtree endpoint key NAME` writes it")
        yield found[1], found[2]
