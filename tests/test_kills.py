"""Kill -9 at random moments, and in the middle of a download, an upload and a commit: one repeat makes it whole."""

from pathlib import Path

import pytest

from benchmarks import killing, kills
from benchmarks.killing import Kill
from tests.conftest import Repo

pytestmark = pytest.mark.slow
ROWS = 250_000  # more than one bucket of split


def wrong(found: list[Kill]) -> list[tuple[float, str, list[str]]]:
    """Return the kills after which something differed."""
    return [(kill.seconds, kill.phase, kill.differences) for kill in found if kill.differences]


@pytest.mark.parametrize("name", ["fetch", "split", "push"])
def test_a_stage_or_a_push_that_was_killed_is_made_whole_by_one_repeat(name: str, tmp_path: Path) -> None:
    with kills.CASES[name](tmp_path, ROWS) as case:
        _, found = kills.kills(case, 3, seed=1)
    assert wrong(found) == []


def test_a_run_that_was_killed_is_made_whole_by_one_repeat(tmp_path: Path) -> None:
    with kills.run(tmp_path) as case:
        _, found = kills.kills(case, 2, seed=1)
    assert wrong(found) == []


def test_a_download_that_was_killed_is_gone_on_with(tmp_path: Path) -> None:
    assert wrong([kills.cut_download(tmp_path, 50_000)]) == []


def test_an_object_that_was_half_sent_is_sent_again(tmp_path: Path) -> None:
    assert wrong([kills.half_an_upload(tmp_path, 50_000)]) == []


def test_a_git_that_was_killed_leaves_one_file_to_delete_which_is_named(tmp_path: Path) -> None:
    done = kills.cut_commit(tmp_path)
    assert (done.differences, done.by_hand) == ([], True)


def test_what_is_compared_tells_every_change(ran: Repo) -> None:
    case = killing.Case("none", ["true"], ran, [("", lambda _: True)])
    before = killing.state(case)
    assert killing.differences(before, killing.state(case)) == []
    (ran.path / "data/.raw.parquet.x.partial").mkdir()
    (ran.path / "data/split/test/part-000.parquet").unlink()
    curves = ran.path / "reports/curves.csv"
    curves.unlink()
    curves.write_text("other\n")
    assert killing.differences(before, killing.state(case)) == [
        "missing: data/split/test/part-000.parquet",
        "left behind: data/.raw.parquet.x.partial",
        f"other: reports/curves.csv: {killing.sha256(curves)}, not {before['reports/curves.csv']}",
    ]
