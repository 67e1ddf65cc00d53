"""Run the walk-through, and print each command before what it prints.

    python -m examples.walkthrough [--data FILE] [--keep FOLDER] [--store s3://… --endpoint https://…] [--write]

Reads   examples/walkthrough.md
Writes  examples/walkthrough.md with --write: below each command what it printed, paths, addresses and times masked
"""

import argparse
import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from examples.walkthrough import page, secrecy, services, table
from examples.walkthrough.machines import Machines, WalkError

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "examples/walkthrough.md"
PROGRESS = re.compile(r"\(\d+ %\)(, .+)?$")  # of a long step, said on a slow machine only
SPENT = re.compile(r"in [\d.]+ s, [\d,]+ rows/s")


def walk(folder: Path, data: Path | None, store: str | None, endpoint: str | None) -> dict[int, str]:
    """Run all commands of the page below an empty folder; return what each printed, by its line, masked.

    Raises:
        WalkError: a command, a server or the download failed, or a credential was found.
    """
    began = time.monotonic()
    folder = folder.resolve()
    data = data.resolve() if data else table.download(folder / "table")
    if not data.is_file():
        raise WalkError(f"{data}: no such file; name the table by make walkthrough DATA=path/to/cal_housing.data")
    with _served(folder, store, endpoint) as shared:
        outputs, heading = {}, ""
        with Machines(folder, {**shared, "DATA": str(data)}) as machines:
            for step in page.steps(PAGE.read_text(encoding="utf-8")):
                if step.machine:
                    print(end=heading)
                    outputs[step.line] = machines.run(step)
                heading = "" if step.machine else f"\n{step.text}\n\n"
        print("\n" + secrecy.search(folder, "".join(outputs.values()), shared["STORE"], shared["ENDPOINT"]))
        print(f"done in {time.monotonic() - began:.0f} s")
    masks = {
        str(data): "~/cal_housing.data",
        str(folder): "",
        str(PROJECT): "~/trialtree",
        shared["ENDPOINT"]: "http://127.0.0.1:9000",
        shared["MLFLOW_TRACKING_URI"]: "http://127.0.0.1:5000",
    }
    return {line: masked(text, masks) for line, text in outputs.items()}


@contextlib.contextmanager
def _served(folder: Path, store: str | None, endpoint: str | None) -> Iterator[dict[str, str]]:
    """Yield the variables that name what the machines share; its own servers run as long."""
    with contextlib.ExitStack() as running:
        if store is None:
            # Any will do for moto.
            os.environ |= {"AWS_ACCESS_KEY_ID": "walkthrough", "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20)}
            store, endpoint = "s3://walkthrough/california", running.enter_context(services.s3())
        team = _team(folder)
        tracking = running.enter_context(services.mlflow(folder / "mlflow"))
        yield {
            "STORE": store, "ENDPOINT": endpoint or "https://s3.amazonaws.com", "MLFLOW_TRACKING_URI": tracking,
            "TEAM": str(team),
        }  # fmt: skip


def _team(folder: Path) -> Path:
    """Make a bare Git remote with the commit that is checked out here as main; return its address."""
    team = folder / "team.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(team)], check=True)
    fetch = ["git", "-C", str(team), "fetch", "-q", "--update-shallow", str(PROJECT), "HEAD:refs/heads/main"]
    if subprocess.run(fetch, check=False).returncode:
        raise WalkError(f"git fetch {PROJECT}: no commit can be had of it; the walk-through starts at its HEAD")
    return team


def masked(text: str, masks: dict[str, str]) -> str:
    """Return what was printed without what is of this machine: paths, addresses, how long something took."""
    for found, shown in masks.items():
        text = text.replace(found, shown)
    said = (line.rstrip() for line in SPENT.sub("in … s, … rows/s", text).splitlines() if not PROGRESS.search(line))
    return "".join(f"{line}\n" for line in said)


def main() -> None:
    """Parse the command line and walk."""
    parser = argparse.ArgumentParser(prog="python -m examples.walkthrough", description=__doc__)
    parser.add_argument("--data", type=Path, help="cal_housing.data; fetched without")
    parser.add_argument("--keep", type=Path, help="a new folder to work in, left in place; else a temporary one")
    parser.add_argument("--store", help="s3://bucket/prefix of your own, instead of the server that is started")
    parser.add_argument("--endpoint", help="its server, such as https://s3.eu-west-1.amazonaws.com")
    parser.add_argument("--write", action="store_true", help=f"write what is printed into {PAGE.name}")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # so that the servers end, too
    try:
        with contextlib.ExitStack() as left:
            if args.keep:
                args.keep.mkdir(parents=True)
            folder = args.keep or Path(left.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
            outputs = walk(folder, args.data, args.store, args.endpoint)
    except FileExistsError:
        sys.exit(f"{args.keep}: is there already; name a new folder")
    except WalkError as failure:
        sys.exit(f"\n{failure}")
    if args.write:
        PAGE.write_text(page.filled(PAGE.read_text(encoding="utf-8"), outputs), encoding="utf-8")


if __name__ == "__main__":
    main()
