"""`trialtree data add`: tables come under data/source/ and under DVC, and params.yaml and dvc.yaml follow."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from stages.errors import UserError
from tests.conftest import Repo, make_repo
from trialtree import data

CSV = "a,b,label\n" + "".join(f"{i},{i * i % 7},{'xy'[i % 2]}\n" for i in range(20))


def table(folder: Path, name: str = "t.csv", content: str = CSV) -> Path:
    """Write a table outside the repository."""
    path = folder / "given" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def changed(repo: Repo, name: str) -> list[str]:
    """Return the lines that a file has gained and lost against the last commit."""
    lines = repo.git("diff", "-U0", "HEAD", "--", name).splitlines()
    return [line for line in lines if line[0] in "+-" and not line.startswith(("+++", "---"))]


@pytest.mark.slow
def test_a_table_is_added_trained_on_edited_and_pulled(there: Repo, tmp_path: Path) -> None:
    assert data.add([table(tmp_path)]) == [
        "data/source/t.csv: under DVC, and fetch.source of params.yaml",
        "next: set split.target in params.yaml to one of: a, b, label",
        "then: `dvc repro`",
    ]
    assert changed(there, "params.yaml") == ["-  source: sklearn:iris", "+  source: data/source/t.csv"]
    assert changed(there, "dvc.yaml") == ["+    - data/source/t.csv"]
    assert "data/source/t.csv" not in there.git("status", "--porcelain", "--untracked-files=all").split()
    there.dvc("repro", "fetch")
    there.commit("Add the table")

    # An edited file reruns fetch, and leaves DVC's cache as it is.
    with (there.path / "data/source/t.csv").open("a", encoding="utf-8") as file:
        file.write("20,1,x\n")
    assert "21 rows x 3 columns" in there.dvc("repro", "fetch").stdout
    there.dvc("add", "data/source/t.csv")
    there.commit("Edit the table")

    # A fresh clone has no table; `dvc pull` brings it.
    there.dvc("remote", "add", "-q", "-d", "here", str(tmp_path / "remote"))
    there.commit("Add the remote")
    there.dvc("push", "-q")
    there.git("clone", "-q", str(there.path), str(tmp_path / "clone"))
    clone = Repo(tmp_path / "clone", there.env)
    stopped = clone.stage("fetch", check=False)
    assert (stopped.returncode, stopped.stderr) == (
        1,
        "data/source/t.csv is not here, but data/source/t.csv.dvc is: `dvc pull data/source/t.csv` brings it\n",
    )
    clone.dvc("pull", "-q", "data/source/t.csv")
    assert (clone.path / "data/source/t.csv").read_text(encoding="utf-8") == CSV + "20,1,x\n"
    assert "Data and pipelines are up to date" in clone.dvc("repro", "--pull", "fetch").stdout
    assert "21 rows x 3 columns" in clone.dvc("exp", "run", "--temp", "--force", "fetch").stdout


def test_a_path_beside_the_repository_is_found_by_an_experiment_in_a_temporary_folder(
    repo: Repo,
) -> None:
    (repo.path.parent / "t.csv").write_text(CSV, encoding="utf-8")
    repo.params({"fetch.source": "../t.csv", "fetch.sha256": hashlib.sha256(CSV.encode()).hexdigest()})
    repo.commit("Take another table")
    assert "20 rows x 3 columns" in repo.dvc("exp", "run", "--temp", "fetch").stdout


@pytest.mark.usefixtures("there")
def test_done_twice_it_changes_nothing(tmp_path: Path) -> None:
    given = table(tmp_path)
    data.add([given])
    before = {p: p.read_bytes() for p in [Path("dvc.yaml"), Path("params.yaml"), Path("data/source/t.csv.dvc")]}
    said = data.add([given])
    assert data.add([Path("data/source/t.csv")]) == said
    assert {path: path.read_bytes() for path in before} == before


def test_several_tables_and_a_folder_of_parts_are_added(there: Repo, tmp_path: Path) -> None:
    given = [table(tmp_path, "it's b.csv"), table(tmp_path, "parts/1.csv").parent]
    table(tmp_path, "parts/.hidden")
    said = data.add(given)
    assert said[0] == "data/source/it's b.csv, data/source/parts: under DVC, and fetch.source of params.yaml"
    assert changed(there, "params.yaml") == [
        "-  source: sklearn:iris", "+  source:", "+  - data/source/it's b.csv", "+  - data/source/parts",
    ]  # fmt: skip
    assert sorted(p.name for p in Path("data/source/parts").iterdir()) == ["1.csv"]
    assert "40 rows x 3 columns" in there.dvc("repro", "fetch").stdout

    # Another table takes their place among what fetch depends on.
    there.params({"split.target": "label", "fetch.sha256": "0" * 64, "fetch.drop": ["a"]})
    assert data.add([table(tmp_path, "t.csv")]) == [
        "data/source/t.csv: under DVC, and fetch.source of params.yaml",
        "fetch.sha256 is taken out: DVC has the table's hash",
        "fetch.drop: left as set for the source before; see that they fit",
        "next: `dvc repro` (split.target is label)",
    ]
    assert changed(there, "dvc.yaml") == ["+    - data/source/t.csv"]


def test_two_at_once_are_done_one_after_the_other(there: Repo, tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from trialtree import data; data.add([Path(sys.argv[1])])"
    both = [
        subprocess.Popen([sys.executable, "-c", script, table(tmp_path, name)], cwd=there.path, stderr=subprocess.PIPE)
        for name in ("t.csv", "u.csv")
    ]
    assert [(process.communicate()[1], process.returncode) for process in both] == [(b"", 0)] * 2
    # Whichever came last, all files speak of the same table.
    added = changed(there, "dvc.yaml")
    assert added in (["+    - data/source/t.csv"], ["+    - data/source/u.csv"])
    assert changed(there, "params.yaml")[1:] == [added[0].replace("    - ", "  source: ")]
    assert sorted(p.name for p in Path("data/source").glob("[!.]*")) == ["t.csv", "t.csv.dvc", "u.csv", "u.csv.dvc"]


@pytest.mark.usefixtures("there")
def test_what_stops_the_table_is_said(tmp_path: Path) -> None:
    assert data.add([table(tmp_path, content="1,2\n3,4\n")])[1:] == [
        "data/source/t.csv: the first line looks like a row and would be lost: '1' stands over numbers; "
        "name the columns in params.yaml: fetch.columns, or add fetch.header: true",
        "next: mend that, then `dvc repro`",
    ]


@pytest.mark.parametrize("case", ["another", "unpulled", "absent", "twice"])
def test_no_table_is_overwritten_or_mixed_up(there: Repo, tmp_path: Path, case: str) -> None:
    given = [table(tmp_path)]
    place = there.path / "data" / "source" / "t.csv"
    place.parent.mkdir(parents=True)
    if case == "another":
        place.write_text("other\n", encoding="utf-8")
        said = f"data/source/t.csv is another table than {given[0]}; rename one, or put the new one there yourself"
    elif case == "unpulled":
        place.with_name("t.csv.dvc").write_text("outs: []\n", encoding="utf-8")
        said = (
            "data/source/t.csv.dvc is here and its table is not: run `dvc pull data/source/t.csv` first, "
            f"or rename {given[0]}"
        )
    elif case == "absent":
        given = [tmp_path / "none.csv"]
        said = f"there is no file {given[0]}"
    else:
        given.append(table(tmp_path, "other/t.csv"))
        said = "two of the files are called t.csv; rename one"
    with pytest.raises(UserError) as caught:
        data.add(given)
    assert str(caught.value) == said
    assert not there.git("diff", "HEAD")


def test_it_is_run_in_the_top_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        data.add([table(tmp_path)])
    assert str(caught.value) == "dvc.yaml and params.yaml are not here; run this in the repository's top folder"


def test_a_repository_in_a_folder_of_any_name_works(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / 'it\'s a "façade" 日本 100%', tmp_path / "home")
    given = table(tmp_path, "ta ble's é.csv")
    script = "import sys; from pathlib import Path; from trialtree import data; data.add([Path(sys.argv[1])])"
    repo.run("python", "-c", script, str(given))
    assert "20 rows x 3 columns" in repo.dvc("repro", "fetch").stdout
