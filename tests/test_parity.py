"""Published figures, through the whole pipeline: the quick ones here, all of them by `make parity`."""

from pathlib import Path

import pytest

from benchmarks import parity
from tests.conftest import SHARED, make_repo

# CatBoost on a whole table takes most of a minute, others ten seconds; Azure's grid is a test of the sweep too.
LONG = (
    "California",
    "adult",
    "bike rentals",
    "CatBoost",
    "script",
    "SVC, linear",
    "SVC, rbf",
    "SVC, sigmoid",
    "SVC, poly, C = 0.5",
    "SVC, poly, C = 1.5",
)
QUICK = [
    pytest.param(case, id=case.name, marks=[pytest.mark.slow] if any(k in case.name for k in LONG) else [])
    for case in parity.cases()
    if case.quick
]


@pytest.mark.parametrize("case", QUICK)
def test_the_published_figures_come_out(case: parity.Case, tmp_path: Path) -> None:
    if case.tables and not SHARED.exists():
        pytest.skip("the shared tables are not on this machine")
    found = parity.run(case, make_repo(tmp_path / "repo", tmp_path / "home"))
    rows = list(parity.compared(case, found))
    assert rows
    assert [row for row in rows if not row[-1]] == []
