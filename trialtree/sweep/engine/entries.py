"""Entries of dvc.lock as DVC makes them, and the text of the file.

DVC writes the file through a slow parser, 100 ms for one of five stages. What
changes from trial to trial are a few hashes and params, so the text of a
list's item is made here; that of params is ruamel's, made once for each value.
A file that is not what is made here of its own content is left to DVC.
"""

import json
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from typing import Any

from trialtree.sweep.engine.hashes import Hash
from trialtree.sweep.engine.pipeline import Stage

Entry = dict[str, Any]

_HEAD = "schema: '2.0'\nstages:\n"
_PLAIN = re.compile(r"(?!(?:no|yes|on|off|true|false|null|y|n)$)[A-Za-z_][\w./-]*", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]{32}(\.dir)?")
_NUMBER = re.compile(r"\d+(e\d+)?")  # which YAML would read as a number


def entry(stage: Stage, hashes: Mapping[str, Hash], params: Callable[[str, str], Any]) -> Entry:
    """Return a stage's entry without its outputs: `hashes` by path, `params` the value of a file's dotted key."""
    made: Entry = {"cmd": stage.cmd}
    if stage.deps:
        made["deps"] = [_item(path, hashes[path]) for path in stage.deps]
    if stage.params:
        files = sorted(stage.params, key=lambda file: (file != "params.yaml", file))
        made["params"] = {file: {key: params(file, key) for key in stage.params[file]} for file in files}
    return made


def items(stage: Stage, hashes: Mapping[str, Hash]) -> list[dict[str, Any]]:
    """Return the outputs of a stage's entry."""
    return [_item(out.path, hashes[out.path]) for out in stage.outs]


def _item(path: str, of: Hash) -> dict[str, Any]:
    item: dict[str, Any] = {"path": path, "hash": "md5", "md5": of.md5, "size": of.size}
    return item if of.nfiles is None else {**item, "nfiles": of.nfiles}


def hashes(items: Sequence[Mapping[str, Any]]) -> dict[str, Hash]:
    """Return the hashes of an entry's deps or outs, by path."""
    return {
        item["path"]: Hash(item["md5"], item.get("size", 0), item.get("nfiles"))
        for item in items if item.get("md5")
    }  # fmt: skip


class Lock:
    """The text of a dvc.lock, and of those that come of it when stages' entries change."""

    def __init__(self, text: str, content: Mapping[str, Any]) -> None:
        """Take the text, and the file's content as a parser has it."""
        self.text = text
        self._content = content
        self._blocks: dict[str, str] = {}

    @cached_property
    def _plain(self) -> bool:
        """Whether the file is to the byte what is made here of its content: then so is what comes of it."""
        stages = self._content.get("stages", {})
        if set(self._content) - {"schema", "stages"} or (self.text and not stages):
            return False
        with suppress(KeyError, TypeError, AttributeError, ValueError):
            self._blocks = {name: _block(name, made) for name, made in stages.items()}
            return not self.text or self.text == f"{_HEAD}{''.join(self._blocks.values())}"
        return False

    def changed(self, entries: Mapping[str, Entry], gone: Collection[str] = ()) -> str:
        """Return the text with these entries in the place of their stages', and without those that are gone."""
        if not entries and not gone:
            return self.text
        if not self._plain:
            return self._by_dvc(entries, gone)
        blocks = self._blocks | {name: _block(name, made) for name, made in entries.items()}
        left = "".join(block for name, block in blocks.items() if name not in gone)
        return f"{_HEAD}{left}" if left else f"{_HEAD.rstrip()} {{}}\n"

    def _by_dvc(self, entries: Mapping[str, Entry], gone: Collection[str]) -> str:
        """Return the text as DVC writes it."""
        from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

        content = parse_yaml_for_update(self.text, "dvc.lock") if self.text else {}
        if not content:
            content = {"schema": "2.0"}
        content["stages"] = content.get("stages", {})
        content["stages"].update(entries)
        for name in gone:
            content["stages"].pop(name, None)
        return str(dumps_yaml(content))


def _block(name: str, made: Entry) -> str:
    """Return the lines of a stage in dvc.lock."""
    return f"  {name}:\n{text(made, 4)}"


def text(made: Entry, indent: int = 0) -> str:
    """Return an entry as DVC writes it, with so many blanks before each line."""
    before = " " * indent
    lines = []
    for key, value in made.items():
        if key in ("deps", "outs"):
            lines.append(f"{before}{key}:\n")
            lines += [_item_text(tuple(item.items()), before) for item in value]
        else:
            lines.append(_simple({key: value}, before) or _ruamel(json.dumps({key: value}), indent))
    return "".join(lines)


def _simple(mapping: Mapping[str, Any], before: str) -> str | None:
    """Return a mapping as YAML where nothing in it is more than a number or a short word; else None."""
    lines = []
    for key, value in mapping.items():
        if not isinstance(key, str) or not _is_plain(key):
            return None
        if isinstance(value, dict) and value:
            inner = _simple(value, f"{before}  ")
            if inner is None:
                return None
            lines.append(f"{before}{key}:\n{inner}")
            continue
        items = value if isinstance(value, list) and value else None
        texts = [_scalar(item) for item in items or [value]]
        if None in texts:
            return None
        lines.append(f"{before}{key}: {texts[0]}\n" if items is None else f"{before}{key}:\n")
        lines += [f"{before}- {item}\n" for item in texts] if items else []
    return "".join(lines)


def _scalar(value: Any) -> str | None:
    """Return a number, truth or short word as YAML; None for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else None
    return value if isinstance(value, str) and _is_plain(value) else None


@lru_cache(4096)
def _item_text(item: tuple[tuple[str, Any], ...], before: str) -> str:
    """Return the lines of a dependency or output."""
    if not all(isinstance(value, int) or _is_plain(value) for _, value in item):
        return _ruamel(json.dumps({"a": [dict(item)]}), len(before)).partition("\n")[2]
    lines = [f"{before}  {key}: {value}\n" for key, value in item]
    return f"{before}- {lines[0][len(before) + 2 :]}{''.join(lines[1:])}"


def _is_plain(value: str) -> bool:
    """Say whether YAML has a text as it is: hashes that are no numbers, short paths."""
    if _HEX.fullmatch(value):
        return not _NUMBER.fullmatch(value)
    return len(value) < 60 and _PLAIN.fullmatch(value) is not None


@lru_cache(4096)
def _ruamel(content: str, indent: int) -> str:
    """Return a part of a stage's entry, given as JSON, as DVC writes it at its depth."""
    from dvc.utils.serialize import dumps_yaml

    part = json.loads(content)
    if not indent:
        return str(dumps_yaml(part))
    written: str = dumps_yaml({"a": {"b": part}})
    return written.partition("b:\n")[2]
