"""A skops file in one canonical form: the same bytes for the same object, in every process.

skops names members and objects by their memory addresses and dates members by
the clock. Here both are numbered in the order in which the schema first uses
them, the dates are fixed, and what is never changed in place (numbers, texts,
types) has no number at all. What stands in two places is written once.
Nothing is compressed, because another zlib compresses otherwise. skops itself
reads the result.
"""

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_SCHEMA = "schema.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip file knows
_SEEN = "CachedNode"  # skops's word for an object that came before
_PLAIN = ("JsonNode", "TypeNode", "FunctionNode")
_MOVED = frozenset({"key_types", "__reduce__"})  # keys that skops does not read in their order
_SIMPLE = b"{'descr': '"  # how the header of an array without fields begins

Node = dict[str, Any]


def rewritten(data: bytes, ids: Iterable[str] = ()) -> bytes:
    """Return a skops file's bytes in canonical form, with zeros for `ids`, that a program drew at random."""
    with zipfile.ZipFile(io.BytesIO(data)) as theirs:
        text = theirs.read(_SCHEMA).decode()
        for each in ids:
            text = text.replace(each, "0" * len(each))
        return packed(json.loads(text), theirs.read)[0]


def packed(schema: Any, member: Callable[[str], bytes]) -> tuple[bytes, list[Node]]:
    """Return the bytes of a file in canonical form, and its nodes; `member` gives what a member of the schema holds."""
    out = io.BytesIO()
    found, members = _renumber(schema)
    with zipfile.ZipFile(out, "w") as ours:
        _write(ours, _SCHEMA, json.dumps(schema, separators=(",", ":")).encode())
        for old, new in members.items():
            content = member(old)
            _write(ours, new, _without_padding(content) if new.endswith(".npy") else content)
    return out.getvalue(), found


def nodes(archive: zipfile.ZipFile) -> list[Node]:
    """Return the nodes of a file's schema after checking that the file has the form that `rewritten` gives.

    Raises:
        ValueError: it has not.
    """
    members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("it has compressed members")
    schema = json.loads(archive.read(_SCHEMA))
    found = list(_nodes(schema))
    used = [_SCHEMA, *dict.fromkeys(node["file"] for node in found if "file" in node)]
    numbered = [_SCHEMA, *(f"{i}.{name.rpartition('.')[2]}" for i, name in enumerate(used[1:], start=1))]
    if [member.filename for member in members] != used or used != numbered:
        raise ValueError("its members are not those that its schema names")
    numbers = [node["__id__"] for node in found if "__id__" in node and node["__loader__"] != _SEEN]
    if len(numbers) != len(set(numbers)):
        raise ValueError("two of its objects have one number")
    return found


def _nodes(root: Any) -> Iterator[Node]:
    """Yield the nodes of a schema in the order in which skops reads them, each before those inside it."""
    waiting = [root]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if isinstance(item.get("__loader__"), str):
                yield item
            inner: Iterable[Any] = item.values()
            if not _MOVED.isdisjoint(item):
                inner = [item[key] for key in sorted(item, key=_turn)]
        else:
            inner = item
        waiting += [each for each in inner if isinstance(each, dict | list)][::-1]


def _turn(key: str) -> int:
    """Return where skops reads a key of a node: types of keys before the values, a constructor's arguments last."""
    return {"key_types": 0, "__reduce__": 2}.get(key, 1)


def _renumber(schema: Any) -> tuple[list[Node], dict[str, str]]:
    """Give the objects of a schema, in place, the numbers of their first use.

    Return its nodes, without those under one that came before, and the members' new names.
    """
    found: list[Node] = []
    numbers: dict[int, int] = {}
    members: dict[str, str] = {}
    for node in _nodes(schema):
        found.append(node)
        if node["__loader__"] in _PLAIN:
            node.pop("__id__", None)
        elif node.get("__id__") in numbers:
            kept = {"__class__": node["__class__"], "__module__": node["__module__"]}
            number = numbers[node["__id__"]]
            node.clear()
            node.update(kept, __loader__=_SEEN, __id__=number)
        elif "__id__" in node:
            node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
        if "file" in node:
            suffix = node["file"].rpartition(".")[2]
            node["file"] = members.setdefault(node["file"], f"{len(members) + 1}.{suffix}")
        if node["__loader__"] == "SetNode":
            # A set's order differs between processes. The nodes inside come after this one.
            node["content"].sort(key=_content)
    return found, members


def _content(node: Node) -> str:
    """Return what a set's member holds, without what differs between processes."""
    return re.sub(r'"(__id__|file)": ("[^"]*"|\d+)', "", json.dumps(node))


def _without_padding(content: bytes) -> bytes:
    """Return a .npy member with zeros in the gaps between fields, where memory's garbage stands."""
    if content.startswith(_SIMPLE, 10):  # behind magic, version and length
        return content
    import numpy as np

    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype.names is None:
        return content
    clean = np.zeros(array.shape, array.dtype)
    for name in array.dtype.names:
        clean[name] = array[name]
    out = io.BytesIO()
    np.save(out, clean, allow_pickle=False)
    return out.getvalue()


def _write(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Write one member with a fixed date and fixed attributes."""
    member = zipfile.ZipInfo(name, _EPOCH)
    member.create_system = 3  # Unix, wherever it is written
    member.external_attr = 0o644 << 16
    archive.writestr(member, content)
