"""The metrics of a trial, from the files that hold them."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from stages.errors import UserError
from trialtree.tracking import locks

_KINDS = (".json", ".yaml", ".yml")


def parsed(path: str, content: bytes) -> dict[str, Any]:
    """Return the content of a metrics file; nothing of one that is no JSON or YAML by its name, or no mapping.

    Raises:
        UserError: it is damaged.
    """
    from dvc.utils.serialize import YAMLFileCorruptedError, parse_yaml

    if not path.endswith(_KINDS):
        return {}
    try:
        found = json.loads(content) if path.endswith(".json") else parse_yaml(content.decode(), path)
    except (ValueError, YAMLFileCorruptedError) as error:
        raise UserError(f"{path} is damaged: {' '.join(str(error).split())}") from None
    return found if isinstance(found, dict) else {}


def flat(files: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return the numbers of metrics files by dotted name."""
    return {
        name: value
        for content in files for name, value in locks.flat(content)
        if isinstance(value, int | float) and not isinstance(value, bool)
    }  # fmt: skip


def size(lock: Mapping[str, Any], path: str) -> int | None:
    """Return the bytes of an output, as dvc.lock has them."""
    outs = (out for stage in lock.values() for out in stage.get("outs", ()))
    return next((out.get("size") for out in outs if out["path"] == path), None)


def has_script(stage: str, content: Mapping[str, Any]) -> bool:
    """Say whether a stage runs a script of the user's, by its section of params.yaml."""
    section = content.get(stage)
    return isinstance(section, Mapping) and section.get("script") is not None
