"""What a driver drives."""

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from trialtree.sweep.engine.trial import Made, Reply, Tree, Work
from trialtree.sweep.ledger import Ledger
from trialtree.sweep.screen import Screen
from trialtree.sweep.section import SweepParams
from trialtree.sweep.watched import Watched
from trialtree.sweep.workers.pool import Pool


class Runner(Protocol):
    """Makes trials: the engine, or DVC's own command."""

    def run(self, tree: Tree, values: Mapping[str, Any], name: str, number: int) -> Generator[Work, Reply, Made]:
        """Make a trial."""
        ...

    def keep(self, name: str, made: Made) -> str:
        """Make it an experiment, and return its commit."""
        ...

    def output(self, made: Made, path: str) -> bytes | None:
        """Return a file that a stage of a trial wrote; None where it has none, or nobody can say."""
        ...

    def tidy(self, *, objects: bool = False) -> None:
        """Keep Git quick."""
        ...


@dataclass(frozen=True)
class Parts:
    """All that a driver drives."""

    ledger: Ledger
    section: SweepParams
    runner: Runner
    pool: Pool
    screen: Screen
    watched: Watched | None
    trees: list[Tree]
    ready: Callable[[], object]  # called once all is imported
    news: Callable[[], Iterable[str]]  # lines for a person, from what runs beside the driver; never waits
