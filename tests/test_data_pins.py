"""`trialtree data add ADDRESS`, `check` and `update`: what is elsewhere is pinned, looked at, taken when told to."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from stages.errors import UserError
from tests.conftest import Repo
from tests.fetching import CSV, PIN
from tests.web import Web, serving
from trialtree import data, editing, pins

NEW = CSV + b"2000,1,x\n"
NEW_PIN = hashlib.sha256(NEW).hexdigest()


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as server:
        server.files["/t.csv"] = CSV
        yield server


def changed(repo: Repo, name: str) -> list[str]:
    """Return the lines that a file has gained and lost against the last commit."""
    lines = repo.git("diff", "-U0", "HEAD", "--", name).splitlines()
    return [line for line in lines if line[0] in "+-" and not line.startswith(("+++", "---"))]


def test_an_address_is_added_checked_and_updated(there: Repo, web: Web) -> None:
    url = f"{web.address}/t.csv"
    added = there.run("trialtree", "data", "add", url)
    assert added.stdout.splitlines() == [
        f"{url}: fetch.source of params.yaml, pinned by fetch.sha256",
        "next: set split.target in params.yaml to one of: a, b, label",
        "then: `dvc repro`",
    ]
    assert changed(there, "params.yaml") == ["-  source: sklearn:iris", f"+  source: {url}", f"+  sha256: {PIN}"]
    assert there.run("trialtree", "data", "add", url).stdout == added.stdout
    assert there.run("trialtree", "data", "check").stdout == "unchanged\n"
    assert there.run("trialtree", "data", "update").stdout == "unchanged\n"
    there.dvc("repro", "fetch")
    there.commit("Take the table")
    assert [part for _, part in web.asked] == [None] * len(web.asked)

    web.files["/t.csv"] = NEW
    looked = there.run("trialtree", "data", "check", check=False)
    said = (
        f"{url}: changed since it was pinned: the hash is {NEW_PIN}, pinned is {PIN}; "
        "`trialtree data update` takes the new one\n"
    )
    assert (looked.returncode, looked.stdout, looked.stderr) == (1, said, "")
    # A plain repro takes nothing, and with other params it still has the old table.
    assert "didn't change" in there.dvc("repro", "fetch").stdout
    there.params({"fetch.drop": ["b"]})
    assert "2000 rows x 2 columns" in there.dvc("repro", "fetch").stdout
    there.git("checkout", "-q", ".")

    asked = len(web.asked)
    assert there.run("trialtree", "data", "update").stdout.splitlines() == [
        f"{url} (16.9 kB): fetch.sha256 of params.yaml is now {NEW_PIN}, was {PIN}",
        "next: `dvc repro`",
    ]
    assert changed(there, "params.yaml") == [f"-  sha256: {PIN}", f"+  sha256: {NEW_PIN}"]
    assert "2001 rows x 3 columns" in there.dvc("repro", "fetch").stdout
    assert len(web.asked) == asked + 1  # an update and a repro: one download


@pytest.mark.usefixtures("there")
def test_what_the_server_says_is_enough_to_know_that_nothing_changed(web: Web, tmp_path: Path) -> None:
    data.add_all([f"{web.address}/t.csv"], tmp_path)
    web.stops["/t.csv"] = 0  # the body would never come
    assert pins.check() == []
    assert pins.update() == []


def test_a_fresh_clone_looks_into_data_json(there: Repo, web: Web, tmp_path: Path) -> None:
    data.add_all([f"{web.address}/t.csv"], tmp_path)
    there.stage("fetch")
    there.run("rm", "-r", ".dvc/tmp/trialtree")
    web.stops["/t.csv"] = 0
    assert pins.check() == []
    assert not list(Path(".dvc/tmp/trialtree/sources").rglob("source.json"))


@pytest.mark.usefixtures("there")
def test_another_etag_of_the_same_bytes_is_no_change(web: Web, tmp_path: Path) -> None:
    data.add_all([f"{web.address}/t.csv"], tmp_path)
    web.headers["/t.csv"] = {"ETag": '"other"'}
    assert pins.check() == []
    assert pins.update() == []


def test_a_table_under_data_source_is_looked_at_and_updated(there: Repo, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(CSV)
    data.add([tmp_path / "t.csv"])
    there.commit("Add")
    assert (pins.check(), pins.update()) == ([], [])
    Path("data/source/t.csv").write_bytes(NEW)
    assert pins.check() == ["data/source/t.csv: changed since `dvc add`; `trialtree data update` takes the new one"]
    assert pins.update() == ["data/source/t.csv: under DVC as it is now", "next: `dvc repro`"]
    assert (pins.check(), pins.update()) == ([], [])
    assert changed(there, "params.yaml") == []
    assert len(changed(there, "data/source/t.csv.dvc")) == 4  # md5 and size
    Path("data/source/t.csv").write_bytes(CSV)  # which did not hurt DVC's copy
    there.dvc("checkout", "-q", "--force", "data/source/t.csv")
    assert Path("data/source/t.csv").read_bytes() == NEW


def test_a_path_elsewhere_and_a_table_of_scikit_learn(there: Repo, tmp_path: Path) -> None:
    assert (pins.check(), pins.update()) == ([], [])
    (tmp_path / "t.csv").write_bytes(CSV)
    there.params({"fetch.source": "../t.csv"})
    with pytest.raises(UserError) as caught:
        pins.check()
    assert str(caught.value) == ("params.yaml: fetch.sha256: nothing pins the source yet; `trialtree data update` does")
    assert pins.update()[0].endswith(f"fetch.sha256 of params.yaml is now {PIN}, was not pinned")
    assert pins.check() == []
    (tmp_path / "t.csv").write_bytes(NEW)
    assert pins.check() == [
        f"../t.csv: changed since it was pinned: the hash is {NEW_PIN}, pinned is {PIN}; "
        "`trialtree data update` takes the new one"
    ]


def test_a_query_is_pinned_below_its_mapping(there: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    database = sqlite3.connect("w.db")
    with database:
        database.execute("CREATE TABLE t AS SELECT 1 AS a, 'x' AS b")
    monkeypatch.setenv("WAREHOUSE_URL", "sqlite:///w.db")
    path = Path("params.yaml")
    written = path.read_text(encoding="utf-8").replace(
        "source: sklearn:iris\n",
        "source:   # the warehouse\n    sql:\n      url_env: WAREHOUSE_URL\n      query: |\n        SELECT a, b\n\n"
        "        FROM t ORDER BY a\n  # which?\n  drop: []\n",
    )
    path.write_text(written, encoding="utf-8")
    (said, _) = pins.update()
    pin = said.split(" is now ")[1].split(",")[0]
    assert path.read_text(encoding="utf-8") == written.replace("  # which?", f"  sha256: {pin}\n  # which?")
    there.stage("fetch")
    assert pins.check() == []
    with database:
        database.execute("INSERT INTO t VALUES (2, 'y')")
    database.close()
    assert len(pins.check()) == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("fetch:\n  source: a  # why\n\n# split\nsplit: {}\n",
         "fetch:\n  source: a  # why\n  sha256: NEW\n\n# split\nsplit: {}\n"),
        ("fetch:\n  drop: [b]\n  source:\n  - a\n  - b\n\n\nsplit: {}",
         "fetch:\n  drop: [b]\n  source:\n  - a\n  - b\n  sha256: NEW\n\n\nsplit: {}"),
        ("fetch:\n  source: a", "fetch:\n  source: a\n  sha256: NEW\n"),
        ("fetch: {source: a}\nsplit: {}\n", "fetch: {source: a, sha256: NEW}\nsplit: {}\n"),
        ("fetch:\n  sha256: 'OLD' # c\n  source: a\n", "fetch:\n  sha256: 'NEW' # c\n  source: a\n"),
    ],
)  # fmt: skip
def test_the_pin_is_written_and_nothing_else_changes(before: str, after: str) -> None:
    assert editing.with_key(before, "sha256", "NEW") == after


def test_what_cannot_be_added_is_said_and_changes_nothing(there: Repo, web: Web, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(CSV)
    url = f"{web.address}/none.csv"
    cases = {
        (url,): f"{url}: the server answers 404 Not Found: there is no such file; "
        "see that fetch.source in params.yaml is right",
        (url, "../t.csv"): "add files or addresses, not both at once: a hash pins the ones, DVC the others",
        ("https://me:planted@host/t.csv",): "params.yaml: fetch.source: must not carry a user or a password, for it "
        "stands in Git; put them into ~/.netrc, got 'https://***@host/t.csv'",
    }
    for given, said in cases.items():
        done = there.run("trialtree", "data", "add", *given, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{said}\n")
    assert there.git("status", "--porcelain") == ""


@pytest.mark.slow
def test_no_secret_is_printed_or_written(there: Repo, web: Web, tmp_path: Path) -> None:
    secrets = {
        "AWS_ACCESS_KEY_ID": "planted", "AWS_SECRET_ACCESS_KEY": "planted", "AWS_SESSION_TOKEN": "planted",
        "WAREHOUSE_URL": f"sqlite:///{tmp_path}/planted.db", "PG_URL": "postgresql+psycopg://me:planted@127.0.0.1:1/d",
    }  # fmt: skip
    Path(there.env["HOME"], ".netrc").write_text("machine 127.0.0.1 login planted password planted\n", encoding="utf-8")
    Path(".dvc/config.local").write_text(
        "['remote \"s\"']\n    url = s3://bucket/x\n    access_key_id = planted\n    secret_access_key = planted\n",
        encoding="utf-8",
    )
    web.files["/bucket/t.csv"] = CSV
    printed = ""

    def run(*command: str) -> None:
        nonlocal printed
        done = there.run(*command, check=False, **secrets)
        printed += done.stdout + done.stderr
        with suppress(FileNotFoundError):
            printed += Path("reports/data.json").read_text(encoding="utf-8")

    for name in (f"{web.address}/t.csv", "s3://bucket/t.csv", "s3://other/none.csv", f"{web.address}/no"):
        run("trialtree", "data", "add", name, *(["--endpoint", web.address] if name.startswith("s3") else []))
        run("python", "-m", "stages.fetch")
    run("trialtree", "data", "check")
    for url_env in ("WAREHOUSE_URL", "PG_URL"):
        there.params({"fetch.source": {"sql": {"url_env": url_env, "query": "SELECT 1 AS a"}}, "fetch.endpoint": ...})
        run("trialtree", "data", "update")
        run("dvc", "repro", "fetch")
    assert printed.count("2000 rows") == 4
    assert "planted" not in printed
    written = [path for path in there.path.rglob("*") if path.is_file() and path.name != "config.local"]
    assert [path for path in written if b"planted" in path.read_bytes()] == []
