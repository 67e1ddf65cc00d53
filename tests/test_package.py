"""A packaged model: a folder that passes the platforms' own checks, and runs where the repository is not."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import numpy as np
import pyarrow as pa
import pytest
import yaml
from packaging.requirements import Requirement

from stages import models, tables
from stages.errors import UserError
from tests.conftest import PROJECT, Repo
from tests.test_fitting import NUMBERS, TABLE, fit
from trialtree.packaging import code, launch, libraries, names, writing
from trialtree.serving.registry.resolving import Resolved

BIN = Path(sys.executable).parent
CATBOOST = "catboost.CatBoostRegressor"
SVR = "sklearn.svm.SVR"
ODD = 'od"d $HOME\\ näme\n# <b>'
ARROW = "application/vnd.apache.arrow.stream"


def made(folder: Path, estimator: str = SVR, name: str = "prices", **recipe: Any) -> Resolved:
    """Fit a model, and return it as the registry would."""
    models.save(fit(NUMBERS, estimator, **recipe).model, folder)
    return Resolved(name, "3", "champion", models.digest(folder), folder, ("size", "colour", "sold"), "c0ffee" * 6)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in the repository."""
    monkeypatch.chdir(PROJECT)


@pytest.fixture
def version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Resolved:
    """A registered support vector machine, in the repository."""
    monkeypatch.chdir(PROJECT)
    return made(tmp_path / "model")


def packed(found: Resolved, out: Path) -> Path:
    writing.write(found, out)
    return out


def ran(*command: str | Path, **more: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **more)


def manifests(out: Path) -> dict[str, Any]:
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in (out / "kubernetes").iterdir()}


@pytest.mark.parametrize("name", ["prices", ODD])
def test_hadolint_finds_nothing_in_the_dockerfile(name: str, version: Resolved, tmp_path: Path) -> None:
    if shutil.which("hadolint", path=str(BIN)) is None:
        pytest.skip("hadolint is for x86-64 Linux")
    out = packed(replace(version, name=name), tmp_path / "out")
    done = ran(BIN / "hadolint", "--failure-threshold", "style", out / "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", ["prices", ODD, "9", "no", "-"])
def test_every_manifest_is_what_kubernetes_takes_whatever_the_name(
    name: str, version: Resolved, tmp_path: Path
) -> None:
    found = manifests(packed(replace(version, name=name), tmp_path / "out"))
    listed = found.pop("kustomization")
    assert listed["resources"] == sorted(f"{stem}.yaml" for stem in found)
    for content in found.values():
        kubernetes_validate.validate(content, kubernetes_validate.latest_version(), strict=True)
        assert content["metadata"]["annotations"]["trialtree/name"] == name
        assert re.fullmatch("[a-z]([-a-z0-9]{0,50}[a-z0-9])?", content["metadata"]["name"])
    assert {content["kind"] for content in found.values()} == {
        "Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy",
    }  # fmt: skip


def test_pods_have_no_rights_and_are_replaced_without_a_gap(version: Resolved, tmp_path: Path) -> None:
    found = manifests(packed(version, tmp_path / "out"))
    spec = found["deployment"]["spec"]
    pod, container = spec["template"]["spec"], spec["template"]["spec"]["containers"][0]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert found["autoscaler"]["spec"]["minReplicas"] == 2
    assert (pod["automountServiceAccountToken"], pod["securityContext"]["runAsNonRoot"]) == (False, True)
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")] == [
        "/ready", "/ready", "/live",
    ]  # fmt: skip
    assert found["network"]["spec"]["egress"] == []
    assert "Secret" not in {content["kind"] for content in found.values()}


def test_two_names_never_become_one_service() -> None:
    given = ["iris", "Iris", "i ris", "i-ris", "i_ris", "-iris", "9", "model-9", "é", "x" * 300, "x" * 301]
    assert names.of_service("iris") == "iris"
    assert len({names.of_service(name) for name in given}) == len(given)


def test_requirements_are_exact_with_hashes_and_name_no_index(version: Resolved, tmp_path: Path) -> None:
    text = (packed(version, tmp_path / "out") / "requirements.txt").read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=\S)", text.strip())
    assert not re.search(r"https?:|file:|^-|--index|--find-links", text, re.MULTILINE)
    for block in blocks:
        first, *hashes = re.split(r" \\\n\s+", block)
        assert re.fullmatch(r"==[\w.]+", str(Requirement(first).specifier))
        assert hashes
        assert all(re.fullmatch("--hash=sha256:[0-9a-f]{64}", each) for each in hashes)
    locked = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
    assert all(block.partition(" ")[0] in locked for block in blocks)


@pytest.mark.usefixtures("here")
def test_only_what_the_model_needs_is_installed(tmp_path: Path) -> None:
    def needed(found: Resolved) -> set[str]:
        text = (packed(found, tmp_path / found.name) / "requirements.txt").read_text(encoding="utf-8")
        return set(re.findall(r"^([\w.-]+)==", text, re.MULTILINE))

    machine = needed(made(tmp_path / "a", name="svr"))
    boosted = needed(made(tmp_path / "b", CATBOOST, "boosted", hyperparameters={"iterations": 5}))
    plain = needed(made(tmp_path / "c", CATBOOST, "plain", **passing()))
    never = {"boto3", "duckdb", "dvc", "graphviz", "matplotlib", "mlflow", "pandas", "plotly", "requests"}
    assert not never & (machine | boosted | plain)
    assert {"scikit-learn", "skops", "numpy", "pyarrow", "starlette", "uvicorn", "uvloop", "httptools"} <= machine
    assert (machine ^ boosted) == {"catboost", "six"}
    assert boosted - plain >= {"scikit-learn", "skops", "joblib"}


def passing() -> dict[str, Any]:
    """Return a recipe by which CatBoost takes the columns as they are."""
    return {"hyperparameters": {"iterations": 50}, "features": {"columns": {"sold": {"drop": True}}}}


def test_the_program_is_what_its_imports_say(version: Resolved, tmp_path: Path) -> None:
    app = packed(version, tmp_path / "out") / "app"
    have = {path.relative_to(app).as_posix() for path in app.rglob("*.py")}
    assert {"stages/models.py", "trialtree/serving/worker.py", "trialtree/packaging/launch.py"} <= have
    assert not {name for name in have if re.search(r"tracking|registry|sweep|cli\.py|fetch|stages/train\.py", name)}


def test_imports_within_functions_count_but_not_those_for_type_checkers(tmp_path: Path) -> None:
    package = tmp_path / "stages"
    package.mkdir()
    texts = {
        "__init__": "def later():\n    import stages.never\n",
        "first": "from typing import TYPE_CHECKING\nfrom stages import second\nif TYPE_CHECKING:\n    import pandas\n",
        "second": "import os\ndef use():\n    from stages.third import thing\n    import numpy.linalg\n",
        "third": "thing = 1\n",
        "never": "",
    }
    for name, text in texts.items():
        (package / f"{name}.py").write_text(text, encoding="utf-8")
    found = code.needed(["stages.first"], {"stages": package})
    assert list(found.files) == ["stages/__init__.py", "stages/first.py", "stages/second.py", "stages/third.py"]
    assert found.foreign == {"numpy"}


@pytest.mark.usefixtures("here")
def test_a_model_of_the_repositorys_own_class_brings_its_module(tmp_path: Path) -> None:
    found = made(tmp_path / "model", "sklearn.linear_model.Ridge", features={"number": {"clip": [0.05, 0.95]}})
    assert any(name.startswith("stages.") for name in libraries.classes(found.folder))
    app = packed(found, tmp_path / "out") / "app"
    for name in libraries.classes(found.folder):
        if name.startswith("stages."):
            assert (app / f"{name.replace('.', '/')}.py").exists()


def test_a_damaged_model_is_one_line_and_leaves_nothing(version: Resolved, tmp_path: Path) -> None:
    path = version.folder / "estimator.skops"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError) as raised:
        writing.write(version, tmp_path / "out")
    assert str(raised.value) == f"{path} is damaged: its SHA-256 is not the one that training wrote"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]


def test_another_model_than_was_registered_is_refused(version: Resolved, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^prices/3: .* holds another model than was registered: its SHA-256 differs$"):
        writing.write(replace(version, digest="0" * 64), tmp_path / "out")


def test_what_is_there_is_replaced_only_by_force_and_only_if_it_is_a_package(version: Resolved, tmp_path: Path) -> None:
    out = packed(version, tmp_path / "out")
    with pytest.raises(UserError) as raised:
        writing.write(version, out)
    assert str(raised.value) == f"{out} is there; --force replaces it"
    (out / "old").touch()
    writing.write(version, out, force=True)
    assert not (out / "old").exists()
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter").touch()
    with pytest.raises(UserError) as raised:
        writing.write(version, other, force=True)
    assert str(raised.value) == f"{other} is there, and no package of a model; name another folder"
    assert (other / "chapter").exists()


def test_libraries_that_did_not_make_the_model_are_refused(version: Resolved) -> None:
    path = version.folder / "versions.json"
    versions = json.loads(path.read_text(encoding="utf-8"))
    locked = versions["scikit-learn"]
    path.write_text(json.dumps(versions | {"scikit-learn": "1.0.0"}), encoding="utf-8")
    with pytest.raises(UserError) as raised:
        libraries.pinned(version.folder, ["numpy"], "3.11")
    assert str(raised.value) == (
        f"the model was made with scikit-learn 1.0.0, and requirements.lock has {locked}, with which it may predict "
        "other numbers; package it in a checkout of its commit, or train it anew"
    )


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["200000 100000"], 2),
        (["150000 100000"], 1),
        (["50000 100000"], 1),
        (["max 100000"], None),
        (["-1", "100000"], None),
    ],
)
def test_a_container_has_as_many_workers_as_its_share_of_cpus(
    files: list[str], expected: int | None, tmp_path: Path
) -> None:
    paths = [tmp_path / str(number) for number in range(len(files))]
    for path, text in zip(paths, files, strict=True):
        path.write_text(f"{text}\n", encoding="ascii")
    own = len(os.sched_getaffinity(0))
    assert launch.cpus([paths]) == (own if expected is None else min(own, expected))


# In an environment of its own


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Virtual environments by the requirements that they were made from."""
    return {"": tmp_path_factory.mktemp("environments")}


def environment(out: Path, known: dict[str, Path]) -> Path:
    """Return a virtual environment that has a package's requirements and nothing else."""
    text = (out / "requirements.txt").read_text(encoding="utf-8")
    if text not in known:
        folder = known[""] / str(len(known))
        for command in (
            ["venv", "--quiet", "--python", sys.executable, folder],
            ["pip", "install", "--quiet", "--python", folder / "bin/python", "--no-deps", "--no-build",
             "--require-hashes", "--requirements", out / "requirements.txt"],
        ):  # fmt: skip
            done = ran(BIN / "uv", *command)
            assert done.returncode == 0, done.stderr
        known[text] = folder
    return known[text]


def free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def clean(venv: Path, tmp: Path, **more: str) -> dict[str, str]:
    """Return an environment that knows nothing of the repository."""
    tmp.mkdir(exist_ok=True)
    return {"PATH": f"{venv}/bin:/usr/bin:/bin", "TMPDIR": str(tmp), "TRIALTREE_WORKERS": "1", **more}


@contextmanager
def serving(out: Path, env: Mapping[str, str]) -> Iterator[str]:
    """Run a package's `serve`, as SageMaker would, and yield its address."""
    port = str(free())
    command = [str(out / "serve"), "serve"]
    with (out.parent / "log").open("w+") as log:
        process = subprocess.Popen(
            command, cwd="/", env={**env, "SAGEMAKER_BIND_TO_PORT": port}, stderr=log, stdout=log
        )
        try:
            for _ in range(300):
                if process.poll() is not None or status(f"http://127.0.0.1:{port}/ready") == 200:
                    break
                time.sleep(0.1)
            assert process.poll() is None, (out.parent / "log").read_text(encoding="utf-8")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, (out.parent / "log").read_text(encoding="utf-8")


def status(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def predicted(url: str, rows: pa.Table) -> list[Any]:
    """Return what the server predicts for a table."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    headers = {"Content-Type": ARROW, "Accept": "application/json"}
    request = urllib.request.Request(f"{url}/invocations", sink.getvalue().to_pybytes(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: list[Any] = json.load(answer)["predictions"]
    return found


def everything(folder: Path) -> dict[str, Any]:
    return {p.relative_to(folder).as_posix(): p.stat().st_mtime_ns for p in folder.rglob("*")}


@pytest.mark.slow
def test_iris_runs_where_the_repository_is_not(
    ran_once: Repo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environments: dict[str, Path]
) -> None:
    monkeypatch.chdir(ran_once.path)
    folder = ran_once.path / "models/model"
    out = packed(Resolved("iris", "1", None, models.digest(folder), folder, (), None), tmp_path / "out")
    model = models.load(folder)
    rows = tables.read_part("test", list(model.columns))
    for path in (out, *out.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)
    before = everything(out)
    env = clean(environment(out, environments), tmp_path / "tmp", PYTHONDONTWRITEBYTECODE="1")  # as in the image
    with serving(out, env) as url:
        assert status(f"{url}/ping") == 200
        assert predicted(url, rows) == model.predict(rows).tolist()
        health = {**env, "SAGEMAKER_BIND_TO_PORT": url.rpartition(":")[2]}
        assert ran(out / "serve", "health", env=health, cwd="/").returncode == 0
    assert ran(out / "serve", "health", env=health, cwd="/").returncode == 1
    assert everything(out) == before
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("recipe", [{"hyperparameters": {"iterations": 50}}, passing()], ids=["prepared", "as it is"])
def test_catboost_runs_without_what_it_only_draws_with(
    recipe: dict[str, Any], tmp_path: Path, environments: dict[str, Path]
) -> None:
    found = made(tmp_path / "model", CATBOOST, **recipe)
    out = packed(found, tmp_path / "out")
    model = models.load(found.folder)
    with serving(out, clean(environment(out, environments), tmp_path / "tmp")) as url:
        assert np.array_equal(predicted(url, TABLE.select([c.name for c in model.columns])), model.predict(TABLE))


def test_others_than_this_machine_need_a_key(version: Resolved, tmp_path: Path) -> None:
    out = packed(version, tmp_path / "out")
    env = clean(BIN.parent, tmp_path / "tmp", TRIALTREE_HOST="0.0.0.0")
    done = ran(out / "serve", env=env, cwd="/")
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        "TRIALTREE_HOST: 0.0.0.0 is reached from elsewhere, and there are no keys: set TRIALTREE_KEYS_FILE, "
        "or TRIALTREE_ANONYMOUS=1 where the platform asks callers who they are\n",
    )
    with serving(out, {**env, "TRIALTREE_ANONYMOUS": "1"}) as url:
        assert status(f"{url}/ping") == 200
    keys = tmp_path / "keys"
    digest = "8c6976e5b5410415bde908bd4dee15dfb167a9c873fc4bb8a81f6f2ab448a918"  # of `admin`
    keys.write_text(f"mobile:{digest}\n", encoding="utf-8")
    with serving(out, {**env, "TRIALTREE_KEYS_FILE": str(keys)}) as url:
        assert status(f"{url}/version") == 401
        assert status(f"{url}/version", Authorization="Bearer admin") == 200
        assert status(f"{url}/ready") == 200


def test_a_model_damaged_after_it_was_packaged_ends_the_server_with_one_line(version: Resolved, tmp_path: Path) -> None:
    out = packed(version, tmp_path / "out")
    path = out / "model/estimator.skops"
    path.write_bytes(path.read_bytes()[:-1])
    done = ran(out / "serve", env=clean(BIN.parent, tmp_path / "tmp"), cwd="/")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("is damaged: its SHA-256 is not the one that training wrote")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "http", "SAGEMAKER_BIND_TO_PORT: must be a number from 0 to 65535, got 'http'"),
        ("TRIALTREE_WORKERS", "0", "TRIALTREE_WORKERS: must be a number from 1 to 1024, got '0'"),
        ("TRIALTREE_HOST", "192.0.2.1", "TRIALTREE_HOST: 192.0.2.1 is reached from elsewhere, and there are no keys"),
    ],
)
def test_a_variable_that_cannot_be_is_one_line(
    name: str, value: str, line: str, version: Resolved, tmp_path: Path
) -> None:
    out = packed(version, tmp_path / "out")
    env = clean(BIN.parent, tmp_path / "tmp")
    done = ran(out / "serve", env={**env, name: value}, cwd="/")
    assert done.returncode == 1
    assert done.stderr.startswith(line)
    assert len(done.stderr.splitlines()) == 1
