"""The three pull requests of docs/review.md: their reports, and pictures of them.

    python benchmarks/review_examples.py [--out docs/pictures] [--keep FOLDER]

A bank's table of 600 drawn rows, with another C; California with r = 0.2 and
0.1 (shares of the split), which needs the project's shared folder; and the
bank's table with a column that repeats the target. The pictures are taken in
Chromium, on a light and a dark page and at a phone's width.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import search
from tests import reviewing
from tests.browser import browser
from tests.conftest import SHARED, Repo
from tests.reviewing import branch, rows, trial, write


def params(folder: Path) -> Repo:
    """Return a repository whose branch `less-c` has another C."""
    repo = reviewing.made(folder)
    return trial(branch(repo, "less-c", {"train.hyperparameters.C": 0.0001}), "Less C")


def shares(folder: Path) -> Repo:
    """Return a repository of California whose branch `r-0.1` deals the rows out by r = 0.1 instead of 0.2."""
    repo = search.prepared(folder)
    branch(repo, "r-0.1", {"split.validation": 0.09, "split.test": 0.01})
    return trial(repo, "Deal by r = 0.1")


def leak(folder: Path) -> Repo:
    """Return a repository whose branch `account-code` has a column that repeats the target, and changed code."""
    repo = branch(reviewing.made(folder), "account-code")
    write(repo, rows(extra=lambda n, default: f"{default[0]}{n % 3}"), ("age", "income", "city", "code", "default"))
    code = repo.path / "stages/preparing.py"
    code.write_text(code.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    return trial(repo, "Add the account's code")


def shown(page: Path, target: Path, width: int, height: int, scheme: str) -> None:
    """Take a picture of the top of a page."""
    with browser(width, height) as seen:
        seen.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        seen.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=True)
        seen.open(page.as_uri())
        seen.screenshot(target)


def main() -> None:
    """Make the reports and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or Path(temporary)
        examples = [
            ("params", params, "less-c", 900, 1100, "light"),
            ("leak", leak, "account-code", 420, 1000, "light"),
        ]
        if SHARED.exists():
            examples.append(("data", shares, "r-0.1", 1000, 1500, "dark"))
        for name, make, head, width, height, scheme in examples:
            repo = make(folder / name)
            command = ["trialtree", "report", head, "--rescore", "--out", str(folder / f"{name}-report")]
            subprocess.run(command, cwd=repo.path, env=dict(repo.env), check=True, stdout=subprocess.DEVNULL)
            shown(folder / f"{name}-report/report.html", asked.out / f"review-{name}.png", width, height, scheme)


if __name__ == "__main__":
    main()
