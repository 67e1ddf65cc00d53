"""params.yaml with other values, byte for byte as `dvc exp run -S` writes it.

DVC parses the file with a slow parser, puts all values anew and writes it:
several milliseconds. Of each set of keys its text is made so once, with marks
in the place of the new values, and then the values are put there. The first
texts are compared; where a value or a line does not allow it, it is done
DVC's way.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from stages import params
from trialtree.sweep.journal import SweepError

ESTIMATOR, HYPERPARAMETERS = "train.estimator", "train.hyperparameters"

_COMPARED = 2  # texts of a set of keys that are compared with DVC's
_MARK = "mark{}of{}trialtree"
_WORD = re.compile(r"[A-Za-z_][\w.-]{0,50}")  # a text that YAML never quotes, but for a few words


@dataclass
class _Template:
    """The text of a set of keys, cut at the values; None where it cannot be used."""

    parts: list[str] | None = None
    compared: int = 0


class ParamsFile:
    """A params.yaml, and those that come of it with other values."""

    def __init__(self, text: str) -> None:
        from dvc.utils.serialize import parse_yaml

        self.text = text
        self._content: dict[str, Any] = dict(parse_yaml(text, str(params.PATH)))
        self._templates: dict[tuple[str, ...], _Template] = {}

    def read(self) -> dict[str, Any]:
        """Return the content as it stands."""
        return deepcopy(self._content)

    def changed(self, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the text with values set by dotted key, and its content.

        Raises:
            SweepError: a key stands below one that is no mapping.
        """
        content = with_values(self._content, values)
        template = self._templates.setdefault(tuple(sorted(values)), _Template())
        if template.parts is not None and (quick := _filled(template.parts, values)) is not None:
            if template.compared >= _COMPARED:
                return quick, content
            template.compared += 1
            slow = self._slow(values)
            if slow != quick:
                template.parts = None
            return slow, content
        if template.compared == 0:
            template.compared = 1
            template.parts = self._marked(values)
        return self._slow(values), content

    def _slow(self, values: Mapping[str, Any]) -> str:
        """Return the text with values as DVC writes it."""
        from dvc.utils.collections import merge_dicts, remove_missing_keys, to_omegaconf
        from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

        original = parse_yaml_for_update(self.text, str(params.PATH))
        content = with_values(to_omegaconf(original), values)
        merge_dicts(original, content)
        remove_missing_keys(original, content)
        return str(dumps_yaml(original))

    def _marked(self, values: Mapping[str, Any]) -> list[str] | None:
        """Return the text with marks as values, cut at them; None where a mark is not the end of its line."""
        keys = sorted(values)
        marks = {key: _MARK.format(number, len(keys)) for number, key in enumerate(keys)}
        text = self._slow(marks)
        parts = []
        for key in sorted(keys, key=lambda key: text.find(f" {marks[key]}\n")):
            before, mark, text = text.partition(f" {marks[key]}\n")
            if not mark:
                return None
            parts += [f"{before} ", key]
            text = f"\n{text}"
        return [*parts, text]


def _filled(parts: Sequence[str], values: Mapping[str, Any]) -> str | None:
    """Return the text with values put between its parts; None where one is not that simple."""
    texts = {key: _scalar(type(value), value) for key, value in values.items()}
    if None in texts.values():
        return None
    return "".join(str(texts[part]) if place % 2 else part for place, part in enumerate(parts))


def _scalar(kind: type, value: Any) -> str | None:
    """Return a value as YAML writes it behind a key; None where that depends on more than the value."""
    if kind is int:
        return str(value)
    if kind is float:
        return repr(value) if math.isfinite(value) else None
    if kind is bool or (kind is str and _WORD.fullmatch(value)):
        return _word(value)
    return None


@lru_cache(4096)
def _word(value: str | bool) -> str:
    """Return a short text, or true or false, as YAML writes it behind a key."""
    from dvc.utils.serialize import dumps_yaml

    return str(dumps_yaml({"a": value})).strip()[3:]


def with_values(content: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a content with values set by dotted key, in the order of the file, new keys at the end.

    An estimator brings its own hyperparameters: those of the file go.

    Raises:
        SweepError: a key stands below one that is no mapping.
    """
    made = deepcopy(dict(content))
    if ESTIMATOR in values:
        _drop_hyperparameters(made, values)
    for key, value in values.items():
        *above, last = key.split(".")
        at: Any = made
        for step in above:
            if at.get(step) is None:
                at[step] = {}
            at = at[step]
            if not isinstance(at, dict):
                raise SweepError(f"{params.PATH}: sweep.space.{key}: {step} is no mapping there: {params.shown(at)}")
        at[last] = deepcopy(value)
    return made


def _drop_hyperparameters(content: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Take out the hyperparameters that are not set anew."""
    train = content.get("train")
    old = train.get("hyperparameters") if isinstance(train, dict) else None
    if isinstance(old, dict):
        new = {key.split(".")[2] for key in values if key.startswith(f"{HYPERPARAMETERS}.")}
        for name in [name for name in old if name not in new]:
            del old[name]


def overrides(content: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """Return what -S of `dvc exp run` takes for these values: KEY=VALUE, +KEY=VALUE where it is new, ~KEY to go."""
    there, wanted = _leaves(content), _leaves(with_values(content, values))
    gone = [f"~{key}" for key in there if key not in wanted and not any(k.startswith(f"{key}.") for k in wanted)]
    asked = {key: value for key, value in wanted.items() if key not in there or key in values or there[key] != value}
    return gone + [f"{'' if key in there else '+'}{key}={hydra(value)}" for key, value in asked.items()]


def _leaves(content: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return the values that are no mappings by dotted key; a mapping without keys is one."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            found |= _leaves(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = value
    return found


_BARE = re.compile(r"[A-Za-z_][\w.-]*")
_WORDS = frozenset({"true", "false", "null", "nan", "inf"})


def hydra(value: Any) -> str:
    """Return a value in the grammar of -S."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, str):
        if _BARE.fullmatch(value) and value.lower() not in _WORDS:
            return value
        escaped = re.sub(r"(\\*)'", lambda found: found[1] * 2 + "\\'", value)
        escaped = re.sub(r"(\\+)$", lambda found: found[1] * 2, escaped)
        return f"'{escaped}'"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{hydra(key)}:{hydra(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(map(hydra, value)) + "]"
    return json.dumps(value)
