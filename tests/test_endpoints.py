"""Endpoints of this machine: made, updated, told of and deleted by real processes with real models."""

import json
import os
import signal
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import registered as registering
from tests.conftest import Repo
from tests.registered import move, sql, until

pytestmark = pytest.mark.slow  # each starts servers, and stops them

ROW = json.dumps({"instances": [[5.1, 3.5, 1.4, 0.2]]}).encode()


@pytest.fixture(scope="module")
def registered_once(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A repository with two versions of iris; for reading only."""
    return registering.make(tmp_path_factory.mktemp("registered"))


@pytest.fixture
def repo(registered_once: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repo]:
    """A copy of it; nothing of its endpoints is left afterwards."""
    found = registering.copy(registered_once, tmp_path, monkeypatch)
    yield found
    for name in json.loads(run(found, "list", "--json").stdout or "[]"):
        run(found, "delete", name["name"], "--force")
    assert servers(found) == []


def run(repo: Repo, *args: str, check: bool = True, **env: str) -> "subprocess.CompletedProcess[str]":
    return repo.run("trialtree", "endpoint", *args, check=check, **env)


def refusal(repo: Repo, *args: str) -> str:
    done = run(repo, *args, check=False)
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


def status(repo: Repo, name: str = "e") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(repo, "status", name, "--json").stdout)
    return found


def logged(text: str) -> list[str]:
    """Return the events of a log, whose other lines are for people."""
    return [json.loads(line)["event"] for line in text.splitlines() if line.startswith("{")]


def servers(repo: Repo) -> list[int]:
    """Return the processes that run in the repository for an endpoint."""
    found = []
    for process in psutil.process_iter():
        try:
            if "trialtree." in " ".join(process.cmdline()) and process.cwd() == str(repo.path):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def state(repo: Repo) -> Path:
    return repo.path.parent / "home/.local/state"


def left(repo: Repo) -> list[Path]:
    return [path for path in state(repo).rglob("*") if path.is_file()]


def ask(address: str) -> str:
    """Return the version that answered a request, which is well answered."""
    asked = urllib.request.Request(f"{address}/invocations", ROW, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=20) as answer:
        assert json.load(answer)["predictions"] == ["setosa"]
        return str(answer.status)


class Load(threading.Thread):
    """Asks again and again, and counts what fails."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.address, self.asked, self.failed, self.going = address, 0, [], True
        self.start()

    def run(self) -> None:
        while self.going:
            self.asked += 1
            try:
                ask(self.address)
            except (OSError, urllib.error.URLError) as error:
                self.failed.append(error)

    def end(self) -> tuple[int, list[Any]]:
        self.going = False
        self.join()
        return self.asked, self.failed


def test_an_endpoint_is_made_asked_and_deleted_without_a_trace(repo: Repo) -> None:
    said = run(repo, "create", "e", "--model", "iris@champion").stdout.splitlines()
    assert said[0] == "no keys: every program of this machine may ask, and none of another"
    assert said[1].startswith("e is started: iris/1 (champion) at http://127.0.0.1:")
    address = said[1].rpartition(" ")[2]
    ask(address)
    found = status(repo)
    assert (found["state"], found["address"], found["requests"]["requests"]) == ("ready", address, 1)
    assert os.getsid(found["pid"]) == found["pid"]
    shown = run(repo, "status", "e").stdout
    for text in ("ready", address, "iris/1", "champion", "100%", " MB", "1 (0 failed"):
        assert text in shown
    assert "iris/1 (champion)" in run(repo, "list").stdout
    assert "serving" in logged(run(repo, "logs", "e").stdout)
    assert run(repo, "delete", "e").stdout == "e is deleted\n"
    assert (left(repo), servers(repo)) == ([], [])
    assert refusal(repo, "status", "e") == "there is no endpoint 'e' on this machine; there are: none"


def test_the_same_command_changes_nothing_and_another_model_comes_without_a_pause(repo: Repo) -> None:
    run(repo, "create", "e", "--model", "iris@champion")
    before = status(repo)
    load = Load(before["address"])
    assert "e is unchanged: iris/1 (champion)" in run(repo, "create", "e", "--model", "iris@champion").stdout
    assert status(repo)["generation"] == 1
    said = run(repo, "create", "e", "--model", "iris@challenger").stdout
    assert "e is updated: iris/2 (challenger)" in said
    said = run(repo, "traffic", "e", "champion=90,challenger=10", "--shadow", "2").stdout
    assert "e is updated: iris/1 (champion) 90%, iris/2 (challenger) 10%, iris/2 as shadow" in said
    assert "iris/1 (champion) 90%, iris/2 (challenger) 10% at" in run(repo, "traffic", "e", "--no-shadow").stdout
    assert refusal(repo, "traffic", "e", "prod=100").endswith("versions: 1, 2; e answers as before")
    after = status(repo)
    assert [(model["version"], model["share"]) for model in after["models"]] == [("1", 0.9), ("2", 0.1)]
    assert (after["pid"], after["workers"][0]["pid"]) == (before["pid"], before["workers"][0]["pid"])
    asked, failed = load.end()
    assert asked > 20
    assert failed == []


def test_an_alias_that_moves_is_taken_up_under_load(repo: Repo) -> None:
    run(repo, "create", "e", "--model", "iris@champion", "--workers", "2")
    load = Load(status(repo)["address"])
    move(repo, "champion", 2)
    until(lambda: status(repo)["generation"] == 2)
    assert status(repo)["models"][0]["version"] == "2"
    assert load.end()[1] == []


def test_other_options_start_it_again_on_the_same_port(repo: Repo) -> None:
    run(repo, "create", "e", "--model", "iris")
    before = status(repo)
    assert "e is restarted" in run(repo, "create", "e", "--model", "iris", "--workers", "2").stdout
    after = status(repo)
    assert after["address"] == before["address"]
    assert len(after["workers"]) == 2


def test_other_options_that_it_cannot_start_with_leave_it_as_it_was(repo: Repo) -> None:
    run(repo, "create", "e", "--model", "iris/1")
    said = refusal(repo, "create", "e", "--model", "iris/9", "--max-rows", "5")
    assert said.startswith("iris has no version 9")
    assert said.endswith("; e answers as before")
    assert status(repo)["state"] == "ready"
    assert status(repo)["models"][0]["version"] == "1"


def test_a_killed_server_is_stopped_and_started_again_even_without_its_registry(repo: Repo) -> None:
    run(repo, "create", "e", "--model", "iris")
    before = status(repo)
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: servers(repo) == [])
    found = status(repo)
    assert (found["state"], found["pid"], found["workers"]) == ("stopped", None, [])
    (repo.path / "mlflow.db").rename(repo.path / "elsewhere.db")
    assert "e is started: iris/1 (champion)" in run(repo, "create", "e", "--model", "iris").stdout
    assert status(repo)["address"] == before["address"]
    ask(before["address"])
    assert "registry away" in run(repo, "logs", "e").stdout


def test_a_killed_worker_is_replaced(repo: Repo) -> None:
    run(repo, "create", "e", "--model", "iris")
    worker = status(repo)["workers"][0]["pid"]
    os.kill(worker, signal.SIGKILL)
    until(lambda: (w := status(repo)["workers"][0])["state"] == "ready" and w["pid"] != worker)
    ask(status(repo)["address"])
    assert status(repo)["error"]["line"] == f"worker {worker} ended (SIGKILL) while ready; another takes its place"


def test_the_registry_may_go_while_it_serves(repo: Repo) -> None:
    run(repo, "create", "e", "--model", "iris@champion")
    address = status(repo)["address"]
    (repo.path / "mlflow.db").rename(repo.path / "elsewhere.db")
    until(lambda: status(repo)["error"])
    ask(address)
    (repo.path / "elsewhere.db").rename(repo.path / "mlflow.db")
    move(repo, "champion", 2)
    until(lambda: status(repo)["generation"] == 2)
    assert status(repo)["error"] is None


def test_an_alias_that_moves_to_a_damaged_model_changes_nothing(repo: Repo) -> None:
    run(repo, "create", "e", "--model", "iris@champion")
    (registering.files(repo, 2) / "data/model/estimator.skops").write_bytes(b"damaged")
    move(repo, "champion", 2)
    error = until(lambda: status(repo)["error"])
    assert error["line"] == "the files of iris/2 are not those that were registered: estimator.skops is damaged"
    ask(status(repo)["address"])
    assert status(repo)["models"][0]["version"] == "1"


def test_one_that_cannot_be_made_leaves_nothing(repo: Repo) -> None:
    assert refusal(repo, "create", "e", "--model", "iris@prod") == (
        "iris has no alias 'prod'; aliases: challenger, champion; versions: 1, 2"
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refusal(repo, "create", "e", "--model", "iris", "--port", str(port)).startswith(f"port {port} of")
    sql(repo, "DELETE FROM model_version_tags WHERE key = 'model.digest'")
    assert "was not registered by trialtree" in refusal(repo, "create", "e", "--model", "iris")
    assert (left(repo), servers(repo)) == ([], [])


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "a b", "x" * 64])
def test_an_odd_name_is_refused(repo: Repo, name: str) -> None:
    assert refusal(repo, "create", name, "--model", "iris").startswith("an endpoint's name has letters")
    assert refusal(repo, "delete", name).startswith("an endpoint's name has letters")


def test_what_is_open_to_others_needs_a_key(repo: Repo) -> None:
    assert "as there are no keys" in refusal(repo, "create", "e", "--model", "iris", "--host", "0.0.0.0")
    token = run(repo, "key", "me", "--file", "keys").stdout.strip()
    run(repo, "create", "e", "--model", "iris", "--keys", "keys")
    address = status(repo)["address"]
    with pytest.raises(urllib.error.HTTPError, match="401"):
        ask(address)
    asked = urllib.request.Request(
        f"{address}/invocations", ROW, {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(asked, timeout=20) as answer:
        assert answer.status == 200


def test_two_at_once_make_one(repo: Repo) -> None:
    command = ["trialtree", "endpoint", "create", "e", "--model", "iris"]
    both = [subprocess.Popen(command, cwd=repo.path, env=repo.env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate()[0].splitlines()[-1].split(":")[0] for process in both)
    assert said == ["e is started", "e is unchanged"]


def test_another_repository_s_endpoint_is_left_alone(repo: Repo) -> None:
    run(repo, "create", "e", "--model", "iris")
    other = repo.path.parent / "other"
    other.mkdir()
    for name in ("stages", "trialtree", "dvc.yaml", "params.yaml", ".git"):
        (other / name).symlink_to(repo.path / name)
    assert refusal(Repo(other, repo.env), "create", "e", "--model", "iris") == (
        f"the endpoint e is of the repository {repo.path}; name this one differently"
    )
    run(Repo(other, repo.env), "delete", "e", "--force")
    assert (left(repo), servers(repo)) == ([], [])


def test_logs_are_followed_until_it_is_deleted(repo: Repo) -> None:
    run(repo, "create", "e", "--model", "iris")
    with subprocess.Popen(
        ["trialtree", "endpoint", "logs", "e", "-f"], cwd=repo.path, env=repo.env, stdout=subprocess.PIPE, text=True
    ) as follower:
        assert follower.stdout
        while "serving" not in follower.stdout.readline():
            pass
        run(repo, "delete", "e")
        assert "stopping" in logged(follower.communicate(timeout=20)[0])
        assert follower.returncode == 0


def test_its_port_stays_and_is_no_other_s(repo: Repo) -> None:
    run(repo, "create", "a", "--model", "iris")
    run(repo, "create", "b", "--model", "iris")
    ports = {name: status(repo, name)["address"] for name in ("a", "b")}
    assert len(set(ports.values())) == 2
    for name in ("a", "b"):
        os.kill(status(repo, name)["pid"], signal.SIGKILL)
    until(lambda: servers(repo) == [])
    for name in ("b", "a"):
        run(repo, "create", name, "--model", "iris")
    assert {name: status(repo, name)["address"] for name in ("a", "b")} == ports


def test_a_model_that_was_damaged_on_this_disk_is_brought_anew(repo: Repo) -> None:
    run(repo, "create", "e", "--model", "iris")
    before = status(repo)
    (Path(before["models"][0]["folder"]) / "estimator.skops").write_bytes(b"damaged")
    os.kill(before["workers"][0]["pid"], signal.SIGKILL)
    until(lambda: (s := status(repo))["workers"][0]["state"] == "ready" and s["workers"][0]["restarts"] == 2)
    ask(before["address"])


def test_one_whose_server_was_just_killed_is_started_on_its_port(repo: Repo) -> None:
    run(repo, "create", "e", "--model", "iris")
    before = status(repo)
    with socket.create_connection(("127.0.0.1", int(before["address"].rpartition(":")[2]))) as slow:
        slow.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")  # what holds a worker
        os.kill(before["pid"], signal.SIGKILL)
        assert "e is started" in run(repo, "create", "e", "--model", "iris").stdout
    assert status(repo)["address"] == before["address"]


def asked_with(address: str, key: str) -> int:
    """Return the status of an answer to who shows a key."""
    asked = urllib.request.Request(f"{address}/version", headers={"X-API-Key": key} if key else {})
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_keys_that_change_are_taken_up_and_never_lost(repo: Repo) -> None:
    create = ("create", "e", "--model", "iris", "--host", "0.0.0.0", "--keys", "keys")
    old = run(repo, "key", "old", "--file", "keys").stdout.strip()
    run(repo, *create)
    before = status(repo)
    assert "e is unchanged" in run(repo, *create).stdout
    (repo.path / "keys").unlink()
    new = run(repo, "key", "new", "--file", "keys").stdout.strip()
    assert "e is updated" in run(repo, *create).stdout
    assert [asked_with(before["address"], key) for key in (old, new, "")] == [401, 200, 401]
    assert "e is unchanged" in run(repo, *create).stdout
    assert status(repo)["workers"][0]["pid"] == before["workers"][0]["pid"]

    (repo.path / "keys").write_text("# nobody\n")
    os.kill(before["pid"], signal.SIGHUP)
    until(lambda: "has no key" in (status(repo)["error"] or {}).get("line", ""))
    assert refusal(repo, "traffic", "e", "champion=100").endswith("; e answers as before")
    assert "has no key" in refusal(repo, *create)
    assert [asked_with(before["address"], key) for key in (new, "")] == [200, 401]


def test_other_keys_of_the_environment_and_another_certificate_start_it_again(repo: Repo) -> None:
    for number in (1, 2):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
             "-keyout", f"key{number}", "-out", f"cert{number}"],
            cwd=repo.path, check=True, capture_output=True,
        )  # fmt: skip
    for name in ("cert", "key"):
        (repo.path / name).write_bytes((repo.path / f"{name}1").read_bytes())
    create = ("create", "e", "--model", "iris@champion", "--tls-cert", "cert", "--tls-key", "key")
    run(repo, *create, TRIALTREE_TOKEN="a-token-of-my-own")
    assert "e is unchanged" in run(repo, *create, TRIALTREE_TOKEN="a-token-of-my-own").stdout
    assert "e is restarted" in run(repo, *create, TRIALTREE_TOKEN="another-token-of-mine").stdout
    pid = status(repo)["pid"]
    assert "e is updated" in run(repo, "traffic", "e", "champion=100").stdout  # without that token
    assert status(repo)["pid"] == pid
    for name in ("cert", "key"):
        (repo.path / name).write_bytes((repo.path / f"{name}2").read_bytes())
    assert "e is restarted" in run(repo, *create, TRIALTREE_TOKEN="another-token-of-mine").stdout


def test_a_damaged_endpoint_is_shown_and_in_nobody_s_way(repo: Repo) -> None:
    folder = state(repo) / "trialtree/endpoints/broken"
    folder.mkdir(parents=True)
    for text in ("{", '{"repository": "x", "options": []}'):
        (folder / "endpoint.json").write_text(text)
        (found,) = json.loads(run(repo, "list", "--json").stdout)
        assert (found["name"], found["state"], found["models"]) == ("broken", "damaged", [])
    assert "damaged: " in run(repo, "list").stdout
    assert "endpoint.json is damaged; `trialtree endpoint delete broken`" in run(repo, "status", "broken").stdout
    assert "e is started" in run(repo, "create", "e", "--model", "iris").stdout
    assert run(repo, "delete", "broken").stdout == "broken is deleted\n"


def test_only_its_user_reads_what_an_endpoint_keeps(repo: Repo) -> None:
    run(repo, "create", "e", "--model", "iris", "--log-requests", "1", "--log-folder", "kept")
    folders = (state(repo) / "trialtree/endpoints/e", repo.path / "kept")
    assert [folder.stat().st_mode & 0o777 for folder in folders] == [0o700, 0o700]


def test_one_whose_workers_all_die_is_failing_until_its_model_is_brought_anew(repo: Repo) -> None:
    run(repo, "create", "e", "--model", "iris")
    before = status(repo)
    (repo.path / "mlflow.db").rename(repo.path / "elsewhere.db")
    (Path(before["models"][0]["folder"]) / "estimator.skops").write_bytes(b"damaged")
    os.kill(before["workers"][0]["pid"], signal.SIGKILL)
    until(lambda: status(repo)["workers"][0]["restarts"] >= 2 and status(repo)["state"] == "failing")
    line = status(repo)["error"]["line"]
    assert "failing: " in run(repo, "list").stdout
    assert "failing" in (shown := run(repo, "status", "e").stdout)
    assert "last error" in shown
    assert line
    (repo.path / "elsewhere.db").rename(repo.path / "mlflow.db")
    run(repo, "create", "e", "--model", "iris", "--max-rows", "5")
    assert status(repo)["state"] == "ready"
    ask(status(repo)["address"])
