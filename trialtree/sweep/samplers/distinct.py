"""Points from a stream that depends on nothing that trials give: each cell once, the n-th new one for trial n."""

from collections.abc import Iterable, Iterator, Sequence

from trialtree.sweep.records import State
from trialtree.sweep.samplers.base import Point
from trialtree.sweep.space import Space

_TRIES = 10_000  # draws in a row without a new point
_TRIES_A_CELL = 20  # at most, where cells are few
_COUNTED = 1_000_000  # cells that are gone through one after another


class Distinct:
    """Gives the points of a stream, without those that are known or that conditions rule out."""

    def __init__(self, space: Space, known: Iterable[str] = ()) -> None:
        self.space = space
        self.repeats = self.started = 0
        self.notes: tuple[str, ...] = ()
        self._known = set(known)  # cells
        self._points: list[Point] = []  # of trials 0, 1, ...
        self._restored: dict[int, Point] = {}
        self._new = self._stream()

    def draws(self) -> Iterator[Point]:
        """Yield points, also such as were there before."""
        raise NotImplementedError

    def ask(self, number: int) -> Point | None:
        """Return the point of a trial, whatever was asked before; None where nothing new is left."""
        if number in self._restored:
            return self._restored[number]
        while len(self._points) <= number:
            point = self._restored.get(len(self._points)) or next(self._new, None)
            if point is None:
                return None
            self._known.add(point.cell)
            self._points.append(point)
        return self._points[number]

    def restore(self, number: int, point: Point) -> None:
        """Take a point that was asked for before."""
        point = self.space.again(point)
        self._restored[number] = point
        self._known.add(point.cell)

    def tell(
        self, number: int, state: State, objective: tuple[float, ...] | None, curve: Sequence[tuple[int, float]]
    ) -> None:
        """Learn nothing."""

    def _stream(self) -> Iterator[Point]:
        """Yield each cell once; of a finite space, when draws bring nothing new, those that are left in their order."""
        size = self.space.size
        tries = _TRIES if size is None else min(_TRIES, _TRIES_A_CELL * size)
        misses = repeated = 0
        begun = {point.cell for number, point in self._restored.items() if number < self.started}
        drawn = {point.cell for number, point in self._restored.items() if number >= self.started}
        for point in self.draws():
            known = point.cell in self._known
            if point.cell in drawn:  # here it was new, in the process before
                drawn.remove(point.cell)
                misses = repeated = 0
                continue
            if not known and self.space.allows(point):
                self.repeats += repeated
                misses = repeated = 0
                yield point
                continue
            misses += 1
            repeated += known and point.cell not in begun
            if misses == tries:
                break
        else:
            return
        if size is not None and size <= _COUNTED:
            yield from (p for p in self.space.cells() if p.cell not in self._known and self.space.allows(p))
