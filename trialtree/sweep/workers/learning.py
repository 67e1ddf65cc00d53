"""What the importer imports: what stages are known to need, and what earlier sweeps have learned that they do.

`.dvc/tmp/trialtree/imports.json` has, by a digest of Python, the lock, the
stages and the estimators, the modules that stages imported as they ran.
"""

import hashlib
import importlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from trialtree.sweep.workers.stagecode import PACKAGE, block_to_run

FILE = "imports.json"
_KEPT = 20  # digests
_LOCK = "requirements.lock"

# By a stage's name, what its code imports when it is called. Others are learned.
_TABLES = ("numpy", "pyarrow", "pyarrow.parquet", "pydantic", "ruamel.yaml")
_MODELS = (*_TABLES, "sklearn.base", "joblib", "skops.io")
_NEEDED = {
    "fetch": (*_TABLES, "duckdb"),
    "split": (*_TABLES, "duckdb"),
    "train": _MODELS,
    "evaluate": (*_MODELS, "sklearn.metrics", "sklearn.model_selection"),
}
_NEVER = {"matplotlib"}  # it looks for fonts as it is imported, by another process
_FAULTS = (Exception, SystemExit)


def import_first(stages: Iterable[str], estimators: Iterable[str]) -> None:
    """Import the modules of stages, and what they and the estimators are known to need."""
    for stage in stages:
        import_all(_NEEDED.get(stage, ()))
        with suppress(*_FAULTS):
            if block_to_run(module := f"{PACKAGE}.{stage}"):  # else to import it would be to run it
                import_all([module])
    import_all(name.rpartition(".")[0] for name in estimators)


def import_all(names: Iterable[str]) -> None:
    """Import modules, as far as they are there: what is missing or broken, the stage that needs it will say."""
    for name in names:
        if name in sys.modules or not name or name.partition(".")[0] in _NEVER:
            continue
        with suppress(*_FAULTS), _no_walk(name):
            importlib.import_module(name)


@contextmanager
def _no_walk(name: str) -> Iterator[None]:
    """Spare skops its walk through every module of scikit-learn, as `stages.storing` does: 0.3 s."""
    if name.partition(".")[0] != "skops":
        yield
        return
    import sklearn.utils

    walk = sklearn.utils.all_estimators
    sklearn.utils.all_estimators = list
    try:
        yield
    finally:
        sklearn.utils.all_estimators = walk


class Learned:
    """The modules that servers had to import themselves, kept for the next sweep of this kind."""

    def __init__(self, folder: Path, root: Path, stages: Sequence[str], estimators: Sequence[str]) -> None:
        self._path = folder / FILE
        self._key = _digest(root, stages, estimators)
        self._more = False
        self.modules: list[str] = list(_read(self._path).get(self._key, []))

    def add(self, modules: Iterable[str]) -> list[str]:
        """Take in modules, and return those that are new."""
        known = set(self.modules)
        new = [name for name in modules if name not in known]
        self.modules += new
        self._more |= bool(new)
        return new

    def save(self) -> None:
        """Write what was learned, where there is something; where it cannot be written, the next sweep learns it."""
        if not self._more:
            return
        known = _read(self._path)
        known.pop(self._key, None)
        content = dict(list({**known, self._key: self.modules}.items())[-_KEPT:])
        partial = self._path.with_name(f".{FILE}.{os.getpid()}")
        with suppress(OSError):
            partial.write_text(json.dumps(content), encoding="utf-8")
            partial.replace(self._path)
        self._more = False


def _read(path: Path) -> dict[str, Any]:
    """Return what is known, nothing where the file is none of ours."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and all(isinstance(each, list) for each in content.values()) else {}


def _digest(root: Path, stages: Sequence[str], estimators: Sequence[str]) -> str:
    """Return what a list of modules is found by."""
    lock = b""
    with suppress(OSError):
        lock = (root / _LOCK).read_bytes()
    said = json.dumps([sys.version, hashlib.sha256(lock).hexdigest(), sorted(set(stages)), sorted(set(estimators))])
    return hashlib.sha256(said.encode()).hexdigest()[:16]
