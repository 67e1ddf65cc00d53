"""Which modules of trialtree/ and stages/ a program imports, directly or not, and which packages these need."""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Code:
    """The modules of a program, and what they import besides."""

    files: Mapping[str, Path]  # by the path below the folder that their packages stand in
    foreign: frozenset[str]  # top names of other packages that they import, wherever


def needed(roots: Iterable[str], packages: Mapping[str, Path]) -> Code:
    """Return what importing the modules `roots` runs or may run.

    `packages` says which folder each package of ours is. Imports inside
    functions count, but not those of an __init__, which a program only passes
    through, nor what only a type checker reads.

    Raises:
        FileNotFoundError: there is no such module.
    """
    found: dict[str, Path] = {}
    foreign: set[str] = set()
    waiting = list(roots)
    for name in waiting:
        if _file(name, packages) is None:
            raise FileNotFoundError(f"no module {name}")
    while waiting:
        name = waiting.pop()
        path = _file(name, packages)
        if path is None or name in found:  # a name of a module, not a module
            continue
        found[name] = path
        waiting += _parents(name)
        for imported in _imported(path):
            top = imported.partition(".")[0]
            if top in packages:
                waiting.append(imported)
            elif top not in sys.stdlib_module_names:
                foreign.add(top)
    tops = {name: folder.parent for name, folder in packages.items()}
    files = {p.relative_to(tops[name.partition(".")[0]]).as_posix(): p for name, p in found.items()}
    return Code(dict(sorted(files.items())), frozenset(foreign))


def _file(name: str, packages: Mapping[str, Path]) -> Path | None:
    """Return the file of a module of ours, None where the name is none."""
    top, _, rest = name.partition(".")
    place = packages[top].joinpath(*rest.split(".")) if rest else packages[top]
    candidates = (place.with_suffix(".py"), place / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def _parents(name: str) -> list[str]:
    """Return the packages that a module is in."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _imported(path: Path) -> Iterator[str]:
    """Yield the dotted names that a module imports: modules, and what it takes from them, which may be modules."""
    within = path.name != "__init__.py"
    for node in _run(ast.parse(path.read_text(encoding="utf-8"), str(path)), within):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _run(node: ast.AST, within: bool) -> Iterator[ast.AST]:
    """Yield the nodes below one, those within functions too where asked, without what only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        if within or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _run(child, within)
