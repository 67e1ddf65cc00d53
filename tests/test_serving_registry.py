"""NAME[@alias|/version]: the right version, its files whole and on this disk, without MLflow where possible."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from stages import models
from stages.errors import UserError
from tests import registered as registering
from tests.conftest import Repo
from tests.registered import files, move, sql, until
from trialtree.serving.registry import asking, byrest, caching, resolving
from trialtree.serving.registry.bymlflow import Mlflow
from trialtree.serving.registry.bysqlite import Sqlite


@pytest.fixture(scope="module")
def registered_once(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A repository with two versions of iris; for reading only."""
    return registering.make(tmp_path_factory.mktemp("registered"))


@pytest.fixture
def registered(registered_once: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """A copy of it, in which the test stands."""
    return registering.copy(registered_once, tmp_path, monkeypatch)


def resolve(text: str) -> resolving.Resolved:
    return resolving.resolver().resolve(asking.parse(text))


def refusal(text: str) -> str:
    with pytest.raises(UserError) as refused:
        resolve(text)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("iris", asking.Asked("iris")),
        ("iris@champion", asking.Asked("iris", alias="champion")),
        ("my iris-1.2/17", asking.Asked("my iris-1.2", version="17")),
    ],
)
def test_a_model_is_read_and_written_alike(text: str, asked: asking.Asked) -> None:
    assert asking.parse(text) == asked
    assert str(asked) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@champion",
        "iris@",
        "iris/",
        "iris/0",
        "iris/1.0",
        "iris/../x",
        "../iris",
        "iris@a/1",
        "-x",
        "i'",
        "x" * 300,
    ],
)
def test_an_odd_name_is_refused_in_a_line(text: str) -> None:
    with pytest.raises(asking.RegistryError, match="a model is NAME, NAME@ALIAS or NAME/NUMBER") as refused:
        asking.parse(text)
    assert len(str(refused.value)) < 200


def test_a_name_alone_is_its_champion(registered: Repo) -> None:
    found = resolve("iris")
    assert (found.name, found.version, found.alias, found.gaps) == ("iris", "1", "champion", ())
    assert models.digest(found.folder) == found.digest
    assert models.check(found.folder)
    assert found.folder.is_relative_to(registered.path.parent / "home/.local/state/trialtree/cache")


@pytest.mark.usefixtures("registered")
def test_an_alias_and_a_version_are_followed() -> None:
    assert [(resolve(text).version, resolve(text).alias) for text in ("iris@challenger", "iris/1", "iris/2")] == [
        ("2", "challenger"), ("1", None), ("2", None),
    ]  # fmt: skip


def test_without_a_champion_a_name_is_its_newest_version(registered: Repo) -> None:
    sql(registered, "DELETE FROM registered_model_aliases WHERE alias = 'champion'")
    found = resolve("iris")
    assert (found.version, found.alias) == ("2", None)


@pytest.mark.usefixtures("registered")
def test_what_is_not_there_is_told_with_what_is() -> None:
    assert refusal("rose").endswith("registered: iris")
    assert refusal("iris@prod") == "iris has no alias 'prod'; aliases: challenger, champion; versions: 1, 2"
    assert refusal("iris/9") == "iris has no version 9; versions: 1, 2"


def test_a_deleted_version_is_not_there(registered: Repo) -> None:
    sql(registered, "UPDATE model_versions SET current_stage = 'Deleted_Internal' WHERE version = 1")
    assert refusal("iris/1") == "iris has no version 1; versions: 2"


def test_a_repository_without_a_registry_is_told_how_to_have_one(registered: Repo) -> None:
    (registered.path / "mlflow.db").unlink()
    assert "`dvc repro` makes it" in refusal("iris")


def test_neither_mlflow_nor_numpy_is_imported(registered: Repo) -> None:
    script = (
        "import sys; from trialtree.serving.registry import asking, resolving;"
        "resolving.resolver().resolve(asking.parse('iris'));"
        "print(sorted({'mlflow', 'numpy', 'pandas', 'sklearn', 'dvc', 'sqlalchemy'} & sys.modules.keys()))"
    )
    assert registered.run(sys.executable, "-c", script).stdout == "[]\n"


def test_a_model_that_was_brought_needs_no_files_of_the_registry(registered: Repo) -> None:
    before = resolve("iris")
    shutil.rmtree(registered.path / "mlartifacts")
    assert resolve("iris") == before
    (before.folder / "estimator.skops").write_bytes(b"damaged")
    assert refusal("iris").startswith("the files of iris/1 are gone from")


@pytest.mark.usefixtures("registered")
def test_a_damaged_copy_is_brought_anew() -> None:
    found = resolve("iris")
    (found.folder / "estimator.skops").write_bytes(b"damaged")
    assert models.check(resolve("iris").folder)


def test_files_that_changed_in_the_registry_are_refused_and_not_kept(registered: Repo) -> None:
    model = files(registered, 1) / "data/model"
    (model / "estimator.skops").write_bytes(b"changed")
    assert refusal("iris") == "the files of iris/1 are not those that were registered: estimator.skops is damaged"
    manifest = json.loads((model / "manifest.json").read_text())
    (model / "manifest.json").write_text(json.dumps(manifest))
    assert refusal("iris").endswith("its manifest.json is another than was registered")
    assert not list(caching.state().glob("cache/[!.]*"))


def test_a_model_of_another_tool_is_refused(registered: Repo) -> None:
    sql(registered, "DELETE FROM model_version_tags WHERE key = 'model.digest' AND version = 1")
    assert "iris/1 was not registered by trialtree, as it has no tag model.digest" in refusal("iris")


def test_a_script_s_model_is_refused(registered: Repo) -> None:
    path = files(registered, 1) / "data/model/manifest.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 1, "kind": "script"'))
    assert "iris/1 is the model of a training script" in refusal("iris")


def test_columns_with_gaps_are_read_from_the_signature(registered: Repo) -> None:
    path = files(registered, 1) / "MLmodel"
    text = path.read_text()
    path.write_text(re.sub(r'("name":\s+"sepal_width", "required":\s+)true', r"\1false", text))
    assert resolve("iris").gaps == ("sepal_width",)
    path.unlink()
    assert resolve("iris").gaps == ("sepal_width",)  # kept beside the model


@pytest.mark.usefixtures("registered")
def test_a_served_model_is_kept_and_others_go() -> None:
    resolver = resolving.resolver()
    served, other = resolver.resolve(asking.parse("iris/1")), resolve("iris/2")
    caching.clear([])
    assert served.folder.is_dir()
    assert not other.folder.exists()
    caching.clear({served.digest})
    del resolver
    caching.clear({served.digest})
    assert served.folder.is_dir()
    caching.clear([])
    assert not caching.state().exists()


def test_an_alias_that_moves_is_seen_at_once(registered: Repo) -> None:
    resolver = resolving.resolver()
    asked = asking.parse("iris@champion")
    assert resolver.current(asked) == "1"
    move(registered, "champion", 2)
    assert resolver.current(asked) == "2"


def test_a_database_of_another_schema_is_left_to_mlflow(registered: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(resolving.resolver().book, Sqlite)
    sql(registered, "UPDATE alembic_version SET version_num = 'other'")
    assert isinstance(resolving.resolver().book, Mlflow)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://host/db")
    assert isinstance(resolving.resolver().book, Mlflow)


@pytest.mark.slow
def test_mlflow_in_a_process_of_its_own_says_the_same(registered: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", registered.env["PATH"])
    expected = resolve("iris@challenger")
    shutil.rmtree(caching.state())
    resolver = resolving.resolver()
    resolver.book = Mlflow(resolving.stores.find())
    assert resolver.resolve(asking.parse("iris@challenger")) == expected
    with pytest.raises(asking.RegistryError, match="iris has no alias 'prod'; aliases: challenger, champion"):
        resolver.resolve(asking.parse("iris@prod"))
    with pytest.raises(asking.RegistryError, match="registered: iris"):
        resolver.resolve(asking.parse("rose"))


@contextmanager
def server(repo: Repo) -> Iterator[str]:
    """Run MLflow's server over the repository's store."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    root = (repo.path / "mlartifacts").as_uri()
    process = subprocess.Popen(
        ["mlflow", "server", "--backend-store-uri", f"sqlite:///{repo.path}/mlflow.db", "--artifacts-destination", root,
         "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        cwd=repo.path, env=repo.env, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with process:
        try:
            until(lambda: answers(f"http://127.0.0.1:{port}/health"), 60)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def answers(address: str) -> bool:
    try:
        return requests.get(address, timeout=10).ok
    except requests.ConnectionError:
        return False


@pytest.mark.slow
def test_a_server_says_the_same(registered: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = resolve("iris@challenger")
    shutil.rmtree(caching.state())
    with server(registered) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        resolver = resolving.resolver()
        assert isinstance(resolver.book, byrest.Rest)
        assert resolver.resolve(asking.parse("iris@challenger")) == expected
        assert refusal("iris@prod") == "iris has no alias 'prod'; aliases: challenger, champion; versions: 1, 2"
        assert refusal("iris/3") == "iris has no version 3; versions: 1, 2"
        assert refusal("rose") == f"there is no registered model 'rose' in {address}; registered: iris"
    assert refusal("iris") == f"MLflow at {address}: cannot be reached (ConnectionError)"


@pytest.mark.usefixtures("registered")
def test_a_server_that_is_away_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
    assert refusal("iris") == f"MLflow at http://127.0.0.1:{port}: cannot be reached (ConnectionError)"


@pytest.mark.usefixtures("registered")
def test_credentials_are_those_that_mlflow_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "a-token")
    assert byrest._session().headers["Authorization"] == "Bearer a-token"
    Path("~/.mlflow").expanduser().mkdir()
    Path("~/.mlflow/credentials").expanduser().write_text("[mlflow]\nmlflow_tracking_username = me\n")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "100%secret")
    assert byrest._session().auth == ("me", "100%secret")
