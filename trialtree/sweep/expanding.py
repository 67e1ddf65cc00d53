"""A sweep as commands of DVC's: printed, or handed to `dvc exp run --queue`.

trialtree sweep --dry-run
trialtree sweep --queue
"""

import contextlib
import io
import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from stages import params
from trialtree.sweep import foretelling, limits, running, samplers, space
from trialtree.sweep.engine import paramsfile
from trialtree.sweep.engine.pipeline import TARGET
from trialtree.sweep.journal import SweepError
from trialtree.sweep.samplers import Point
from trialtree.sweep.screen import words
from trialtree.sweep.section import MODELLED, SweepParams
from trialtree.sweep.stopping import candidates
from trialtree.sweep.workers import shares
from trialtree.tracking import wishes

_SHOWN = 10  # points of a sweep that is no grid
_QUEUE = ("dvc", "exp", "run", "--queue")


@dataclass(frozen=True)
class Plan:
    """A sweep that is not run."""

    content: Mapping[str, Any]  # params.yaml
    section: SweepParams
    total: int | None  # trials, conditions left aside; None where nobody knows
    concurrent: int  # trials at once
    estimators: Sequence[str]

    @property
    def sampler(self) -> str:
        """The sampler's name."""
        return self.section.sampler.sampler

    def points(self, count: int | None = None) -> Iterator[Point]:
        """Yield the first points, all that there are without `count`, as they are before any trial has ended."""
        sampler = samplers.make(self.section, self.content)
        most = min((each for each in (self.section.limits.trials, count) if each is not None), default=None)
        for number in itertools.count() if most is None else range(most):
            if (point := sampler.ask(number)) is None:
                return
            yield point

    def overrides(self, point: Point) -> list[str]:
        """Return what -S takes for a point."""
        return paramsfile.overrides(self.content, point.values)


def plan() -> Plan:
    """Return the sweep of params.yaml.

    Raises:
        UserError: its section does not allow it.
    """
    content = params.load()
    section = running.checked(content)
    searched = space.read(section.space, section.where, content)
    total = limits.total(section, searched.size, 0)
    concurrent = section.limits.concurrent or len(shares.processors())
    names = list(dict.fromkeys(kind.estimator for kind in candidates.of(searched)))
    return Plan(content, section, total, min(concurrent, total or concurrent), names)


def show() -> None:
    """Print what a sweep would run; of a grid the commands, ready for a shell."""
    of = plan()
    lines: list[str] = []
    if of.sampler == "grid":
        cells = [of.overrides(point) for point in of.points()]
        lines = [shlex.join([*_QUEUE, *_sets(each), TARGET]) for each in commands(cells)]
        total: int | None = len(cells)
    else:
        # Of a sampler that learns, only what is asked for before any trial has ended is known.
        count = min(_SHOWN, of.concurrent) if of.sampler in MODELLED else _SHOWN
        lines = [f"{number:>3}  {words.params(point.values)}" for number, point in enumerate(of.points(count))]
        total = of.total
    trials = "trials until limits.timeout" if total is None else words.count(total, "trial")
    said = foretelling.said(total, of.concurrent, wishes.experiment(of.content), of.estimators)
    print(f"# {of.sampler}: {trials}, {of.concurrent} at once; {said}")
    print("\n".join(lines))
    if of.sampler == "grid":
        print(f"{_next(of.concurrent)}\n# `trialtree sweep` runs the same in one, and chooses the best")
    elif of.sampler in MODELLED:
        print("# what comes after these depends on what trials give")
    elif total is None or total > len(lines):
        print("# and so on: the same seed gives the same points")


def queue() -> None:
    """Queue what a sweep would run, by `dvc exp run --queue`.

    Raises:
        UserError: the sampler learns, nobody knows how many trials there will be, or DVC refuses.
    """
    of = plan()
    if of.sampler in MODELLED:
        raise SweepError(
            f"{params.PATH}: sweep.sampling: {of.sampler} learns from trial to trial, which a queue cannot; "
            "`trialtree sweep` runs it, and grid, random and sobol can be queued"
        )
    if of.total is None:
        raise SweepError(f"{params.PATH}: sweep.limits.trials: must be there, to know how many are to be queued")
    points = list(of.points())
    prefix = running.named(wishes.experiment(of.content)).name
    calls = commands([of.overrides(point) for point in points])
    for number, sets in enumerate(calls, 1):
        # Of several experiments in one command DVC numbers the names so itself.
        name = prefix if len(calls) < len(points) else f"{prefix}-{number}"
        if status := _dvc([*_QUEUE, "--name", name, *_sets(sets), TARGET]):
            raise SweepError(f"dvc exp run exited with status {status}; {number - 1} experiments were queued before")
    for number, point in enumerate(points, 1):
        print(f"{prefix}-{number}: {words.params(point.values)}")
    if of.section.early_termination is not None:
        print("sweep.early_termination stops none of them: DVC's queue knows no such thing")
    print(f"{words.count(len(points), 'experiment')} queued; next: {_next(of.concurrent)}")


def commands(cells: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the overrides of each command that runs these cells, in their order: one for all where DVC can grid them.

    So it is where the cells are the product of what stands at each place, the
    last changing first.
    """
    if len({tuple(part.partition("=")[0] for part in cell) for cell in cells}) != 1:
        return [list(cell) for cell in cells]
    places = [list(dict.fromkeys(at)) for at in zip(*cells, strict=True)]
    # DVC makes another thing of ~KEY in a grid.
    if len(cells) < 2 or prod(map(len, places)) != len(cells) or any(part.startswith("~") for part in cells[0]):
        return [list(cell) for cell in cells]
    if any(tuple(cell) != product for cell, product in zip(cells, itertools.product(*places), strict=True)):
        return [list(cell) for cell in cells]
    values = ((at[0].partition("=")[0], ",".join(part.partition("=")[2] for part in at)) for at in places)
    return [[f"{key}={several}" for key, several in values]]


def _sets(overrides: Sequence[str]) -> list[str]:
    return [part for override in overrides for part in ("-S", override)]


def _next(jobs: int) -> str:
    return f"trialtree queue run -j {jobs}  # or: dvc queue start -j {jobs}"


def _dvc(line: Sequence[str]) -> int:
    """Run a command of DVC's in this process, where DVC is imported once, and return its status."""
    from dvc.cli import main

    with contextlib.redirect_stdout(io.StringIO()):
        return int(main(["--wait-for-lock", *line[1:]]))
