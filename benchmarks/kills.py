"""Kill -9 at random moments of fetch, split, push and `trialtree run`; afterwards one repeat must bring the same.

    python benchmarks/kills.py [--times 20] [--seed 0] [--of fetch split push run]

Each command runs undisturbed first. Then, for each kill, its folder is put back, the whole process group gets SIGKILL
after a seeded random part of that time (one in each of equal slices, so that all phases are hit), the command is
repeated once, and everything is compared: every file's SHA-256 (outputs, dvc.lock, DVC's cache), the objects of the
remote, Git's commits, MLflow's rows. A file too much is a difference as well. Exit status 1 on any.
"""

import argparse
import hashlib
import logging
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import killing
from benchmarks.killing import Case, Kill, State
from benchmarks.tables import make, ours
from tests.conftest import Repo, make_repo
from tests.servers import CREDENTIALS, S3, Line, line_to, s3_server
from tests.web import serving

ROWS = 600_000
BUCKET = "kills"
# Equal content and equal times are equal commits.
TIMES = {"GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z"}
# So that there are many objects to push.
FILES = {"split.files": {"train": 12, "validation": 1, "test": 4}}


def _has(pattern: str) -> Callable[[Repo], bool]:
    return lambda repo: any(repo.path.glob(pattern))


def _locked(stage: str) -> Callable[[Repo], bool]:
    def reached(repo: Repo) -> bool:
        lock = repo.path / "dvc.lock"
        return lock.exists() and f"\n  {stage}:" in lock.read_text()

    return reached


def _moved(repo: Repo) -> Callable[[Repo], bool]:
    start = repo.git("rev-parse", "HEAD")
    return lambda repo: (repo.path / ".git/refs/heads/main").read_text().strip() != start


@contextmanager
def fetch(folder: Path, rows: int = ROWS) -> Iterator[Case]:
    """Yield `trialtree run fetch` on a CSV file."""
    repo = _table(folder, rows)
    case = Case("fetch", ["trialtree", "run", "fetch"], repo, [
        ("DVC starts", lambda _: True),
        ("reading", _has("data/.fetch.*.partial")),
        ("writing rows", _has("data/.raw.parquet.*.partial/*.parquet")),
        ("describing", _has("data/raw.parquet")),
        ("DVC hashes and stores", _has("reports/data.json")),
        ("committing", _locked("fetch")),
        ("committed", _moved(repo)),
    ])  # fmt: skip
    case.keep()
    yield case


@contextmanager
def split(folder: Path, rows: int = ROWS) -> Iterator[Case]:
    """Yield `trialtree run split` on the same table."""
    repo = _table(folder, rows)
    repo.dvc("repro", "fetch")
    repo.commit("Fetch")
    case = Case("split", ["trialtree", "run", "split"], repo, [
        ("DVC starts", lambda _: True),
        ("planning", _has("data/.split.*.partial")),
        ("dealing out", _has("data/.split.*.partial/.buckets.*.partial")),
        ("writing", _has("data/.split.*.partial/train/*.parquet")),
        ("DVC hashes and stores", _has("data/split")),
        ("committing", _locked("split")),
        ("committed", _moved(repo)),
    ])  # fmt: skip
    case.keep()
    yield case


@contextmanager
def push(folder: Path, rows: int = ROWS) -> Iterator[Case]:
    """Yield a push of the table and its parts to an S3 server, and of the commit to a bare Git repository."""
    with pushing(folder, rows) as (case, _):
        yield case


@contextmanager
def pushing(folder: Path, rows: int = ROWS) -> Iterator[tuple[Case, Line]]:
    """Yield such a push, and the line that it goes over."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    with s3_server() as server, line_to(server.url) as line:
        repo = _pushable(folder, rows, server, line.address)
        cache = repo.path / ".dvc/cache/files/md5"
        wanted = len([path for path in cache.rglob("*") if path.is_file()])

        def count() -> int:
            return len([key for key in server.keys(BUCKET) if "/files/md5/" in key])

        case = Case("push", ["trialtree", "run", "split", "--push"], repo, [
            ("before the first object", lambda _: True),
            ("uploading", lambda _: count() > 0),
            ("all objects there", lambda _: count() >= wanted),
            ("branch there", lambda _: (folder / "work/origin.git/refs/heads/main").exists()),
        ], lambda: _elsewhere(server, repo), lambda: server.empty(BUCKET))  # fmt: skip
        case.keep()
        yield case, line


def _elsewhere(server: S3, repo: Repo) -> State:
    """Return the bucket's objects by SHA-256, those among DVC's that are damaged, and the commits of the Git remote."""
    client, found = server.client(), {}
    for key in server.keys(BUCKET):
        body = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        found[f"s3: {key}"] = hashlib.sha256(body).hexdigest()
        if "/files/md5/" in key and hashlib.md5(body).hexdigest() != "".join(key.removesuffix(".dir").split("/")[-2:]):
            found[f"s3, damaged: {key}"] = ""
    for upload in client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []):
        found[f"s3, half an upload: {upload['Key']}"] = ""
    return {**found, "origin": repo.git("--git-dir", "../origin.git", "log", "--all", "--format=%D %T %s")}


@contextmanager
def run(folder: Path) -> Iterator[Case]:
    """Yield `trialtree run` on iris, from nothing to a commit and a registered model."""
    repo = _fixed(make_repo(folder / "work" / "repo", folder / "work" / "home"))
    case = Case("run", ["trialtree", "run"], repo, [
        ("DVC starts", lambda _: True),
        ("fetch", _has("data")),
        *((after, _locked(stage)) for stage, after in (
            ("fetch", "split"), ("split", "train"), ("train", "evaluate"), ("evaluate", "register"),
            ("register", "committing"),
        )),
        ("committed", _moved(repo)),
    ])  # fmt: skip
    case.keep()
    yield case


CASES = {"fetch": fetch, "split": split, "push": push, "run": run}


def _fixed(repo: Repo) -> Repo:
    return Repo(repo.path, {**repo.env, **TIMES})


def _table(folder: Path, rows: int) -> Repo:
    """Return a repository with a table as its source, committed."""
    made = folder / "table.csv"
    make(made, rows)
    repo = _fixed(ours(folder / "work", made))
    repo.params(FILES)
    repo.run("dvc", "add", "-q", "data/source/table.csv")
    repo.commit("Table")
    return repo


def _pushable(folder: Path, rows: int, server: S3, address: str) -> Repo:
    """Return a repository whose split is made and committed, with remotes for Git and DVC that are empty."""
    server.bucket(BUCKET)
    repo = _table(folder, rows)
    repo = Repo(repo.path, {**repo.env, **CREDENTIALS})
    repo.run("trialtree", "remote", f"s3://{BUCKET}/data", "--endpoint", address)
    repo.git("init", "-q", "--bare", "-b", "main", "../origin.git")
    repo.git("remote", "add", "origin", "../origin.git")
    repo.params({"split.files": {"train": 60, "validation": 1, "test": 20}})  # many objects
    repo.commit("Remote")
    repo.run("trialtree", "run", "split")
    return repo


def kills(case: Case, times: int, seed: int) -> tuple[float, list[Kill]]:
    """Kill a command so many times; return the seconds it takes undisturbed, and what came of each kill."""
    took, whole = killing.undisturbed(case)
    again, repeated = killing.undisturbed(case)
    if wrong := killing.differences(whole, repeated):
        raise RuntimeError(f"{case.name}: two undisturbed runs differ, so that nothing can be compared: {wrong}")
    now = took = min(took, again)  # `now` follows what else the machine has to do
    drawn, found = random.Random(f"{case.name} {seed}"), []
    for place in range(times):
        share = (place + drawn.random()) / times
        while isinstance(done := killing.kill(case, whole, share * now), float):
            now = done * 0.95
        now = max(now, done.repeat)
        found.append(done)
        print(f"{case.name} {done}", file=sys.stderr, flush=True)
    return took, found


def cut_download(folder: Path, rows: int = ROWS) -> Kill:
    """Kill fetch in the middle of a download, which the repeat must go on with."""
    with serving() as web, fetch(folder, rows) as case:
        made, half = folder / "table.csv", (folder / "table.csv").stat().st_size // 2
        web.files["/table.csv"] = made.read_bytes()
        case.repo.params({"fetch": {"source": f"{web.address}/table.csv", "sha256": killing.sha256(made)}})
        case.repo.commit("From the web")
        case.keep()
        _, whole = killing.undisturbed(case)
        web.stops["/table.csv"] = half

        def arrived() -> bool:
            works = case.repo.path.glob(".dvc/tmp/trialtree/sources/*/work/*.csv")
            if not web.stopped.is_set() or sum(path.stat().st_size for path in works) < half // 2:
                return False
            web.stops.clear()
            web.go_on.set()
            return True

        web.asked.clear()
        done = killing.kill(case, whole, None, arrived)
    if isinstance(done, float):
        raise RuntimeError("the download was not stopped")
    resumed = any(asked for _, asked in web.asked)
    return replace(done, phase="downloading", differences=done.differences + ["it began anew"] * (not resumed))


def half_an_upload(folder: Path, rows: int = ROWS) -> Kill:
    """Kill a push in the middle of an object."""
    with pushing(folder, rows) as (case, line):
        _, whole = killing.undisturbed(case)
        line.stop_after((case.repo.path / "data/raw.parquet").stat().st_size)

        def stopped() -> bool:
            if not line.stopped.is_set():
                return False
            line.left = None
            return True

        done = killing.kill(case, whole, None, stopped)
    if isinstance(done, float):
        raise RuntimeError("the upload was not stopped")
    return replace(done, phase="half an object sent")


def cut_commit(folder: Path) -> Kill:
    """Kill `trialtree run` while Git writes the index."""
    with run(folder) as case:
        begun = folder / "begun"
        filters = f"test -e {begun} || {{ touch {begun}; sleep 60; }}; cat"
        case.repo.git("config", "filter.slow.clean", filters)
        (case.repo.path / ".git/info/attributes").write_text("reports/metrics.json filter=slow\n")
        case.keep()
        begun.touch()
        _, whole = killing.undisturbed(case)
        begun.unlink()
        done = killing.kill(case, whole, None, begun.exists)
    if isinstance(done, float):
        raise RuntimeError("Git was not stopped")
    return replace(done, phase="Git writes its index")


AIMED = {"fetch": cut_download, "push": half_an_upload, "run": cut_commit}


def table(name: str, took: float, found: list[Kill]) -> Iterator[str]:
    """Yield a line for each phase of a command, and each difference."""
    for phase in dict.fromkeys(kill.phase for kill in found):
        of = [kill for kill in found if kill.phase == phase]
        wrong = sum(bool(kill.differences) for kill in of)
        hand = sum(kill.by_hand and not kill.differences for kill in of)
        slowest = max(kill.repeat for kill in of)
        same = len(of) - wrong - hand
        yield f"| {name}, {took:.1f} s | {phase} | {len(of)} | {same} | {hand} | {wrong} | {slowest:.1f} s |"
    for kill in found:
        yield from (f"{name}, killed after {kill.seconds:.2f} s ({kill.phase}): {it}" for it in kill.differences)


def main() -> None:
    """Print a table; exit with 1 where anything differed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--of", nargs="+", choices=CASES, default=list(CASES))
    asked = parser.parse_args()
    print("| command, undisturbed | killed while | kills | same after one repeat | a file deleted first | other "
          "| slowest repeat |\n|---|---|---|---|---|---|---|", flush=True)  # fmt: skip
    wrong = False
    for name in asked.of:
        with tempfile.TemporaryDirectory() as folder, CASES[name](Path(folder)) as case:
            took, found = kills(case, asked.times, asked.seed)
        if aimed := AIMED.get(name):
            with tempfile.TemporaryDirectory() as folder:
                found.append(aimed(Path(folder)))
        wrong |= any(kill.differences for kill in found)
        print(*table(name, took, found), sep="\n", flush=True)
    sys.exit(wrong)


if __name__ == "__main__":
    main()
