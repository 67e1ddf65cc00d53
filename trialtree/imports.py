"""Which modules of the repository a training script imports: what DVC must hash beside the script."""

import ast
from collections.abc import Iterator
from pathlib import Path

from stages import scripts


def faults(file: str) -> Iterator[str]:
    """Yield what is wrong with a script's text, and the modules beside it that DVC would not see change."""
    declared = [Path(dep) for dep in scripts.declared("deps")]
    waiting, seen = [Path(file)], {Path(file)}
    while waiting:
        path = waiting.pop()
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        except (SyntaxError, UnicodeDecodeError, ValueError) as error:
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
            yield f"{path}{line}: is not Python: {error.msg if isinstance(error, SyntaxError) else error}"
            continue
        found = {module for name in _names(tree) for module in _files(Path(file).parent, name)} - seen
        seen |= found
        waiting += sorted(found, reverse=True)
        for module in sorted(found):
            if not any(module.is_relative_to(dep) for dep in declared):
                yield f"{scripts.DVC_YAML}: stages.train.deps: lacks {module.as_posix()}, which {path} imports"


def _names(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names that import statements mention, wherever they stand."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(folder: Path, name: str) -> Iterator[Path]:
    """Yield the files below a folder that importing a dotted name runs."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        place = folder.joinpath(*parts[:count])
        yield from (path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file())
