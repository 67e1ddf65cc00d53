"""Keep pandas out of a process that predicts: Arrow imports it to ask whether what it gets is of it (44 MB, 0.4 s)."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _Hidden(MetaPathFinder):
    """Says that there is no pandas."""

    def find_spec(self, name: str, _: Sequence[str] | None, __: ModuleType | None = None) -> ModuleSpec | None:
        """Return nothing, so that the next one is asked; see `importlib.abc`."""
        if name == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'", name=name)
        return None


def hide() -> None:
    """Let imports of pandas fail from now on."""
    if not any(isinstance(finder, _Hidden) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Hidden())


def show() -> None:
    """Let them succeed again: a model may be of classes that use it."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Hidden)]
