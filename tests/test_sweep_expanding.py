"""`trialtree sweep --dry-run` prints what would run, and `--queue` hands it to `dvc exp run --queue`."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps
from dvc.utils.serialize import parse_yaml

from tests import tinysweeps
from tests.conftest import YAML_12, Repo
from trialtree.sweep import expanding
from trialtree.sweep.engine import paramsfile

VALUES: list[Any] = [
    1, 0.5, 1e-05, "rbf", "it's a, text", 'x "y" \\', "", "no", "12:30", True, None, [1, 2], ["a b", None], "~", "a=b",
]  # fmt: skip


@pytest.fixture(scope="module")
def tiny_once(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A repository with a pipeline of two quick stages, which has run; for reading only."""
    return tinysweeps.tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny(tiny_once: Repo, tmp_path: Path) -> Repo:
    """A copy of it, to change."""
    return tinysweeps.copied(tiny_once, tmp_path)


def printed(repo: Repo, *options: str) -> list[str]:
    """Return the lines that `trialtree sweep` prints."""
    return repo.run("trialtree", "sweep", *options).stdout.splitlines()


def refused(repo: Repo, *options: str) -> str:
    """Return the line by which `trialtree sweep` refuses."""
    done = repo.run("trialtree", "sweep", *options, check=False)
    assert done.returncode == 1
    return done.stderr.strip()


def queued(repo: Repo) -> list[dict[str, Any]]:
    """Return train's hyperparameters of what is queued, in order."""
    said = repo.run("git", "reflog", "show", "--format=%H", "refs/exps/celery/stash", check=False).stdout.split()
    texts = [repo.git("show", f"{commit}:params.yaml") for commit in reversed(said)]
    return [YAML_12.load(text)["train"]["hyperparameters"] for text in texts]


def grid(repo: Repo, space: dict[str, Any], **more: Any) -> None:
    """Ask for a grid over train's hyperparameters."""
    keys = {f"train.hyperparameters.{name}": {"choice": values} for name, values in space.items()}
    tinysweeps.ask_for(repo, space=keys, sampling="grid", limits={"concurrent": 2}, **more)


def test_a_product_is_one_command_and_anything_else_one_a_cell() -> None:
    product = [["a=1", "b=x"], ["a=1", "b=y"], ["a=2", "b=x"], ["a=2", "b=y"]]
    assert expanding.commands(product) == [["a=1,2", "b=x,y"]]
    assert expanding.commands(product[:3]) == product[:3]
    assert expanding.commands([product[1], product[0], *product[2:]]) == [product[1], product[0], *product[2:]]
    assert expanding.commands(product[:1]) == product[:1]
    assert expanding.commands([["a=1", "~b"], ["a=2", "~b"]]) == [["a=1", "~b"], ["a=2", "~b"]]
    assert expanding.commands([["a=1"], ["a=2", "b=1"]]) == [["a=1"], ["a=2", "b=1"]]
    assert expanding.commands([["a=1", "+b=0"], ["a=2", "+b=0"]]) == [["a=1,2", "+b=0"]]


def test_values_of_any_kind_come_out_of_dvcs_grid_as_they_are(tmp_path: Path) -> None:
    path, content = tmp_path / "params.yaml", {"a": 0, "b": 0}
    cells = [paramsfile.overrides(content, {"a": value, "b": other}) for value in VALUES for other in VALUES]
    (command,) = expanding.commands(cells)
    found = []
    for sweep in get_hydra_sweeps({"params.yaml": command}):
        path.write_text("a: 0\nb: 0\n", encoding="utf-8")
        apply_overrides(path, sweep["params.yaml"])
        found.append(parse_yaml(path.read_text(encoding="utf-8"), "params.yaml"))
    assert found == [{"a": value, "b": other} for value in VALUES for other in VALUES]


def test_a_grid_is_printed_as_one_command_and_nothing_is_run(tiny: Repo) -> None:
    grid(tiny, {"x": [0.1, 0.2], "do": ["nothing", "leave"]})
    before = sorted(path for path in tiny.path.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    unknown = "how long they take is unknown: no trial of tiny with stages.tiny.Tiny has run here"
    assert printed(tiny, "--dry-run") == [
        f"# grid: 4 trials, 2 at once; {unknown}",
        "dvc exp run --queue -S train.hyperparameters.x=0.1,0.2 -S +train.hyperparameters.do=nothing,leave evaluate",
        "trialtree queue run -j 2  # or: dvc queue start -j 2",
        "# `trialtree sweep` runs the same in one, and chooses the best",
    ]
    after = sorted(path for path in tiny.path.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert after == before


def test_a_grid_that_is_no_product_is_printed_cell_by_cell_for_a_shell(tiny: Repo) -> None:
    grid(tiny, {"x": [0.1, 0.2], "do": ["nothing", "it's"]}, where=["train.hyperparameters.x < 0.2 or do == 'nothing'"])
    tiny.params({"sweep.where": ["train.hyperparameters.x < 0.2 or train.hyperparameters.do == 'nothing'"]})
    lines = printed(tiny, "--dry-run")
    assert lines[0].startswith("# grid: 3 trials, 2 at once; ")
    subprocess.run(["sh", "-ec", "\n".join(lines[1:-2])], cwd=tiny.path, env=dict(tiny.env), check=True)
    assert queued(tiny) == [{"x": 0.1, "do": "nothing"}, {"x": 0.1, "do": "it's"}, {"x": 0.2, "do": "nothing"}]


def test_the_first_points_of_another_sampler_are_printed(tiny: Repo) -> None:
    tinysweeps.ask_for(tiny, limits={"trials": 30, "concurrent": 2}, seed=3)
    lines = printed(tiny, "--dry-run")
    assert lines[0].startswith("# random: 30 trials, 2 at once; ")
    assert [line.split()[0] for line in lines[1:-1]] == [str(number) for number in range(10)]
    assert lines[-1] == "# and so on: the same seed gives the same points"
    tinysweeps.ask_for(tiny, limits={"trials": 30, "concurrent": 2}, sampling="bayesian")
    lines = printed(tiny, "--dry-run")
    assert len(lines) == 4
    assert lines[-1] == "# what comes after these depends on what trials give"


def test_earlier_sweeps_tell_how_long_it_takes(tiny: Repo) -> None:
    tinysweeps.ask_for(tiny, limits={"trials": 3, "concurrent": 1})
    tinysweeps.sweep(tiny)
    assert "1 at once; about " in printed(tiny, "--dry-run")[0]
    assert printed(tiny, "--dry-run")[0].endswith(" a trial by the last 3 trials")
    tiny.params({"experiment": "another"})
    assert "is unknown: no trial of another" in printed(tiny, "--dry-run")[0]


def test_a_queued_grid_gives_the_experiments_of_the_sweep(tiny: Repo) -> None:
    grid(tiny, {"x": [0.1, 0.2], "do": ["nothing"]})
    tiny.commit("Grid")
    lines = printed(tiny, "--queue")
    name = lines[0].rpartition("-1: ")[0]
    assert lines == [
        f"{name}-1: x=0.1 do=nothing",
        f"{name}-2: x=0.2 do=nothing",
        "2 experiments queued; next: trialtree queue run -j 2  # or: dvc queue start -j 2",
    ]
    tiny.run("trialtree", "queue", "run")
    tinysweeps.sweep(tiny)
    trees: dict[str, list[str]] = {}
    for ref in tinysweeps.experiments(tiny).items():
        trees.setdefault(ref[0].rpartition("-")[0], []).append(tiny.git("rev-parse", f"{ref[1]}^{{tree}}"))
    assert len(trees) == 2
    assert trees[name] == next(found for sweep, found in trees.items() if sweep != name)


def test_points_drawn_at_random_are_queued_one_by_one(tiny: Repo) -> None:
    tinysweeps.ask_for(tiny, limits={"trials": 3, "concurrent": 2}, seed=3)
    lines = printed(tiny, "--queue")
    shown = [f"x={each['x']:.4g}" for each in queued(tiny)]
    assert [line.partition(": ")[2] for line in lines[:3]] == shown
    assert len(set(shown)) == 3


def test_what_cannot_be_queued_is_refused(tiny: Repo) -> None:
    tinysweeps.ask_for(tiny, sampling="bayesian")
    assert refused(tiny, "--queue") == (
        "params.yaml: sweep.sampling: bayesian learns from trial to trial, which a queue cannot; "
        "`trialtree sweep` runs it, and grid, random and sobol can be queued"
    )
    tinysweeps.ask_for(tiny, limits={"timeout": 10})
    assert (
        refused(tiny, "--queue") == "params.yaml: sweep.limits.trials: must be there, to know how many are to be queued"
    )
    assert queued(tiny) == []
