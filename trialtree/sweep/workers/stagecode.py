"""A stage's module in a process that runs many: what `python -m stages.NAME` does, without importing it anew."""

import ast
import importlib
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any

PACKAGE = "stages"


class Stages:
    """The modules of stages/ that are loaded, and from which tree they are the code."""

    def __init__(self) -> None:
        self._code: str | None = None
        self._tree: str | None = None
        self._blocks: dict[str, CodeType | None] = {}

    def enter(self, tree: str, code: str | None) -> None:
        """Let the modules be those of a tree: the loaded ones where its code is the same, else its own."""
        if code != self._code and self._code is not None:
            self._forget(tree)
        self._code = code if code is not None else self._code
        if tree != self._tree and PACKAGE in sys.modules:
            # What a stage imports later comes from here, as in a process of its own.
            sys.modules[PACKAGE].__path__ = [f"{tree}/{PACKAGE}"]
        self._tree = tree

    def _forget(self, tree: str) -> None:
        """Unload everything that came from a tree, and the bytecode: its stamp is too coarse for a quick checkout."""
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None) or ""
            if name.partition(".")[0] == PACKAGE or (self._tree and file.startswith(f"{self._tree}/")):
                del sys.modules[name]
        shutil.rmtree(f"{tree}/{PACKAGE}/__pycache__", ignore_errors=True)
        importlib.invalidate_caches()
        self._blocks.clear()

    def run(self, name: str) -> None:
        """Run a module as `python -m` does: what stands under its `if __name__ == "__main__"`."""
        module = importlib.import_module(f"{PACKAGE}.{name}")
        sys.argv[:] = [module.__file__ or name]
        sys.modules["__main__"] = module  # which a process that the stage spawns imports too
        _keep_no_log()
        if name not in self._blocks:
            self._blocks[name] = _guarded(Path(module.__file__ or ""))
        if (block := self._blocks[name]) is None:
            runpy.run_module(f"{PACKAGE}.{name}", run_name="__main__", alter_sys=True)
        else:
            exec(block, module.__dict__)  # noqa: S102  # the stage's own code


def _keep_no_log() -> None:
    """Leave it to the sweep to keep what its stages print: thousands of trials would push out all other logs."""
    if logs := sys.modules.get(f"{PACKAGE}.logs"):
        logs.kept = _not_kept  # type: ignore[attr-defined]  # of the tree, whatever it is there


@contextmanager
def _not_kept(_stage: str) -> Iterator[Callable[[int], None]]:
    yield lambda _status: None


def _guarded(path: Path) -> CodeType | None:
    """Return the code that a module has for being run; None where it has none of its own and is run whole."""
    tree = ast.parse(path.read_bytes(), str(path))
    body = [line for node in tree.body if isinstance(node, ast.If) and _asks(node.test) for line in node.body]
    return compile(ast.Module(body, []), str(path), "exec") if body else None


def _asks(test: Any) -> bool:
    """Say whether a condition is `__name__ == "__main__"`."""
    return ast.unparse(test) == "__name__ == '__main__'"
