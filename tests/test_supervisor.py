"""The parent of workers: ready once they are, alive when they die, gone with all of them when it is to end."""

import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import PROJECT
from tests.registered import until
from trialtree.serving.settings import Plan, Planned, Settings
from trialtree.serving.team import Team

PROVE = "import sys, json; f = json.loads(sys.argv[1])['folder']; f == 'bad' and sys.exit('it cannot be loaded')"


@dataclass
class Server:
    """A running server of fake workers."""

    process: "subprocess.Popen[str]"
    folder: Path
    said: str = ""

    @property
    def address(self) -> str:
        found = re.search(r"http://\S+", self.said)
        assert found, self.said
        return found[0]

    def plan(self, text: str) -> None:
        partial = self.folder / "plan.partial"
        partial.write_text(text)
        partial.replace(self.folder / "plan")

    def ask(self, path: str = "/") -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.address}{path}", timeout=20) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "status.json").read_text())
        return found

    def workers(self) -> list[int]:
        return [child.pid for child in psutil.Process(self.process.pid).children()]

    def end(self, *signals: signal.Signals) -> tuple[int, str]:
        """Send signals; return the exit status and what stood on standard error."""
        for number in signals:
            self.process.send_signal(number)
            time.sleep(0.05)
        return self.process.wait(20), self.process.stderr.read() if self.process.stderr else ""


@contextmanager
def serving(
    folder: Path, plan: str = "1 well", *, workers: int = 1, port: int = 0, grace: float = 20, prove: bool = False
) -> Iterator[Server]:
    """Run a server; nothing of it is left afterwards, or the test fails."""
    (folder / "plan").write_text(plan)
    command = [sys.executable, "-m", "tests.fakeserver", folder / "plan", folder / "status.json"]
    process = subprocess.Popen(
        [*command, str(workers), str(port), str(grace), *([sys.executable, "-c", PROVE] if prove else [])],
        cwd=PROJECT, env={**os.environ, "FAKE_GO": str(folder / "go")}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with process:
        assert process.stdout
        server = Server(process, folder, process.stdout.readline())
        children = []
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(process.pid).children()
        try:
            yield server
        finally:
            process.kill()
            process.wait()
            _, left = psutil.wait_procs(children, 10)
            for child in left:
                child.kill()
            assert not left


def test_it_says_where_it_is_once_it_answers(tmp_path: Path) -> None:
    with serving(tmp_path, workers=2) as server:
        assert re.fullmatch(
            r"fake/1 \(champion\) at (http://127\.0\.0\.1:\d+)  \(documentation: \1/docs\)\n", server.said
        )
        assert server.ask()["version"] == "1"
        status = server.status()
        assert (status["pid"], status["state"], status["generation"]) == (server.process.pid, "ready", 1)
        assert [worker["pid"] for worker in status["workers"]] == sorted(server.workers())
        assert server.end(signal.SIGTERM)[0] == 0
        assert server.status()["state"] == "stopped"


def test_it_imports_nothing_large() -> None:
    script = (
        "import sys, trialtree.serving.supervisor, trialtree.serving.sources;"
        "print(sorted({'mlflow', 'numpy', 'pandas', 'pydantic', 'dvc', 'requests', 'yaml', 'trialtree.tracking'}"
        " & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_model_that_cannot_be_loaded_is_a_line_and_status_1(tmp_path: Path) -> None:
    with serving(tmp_path, "1 refuses", workers=2) as server:
        status, errors = server.end()
        assert (status, errors.splitlines()[-1]) == (1, "the model is broken")


def test_no_plan_is_a_line_and_status_1(tmp_path: Path) -> None:
    with serving(tmp_path, "!the registry is away") as server:
        status, errors = server.end()
        assert (status, errors.splitlines()[-1]) == (1, "the registry is away")


def test_a_worker_that_dies_at_its_first_start_ends_the_server(tmp_path: Path) -> None:
    with serving(tmp_path, "1 dies") as server:
        status, errors = server.end()
        assert (status, errors.splitlines()[-1]) == (1, "a worker ended before it was ready: exit status 7")


def test_a_taken_port_is_a_line_that_says_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serving(tmp_path, port=port) as server:
            status, errors = server.end()
    assert status == 1
    assert errors == (
        f"port {port} of 127.0.0.1 is taken; end what has it, or name another: --port {port + 1}, "
        "or --port 0 for a free one\n"
    )


def test_a_killed_worker_is_replaced_while_others_answer(tmp_path: Path) -> None:
    with serving(tmp_path, workers=2) as server:
        killed = server.workers()[0]
        os.kill(killed, signal.SIGKILL)
        until(lambda: server.status()["error"])
        for _ in range(50):
            assert server.ask()["version"] == "1"
        status = until(lambda: (s := server.status()) and all(w["state"] == "ready" for w in s["workers"]) and s)
        assert sorted(worker["restarts"] for worker in status["workers"]) == [0, 1]
        assert killed not in server.workers()
        assert status["error"]["line"] == f"worker {killed} ended (SIGKILL) while ready; another takes its place"
        assert server.end(signal.SIGTERM)[0] == 0


def test_a_worker_that_dies_again_and_again_is_given_more_and_more_time(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        waited = []
        for _ in range(3):
            (pid,) = until(server.workers)
            until(lambda: server.status()["workers"][0]["state"] == "ready")
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: pid not in server.workers())
            began = time.monotonic()
            until(server.workers)
            waited.append(time.monotonic() - began)
        assert 0.4 < waited[0] < 0.9 < waited[1] < 1.8 < waited[2] < 3.5, waited


def test_a_killed_server_leaves_no_worker(tmp_path: Path) -> None:
    with serving(tmp_path, workers=2) as server:
        children = psutil.Process(server.process.pid).children()
        server.process.kill()
        assert psutil.wait_procs(children, 10)[1] == []


def test_a_new_plan_is_taken_up_without_a_failed_request(tmp_path: Path) -> None:
    with serving(tmp_path, workers=2, prove=True) as server:
        server.plan("2 well")
        versions = []
        until(lambda: versions.append(server.ask()["version"]) or versions[-1] == "2")
        until(lambda: server.status()["generation"] == 2)
        assert set(versions) == {"1", "2"}
        assert {server.ask()["version"] for _ in range(20)} == {"2"}
        assert server.status()["models"][0]["version"] == "2"


def test_a_model_that_does_not_prove_itself_reaches_no_worker(tmp_path: Path) -> None:
    with serving(tmp_path, prove=True) as server:
        server.plan("2 bad")
        error = until(lambda: server.status()["error"])
        assert error["line"] == "fake/2 is not taken: it cannot be loaded"
        assert (server.ask()["version"], server.status()["generation"]) == ("1", 1)
        server.plan("3 well")
        until(lambda: server.status()["generation"] == 2)
        assert (server.ask()["version"], server.status()["error"]) == ("3", None)
        _, errors = server.end(signal.SIGTERM)
        assert errors.count("it cannot be loaded") == 1


def test_a_plan_that_workers_refuse_is_gone_back_from(tmp_path: Path) -> None:
    with serving(tmp_path, workers=2) as server:
        server.plan("2 refuses")
        until(lambda: server.status()["generation"] == 3)
        status = server.status()
        assert (server.ask()["version"], status["models"][0]["version"]) == ("1", "1")
        assert status["error"]["line"] == "the model is broken"


def test_a_source_that_is_away_is_said_once_and_served_on(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.plan("!the registry is away")
        until(lambda: server.status()["error"])
        assert server.ask()["version"] == "1"
        time.sleep(0.5)
        server.plan("1 well")
        until(lambda: server.status()["error"] is None)
        _, errors = server.end(signal.SIGTERM)
        assert errors.count("the registry is away") == 1


def test_a_hangup_reads_all_anew(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.process.send_signal(signal.SIGHUP)
        until(lambda: server.status()["answered"] == 1 and server.status()["generation"] == 2)
        server.plan("!the registry is away")
        until(lambda: server.status()["error"])
        server.process.send_signal(signal.SIGHUP)
        until(lambda: server.status()["answered"] == 2)
        assert server.ask()["version"] == "1"


def test_what_was_begun_is_answered_before_it_ends(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        host, port = server.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as slow:
            slow.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
            server.ask()  # so that the first was taken
            server.process.send_signal(signal.SIGTERM)
            until(lambda: server.status()["state"] == "stopping")
            assert server.process.poll() is None
            (tmp_path / "go").touch()
            assert b'"version": "1"' in slow.recv(4096)
        assert server.end()[0] == 0


def test_a_second_interrupt_ends_it_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, "1 hangs") as server:
        began = time.monotonic()
        assert server.end(signal.SIGINT, signal.SIGINT)[0] == 0
        assert time.monotonic() - began < 5


def test_a_worker_that_does_not_stop_is_killed_after_the_grace(tmp_path: Path) -> None:
    with serving(tmp_path, "1 hangs", grace=0.1) as server:
        status, errors = server.end(signal.SIGTERM)
        assert status == 0
        assert "SIGKILL" in [json.loads(line).get("how") for line in errors.splitlines()]


def test_what_happens_is_logged_as_json(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        _, errors = server.end(signal.SIGTERM)
        events = [json.loads(line) for line in errors.splitlines()]
        assert [event["event"] for event in events] == [
            "worker started", "plan", "ready", "serving", "stopping", "worker ended",
        ]  # fmt: skip
        assert all(event["time"].endswith("+00:00") for event in events)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_can_be_ended_before_it_is_ready(tmp_path: Path, number: signal.Signals) -> None:
    os.mkfifo(tmp_path / "plan")  # whoever reads it waits
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakeserver", tmp_path / "plan", tmp_path / "status.json", "1", "0", "20"],
        cwd=PROJECT, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with process:
        until((tmp_path / "status.json").exists)
        process.send_signal(number)
        assert process.wait(10) == 0


def test_when_all_workers_die_again_and_again_it_is_failing_until_one_is_ready(tmp_path: Path) -> None:
    with serving(tmp_path, workers=2) as server:
        server.plan("2 dies")
        until(lambda: server.status()["state"] == "failing")
        assert re.fullmatch(r"worker \d+ ended \(exit status 7\) while .*", server.status()["error"]["line"])
        server.plan("3 well")
        until(lambda: server.status()["state"] == "ready")
        assert server.ask()["version"] == "3"


READS_LATE = """
import json, socket, sys, time
control = socket.socket(fileno=int(sys.argv[2]))
time.sleep(0.5)
lines = control.makefile("r")
for said in ("ready", "planned"):
    told = json.loads(lines.readline())
    assert len(told["settings"]["keys"]) == 30_000
    control.sendall(json.dumps({"said": said, "generation": told["plan"]["generation"]}).encode() + b"\\n")
lines.readline()
"""


def test_messages_that_are_larger_than_a_socket_takes_arrive_whole() -> None:
    keys = tuple((f"key{number}", "a" * 64) for number in range(30_000))
    plan = Plan(0, "fake", (Planned("fake", "1", "well", "0" * 64),))
    with socket.create_server(("127.0.0.1", 0)) as listener, selectors.DefaultSelector() as selector:
        command = (sys.executable, "-c", READS_LATE)
        team = Team(1, command, listener.fileno(), Settings("fake", keys=keys), selector)
        team.start()
        team.change(plan)
        assert team.workers[0].waiting
        team.change(plan)
        end = time.monotonic() + 20
        while team.generation < 2 and time.monotonic() < end:
            for key, _ in selector.select(1):
                team.attend(key.data)
        try:
            assert (team.generation, team.workers[0].waiting) == (2, False)
            assert selector.select(0) == []
        finally:
            team.kill()
            assert team.workers[0].process
            team.workers[0].process.wait()
            team.workers[0].silence()
