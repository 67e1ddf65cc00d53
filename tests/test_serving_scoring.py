"""A model over matrices: the same figures whatever is asked with a row, and no damaged or foreign file loaded."""

import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from stages import models
from stages.errors import UserError
from tests import serving
from tests.conftest import PROJECT
from tests.serving import GAPS, KINDS
from trialtree.serving import arrow, scoring
from trialtree.serving.scoring import Scorer

ROWS = 1200


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    base, made = tmp_path_factory.mktemp("models"), dict[str, Path]()

    def find(kind: str) -> Path:
        if kind not in made:
            made[kind] = serving.saved(kind, base)
        return made[kind]

    return find


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Let BLAS add in one thread, as it does in a worker."""
    with threadpool_limits(1):
        yield


def values_of(scorer: Scorer, kind: str, rows: int = ROWS) -> np.ndarray:
    taken = arrow.taken(scorer.schema, serving.rows_of(kind, rows))
    assert not taken.faults
    return taken.values + np.where(np.arange(rows) % 3 == 0, 1e-3, 0)[:, None] * [
        each.type == "number" for each in scorer.schema.fields
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_gets_the_same_figures_bit_for_bit_whatever_is_asked_with_it(
    kind: str, folder: Callable[[str], Path]
) -> None:
    scorer = scoring.load(folder(kind), None, GAPS)
    values = values_of(scorer, kind)
    methods = [scorer.predict] + ([scorer.probabilities] if scorer.has_probabilities else [])
    for method in methods:
        whole = method(values)
        assert len(whole) == ROWS
        for size in (1, 3, 97, 1000):
            some = 20 if size == 1 else 300 if size == 3 else ROWS
            parts = [method(values[start : start + size]) for start in range(0, some, size)]
            assert np.array_equal(np.concatenate(parts), whole[: sum(map(len, parts))])
        assert np.array_equal(method(np.asfortranarray(values)), whole)


@pytest.mark.parametrize("kind", KINDS)
def test_it_predicts_what_the_model_itself_does(kind: str, folder: Callable[[str], Path]) -> None:
    scorer, model = scoring.load(folder(kind), None, GAPS), models.load(folder(kind))
    table = serving.rows_of(kind)
    values = arrow.taken(scorer.schema, table).values
    exact = any(word in kind for word in ("catboost", "forest", "boosting"))
    pairs = [(scorer.predict(values), model.predict(table))]
    if scorer.has_probabilities:
        pairs.append((scorer.probabilities(values), model.probabilities(table)))
    for ours, theirs in pairs:
        assert np.array_equal(ours, theirs) if exact else serving.close(ours.tolist(), theirs.tolist())
    assert (scorer.task, scorer.labels, scorer.target) == (model.task, model.labels, model.target.name)


def test_threads_of_catboost_do_not_change_its_figures(folder: Callable[[str], Path]) -> None:
    for kind in ("catboost numbers", "catboost categories"):
        scorer = scoring.load(folder(kind), None, GAPS)
        values = values_of(scorer, kind)
        assert np.array_equal(scorer.predict(values, threads=4), scorer.predict(values))


@pytest.mark.parametrize("kind", ["svc", "linear"])
def test_a_model_without_probabilities_says_so(kind: str, folder: Callable[[str], Path]) -> None:
    scorer = scoring.load(folder(kind), None, GAPS)
    with pytest.raises(scoring.Refused, match="has no probabilities"):
        scorer.probabilities(values_of(scorer, kind, 3))


def loaded_modules(folder: Path, names: str) -> list[str]:
    """Return which of these packages a process imports that loads a model and predicts."""
    code = (
        "import sys; from pathlib import Path; from trialtree.serving import scoring\n"
        f"scorer = scoring.load(Path({str(folder)!r}), None, {GAPS!r})\n"
        "scorer.predict(scoring.made_up(scorer.schema, 3))\n"
        f"print(*[name for name in {names!r}.split() if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_catboost_model_needs_none_of_the_large_libraries(folder: Callable[[str], Path]) -> None:
    large = "mlflow pandas sklearn pyarrow skops dvc duckdb matplotlib plotly"
    assert loaded_modules(folder("catboost numbers"), large) == []


@pytest.mark.parametrize("kind", ["catboost categories", "pipeline"])
def test_a_model_with_preprocessing_needs_neither_mlflow_nor_pandas(kind: str, folder: Callable[[str], Path]) -> None:
    assert loaded_modules(folder(kind), "mlflow pandas dvc duckdb matplotlib plotly") == []


@pytest.fixture
def copy(tmp_path: Path, folder: Callable[[str], Path]) -> Callable[[str], Path]:
    return lambda kind: Path(shutil.copytree(folder(kind), tmp_path / "copy"))


def refusal(folder: Path, digest: str | None = None, **more: bool) -> str:
    """Return the line that says why a folder is not loaded."""
    with pytest.raises(UserError) as error:
        scoring.load(folder, digest, GAPS, **more)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_another_model_than_was_registered_is_refused(copy: Callable[[str], Path]) -> None:
    folder = copy("catboost numbers")
    digest = models.digest(folder)
    assert scoring.load(folder, digest).digest == digest
    assert "holds another model than was registered" in refusal(folder, "0" * 64)


@pytest.mark.parametrize("kind", ["catboost numbers", "catboost categories", "svc"])
def test_a_changed_byte_or_a_cut_in_any_file_is_refused(kind: str, copy: Callable[[str], Path]) -> None:
    folder = copy(kind)
    digest = models.digest(folder)
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for damaged in (
            whole[:-1],
            bytes([whole[0] ^ 1]) + whole[1:],
            whole[:-2] + bytes([whole[-2] ^ 64]) + whole[-1:],
            b"",
        ):
            path.write_bytes(damaged)
            refusal(folder, digest)
            if path.name != "manifest.json":
                refusal(folder)
        path.unlink()
        refusal(folder, digest)
        path.write_bytes(whole)
    scoring.load(folder, digest)


def test_a_file_too_many_is_refused(copy: Callable[[str], Path]) -> None:
    folder = copy("catboost numbers")
    (folder / "extra.txt").write_text("x", encoding="utf-8")
    assert refusal(folder).endswith("has one too many: extra.txt")


def resealed(folder: Path) -> None:
    """Write the manifest of a folder anew, as one does who wants a foreign file to be loaded."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["sha256"] = {
        p.name: sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.name != "manifest.json"
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


class Touches:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


def test_a_pickle_is_refused_whatever_the_recipe_in_its_folder_allows(
    copy: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copy("svc")
    (folder / "estimator.skops").unlink()
    (folder / "estimator.pkl").write_bytes(pickle.dumps(Touches(tmp_path / "ran")))
    recipe = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    (folder / "recipe.json").write_text(json.dumps({**recipe, "allow_pickle": True}), encoding="utf-8")
    resealed(folder)
    assert "pickle" in refusal(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["estimator.skops", "preprocess.skops"])
def test_a_skops_file_that_names_a_function_of_the_system_is_refused(
    name: str, copy: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copy("svc")
    schema = {
        "__class__": "system", "__module__": "os", "__loader__": "FunctionNode", "__id__": 1,
        "content": {"module_path": "os", "function": "system"}, "protocol": 2, "_skops_version": "0.16.0",
    }  # fmt: skip
    partial = {
        "__class__": "partial", "__module__": "functools", "__loader__": "PartialNode", "__id__": 2,
        "content": {"func": schema, "args": {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode",
                    "content": [{"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode",
                                 "content": json.dumps(f"touch {tmp_path}/ran"), "is_json": True}]},
                    "kwds": None, "namespace": None}, "protocol": 2, "_skops_version": "0.16.0",
    }  # fmt: skip
    for node in (schema, partial):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("schema.json", json.dumps(node))
        resealed(folder)
        refusal(folder)
    assert not (tmp_path / "ran").exists()


def test_a_trusted_list_in_the_folder_is_not_believed(copy: Callable[[str], Path]) -> None:
    folder = copy("svc")
    (folder / "MLmodel").write_text("flavors: {sklearn: {skops_trusted_types: [os.system]}}", encoding="utf-8")
    assert "one too many: MLmodel" in refusal(folder)


def test_proving_a_model_ends_with_one_line(copy: Callable[[str], Path]) -> None:
    folder = copy("catboost numbers")
    given = {"folder": str(folder), "digest": models.digest(folder), "gaps": []}

    def prove() -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "trialtree.serving.prove", json.dumps(given)]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)

    assert prove().returncode == 0
    (folder / "model.cbm").write_bytes((folder / "model.cbm").read_bytes()[:-9])
    done = prove()
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "is damaged" in done.stderr
