"""The rules of the house, held to the code."""

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages import params
from tests.conftest import PROJECT
from trialtree import modules
from trialtree.sweep.section import Limits, SweepParams

VERBS = ("fetch", "split", "train", "evaluate", "register")
HEAVY = {
    "boto3", "catboost", "duckdb", "imblearn", "matplotlib", "mlflow", "pandas", "pyarrow", "requests", "scipy",
    "sklearn", "skops", "sqlalchemy",
}  # fmt: skip
PIPELINE = YAML(typ="safe", pure=True).load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
SOURCES = sorted((PROJECT / "stages").glob("*.py"))


def imports(path: Path) -> set[str]:
    """Return every module that a file's import statements name, wherever they stand."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_the_stages_are_the_five_verbs_in_order() -> None:
    assert tuple(PIPELINE) == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_a_stage_is_one_name_in_four_places(verb: str) -> None:
    assert (PROJECT / "stages" / f"{verb}.py").exists()
    assert PIPELINE[verb]["cmd"] == f"python -m stages.{verb}"
    assert verb in PIPELINE[verb]["params"]
    assert f"class {verb.capitalize()}Params(" in (PROJECT / "stages" / f"{verb}.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("verb", VERBS)
def test_dvc_hashes_exactly_the_modules_that_a_stage_imports(verb: str) -> None:
    listed = [dep for dep in PIPELINE[verb]["deps"] if dep.startswith("stages/")]
    assert listed == sorted(path.as_posix() for path in modules.needed(verb, PROJECT))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_module_imports_a_stage(path: Path) -> None:
    assert not imports(path) & {f"stages.{verb}" for verb in VERBS}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_only_register_imports_trialtree(path: Path) -> None:
    ours = {name for name in imports(path) if name.split(".")[0] == "trialtree"}
    assert not ours or path.stem == "register"


@pytest.mark.parametrize("verb", VERBS)
def test_importing_a_stage_imports_no_large_library(verb: str) -> None:
    code = f"import sys, stages.{verb}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & HEAVY == set()


def test_the_lock_pins_every_package_with_hashes_and_names_no_index() -> None:
    text = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=\S)", text.strip())
    assert [block.splitlines()[0] for block in blocks if not re.match(r"[\w.-]+==\S+", block)] == []
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert not re.search(r"https?://|--index|--find-links|file:", text)


def test_one_version_of_each_package_for_all_pythons() -> None:
    text = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
    names = re.findall(r"^([\w.-]+)==", text, re.MULTILINE)
    figures = {"catboost", "duckdb", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "skops"}
    assert {name: names.count(name) for name in figures} == dict.fromkeys(figures, 1)


def test_dvc_keeps_to_itself() -> None:
    config = (PROJECT / ".dvc" / "config").read_text(encoding="utf-8")
    assert "analytics = false" in config
    assert "autostage = true" in config
    assert 'type = "reflink,hardlink,copy"' in config


def test_trialtree_imports_downwards() -> None:
    for path in (PROJECT / "trialtree").rglob("*.py"):
        if path.name != "cli.py":
            assert "trialtree.cli" not in imports(path), path


def test_every_ignored_lint_rule_has_its_reason() -> None:
    sources = [*SOURCES, *(PROJECT / "trialtree").rglob("*.py")]
    lines = [line for path in sources for line in path.read_text(encoding="utf-8").splitlines()]
    ignored = [line for line in lines if "# noqa" in line or "# type: ignore" in line]
    assert [line for line in ignored if not re.search(r"# (noqa|type: ignore)[^#]*  # \w", line)] == []


def keys(model: type[params.Section]) -> set[str]:
    """Return the keys of a section and of the sections in it."""
    found = set()
    for name, field in model.model_fields.items():
        found.add(name)
        inner = params.section_in(field.annotation)
        if inner is not None:
            found |= keys(inner)
    return found


def test_every_key_of_a_sweep_is_documented() -> None:
    page = (PROJECT / "docs" / "params.md").read_text(encoding="utf-8")
    found = set(SweepParams.model_fields) | set(Limits.model_fields)
    assert [key for key in sorted(found) if not re.search(rf"[`.{{ ,]{key}[`:. ,]", page)] == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_key_of_params_is_documented(verb: str) -> None:
    page = (PROJECT / "docs" / "params.md").read_text(encoding="utf-8")
    section = getattr(import_module(f"stages.{verb}"), f"{verb.capitalize()}Params")
    assert [key for key in sorted(keys(section)) if not re.search(rf"[`.{{ ,]{key}[`:. ]", page)] == []
