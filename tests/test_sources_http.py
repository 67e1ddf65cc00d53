"""fetch from http: downloaded once, resumed, pinned; every fault is one line without a secret."""

import gzip
import hashlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages import keeping, streams, tables
from tests.conftest import PROJECT
from tests.fetching import CSV, PIN, kept, line, read
from tests.web import Web, serving

ADVICE = "see that the network, the address and the proxy (HTTPS_PROXY) are right, then run it again"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(streams, "_PAUSE", 0.0)
    for name in ("DVC_ROOT", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as server:
        server.files["/t.csv"] = CSV
        yield server


def test_a_table_is_downloaded_once_and_then_read_without_the_network(web: Web) -> None:
    url = f"{web.address}/t.csv"
    entry = {"source": url, "etag": web.etag("/t.csv"), "bytes": len(CSV), "sha256": PIN}
    assert read(url) == [entry]
    assert read(url, drop=["b"]) == [entry]
    assert [c.name for c in tables.raw_columns()] == ["row", "a", "label"]
    assert web.asked == [("/t.csv", None)]


def test_without_a_pin_nothing_is_taken_and_the_pin_is_said(web: Web) -> None:
    assert line(f"{web.address}/t.csv", None) == (
        "params.yaml: fetch.sha256: is required for what is elsewhere, which DVC does not watch; "
        f"`trialtree data update` writes it: {PIN}"
    )
    read(f"{web.address}/t.csv")
    assert len(web.asked) == 1


def test_what_changed_since_it_was_pinned_is_refused_and_the_old_one_stays(web: Web) -> None:
    url = f"{web.address}/t.csv"
    read(url)
    web.files["/t.csv"] = CSV + b"2000,1,x\n"
    now = hashlib.sha256(web.files["/t.csv"]).hexdigest()
    assert read(url)  # from what is kept
    other = "0" * 64
    assert line(url, other) == (
        f"params.yaml: fetch.sha256: {url}: changed since it was pinned: the hash is {now}, pinned is {other}; "
        "`trialtree data update` takes the new one"
    )
    web.files.clear()
    assert read(url)  # a look at the new one took nothing away
    assert len(kept()) == 2  # source.json and one file


def test_a_download_that_is_cut_off_goes_on_where_it_was(web: Web) -> None:
    web.cuts["/t.csv"] = [1000, 5000]
    read(f"{web.address}/t.csv")
    assert web.asked == [("/t.csv", None), ("/t.csv", "bytes=1000-"), ("/t.csv", "bytes=6000-")]


def test_a_later_run_goes_on_too(web: Web) -> None:
    web.cuts["/t.csv"] = [1000, 0, 0, 0]
    assert line(f"{web.address}/t.csv") == (
        f"{web.address}/t.csv: cannot be read: {REASON}(1.0 kB are kept, and the next run goes on from there); {ADVICE}"
    ).replace(REASON, READ.format(0, len(CSV) - 1000))
    web.cuts.clear()
    web.asked.clear()
    read(f"{web.address}/t.csv")
    assert web.asked == [("/t.csv", "bytes=1000-")]


REASON = "REASON"
READ = "IncompleteRead({} bytes read, {} more expected) "


def test_a_file_that_changes_while_it_is_cut_off_is_read_anew(web: Web) -> None:
    web.cuts["/t.csv"] = [1000, 0, 0, 0]
    line(f"{web.address}/t.csv")
    web.cuts.clear()
    web.files["/t.csv"] = CSV.replace(b"x", b"z")
    entry = read(f"{web.address}/t.csv", hashlib.sha256(web.files["/t.csv"]).hexdigest())
    assert entry[0]["etag"] == web.etag("/t.csv")


def test_a_server_without_etags_and_ranges_is_read_whole(web: Web) -> None:
    web.etags = False
    web.headers["/t.csv"] = {"no-ranges": "1"}
    web.cuts["/t.csv"] = [1000]
    assert read(f"{web.address}/t.csv") == [{"source": f"{web.address}/t.csv", "bytes": len(CSV), "sha256": PIN}]


def test_faults_that_pass_are_tried_again(web: Web) -> None:
    web.status["/t.csv"] = [503, 429]
    read(f"{web.address}/t.csv")
    web.status["/u.csv"] = [502, 502, 502]
    assert line(f"{web.address}/u.csv") == f"{web.address}/u.csv: the server answers 502 Bad Gateway; {ADVICE}"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, "404 Not Found: there is no such file; see that fetch.source in params.yaml is right"),
        (403, "403 Forbidden: no permission; put credentials into ~/.netrc (machine, login and password), "
         "or renew a signed address"),
        (451, "451 Unavailable For Legal Reasons; see that fetch.source in params.yaml is right"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_line_and_shows_no_signature(web: Web, status: int, said: str) -> None:
    web.status["/t.csv"] = [status]
    url = f"{web.address}/t.csv?X-Amz-Signature=planted&part=1"
    shown = f"{web.address}/t.csv?X-Amz-Signature=***&part=1"
    assert line(url) == f"{shown}: the server answers {said}"
    assert read(url)[0]["source"] == shown
    assert web.asked[-1] == ("/t.csv?X-Amz-Signature=planted&part=1", None)


def test_no_network_is_said() -> None:
    with socket.socket() as held:  # a port where nobody answers
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/t.csv?token=planted"
        assert line(url) == f"{url.replace('planted', '***')}: cannot be read: Connection refused; {ADVICE}"
    assert line("http://no-such-host.invalid/t.csv").startswith("http://no-such-host.invalid/t.csv: cannot be read: ")


def test_the_proxy_of_the_environment_is_asked(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.files["http://data.example.org/t.csv"] = CSV
    monkeypatch.setenv("http_proxy", web.address)
    monkeypatch.setenv("no_proxy", "")
    read("http://data.example.org/t.csv")
    assert web.asked == [("http://data.example.org/t.csv", None)]


def test_credentials_in_an_address_are_refused_and_not_shown() -> None:
    assert line("https://me:planted@example.org/t.csv") == (
        "params.yaml: fetch.source: must not carry a user or a password, for it stands in Git; put them into ~/.netrc, "
        "got 'https://***@example.org/t.csv'"
    )
    assert "planted" not in line(["t.csv", "https://me:planted@example.org/t.csv"])


def test_netrc_opens_the_door(web: Web, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password planted\n", encoding="utf-8")
    assert "planted" not in json.dumps(read(f"{web.address}/t.csv"))


@pytest.mark.parametrize("name", ["/t.csv.gz", "/t.csv"])
def test_an_archive_and_a_packed_transfer_are_told_apart(web: Web, name: str) -> None:
    stored = gzip.compress(CSV, mtime=0) if name.endswith(".gz") else CSV
    web.files[name] = stored
    web.headers[name] = {} if name.endswith(".gz") else {"Content-Encoding": "gzip"}
    assert read(f"{web.address}{name}", hashlib.sha256(stored).hexdigest())[0]["bytes"] == len(stored)
    assert len(tables.raw_columns()) == 4


def test_several_addresses_and_paths_are_one_table(web: Web, tmp_path: Path) -> None:
    (tmp_path / "u.csv").write_bytes(CSV)
    web.files["/other/t.csv"] = CSV
    source = [f"{web.address}/t.csv", "../u.csv", f"{web.address}/other/t.csv"]
    lines = "".join(f"{PIN}  {name}\n" for name in ("t.csv", "u.csv", "t.csv"))
    pin = hashlib.sha256(lines.encode()).hexdigest()
    assert [entry["source"] for entry in read(source, pin)] == source
    web.files.clear()
    assert len(read(source, pin)) == 3


def test_only_the_files_of_the_current_source_are_kept(web: Web) -> None:
    web.files["/u.csv"] = CSV
    read(f"{web.address}/t.csv")
    read(f"{web.address}/u.csv")
    assert len(kept()) == 2


def test_a_damaged_copy_is_noticed_and_replaced(web: Web) -> None:
    read(f"{web.address}/t.csv")
    copy = next(path for path in kept() if path.suffix == ".csv")
    copy.write_bytes(CSV[:-9])
    read(f"{web.address}/t.csv")
    assert len(web.asked) == 2


def test_an_experiment_in_a_temporary_copy_shares_what_is_kept(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    read(f"{web.address}/t.csv")
    here = Path.cwd()
    Path(".dvc/tmp/exps/tmp1").mkdir(parents=True)
    monkeypatch.chdir(".dvc/tmp/exps/tmp1")
    monkeypatch.setenv("DVC_ROOT", str(here))
    read(f"{web.address}/t.csv")
    assert len(web.asked) == 1


def script(url: str, pin: str = PIN) -> list[str]:
    Path("params.yaml").write_text(f"fetch:\n  source: {url}\n  sha256: {pin}\n", encoding="utf-8")
    return [sys.executable, "-m", "stages.fetch"]


ENV = {**os.environ, "PYTHONPATH": str(PROJECT)}


def test_two_processes_at_once_download_once(web: Web) -> None:
    command = script(f"{web.address}/t.csv")
    both = [subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    assert [(p.communicate()[1], p.returncode) for p in both] == [(b"", 0)] * 2
    assert len(web.asked) == 1


def test_a_full_disk_is_one_line_and_leaves_nothing(web: Web) -> None:
    web.files["/t.csv"] = CSV * 100
    command = script(f"{web.address}/t.csv", hashlib.sha256(CSV * 100).hexdigest())
    done = subprocess.run(
        command, env=ENV, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000)),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        1,
        f"{web.address}/t.csv: cannot be kept in {keeping.root()}: File too large; "
        "make room or mend that, then run it again\n",
    )
    assert kept() == []


def test_killed_in_the_middle_it_goes_on_and_hurts_nothing(web: Web) -> None:
    web.stops["/t.csv"] = 5_000
    command = script(f"{web.address}/t.csv")
    process = subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert web.stopped.wait(60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    web.go_on.set()
    web.stops.clear()
    done = subprocess.run(command, env=ENV, capture_output=True, text=True, check=True)
    assert "2000 rows x 3 columns" in done.stdout
    assert len(kept()) == 2


def test_a_source_of_an_unknown_kind_is_said() -> None:
    assert line("gs://bucket/t.csv") == (
        "params.yaml: fetch.source: must be sklearn:NAME, a path, https://…, s3://…, dvc:REPOSITORY#PATH@REVISION, "
        "openml:NUMBER, got 'gs://bucket/t.csv'"
    )
