"""Which modules of a repository's stages/ a module imports, directly or not: what DVC must hash for a stage."""

import ast
from functools import cache
from pathlib import Path

_PACKAGE = "stages"


def needed(name: str, root: Path = Path()) -> list[Path]:
    """Return the files of stages/ that importing `stages.NAME` runs or may run, its own first, then sorted.

    Imports inside functions count: the stage's code runs them. Paths are
    relative to `root`, the repository's top folder.

    Raises:
        FileNotFoundError: there is no such module.
        SyntaxError: a module is not Python.
    """
    first = root / _PACKAGE / f"{name}.py"
    found = {root / _PACKAGE / "__init__.py"}
    waiting = [first]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting.extend(_imported(path, root))
    return [p.relative_to(root) for p in [first, *sorted(found - {first})]]


@cache
def _parsed(path: Path, _stamp: int) -> tuple[str, ...]:
    """Return the names under stages/ that a module's import statements mention."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            names += [alias.name.removeprefix(f"{_PACKAGE}.") for alias in node.names if _ours(alias.name)]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            if node.module == _PACKAGE:
                names += [alias.name for alias in node.names]
            elif _ours(node.module):
                names.append(node.module.removeprefix(f"{_PACKAGE}."))
    return tuple(names)


def _ours(name: str) -> bool:
    return name.startswith(f"{_PACKAGE}.")


def _imported(path: Path, root: Path) -> list[Path]:
    """Return the files of stages/ that one module imports itself."""
    names = _parsed(path, path.stat().st_mtime_ns)
    files = [root / _PACKAGE / (name.replace(".", "/") + ".py") for name in names]
    return [file for file in files if file.exists()]
