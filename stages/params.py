"""Read a section of params.yaml into a frozen, strict model, or say all that is wrong with it.

params.yaml is YAML 1.2, read by the parser that DVC uses: PyYAML would read
`1e-3` as text and `no` as false, and a stage would run with other values than
DVC recorded.

To parse it takes 8 ms, which a process that runs many stages pays once for
the same text: what a text says does not depend on when it is read.
"""

import copy
import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from stages.errors import UserError

PATH = Path("params.yaml")
_MOST = 8  # texts whose content is remembered

# Top-level keys, in the order of the file.
SECTIONS = (
    "experiment", "description", "tags", "fetch", "split", "train", "evaluate", "register", "sweep", "review",
    "tracking",
)  # fmt: skip


class ParamsError(UserError):
    """Faults of params.yaml, a line each."""


class Section(BaseModel):
    """A section of params.yaml: unknown keys are refused, no value is coerced, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


S = TypeVar("S", bound=Section)

_known: dict[str, Any] = {}  # what a text says, the newest last


def remember(text: str, content: Any) -> None:
    """Have `content`, which must be what the text says by YAML 1.2, known for it: nobody parses that text again."""
    _known.pop(text, None)
    _known[text] = copy.deepcopy(content)
    while len(_known) > _MOST:
        _known.pop(next(iter(_known)), None)


def _parsed(text: str) -> Any:
    """Return what a text says, to be changed at will; raises ruamel's YAMLError."""
    if text not in _known:
        from ruamel.yaml import YAML

        remember(text, YAML(typ="safe", pure=True).load(text))
    return copy.deepcopy(_known[text])


def load(path: Path = PATH) -> dict[str, Any]:
    """Return the whole file as plain dicts, lists and scalars.

    Raises:
        ParamsError: there is no such file, it is not YAML 1.2, not a mapping, or has an unknown top-level key.
    """
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        content = _parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path} is not here; run this in the repository's top folder") from None
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path}: must be UTF-8, got the byte {error.object[error.start]:#x}") from None
    except MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ParamsError(f"{path}{line}: {' '.join(str(error.problem).split())}") from None
    except YAMLError as error:
        raise ParamsError(f"{path}: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: must be a mapping of sections, got {shown(content)}")
    unknown = [
        f"{path}: {key} is not a section; {nearest(str(key), SECTIONS)}" for key in content if key not in SECTIONS
    ]
    if unknown:
        raise ParamsError("\n".join(unknown))
    return content


def read(section: str, model: type[S], path: Path = PATH) -> S:
    """Return one section of params.yaml.

    Raises:
        ParamsError: every fault of the section, one line each.
    """
    return parse(section, load(path).get(section), model, path)


def parse(section: str, value: Any, model: type[S], path: Path = PATH) -> S:
    """Return `value`, the content of a section, as `model`; see `read`."""
    if value is None:
        value = {}
    if not isinstance(value, Mapping):
        raise ParamsError(f"{path}: {section}: must be a mapping, got {shown(value)}")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = (_line(section, fault, model) for fault in error.errors(include_url=False))
        raise ParamsError("\n".join(f"{path}: {fault}" for fault in dict.fromkeys(faults))) from None


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `did you mean OTHER?`, or the list of what is known where nothing is near."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"


def _line(section: str, fault: ErrorDetails, model: type[BaseModel]) -> str:
    """Return a fault as `key: rule, got value`."""
    where = _key(section, fault["loc"])
    if fault["type"] == "missing":
        return f"{where}: is required"
    if fault["type"] == "extra_forbidden":
        *parents, name = fault["loc"]
        known = _known_keys(model, parents)
        return f"{where} is not a key; {nearest(str(name), known)}"
    rule = fault["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    rule = rule.replace("a valid dictionary", "a mapping").replace("a valid string", "text")
    rule = rule.replace("a valid integer", "a whole number").replace("a valid number", "a number")
    rule = rule.replace("a valid boolean", "true or false").replace("a valid list", "a list")
    if fault["type"] == "value_error" and isinstance(fault["input"], Mapping | BaseModel):
        return f"{where}: {rule}"  # a rule over several keys names their values itself
    return f"{where}: {rule}, got {shown(fault['input'])}"


def _key(section: str, loc: Iterable[int | str]) -> str:
    """Return the dotted path of a fault as it stands in the file."""
    path = section
    for step in loc:
        if isinstance(step, str) and step.startswith("("):
            continue  # which of several forms the value has
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    return path


def _known_keys(model: type[BaseModel], parents: Iterable[int | str]) -> list[str]:
    """Return the keys of the (nested) section that `parents` leads to."""
    inner: Any = model
    for step in parents:
        fields = getattr(inner, "model_fields", {})
        if step in fields:
            inner = section_in(fields[step].annotation)
    return [field.alias or name for name, field in getattr(inner, "model_fields", {}).items()]


def section_in(annotation: Any) -> Any:
    """Return the model inside an annotation such as `Inner | None` or `dict[str, Inner]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (section_in(part) for part in getattr(annotation, "__args__", ()))
    return next((part for part in found if part is not None), None)


def shown(value: Any) -> str:
    """Return a value for a message: text in quotes, at most 80 characters, YAML's words for its own."""
    words = {None: "nothing", True: "true", False: "false"}
    text = words[value] if value is None or isinstance(value, bool) else repr(value)
    text = re.sub(r"://[^/\s@'\"]*@", "://***@", text)  # a password in an address
    return text if len(text) <= 80 else text[:77] + "..."
