"""Entries that differ in nothing but params.yaml: they share an engine, 0.4 s to make, and worktrees."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trialtree.queue.entries import Entry
from trialtree.queue.making import QueueEngine
from trialtree.sweep.engine import trees
from trialtree.sweep.engine.trial import Tree
from trialtree.sweep.journal import SweepError

_IDLE = 4  # groups that are kept for entries to come


@dataclass
class Group:
    """What such entries share."""

    trees: trees.Trees
    free: list[Tree] = field(default_factory=list)
    taken: int = 0
    engine: QueueEngine | None = None


class Groups:
    """The groups that are at work."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._groups: dict[Any, Group] = {}
        self._first: Any = None

    def take(self, entry: Entry) -> Tree:
        """Return a worktree for an entry, with what the entry starts from."""
        group = self._groups.pop(entry.group, None) or Group(trees.Trees(self._root, entry.of))
        self._groups[entry.group] = group  # the latest last
        self._first = self._first or entry.group
        if not group.free:
            path = group.trees.take(group.taken + 1)[-1]
            if group.engine is not None:
                group.engine.configure(path)
            group.free.append(Tree(path))
            group.taken += 1
        return group.free.pop()

    def engine(self, entry: Entry, tree: Tree) -> QueueEngine:
        """Return the engine for an entry, made in its worktree where it is not there.

        Raises:
            UserError: DVC refuses the pipeline.
        """
        group = self._groups[entry.group]
        if group.engine is None:
            group.engine = QueueEngine(self._root, tree.path, entry)
        return group.engine

    def give(self, entry: Entry, tree: Tree) -> None:
        """Give a worktree back."""
        self._groups[entry.group].free.append(tree)

    @staticmethod
    def clean(entry: Entry, tree: Tree) -> None:
        """Take away what a stage may have left that failed or was cut off: it may have written anything."""
        tree.here.clear()
        with suppress(SweepError):
            trees.clean(tree.path, entry.of, [])

    def keep(self, wanted: set[Any]) -> None:
        """Let go of groups that no running entry is of, but for some; entries that wait may be of those.

        The first stays, from which the stages' modules were imported.
        """
        for key in [key for key in self._groups if key not in wanted and key != self._first][:-_IDLE]:
            self._groups.pop(key).trees.close()

    def close(self) -> None:
        """Remove the worktrees."""
        for group in self._groups.values():
            group.trees.close()
        self._groups.clear()
