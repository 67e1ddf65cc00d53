"""A stage's module in a process that runs many: what `python -m stages.NAME` does, without importing it anew."""

import ast
import importlib
import importlib.util
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

    def __init__(self, code: str | None) -> None:
        self._code = code  # their digest
        self._tree: str | None = None
        self._blocks: dict[str, CodeType | None] = {}

    def enter(self, tree: str, code: str | None) -> None:
        """Let the modules be those of a tree: the loaded ones where its code is the same, else its own."""
        if code != self._code:
            self._forget(tree)
            self._code = code
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

    def know(self, text: str, content: Any) -> None:
        """Have what a params.yaml says known to the stages, as far as their code can take it."""
        remember = getattr(importlib.import_module(f"{PACKAGE}.params"), "remember", None)
        if remember is not None:
            remember(text, content)

    def run(self, name: str) -> None:
        """Run a module as `python -m` does: what stands under its `if __name__ == "__main__"`."""
        if "." in name:  # of this program
            importlib.import_module(name).main()
            return
        module_name = f"{PACKAGE}.{name}"
        if name not in self._blocks:
            self._blocks[name] = block_to_run(module_name)
        del sys.argv[1:]
        if (block := self._blocks[name]) is None:
            runpy.run_module(module_name, run_name="__main__", alter_sys=True)
            return
        module = importlib.import_module(module_name)
        sys.argv[0] = module.__file__ or name
        sys.modules["__main__"] = module  # which a process that the stage spawns imports too
        _keep_no_log()
        exec(block, module.__dict__)  # noqa: S102  # the stage's own code


def _keep_no_log() -> None:
    """Leave it to the sweep to keep what its stages print: thousands of trials would push out all other logs."""
    if logs := sys.modules.get(f"{PACKAGE}.logs"):
        logs.kept = _not_kept  # type: ignore[attr-defined]  # of the tree, whatever it is there


@contextmanager
def _not_kept(_stage: str) -> Iterator[Callable[[int], None]]:
    yield lambda _status: None


def block_to_run(module: str) -> CodeType | None:
    """Return the code that a module has only for being run; None where it has none, or is not there."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return None
    path = spec.origin
    tree = ast.parse(Path(path).read_bytes(), path)
    body = [line for node in tree.body if isinstance(node, ast.If) and _asks(node.test) for line in node.body]
    return compile(ast.Module(body, []), path, "exec") if body else None


def _asks(test: Any) -> bool:
    """Say whether a condition is `__name__ == "__main__"`."""
    return ast.unparse(test) == "__name__ == '__main__'"
