"""What a dvc.lock says, read quickly: of one trial, or of a thousand.

libyaml finds the nodes, the YAML 1.2 parser that DVC uses says what each plain
text means: the values are those that DVC itself reads, ten times sooner.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from stages.errors import UserError
from trialtree.tracking.pieces import Reader

LOCK = Path("dvc.lock")
STAGES = ("fetch", "split", "train", "evaluate")  # what a trial's content is
RAW, SPLIT, MODEL = "data/raw.parquet", "data/split", "models/model"

# Plain texts that are no number, truth value or date, whatever comes behind.
_TEXT = re.compile(r"(?!(?:true|false|null)$)[A-Za-z][\w./ =-]*|[0-9a-f]*[ac-df][0-9a-f]*(?:\.dir)?", re.IGNORECASE)


class TrialError(UserError):
    """A workspace or commit that holds no whole trial."""


class _UnusualError(Exception):
    """YAML that DVC does not write."""


def load(content: bytes) -> Any:
    """Return the value of a YAML 1.2 document, as DVC reads it.

    Raises:
        TrialError: it is not YAML.
    """
    from ruamel.yaml.error import YAMLError

    try:
        return _quickly(content)
    except _UnusualError:
        try:
            return _parser().load(content)
        except (YAMLError, ValueError) as error:
            raise TrialError(f"is not YAML: {str(error).splitlines()[0]}") from None


@lru_cache(maxsize=4)
def shared(content: bytes) -> Any:
    """Return what `load` does, to several who ask for the same one after another, and do not change it."""
    return load(content)


def _quickly(content: bytes) -> Any:
    """Return the value of a document without tags, anchors and merges.

    Raises:
        _UnusualError: it has one, or libyaml is not here or does not take it.
    """
    import yaml
    from ruamel.yaml.error import YAMLError

    try:
        events = iter(list(yaml.parse(content, Loader=yaml.CSafeLoader))[2:])  # of the stream and the document
        return _value(next(events), events)
    except (AttributeError, StopIteration, TypeError, ValueError, yaml.YAMLError, YAMLError):
        raise _UnusualError from None


def _value(event: Any, events: Iterator[Any]) -> Any:
    """Return the value that begins with an event."""
    kind = type(event).__name__
    if kind == "ScalarEvent" and not event.anchor and not event.tag:
        return _plain(event.value) if event.implicit[0] else event.value
    if kind == "SequenceStartEvent" and not event.anchor and not event.tag:
        items = []
        while type(inner := next(events)).__name__ != "SequenceEndEvent":
            items.append(_value(inner, events))  # the events are shared with what is inside
        return items
    if kind == "MappingStartEvent" and not event.anchor and not event.tag:
        entries = {}
        while type(inner := next(events)).__name__ != "MappingEndEvent":
            key = _value(inner, events)
            if key in entries:
                raise _UnusualError
            entries[key] = _value(next(events), events)
        return entries
    raise _UnusualError


@lru_cache(maxsize=100_000)
def _plain(text: str) -> Any:
    """Return what a plain text means."""
    if _TEXT.fullmatch(text):
        return text
    value = _parser().load(text)
    if isinstance(value, list | dict):
        raise _UnusualError
    return value


@cache
def _parser() -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True)


_reader = Reader(_quickly)


@lru_cache(maxsize=4)
def _in_pieces(content: bytes) -> dict[str, Any] | None:
    """Return the stages of a dvc.lock as DVC writes it; None of another."""
    try:
        return _reader.stages(content)
    except (_UnusualError, TypeError):
        return None


def entries(content: bytes) -> dict[str, Any]:
    """Return what a dvc.lock says of each stage from fetch to evaluate that it has.

    Raises:
        TrialError: it is damaged.
    """
    try:
        stages = _in_pieces(content) or (load(content) or {}).get("stages") or {}
        return {name: dict(stages[name]) for name in STAGES if name in stages}
    except (TrialError, AttributeError, TypeError, ValueError):
        raise TrialError(f"{LOCK} is damaged; `dvc repro` makes it anew") from None


def read_lock(content: bytes) -> dict[str, Any]:
    """Return what a dvc.lock says of each stage from fetch to evaluate.

    Raises:
        TrialError: it is damaged, or lacks one.
    """
    found = entries(content)
    missing = [name for name in STAGES if name not in found]
    if missing:
        raise TrialError(f"{LOCK} has no {', '.join(missing)}: the pipeline has not run; `dvc repro` runs it")
    return found


def without_register(content: bytes) -> bytes:
    """Return a dvc.lock without its entry of register, which is written only after that has published the trial."""
    return re.sub(rb"(?m)^  register:\n(?:    .*\n)*", b"", content)


def content_key(lock: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the lock entries of fetch to evaluate, as canonical JSON."""
    text = json.dumps(
        {name: lock[name] for name in STAGES},
        sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str,
    )  # fmt: skip
    return hashlib.sha256(text.encode()).hexdigest()


def out(lock: Mapping[str, Any], path: str) -> str | None:
    """Return DVC's hash of an output."""
    outs = (out for stage in lock.values() for out in stage.get("outs", ()))
    return next((out.get("md5") for out in outs if out["path"] == path), None)


def data(lock: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return DVC's hashes of the raw table and of the split: the version of the data."""
    return out(lock, RAW), out(lock, SPLIT)


def params(lock: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params that the stages ran with, by section."""
    found: dict[str, Any] = {}
    for stage in lock.values():
        for file in stage.get("params", {}).values():
            found |= file
    return found


def flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings by dotted name; an empty mapping is a leaf."""
    for key, inner in value.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(inner, Mapping) and inner:
            yield from flat(inner, name)
        else:
            yield name, inner
