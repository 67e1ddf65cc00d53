"""What a person sees: the page of `trialtree ui` in a real browser."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser import browser, chromium
from tests.conftest import PROJECT, Repo
from tests.test_ui import line, ui


@pytest.mark.slow
def test_the_page_shows_the_run_and_its_pictures_can_be_taken(ran: Repo, tmp_path: Path) -> None:
    chromium()
    with ui(ran, "--no-browser") as process, browser() as page:
        address, _ = line(process)
        page.open(f"{address}/#/experiments")
        page.wait_for("iris")
        pictures = subprocess.run(
            [sys.executable, "-m", "benchmarks.pictures", str(ran.path), "--out", str(tmp_path / "pictures")],
            cwd=PROJECT, env={**ran.env, "PYTHONPATH": os.fspath(PROJECT)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert pictures.returncode == 0, pictures.stderr
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "pictures").iterdir()}
    assert sorted(sizes) == ["curves.png", "datasets.png", "run.png", "runs.png"]
    assert all(10_000 < size < 300_000 for size in sizes.values()), sizes
