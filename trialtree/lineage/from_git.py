"""The trials in the history of the repository: every commit of every ref, DVC experiments included."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from trialtree.lineage.chain import Commit
from trialtree.tracking import git, history, locks, trials

_FIELDS = ("fetch", "split")  # the stages whose files are data


@dataclass
class Found:
    """A trial in Git: its dvc.lock, and the commits that brought it in."""

    key: str
    lock: Mapping[str, Any]
    commits: list[str] = field(default_factory=list)


def scan(objects: git.Objects, texts: Iterable[str], holds: Callable[[Mapping[str, Any]], bool]) -> list[Found]:
    """Return the trials of all refs whose dvc.lock has these texts in it and for which `holds`.

    A commit brings a trial in where none before it has that.
    """
    wanted = [text.encode() for text in texts]
    known: dict[bytes, Found | None] = {}

    def read(commit: str) -> Found | None:
        content = history.lock_at(objects, commit)
        if content is None or not all(text in content for text in wanted):
            return None
        if content not in known:
            lock = locks.entries(content)
            whole = len(lock) == len(locks.STAGES) and holds(lock)
            known[content] = Found(locks.content_key(lock), lock) if whole else None
        return known[content]

    changed = history.changes("--all", "--full-history")
    held = {commit: read(commit) for commit in changed}
    found: dict[str, Found] = {}
    for commit, one in held.items():
        before = (held.get(parent) for parent in changed[commit])
        if one is not None and one.key not in {other.key for other in before if other}:
            found.setdefault(one.key, one).commits.append(commit)
    return list(found.values())


def of_data(objects: git.Objects, md5: str) -> list[Found]:
    """Return the trials with these data: a source's, the raw table's or the split's hash."""

    def holds(lock: Mapping[str, Any]) -> bool:
        return md5 in hashes(lock).values()

    return scan(objects, [md5], holds)


def of_trial(objects: git.Objects, key: str, texts: Iterable[str]) -> list[Found]:
    """Return the trial of a key; `texts` are hashes that are known to be in its dvc.lock."""
    return scan(objects, texts, lambda lock: locks.content_key(lock) == key)


def hashes(lock: Mapping[str, Any]) -> dict[str, str]:
    """Return DVC's hashes of the data by path: sources, raw table, split."""
    entries = [
        entry for name in _FIELDS for kind in ("deps", "outs") for entry in lock.get(name, {}).get(kind, ())
    ]  # fmt: skip
    return {entry["path"]: entry["md5"] for entry in entries if entry["path"].startswith("data/") and "md5" in entry}


def sources(lock: Mapping[str, Any]) -> list[str]:
    """Return what fetch read: what params.yaml named, and the hashes of what DVC holds of it."""
    p = locks.params({"fetch": lock["fetch"]}).get("fetch", {})
    asked = p.get("source", p.get("sql", "unknown"))
    names = asked if isinstance(asked, list) else [asked]
    held = hashes({"fetch": {"deps": lock["fetch"].get("deps", ())}})
    shown = [text if isinstance(text, str) else json.dumps(text, ensure_ascii=False) for text in names]
    return [git.without_credentials(f"{name} {held[name]}" if name in held else name) for name in shown]


def metrics(objects: git.Objects, commit: str) -> dict[str, float]:
    """Return the metrics by dotted name that a commit has."""
    content = objects.read(f"{commit}:./{trials.METRICS}")
    try:
        found = dict(locks.flat(json.loads(content or b"{}")))
    except (ValueError, AttributeError):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def commit(objects: git.Objects, sha: str) -> Commit:
    """Return what is to be said of a commit."""
    content = objects.read(sha)
    if content is None:
        return Commit(sha, here=False)
    head, _, message = content.decode(errors="replace").partition("\n\n")
    fields = dict(line.split(" ", 1) for line in head.splitlines() if " " in line)
    name = fields.get("author", "").partition(" <")[0]
    *_, seconds, zone = fields["committer"].split()
    offset = timedelta(hours=int(zone[:3]), minutes=int(zone[0] + zone[3:]))
    try:
        moment = datetime.fromtimestamp(int(seconds), timezone(offset))
    except ValueError:  # an impossible time zone
        moment = datetime.fromtimestamp(int(seconds), UTC)
    subject = message.strip().partition("\n")[0]
    return Commit(sha, True, subject, name, moment.isoformat(), int(seconds))
