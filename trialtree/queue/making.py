"""An entry's experiment by the engine: the pipeline, params and commit that DVC's own worker would make of it."""

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from trialtree.queue import contents
from trialtree.queue.entries import Entry
from trialtree.sweep.engine.engine import Engine
from trialtree.sweep.engine.trial import Made, Making, Reply, Tree, Work


class _Given:
    """In the place of the engine's params.yaml, to which a sweep's values are put: an entry brings its own."""

    def changed(self, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the text of an entry's params.yaml, and its content."""
        return values["text"], contents.read(values["text"])


class QueueEngine(Engine):
    """Makes the experiments of entries that differ in nothing but params.yaml."""

    params: Any

    def __init__(self, root: Path, first: Path, entry: Entry) -> None:
        """Read the pipeline of an entry in a worktree.

        Raises:
            SweepError: DVC refuses it, or Git does not know who commits.
        """
        super().__init__(root, first, entry.of, "", entry.targets)
        self.params = _Given()

    @property
    def publishes(self) -> bool:
        """Whether its experiments are published by the pipeline."""
        return any(stage.name == "register" for stage in self.pipeline.stages)

    def make(self, tree: Tree, entry: Entry) -> Generator[Work, Reply, tuple[Made, str]]:
        """Make an experiment, up to its commit, and return it with DVC's hash of its stages. See `trial.Making`."""
        making = _Making(self, tree, entry)
        made = yield from making.all()
        return made, making.digest


class _Making(Making):
    """An entry as its experiment is made."""

    def __init__(self, engine: QueueEngine, tree: Tree, entry: Entry) -> None:
        super().__init__(engine, tree, {"text": entry.params}, entry.message.name, 0)
        self._env = dict(entry.env)
        self._said = entry.message.said
        self.digest = ""

    def message(self, digest: str) -> str:
        """Return the message of the commit, as DVC has it."""
        self.digest = digest
        return self._said or f"dvc: commit experiment {digest}"
