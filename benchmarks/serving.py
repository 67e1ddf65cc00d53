"""What an endpoint costs and gives: a model served by `trialtree serve` and by `mlflow models serve`, asked by wrk.

    python benchmarks/serving.py [--runs 3] [--seconds 3] [--models california messy] [--keep FOLDER]
                                 [--write docs/serving.md]

California and CatBoost with 500 trees, and the messy table with a scikit-learn pipeline that has a one-hot encoding.
Ours has all checks and an access log in a file. The servers take turns, each started anew a run; what is printed is the
median of the runs. One connection for latencies, eight for requests a second, all on this machine: of its processors
the client takes a part, from all servers alike. The tables are read from the project's shared folder and are not part
of it; wrk is Debian's. --keep makes the repositories in a folder, or takes those that are there. CPU is what all
processes of a server spend on a request, whatever else the machine does.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import search
from tests.conftest import PROJECT, SHARED, Repo, isolated, make_repo

TREES, LATENCY, THROUGHPUT = 500, 1, 8  # connections of the latter two
STREAM = "application/vnd.apache.arrow.stream"
_MARK = "<!-- benchmarks/serving.py -->"
_PAUSE, _PATIENCE = 0.02, 120.0  # seconds between two looks for the first answer, and until it is given up
# Says what came of it as JSON: wrk's own text rounds. Latencies are microseconds.
_SCRIPT = """
wrk.method, wrk.path = "POST", "/invocations"
wrk.headers["Content-Type"] = "{media}"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
function done(summary, latency)
  local bad = summary.errors
  io.write(string.format('{{"requests": %d, "us": %d, "bad": %d, "p50": %d, "p99": %d}}\\n', summary.requests,
    summary.duration, bad.connect + bad.read + bad.write + bad.status + bad.timeout, latency:percentile(50),
    latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Load:
    """What is sent in each request."""

    form: str
    rows: int

    def __str__(self) -> str:
        return f"{self.rows:,} row{'s' if self.rows > 1 else ''}, {self.form}"


LOADS = [Load(form, rows) for rows in (1, 1000) for form in ("JSON", "CSV", "Arrow")]
MEDIA = {"JSON": "application/json", "CSV": "text/csv", "Arrow": STREAM}


@dataclass(frozen=True)
class Figures:
    """What was measured of a load: milliseconds, requests a second, and the server's CPU milliseconds of a request.

    The last is the same whatever else the machine does.
    """

    p50: float
    p99: float
    rate: float
    cpu: float


@dataclass
class Measured:
    """What was measured of a server: seconds to its first answer, megabytes after all loads, and the loads."""

    first: float
    worker: float  # proportional set size of the largest process
    resident: float  # its resident set
    rest: float  # proportional set size of all others
    loads: dict[Load, Figures]


# --- the repositories


def california(folder: Path) -> Repo:
    """Return a repository with the model registered as `california`."""
    base = {key: value for key, value in search.BASE.items() if key != "register.name"}
    return _trained(folder, "california_housing/cal_housing.data", {
        **base, "train": {"estimator": "catboost.CatBoostRegressor", "hyperparameters": {"iterations": TREES}},
        "register": {"name": "california"},
    })  # fmt: skip


def messy(folder: Path) -> Repo:
    """Return a repository with the model registered as `messy`."""
    return _trained(folder, "california_housing_messy/housing.csv", {
        "experiment": "messy", "split": {"target": "median_house_value", "test": 0.25, "seed": 0},
        "train": {"estimator": "sklearn.linear_model.LinearRegression"}, "evaluate": {}, "register": {"name": "messy"},
    })  # fmt: skip


MODELS = {"california": california, "messy": messy}


def _trained(folder: Path, table: str, params: Mapping[str, Any]) -> Repo:
    if (folder / "repo").exists():
        for name in ("stages", "trialtree"):  # the code may have changed since, the model has not
            shutil.rmtree(folder / "repo" / name)
            shutil.copytree(PROJECT / name, folder / "repo" / name)
        return Repo(folder / "repo", isolated(folder / "home"))
    repo = make_repo(folder / "repo", folder / "home")
    repo.run("trialtree", "data", "add", str(SHARED / table))
    repo.params({"sweep": ..., **params})
    repo.dvc("repro", "--quiet")
    repo.commit("Train")
    repo.run("trialtree", "track")
    return repo


def bodies(repo: Repo, folder: Path) -> dict[Load, Path]:
    """Write the body of each load: test rows without gaps, again and again until there are enough."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import csv

    model = json.loads((repo.path / "models/model/columns.json").read_text(encoding="utf-8"))
    names = [column["name"] for column in model["columns"]]
    table = pq.read_table(repo.path / "data/split/test").select(names).drop_null()
    folder.mkdir()
    found = {}
    for load in LOADS:
        path = found[load] = folder / f"{load.form}-{load.rows}"
        rows = pa.concat_tables([table] * (load.rows // len(table) + 1)).slice(0, load.rows).combine_chunks()
        if load.form == "JSON":
            data = list(map(list, zip(*(rows.column(name).to_pylist() for name in names), strict=True)))
            path.write_text(json.dumps({"dataframe_split": {"columns": names, "data": data}}))
        elif load.form == "CSV":
            csv.write_csv(rows, str(path), csv.WriteOptions(quoting_style="needed"))
        else:
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, rows.schema) as writer:
                writer.write_table(rows)
    return found


# --- the servers


def ours(model: str, port: int, workers: int) -> list[str]:
    """Return the command of our server."""
    return ["trialtree", "serve", f"{model}@champion", "--port", str(port), "--workers", str(workers)]


def mlflows(model: str, port: int, workers: int) -> list[str]:
    """Return the command of MLflow's."""
    return ["mlflow", "models", "serve", "-m", f"models:/{model}@champion", "--env-manager", "local",
            "--port", str(port), "--workers", str(workers)]  # fmt: skip


SERVERS = {
    "trialtree serve": (ours, 1), "trialtree serve --workers 2": (ours, 2), "mlflow models serve": (mlflows, 1),
    "mlflow models serve --workers 2": (mlflows, 2),
}  # fmt: skip


@contextmanager
def served(repo: Repo, command: Sequence[str], port: int, body: Path, log: Path) -> Iterator[tuple[int, float]]:
    """Run a server; yield its process id and the seconds until it answered."""
    env = {**repo.env, "MLFLOW_TRACKING_URI": f"sqlite:///{repo.path}/mlflow.db"}
    with log.open("ab") as file:
        begun = time.perf_counter()
        process = subprocess.Popen(command, cwd=repo.path, env=env, stdout=file, stderr=file, start_new_session=True)
        try:
            yield process.pid, _first_answer(process, port, body.read_bytes(), begun, log)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            finally:
                _end(process.pid)


def _end(group: int) -> None:
    """End what is left of a server: MLflow's workers outlive the process that started them."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
    time.sleep(0.5)


def _first_answer(process: "subprocess.Popen[bytes]", port: int, body: bytes, begun: float, log: Path) -> float:
    while time.perf_counter() - begun < _PATIENCE and process.poll() is None:
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("POST", "/invocations", body, {"Content-Type": MEDIA["JSON"]})
            if connection.getresponse().status == 200:
                return time.perf_counter() - begun
        except (OSError, HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(_PAUSE)
    sys.exit(f"{process.args!r} does not answer: {log.read_text(errors='replace')[-2000:]}")


def _memory(pid: int) -> tuple[float, float, float]:
    """Return the proportional and resident set of a server's largest process, and the proportional set of the rest."""
    import psutil

    top = psutil.Process(pid)
    found = [each.memory_full_info() for each in (top, *top.children(recursive=True))]
    found.sort(key=lambda each: each.pss, reverse=True)
    return found[0].pss / 1e6, found[0].rss / 1e6, sum(each.pss for each in found[1:]) / 1e6


def _asked(server: tuple[int, int], load: Load, body: Path, connections: int, seconds: int) -> Figures:
    pid, port = server
    script = body.with_suffix(".lua")
    script.write_text(_SCRIPT.format(media=MEDIA[load.form], body=body))
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "30s", "-s", str(script),
               f"http://127.0.0.1:{port}"]  # fmt: skip
    before = _spent(pid)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    if found["bad"] or not found["requests"]:
        sys.exit(f"{load}: {found['bad']} of {found['requests']} requests failed")
    spent = 1000 * (_spent(pid) - before) / found["requests"]
    return Figures(found["p50"] / 1000, found["p99"] / 1000, 1e6 * found["requests"] / found["us"], spent)


def _spent(pid: int) -> float:
    """Return the CPU seconds of a server's processes."""
    import psutil

    top = psutil.Process(pid)
    return sum(sum(each.cpu_times()[:2]) for each in (top, *top.children(recursive=True)))


def measure(repo: Repo, model: str, server: str, sent: Mapping[Load, Path], seconds: int) -> Measured:
    """Start a server, and send it all that it takes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    make, workers = SERVERS[server]
    body = sent[Load("JSON", 1)]
    found = {}
    with served(repo, make(model, port, workers), port, body, body.with_name("log")) as (pid, first):
        for load, path in sent.items():
            if load.form == "Arrow" and make is mlflows:
                continue  # it takes none
            _asked((pid, port), load, path, THROUGHPUT, 1)
            alone = _asked((pid, port), load, path, LATENCY, seconds)
            many = _asked((pid, port), load, path, THROUGHPUT, seconds)
            found[load] = Figures(alone.p50, alone.p99, many.rate, many.cpu)
        return Measured(first, *_memory(pid), found)


# --- what is printed


def typical(runs: Sequence[Measured]) -> Measured:
    """Return the median of each figure."""
    loads = {
        load: Figures(
            *(median(getattr(run.loads[load], name) for run in runs) for name in ("p50", "p99", "rate", "cpu"))
        )
        for load in runs[0].loads
    }
    first, worker, resident, rest = (
        median(getattr(run, name) for run in runs) for name in ("first", "worker", "resident", "rest")
    )
    return Measured(first, worker, resident, rest, loads)


def tables(model: str, found: Mapping[str, Measured]) -> str:
    """Return the figures of a model as Markdown."""
    lines = [f"| {model} | first answer, s | worker, MB (resident) | other processes, MB |", "|---|---|---|---|"]
    for server, of in found.items():
        lines.append(f"| `{server}` | {of.first:.1f} | {of.worker:.0f} ({of.resident:.0f}) | {of.rest:.0f} |")
    for workers in ("", " --workers 2"):
        mine, theirs = found.get(f"trialtree serve{workers}"), found.get(f"mlflow models serve{workers}")
        if mine is None:
            continue
        titles = [f"{model}{workers.replace(' --', ', ')}", "p50, ms", "p99, ms", "requests/s", "CPU, ms"]
        titles += ["MLflow p50", "MLflow p99", "MLflow requests/s", "MLflow CPU", "requests, ratio", "CPU, ratio"]
        lines += ["", f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
        for load, one in mine.loads.items():
            other = theirs.loads.get(load) if theirs else None
            its = " | " * 5
            if other:
                its = f"{other.p50:.2f} | {other.p99:.2f} | {other.rate:,.0f} | {other.cpu:.2f} | "
                its += f"{one.rate / other.rate:.1f}x | {other.cpu / one.cpu:.1f}x"
            lines.append(f"| {load} | {one.p50:.2f} | {one.p99:.2f} | {one.rate:,.0f} | {one.cpu:.2f} | {its} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--servers", nargs="+", default=list(SERVERS), choices=list(SERVERS))
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--write", type=Path, help="a page, whose end below its mark becomes the tables")
    asked = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is not there: apt-get install wrk")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # so that the server ends, too
    printed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for model in asked.models:
            repo = MODELS[model]((asked.keep or Path(folder)) / model)
            sent = bodies(repo, Path(folder) / f"{model}-sent")
            found: dict[str, list[Measured]] = {server: [] for server in asked.servers}
            for run in range(asked.runs):
                for server in asked.servers:
                    found[server].append(measured := measure(repo, model, server, sent, asked.seconds))
                    one = measured.loads[Load("JSON", 1)]
                    said = f"{measured.first:.1f} s, {one.p50:.2f} ms, {one.rate:,.0f} requests/s"
                    print(f"{model}, {server}, run {run + 1}: {said}", file=sys.stderr, flush=True)
            printed.append(tables(model, {server: typical(runs) for server, runs in found.items()}))
            print(f"\n{printed[-1]}", flush=True)
    if asked.write:
        kept = asked.write.read_text(encoding="utf-8").partition(_MARK)[0]
        asked.write.write_text("\n\n".join([kept + _MARK, *printed]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
