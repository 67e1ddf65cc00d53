"""Who goes where: the row numbers of each part, by the ways of dealing that `split.by` offers.

The random ways are scikit-learn's own to the last row, without the second that
importing it takes and in less memory. Its shuffled split is
`RandomState(seed).permutation(rows)`, the test rows first, and RandomState's
streams are frozen (numpy NEP 19); for its stratified one see `strata`.
"""

import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.params import PATH
from stages.strata import cut, permuted, width
from stages.tables import PARTS, DataError

Rows = NDArray[np.signedinteger[Any]]
Parts = dict[str, Rows]  # part -> its rows, in the order in which they are written


class Sizes(NamedTuple):
    """Rows wanted for each part."""

    train: int
    validation: int
    test: int

    @property
    def holdout(self) -> int:
        """Rows that are not trained on."""
        return self.validation + self.test


def sizes(rows: int, validation: float, test: float) -> Sizes:
    """Return the parts' sizes for shares (float) or counts (int) of `rows`.

    Shares are taken as scikit-learn takes them: `ceil(share x rows)` in float64,
    first for the holdout (both shares together), then for test within it. Sum and
    quotient of the shares are taken as written, in decimal: 0.09 + 0.01 is 0.1.

    Raises:
        DataError: a part would get no row.
    """
    if isinstance(validation, float) and isinstance(test, float) and validation:
        together = _exact(validation) + _exact(test)
        holdout = math.ceil(float(together) * rows)
        testing = math.ceil(float(_exact(test) / together) * holdout)
    else:
        testing = _count(rows, test)
        holdout = _count(rows, validation) + testing
    wanted = Sizes(rows - holdout, holdout - testing, testing)
    if wanted.train < 1:
        shares = f"validation: {validation} and test: {test}" if validation else f"test: {test}"
        raise DataError(f"{PATH}: split: {shares} leave no row to train on; the table has {_number(rows, 'row')}")
    if validation and wanted.validation < 1:
        raise DataError(
            f"{PATH}: split.validation: {validation} beside test: {test} gets no row; "
            f"the table has {_number(rows, 'row')}"
        )
    return wanted


def at_random(wanted: Sizes, seed: int) -> Parts:
    """Return a random deal of sum(wanted) rows, in the order of scikit-learn's permutations.

    The same as `train_test_split` of the row numbers into train and holdout, and
    of the holdout, with the same seed, into validation and test.
    """
    shuffled = permuted(sum(wanted), np.random.RandomState(seed))
    holdout, train = shuffled[: wanted.holdout], shuffled[wanted.holdout :]
    if not wanted.validation:
        return _parts(train, shuffled[:0], holdout)
    again = permuted(wanted.holdout, np.random.RandomState(seed))
    return _parts(train, holdout[again[wanted.test :]], holdout[again[: wanted.test]])


def stratified(classes: Rows, wanted: Sizes, seed: int) -> Parts:
    """Return a random deal with each class's share kept; `classes` (rows,) are codes from 0 in the labels' order.

    The same two calls of `train_test_split` as in `at_random`, with `stratify`.

    Raises:
        DataError: a class has too few rows, or a part too few rows for the classes.
    """

    def check(of: Rows, whole: str, smaller: int, parts: tuple[str, str]) -> None:
        _check_classes(of, whole, (len(of) - smaller, smaller), parts)

    if not wanted.validation:
        check(classes, "the table", wanted.test, ("train", "test"))
        train, test = cut(classes, wanted.test, seed)
        return _parts(train, train[:0], test)
    check(classes, "the table", wanted.holdout, ("train", "validation and test"))
    train, holdout = cut(classes, wanted.holdout, seed)
    held = classes[holdout]
    check(held, "validation and test", wanted.test, ("validation", "test"))
    validation, test = cut(held, wanted.test, seed)
    return _parts(train, holdout[validation], holdout[test])


def in_groups(groups: Rows, wanted: Sizes, seed: int) -> Parts:
    """Return a deal of whole groups, in row order; `groups` (rows,) are codes from 0.

    Groups are shuffled and taken in turn, for test until its rows are as near to
    the number wanted as whole groups allow, then for validation, the rest for train.

    Raises:
        DataError: there are fewer groups than parts.
    """
    count = int(groups.max()) + 1
    place = np.random.RandomState(seed).permutation(count)
    return _whole(place[groups], wanted, "groups")


def in_time(times: Rows, wanted: Sizes) -> Parts:
    """Return the oldest rows as train, the newest as test, each in time order.

    `times` (rows,) are ranks from 0, the newest; rows of one time stay together,
    so a border moves to the nearest change of time.

    Raises:
        DataError: there are fewer times than parts.
    """
    parts = _whole(times, wanted, "times")
    return {name: rows[np.argsort(-times[rows], kind="stable")] for name, rows in parts.items()}


def by_hash(points: NDArray[np.float64], validation: float, test: float) -> Parts:
    """Return a deal by each row's own point in [0, 1): test below its share, validation next, train the rest.

    A row's part depends on its point only, so it stays when others come or go.

    Raises:
        DataError: a part gets no row.
    """
    border = float(_exact(validation) + _exact(test))
    testing, holdout = points < test, points < border
    parts = _parts(*map(np.flatnonzero, (~holdout, holdout & ~testing, testing)))
    for name in ("train", "test", *(["validation"] if validation else [])):
        if not len(parts[name]):
            raise DataError(
                f"{PATH}: split.by: hash deals no row to {name}; the table has {_number(len(points), 'row')}"
            )
    return parts


def _whole(places: Rows, wanted: Sizes, kind: str) -> Parts:
    """Return the parts, in row order, when whole groups are taken in order of `places` (rows,), test first."""
    ends = np.cumsum(np.bincount(places))
    needed = 3 if wanted.validation else 2
    if len(ends) < needed:
        raise DataError(
            f"{PATH}: split.by: {needed} parts need at least {needed} different {kind}, and there are {len(ends)}"
        )
    # Groups of the first k parts: the number whose rows come nearest, with one group left for each part to come.
    test = min(_nearest(ends, wanted.test), len(ends) - needed + 1)
    holdout = test
    if wanted.validation:
        holdout = min(max(_nearest(ends, wanted.holdout), test + 1), len(ends) - 1)
    masks = (places >= holdout, (places >= test) & (places < holdout), places < test)
    return _parts(*map(np.flatnonzero, masks))


def _nearest(ends: Rows, wanted: int) -> int:
    """Return how many groups, at least one, come nearest to `wanted` rows."""
    return int(np.abs(ends - wanted).argmin()) + 1


def _check_classes(classes: Rows, of: str, counts: tuple[int, int], parts: tuple[str, str]) -> None:
    """Refuse what scikit-learn cannot stratify, in the user's own numbers."""
    members = np.bincount(classes)
    members = members[members > 0]
    if members.min() < 2:
        raise DataError(
            f"{PATH}: split.by: stratified needs at least 2 rows of each class in {of}, "
            f"and {(members < 2).sum()} of {len(members)} classes have 1"
        )
    for part, count in zip(parts, counts, strict=True):
        if count < len(members):
            raise DataError(
                f"{PATH}: split.by: stratified needs a row of each of the {len(members)} classes in {part}, "
                f"which gets {_number(count, 'row')}"
            )


def _parts(*rows: Any) -> Parts:
    narrow = width(sum(map(len, rows)))
    return {name: np.asarray(r, dtype=narrow) for name, r in zip(PARTS, rows, strict=True)}


def _count(rows: int, share: float) -> int:
    return share if isinstance(share, int) else math.ceil(share * rows)


def _exact(share: float) -> Fraction:
    """Return a share as it is written."""
    return Fraction(str(share))


def _number(count: int, of: str) -> str:
    """Return `1 row` or `7 rows`."""
    return f"{count} {of if count == 1 else f'{of}s'}"
