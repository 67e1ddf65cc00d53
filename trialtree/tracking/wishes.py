"""What params.yaml wishes for a trial's run: its experiment, a description, tags, and runs for its stages."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from posixpath import normpath
from typing import Any

from stages import params
from stages.params import PATH, ParamsError

NOTE = "mlflow.note.content"  # the tag that MLflow shows as a run's description
_LONGEST = 8000  # characters of a tag
GIVEN = "trialtree.given"  # tag: JSON, the names of the tags that params.yaml gave
# Tags that a run has of itself.
_OWN = re.compile(
    r"(mlflow|trialtree|data|storage|library|git|model|script|sweep)\..*|(DVC_.*|dvc\..*|branch|dirty|USER|commit_time|"
    r"baseline_commit|data_commit_hash|train_test_split_ratio|best_iteration)"
)


class TrackingParams(params.Section):
    """The tracking section."""

    stages: bool = False  # a nested run for each stage of a trial


@dataclass(frozen=True)
class Wishes:
    """What params.yaml wishes beside its stages."""

    tags: Mapping[str, str] = field(default_factory=dict)
    stages: bool = False


def of(content: Mapping[str, Any]) -> Wishes:
    """Return the wishes of params.yaml's content.

    Raises:
        ParamsError: one of them is of a wrong form.
    """
    tags = _tags(content.get("tags"))
    description = content.get("description")
    if description is not None:
        if not isinstance(description, str):
            raise ParamsError(f"{PATH}: description: must be text, got {params.shown(description)}")
        tags[NOTE] = description
    if tags:
        given = json.dumps(dict.fromkeys(sorted(tags), 1))
        if len(given) > _LONGEST:
            raise ParamsError(f"{PATH}: tags: a run holds {_LONGEST} characters of names, got {len(given)}")
        tags[GIVEN] = given
    return Wishes(tags, params.parse("tracking", content.get("tracking"), TrackingParams).stages)


def _tags(given: Any) -> dict[str, str]:
    """Return the tags of params.yaml: a mapping, or a list of names."""
    if given is None:
        return {}
    if isinstance(given, list):
        given = dict.fromkeys((name if isinstance(name, str) else params.shown(name) for name in given), "true")
    if not isinstance(given, Mapping):
        raise ParamsError(f"{PATH}: tags: must be a mapping of names to values, or a list of names, "
                          f"got {params.shown(given)}")  # fmt: skip
    found: dict[str, str] = {}
    for name, value in given.items():
        if not isinstance(name, str):
            raise ParamsError(f"{PATH}: tags: a name must be text (in quotes), got {params.shown(name)}")
        if not re.fullmatch(r"[\w./ -]{1,200}", name) or normpath(name) != name:
            raise ParamsError(f"{PATH}: tags: a name must be of letters, digits, blanks, _ . - and / between them, "
                              f"got {params.shown(name)}")  # fmt: skip
        if _OWN.fullmatch(name):
            raise ParamsError(f"{PATH}: tags.{name}: is a tag that trialtree sets itself; take another name")
        if isinstance(value, Mapping | list) or value is None:
            raise ParamsError(
                f"{PATH}: tags.{name}: must be text, a number or true or false, got {params.shown(value)}"
            )
        found[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return found


def experiment(content: Any) -> str:
    """Return the experiment of params.yaml's content.

    Raises:
        ParamsError: there is none, or it is no name.
    """
    name = content.get("experiment") if isinstance(content, Mapping) else None
    if not isinstance(name, str) or not name.strip() or len(name) > 500:
        raise ParamsError(f"{PATH}: experiment: must be the name of the experiment, got {name!r}")
    return name
