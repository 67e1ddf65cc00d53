"""params.yaml is merged key by key, by `trialtree finish` and by Git's merge driver."""

from pathlib import Path

import pytest

from tests.conftest import PROJECT, Repo
from trialtree.branches import merging

BASE = (PROJECT / "params.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("ours", "theirs", "merged", "clashes"),
    [
        # each side its own key, one line apart
        ([("linear\n", "rbf\n")], [("C: 1.0", "C: 0.5")], [("linear\n", "rbf\n"), ("C: 1.0", "C: 0.5")], []),
        # both the same
        ([("C: 1.0", "C: 0.5")], [("C: 1.0", "C: 0.5")], [("C: 1.0", "C: 0.5")], []),
        # both the same key: ours
        ([("C: 1.0", "C: 2.0")], [("C: 1.0", "C: 0.5")], [("C: 1.0", "C: 2.0")],
         ["train.hyperparameters.C: 2.0 here, 0.5 there"]),
        # taken out here, changed there
        ([("    C: 1.0\n", "")], [("C: 1.0", "C: 0.5")], [("    C: 1.0\n", "")],
         ["train.hyperparameters.C: nothing here, 0.5 there"]),
        # taken out here only, and out there only
        ([("    C: 1.0\n", "")], [("seed: 0", "seed: 1")], [("    C: 1.0\n", ""), ("seed: 0", "seed: 1")], []),
        ([("seed: 0", "seed: 1")], [("    C: 1.0\n", "")], [("    C: 1.0\n", ""), ("seed: 0", "seed: 1")], []),
        # their comments and order stay
        ([("seed: 0", "seed: 1")], [("# share of", "# of")], [("# share of", "# of"), ("seed: 0", "seed: 1")], []),
        # nothing here
        ([], [("C: 1.0", "C: 0.5")], [("C: 1.0", "C: 0.5")], []),
    ],
)  # fmt: skip
def test_a_file_becomes_theirs_with_our_changes(
    ours: list[tuple[str, str]], theirs: list[tuple[str, str]], merged: list[tuple[str, str]], clashes: list[str]
) -> None:
    def changed(pairs: list[tuple[str, str]]) -> str:
        text = BASE
        for old, new in pairs:
            text = text.replace(old, new)
        return text

    text, said = merging.by_key(BASE, changed(ours), changed(theirs))
    # A blank line below a key that is taken out goes with it.
    assert ([line for line in text.splitlines() if line], said) == (
        [line for line in changed(merged).splitlines() if line], clashes,
    )  # fmt: skip


def test_one_and_true_are_two_values() -> None:
    assert merging.by_key("a: 1\n", "a: true\n", "a: 1\nb: 2\n") == ("a: true\nb: 2\n", [])


@pytest.fixture
def two(repo: Repo) -> Repo:
    """A repository with two branches that change neighbouring lines of params.yaml, and dvc.lock."""
    (repo.path / "dvc.lock").write_text("schema: '2.0'\n", encoding="utf-8")
    repo.commit("Run")
    for name, change in (("a", {"train.hyperparameters.kernel": "rbf"}), ("b", {"train.hyperparameters.C": 0.5})):
        repo.git("switch", "-q", "-c", name, "main")
        repo.params(change)
        (repo.path / "dvc.lock").write_text(f"schema: '2.0'\nstages: {{}}  # {name}\n", encoding="utf-8")
        repo.commit(name)
    return repo


def test_a_plain_git_merge_uses_the_driver_once_a_command_has_set_it(two: Repo) -> None:
    done = two.run("git", "merge", "a", check=False)
    assert done.returncode == 1
    assert "CONFLICT (content): Merge conflict in params.yaml" in done.stdout
    two.git("merge", "--abort")

    two.run("trialtree", "start", "c", "--base", "b")
    two.git("switch", "-q", "b")
    done = two.run("git", "merge", "a")
    assert "dvc.lock: as it is on this branch; `dvc repro` makes it anew" in done.stderr
    text = (two.path / "params.yaml").read_text(encoding="utf-8")
    assert ("kernel: rbf\n" in text, "C: 0.5\n" in text) == (True, True)
    assert (two.path / "dvc.lock").read_text(encoding="utf-8") == "schema: '2.0'\nstages: {}  # b\n"


def test_a_plain_git_merge_leaves_one_key_with_two_values_to_the_person(two: Repo) -> None:
    two.git("switch", "-q", "a")
    two.params({"train.hyperparameters.C": 2.0})
    two.commit("More")
    two.run("trialtree", "start", "c")
    done = two.run("git", "merge", "b", check=False)
    assert done.returncode == 1
    assert "params.yaml: train.hyperparameters.C: 2.0 here, 0.5 there: choose one" in done.stderr
    text = (two.path / "params.yaml").read_text(encoding="utf-8")
    assert "<<<<<<< ours\n" in text
    assert "    C: 0.5\n" in text


def test_a_file_that_is_no_yaml_is_merged_line_by_line(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("base", "ours", "theirs")]
    for file, text in zip(files, ("a: [\n1\n\n\n2\n", "a: [\n3\n\n\n2\n", "a: [\n1\n\n\n4\n"), strict=True):
        file.write_text(text, encoding="utf-8")
    assert merging.merge_file(*files, "params.yaml") == (
        True, ["params.yaml: cannot be read as YAML, so it was merged line by line"],
    )  # fmt: skip
    assert files[1].read_text(encoding="utf-8") == "a: [\n3\n\n\n4\n"
