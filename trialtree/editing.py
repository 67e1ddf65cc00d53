"""Edit params.yaml and dvc.yaml, keeping comments, quotes and order."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages import params, sources
from stages.errors import UserError
from stages.files import replacing

_DVC = Path(".dvc")


@contextmanager
def alone() -> Iterator[None]:
    """Keep every other `trialtree data` that edits this repository's files waiting until the block ends.

    Raises:
        UserError: this is not the top folder of a repository.
    """
    if not (sources.DVC_YAML.exists() and params.PATH.exists()):
        raise UserError(f"{sources.DVC_YAML} and {params.PATH} are not here; run this in the repository's top folder")
    if not _DVC.is_dir():
        raise UserError(f"{_DVC} is not here; `dvc init` makes it")
    lock = _DVC / "tmp" / "trialtree-data-add.lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def yaml() -> YAML:
    """Return a parser that keeps comments, quotes and order, and puts dashes under their key, as DVC does."""
    parser = YAML()
    parser.preserve_quotes = True
    parser.width = 4096  # never folds a line
    return parser


def load(path: Path) -> Any:
    """Return a YAML file's content with its comments.

    Raises:
        UserError: it is no YAML, or no mapping.
    """
    try:
        content = yaml().load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: must be a mapping")
    return content


def text(content: Any) -> str:
    """Return content with comments as YAML."""
    stream = StringIO()
    yaml().dump(content, stream)
    return stream.getvalue()


def save(path: Path, written: str) -> None:
    """Write a file, if it has changed."""
    if written != path.read_text(encoding="utf-8"):
        with replacing(path) as partial:
            partial.write_text(written, encoding="utf-8", newline="\n")


def with_key(written: str, key: str, value: str) -> str:
    """Return the text of a params.yaml with `fetch.KEY`, below fetch.source if it is new; no other line changes."""
    content = yaml().load(written)
    if key in content["fetch"]:
        content["fetch"][key] = value
        return text(content)
    plain = YAML(typ="safe", pure=True)
    wanted = plain.load(written)
    wanted["fetch"][key] = value
    # ruamel hangs the empty lines and comments before the next section on the last key of this one, so that a key
    # added by it would come after them.
    added = _below_source(written, content["fetch"], f"{key}: {value}\n")
    with suppress(YAMLError):  # as within a mapping on one line
        if plain.load(added) == wanted:
            return added
    content["fetch"][key] = value
    return text(content)


def _below_source(written: str, section: Any, new: str) -> str:
    """Return the text with a line of its own below fetch.source."""
    lines = written.splitlines(keepends=True)
    line, column = section.lc.key("source")
    end = line + 1
    while end < len(lines) and _goes_on(lines[end], column):
        end += 1
    while end > line + 1 and not lines[end - 1].strip():
        end -= 1
    if not lines[end - 1].endswith("\n"):
        lines[end - 1] += "\n"
    return "".join([*lines[:end], f"{' ' * column}{new}", *lines[end:]])


def _goes_on(line: str, column: int) -> bool:
    """Say whether a line belongs to the value of a key that stands at `column`."""
    inner = line.lstrip(" ")
    indent = len(line) - len(inner)
    return not inner.strip() or indent > column or (indent == column and inner.startswith(("- ", "-\n")))
