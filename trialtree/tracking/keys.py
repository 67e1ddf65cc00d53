"""Which trial and which data each dvc.lock of the history holds, remembered: one that Git keeps never changes."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stages.errors import UserError
from trialtree.tracking import git, locks
from trialtree.tracking.locks import LOCK

_PLACE = "trialtree/keys-1"  # in Git's own folder, which working trees share; counts up with the form of its lines
_NONE = "-"


@dataclass(frozen=True)
class Key:
    """What a dvc.lock holds."""

    trial: str | None  # the content key; None where it has no whole trial
    raw: str | None  # DVC's hashes of the data
    split: str | None


_EMPTY = Key(None, None, None)


def of_commits(commits: Iterable[str]) -> dict[str, Key]:
    """Return what the dvc.lock of each commit holds."""
    wanted = list(commits)
    blobs = git.names([f"{commit}:./{LOCK}" for commit in wanted])
    known = _remembered()
    new = [blob for blob in dict.fromkeys(blobs) if blob is not None and blob not in known]
    if new:
        with git.objects() as objects:
            made = {blob: _read(objects.read(blob) or b"") for blob in new}
        _remember(made)
        known |= made
    return {commit: known[blob] if blob else _EMPTY for commit, blob in zip(wanted, blobs, strict=True)}


def _read(content: bytes) -> Key:
    """Return what a dvc.lock holds; nothing of a damaged one."""
    try:
        found = locks.entries(content)
        whole = len(found) == len(locks.STAGES)
        return Key(locks.content_key(found) if whole else None, *locks.data(found))
    except (UserError, TypeError, KeyError, AttributeError):  # YAML, but not as DVC writes it
        return _EMPTY


def _place() -> Path:
    return Path(git.run("rev-parse", "--path-format=absolute", "--git-common-dir") or ".git", _PLACE)


def _remembered() -> dict[str, Key]:
    """Return what earlier calls found, by the dvc.lock's hash in Git."""
    try:
        lines = _place().read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return {}
    found: dict[str, Key] = {}
    for line in lines:
        fields = line.split(" ")
        if len(fields) == 5 and fields[4] == ".":  # the end of a line that was written whole
            found[fields[0]] = Key(*(None if field == _NONE else field for field in fields[1:4]))
    return found


def _remember(found: dict[str, Key]) -> None:
    """Keep what was found for the next call; where that cannot be, it is found again."""
    lines = (" ".join([blob, *(of or _NONE for of in (k.trial, k.raw, k.split)), ".\n"]) for blob, k in found.items())
    try:
        _place().parent.mkdir(parents=True, exist_ok=True)
        with _place().open("a", encoding="ascii") as file:
            file.write("".join(lines))
    except (OSError, ValueError):
        return
