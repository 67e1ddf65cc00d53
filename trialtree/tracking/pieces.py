"""A dvc.lock as DVC writes it, read piece by piece: of the pieces of a thousand trials most are equal, and read once.

A piece is a stage's command, params, or one dependency or output. Lines that
begin further in belong to what stands before them, whatever they hold.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

_HEAD = b"schema: '2.0'\nstages:\n"
_PIECES = re.compile(
    rb"  (?P<stage>[A-Za-z_][\w@.-]*):\n"
    rb"|    (?:(?P<item>- )|(?P<key>[a-z_]+):)[^\n]*\n(?:     [^\n]*\n)*"
)


class Reader:
    """Reads dvc.lock files; what it returns is shared between them and not to be changed."""

    def __init__(self, load: Callable[[bytes], Any]) -> None:
        self._load = lru_cache(maxsize=20_000)(load)

    def stages(self, content: bytes) -> dict[str, dict[str, Any]] | None:
        """Return what a dvc.lock says of each stage; None where DVC would write it otherwise, or `load` refuses it."""
        found: dict[str, dict[str, Any]] = {}
        stage: dict[str, Any] = {}
        at, key = len(_HEAD), ""
        if not content.startswith(_HEAD):
            return None
        for piece in _PIECES.finditer(content, at):
            if piece.start() != at:
                return None
            at = piece.end()
            if named := piece["stage"]:
                if (name := named.decode()) in found:
                    return None
                stage = found[name] = {}
            elif not found:
                return None
            elif piece["item"]:
                if stage.get(key) is None:
                    stage[key] = []
                stage[key] += self._load(piece[0])
            else:
                key = piece["key"].decode()
                if key in stage:
                    return None
                stage |= self._load(piece[0])
        return found if at == len(content) and all(found.values()) else None
