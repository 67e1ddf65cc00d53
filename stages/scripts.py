"""A training script of the user's own: what params.yaml says of it, and what it is called with."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from stages import params
from stages.params import PATH, ParamsError

DVC_YAML = Path("dvc.yaml")
METRICS = Path("reports/script.json")  # {"script": metrics}; {} of a trial without a script
FOLDER = Path("reports/script")  # what else a script logged and printed; empty without one


def _pattern(text: str) -> str:
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise ValueError(f"must be a regular expression; {error}") from None
    if groups != 1:
        raise ValueError("must have one group in parentheses, around the number")
    return text


def _plain(value: Any) -> Any:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str | int | float) or each is None for each in values):
        raise ValueError("must be text, a number, true, false, or a list of these")
    return value


def _name(name: str) -> str:
    if not re.fullmatch(r"[^\s=-][^\s=]*", name):
        raise ValueError("must be a name without blanks, = and dashes before it")
    return name


def _file(value: Any) -> Any:
    if not isinstance(value, str | dict):
        raise ValueError("must be a Python file of this repository, such as train.py, or a mapping with `file`")
    return {"file": value} if isinstance(value, str) else value


class Script(params.Section):
    """train.script: a Python file of the repository that trains a model, or such a file and more about it."""

    file: str
    metrics: dict[str, Annotated[str, AfterValidator(_pattern)]] = {}  # name -> pattern of the script's output


# A path alone is a script without more to say of it.
ScriptPath = Annotated[Script, BeforeValidator(_file)]
Arguments = dict[Annotated[str, AfterValidator(_name)], Annotated[Any, AfterValidator(_plain)]]


def registrations() -> list[dict[str, Any]]:
    """Return the versions that the trial's script asked for, the last last; none of a trial without one."""
    path = FOLDER / "registrations.json"
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return found


def command_line(arguments: Mapping[str, Any]) -> Iterator[str]:
    """Yield arguments as a command line has them.

    `--name value`, `-n value` for a name of one letter; a list gives all its
    values after the name; true is the name alone; false and nothing are left out.
    """
    for name, value in arguments.items():
        if value is None or value is False:
            continue
        option = f"--{name}" if len(name) > 1 else f"-{name}"
        if value is True:
            yield option
        elif isinstance(value, str) and value.startswith("-") and len(name) > 1:
            yield f"{option}={value}"  # argparse would take it for an option
        else:
            yield option
            yield from map(str, value if isinstance(value, list) else [value])


def check(script: Script) -> None:
    """Refuse a script that is not there, or that DVC does not hash.

    Raises:
        ParamsError: it is no Python file of the repository, or no dependency of train in dvc.yaml.
    """
    key, path = f"{PATH}: train.script", Path(script.file)
    if path.is_absolute() or ".." in path.parts or path.suffix != ".py":
        raise ParamsError(f"{key}: must be a Python file of this repository, such as train.py, got {script.file!r}")
    if not path.is_file():
        raise ParamsError(f"{key}: {script.file} is not there")
    if not _below(path, declared("deps")):
        raise ParamsError(
            f"{DVC_YAML}: stages.train.deps: lacks {script.file}, which train.script names, and DVC would not see it "
            f"change; add the line `- {path.as_posix()}`"
        )


def declared(kind: str, stage: str = "train") -> list[str]:
    """Return the paths of a kind (deps, outs) that dvc.yaml gives a stage; none where it cannot be read."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe", pure=True).load(DVC_YAML.read_text(encoding="utf-8"))
        entries = content["stages"][stage].get(kind) or []
    except (OSError, ValueError, YAMLError, KeyError, TypeError, AttributeError):
        return []
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def _below(path: Path, places: list[str]) -> bool:
    return any(path.is_relative_to(Path(place)) for place in places)
