"""`trialtree data at`: a table of a revision, without a checkout."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import trialtree
from stages.errors import UserError
from tests.conftest import Repo

HOUSES = "1.5,2,a\n2.5,4,b\n3.5,6,c\n4.5,8,a\n5.5,10,b\n6.5,12,c\n7.5,14,a\n8.5,16,b\n"


def at(repo: Repo, *args: str, check: bool = True) -> str:
    done = repo.run("trialtree", "data", "at", *args, check=check)
    assert done.returncode == (0 if check else 1)
    return done.stdout if check else done.stderr


def table(repo: Repo, monkeypatch: pytest.MonkeyPatch, *args: str) -> pa.Table:
    monkeypatch.chdir(repo.path / "reports")  # any folder of the repository does
    return trialtree.data_at(*args)


@pytest.fixture
def emptied(ran: Repo) -> Repo:
    """A repository whose data are in a remote and nowhere else, and whose next commit has other data."""
    ran.dvc("remote", "add", "-d", "store", "../store")
    ran.dvc("push")
    for name in ("data", "models", "reports", ".dvc/cache"):
        shutil.rmtree(ran.path / name)
    ran.path.joinpath("reports").mkdir()
    ran.git("commit", "-qam", "Lose the data")
    return ran


def test_the_first_rows_stand_under_names_and_types(ran_once: Repo) -> None:
    commit = ran_once.git("rev-parse", "--short=7", "HEAD")
    said = at(ran_once, "main", "data/split/test", "--rows", "2", "--columns", "row,sepal_length,species")
    assert [line.rstrip() for line in said.splitlines()] == [
        "    row  sepal_length  species",
        "integer        number  text",
        "    114           5.8  virginica",
        "     62           6.0  versicolor",
        f"2 of 38 rows, 3 columns of data/split/test at {commit}",
    ]
    assert ran_once.git("status", "--porcelain") == ""


def test_a_part_of_several_files_is_one_table_in_their_order(ran: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    one = pq.read_table(ran.path / "data/split/train")
    before = ran.git("rev-parse", "HEAD")
    ran.params({"split.files": {"train": 12}})
    ran.dvc("repro", "split")
    several = ran.commit("Deal to twelve files")
    ran.params({"split.format": "csv"})
    ran.dvc("repro", "split")
    text = ran.commit("Deal to CSV")
    found = [table(ran, monkeypatch, rev, "data/split/train") for rev in (before, several, text)]
    assert [each.equals(one.cast(each.schema)) for each in found] == [True, True, True]
    assert found[2].schema.types == one.schema.types


def test_a_first_line_that_is_a_row_stays_one(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "houses.data"
    source.write_text(HOUSES, encoding="utf-8")
    repo.run("trialtree", "data", "add", str(source))
    repo.params({"fetch.columns": ["price", "rooms", "kind"], "split": {"target": "price", "test": 0.25}})
    first = repo.commit("Add houses")
    (repo.path / "data/source/houses.data").unlink()
    (repo.path / "reports").mkdir()
    found = table(repo, monkeypatch, first, "data/source/houses.data")
    assert found.column_names == ["price", "rooms", "kind"]
    assert found.column("price").to_pylist() == [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5]


def test_metrics_plots_and_predictions_are_tables_too(ran: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = dict(zip(*table(ran, monkeypatch, "HEAD", "reports/metrics.json").to_pydict().values(), strict=True))
    assert metrics["test.accuracy"] == 37 / 38
    assert table(ran, monkeypatch, "HEAD", "reports/plots/confusion.csv").num_rows == 4
    predicted = table(ran, monkeypatch, "HEAD", "reports/predictions.parquet", ["row", "predicted"])
    assert predicted.equals(pq.read_table(ran.path / "reports/predictions.parquet", columns=["row", "predicted"]))


@pytest.mark.parametrize("name", ["all.parquet", "all.csv"])
def test_a_table_is_written_whole_or_not_at_all(ran: Repo, tmp_path: Path, name: str) -> None:
    target = tmp_path / "out" / name
    commit = ran.git("rev-parse", "--short=7", "HEAD")
    assert at(ran, "HEAD", "data/raw.parquet", "--out", str(target)) == (
        f"150 rows of data/raw.parquet at {commit}: {target}\n"
    )
    if name.endswith("parquet"):
        raw = pq.read_table(ran.path / "data/raw.parquet")
        assert pq.read_table(target).cast(raw.schema).equals(raw)
    else:
        assert target.read_text(encoding="utf-8").splitlines()[1] == "0,5.1,3.5,1.4,0.2,setosa"
    before = target.read_bytes()
    assert "has no column 'x'" in at(
        ran, "HEAD", "data/raw.parquet", "--columns", "x", "--out", str(target), check=False
    )
    assert (target.read_bytes(), [path.name for path in target.parent.iterdir()]) == (before, [name])
    assert at(ran, "HEAD", "data/raw.parquet", "--out", "x.txt", check=False) == (
        "--out: must end in .parquet or .csv, got x.txt\n"
    )


def test_what_the_cache_lacks_comes_from_the_remote_and_no_more(emptied: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    found = table(emptied, monkeypatch, "HEAD", "data/split/test")
    assert found.num_rows == 38
    # The list of the folder, and the one file asked for.
    assert len([path for path in emptied.path.glob(".dvc/cache/files/md5/*/*") if path.is_file()]) == 2
    assert emptied.git("status", "--porcelain") == ""
    assert not (emptied.path / "data").exists()


def test_what_is_nowhere_is_one_line_with_the_hash_the_remote_and_the_next_step(emptied: Repo) -> None:
    lock = emptied.path.joinpath("dvc.lock").read_text(encoding="utf-8")
    md5 = lock.partition("path: data/raw.parquet\n      hash: md5\n      md5: ")[2][:32]
    store = emptied.path.parent / "store"
    shutil.rmtree(store)
    assert at(emptied, "HEAD", "data/raw.parquet", check=False) == (
        f"data/raw.parquet: {md5} is neither in DVC's cache here nor in the remote {store}; "
        "`dvc push` where the trial was made brings it there\n"
    )
    emptied.dvc("remote", "remove", "store")
    assert at(emptied, "HEAD", "data/raw.parquet", check=False) == (
        f"data/raw.parquet: {md5} is not in DVC's cache here, and there is no default remote; `trialtree remote URL` "
        "sets one up, and `dvc push` where the trial was made fills it\n"
    )


def test_another_content_under_an_objects_name_is_refused_and_not_kept(emptied: Repo) -> None:
    for path in (emptied.path.parent / "store/files/md5").glob("*/*"):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes() + b"\n")
    said = at(emptied, "HEAD", "data/raw.parquet", check=False)
    assert "has other content than its name says" in said
    assert [path for path in emptied.path.glob(".dvc/cache/files/md5/*/*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("nope", "data/raw.parquet"), "nope is no commit, branch, tag or experiment of this repository; "),
        (("HEAD", "data/none"), "data/none is no output at "),
        (("HEAD", "../x"), "../x is no output at "),
        (("HEAD", "data/split"), "is a folder, not one table; name one of data/split/columns.json, "),
        (("HEAD", "models/model/estimator.skops"), "is no table: neither Parquet, nor CSV, nor JSON"),
        (("HEAD", "data/raw.parquet", "--columns", "specie"), "has no column 'specie'; it has: row, sepal_length, "),
    ],
)
def test_what_cannot_be_read_is_one_line(ran_once: Repo, asked: tuple[str, ...], said: str) -> None:
    found = at(ran_once, *asked, check=False)
    assert said in found
    assert found.count("\n") == 1


def test_the_function_leaves_the_working_folder_and_raises_for_what_is_not_there(
    ran: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="data/x is no output"):
        table(ran, monkeypatch, "HEAD", "data/x")
    assert Path.cwd() == ran.path / "reports"
    assert json.loads(Path("metrics.json").read_bytes())["test"]["rows"] == 38
