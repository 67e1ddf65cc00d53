"""trialtree predict: the figures, whatever form rows come in, and what is written beside them."""

import gzip
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from stages.errors import UserError
from tests.conftest import Repo, isolated
from tests.predicting import TAKEN, Predict, by_mlflow, mixed, parts, predict, read, rows, table
from tests.servers import S3
from tests.web import serving

__all__ = ["mixed", "predict"]
PEAK = "import resource; print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"


@pytest.fixture
def flats(tmp_path: Path, predict: Predict) -> Path:  # noqa: ARG001  # it makes the folder
    """A Parquet file of rows that the model has not seen, row groups of 64."""
    path = tmp_path / "in" / "flats.parquet"
    pq.write_table(table(1000, seed=1), path, row_group_size=64)
    return path


@pytest.mark.slow
def test_predictions_are_those_of_mlflow_and_of_the_stored_model(
    mixed: Repo, predict: Predict, flats: Path, tmp_path: Path
) -> None:
    from stages import models

    predict(mixed, "in/flats.parquet", out="out.parquet", probabilities=True)
    found = read(tmp_path / "out.parquet")
    assert found.column_names == ["row", "id", "price", "predicted", "p_high", "p_low", "p_mid"]
    given = read(flats)
    assert found.column("row").to_pylist() == list(range(1000))
    assert found.column("id") == given.column("id")
    model = models.load(mixed.path / "models/model")
    assert found.column("predicted").to_pylist() == model.predict(given).tolist()
    ours = np.column_stack([found.column(f"p_{label}").to_numpy() for label in model.labels])
    assert np.array_equal(ours, np.asarray(model.probabilities(given)))
    assert found.column("predicted").to_pylist() == by_mlflow(mixed, flats)
    assert ours.tolist() == by_mlflow(mixed, flats, probabilities=True)


@pytest.mark.slow
def test_an_svc_predicts_as_mlflow_does(ran_once: Repo, predict: Predict, tmp_path: Path) -> None:
    raw = ran_once.path / "data/raw.parquet"
    predict(ran_once, str(raw), out="out.parquet", model="iris@champion")
    found = read(tmp_path / "out.parquet")
    assert found.column_names == ["row", "species", "predicted"]
    assert found.column("predicted").to_pylist() == by_mlflow(ran_once, raw, model="iris")


@pytest.mark.parametrize("sizes", [(1, 3), (7, 1), (64, 2), (333, 4), (100_000, 1)])
def test_chunks_and_jobs_change_no_bit(
    mixed: Repo, predict: Predict, flats: Path, tmp_path: Path, sizes: tuple[int, int]
) -> None:
    options = {"probabilities": True, "explain": True}
    pq.write_table(read(flats).slice(0, 200), flats)
    predict(mixed, "in/flats.parquet", out="one.parquet", **options)
    predict(mixed, "in/flats.parquet", out="other.parquet", chunk=sizes[0], jobs=sizes[1], **options)
    assert read(tmp_path / "other.parquet").equals(read(tmp_path / "one.parquet"))


def test_chunks_change_no_bit_of_a_linear_model(predict: Predict, flats: Path, tmp_path: Path, linear: Repo) -> None:
    pq.write_table(read(flats).slice(0, 500), flats)
    options = {"probabilities": True, "explain": True, "model": "lines"}
    predict(linear, "in/flats.parquet", out="one.parquet", **options)
    predict(linear, "in/flats.parquet", out="other.parquet", chunk=13, jobs=3, **options)
    assert read(tmp_path / "other.parquet").equals(read(tmp_path / "one.parquet"))


@pytest.fixture(scope="module")
def linear(mixed: Repo, tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """The same with a logistic regression of one-hot, scaled and taken apart columns, named `lines`."""
    folder = tmp_path_factory.mktemp("linear")
    shutil.copytree(mixed.path.parent, folder, dirs_exist_ok=True, symlinks=True)
    repo = Repo(folder / "repo", isolated(folder / "home"))
    repo.params({
        "train": {"estimator": "sklearn.linear_model.LogisticRegression", "hyperparameters": {"max_iter": 500},
                  "features": {"number": {"scale": "standard", "impute": "median"}}},
        "register": {"name": "lines"},
    })  # fmt: skip
    repo.dvc("repro", "-q")
    repo.commit("Linear")
    return repo


def _as(kind: str, given: pa.Table, folder: Path) -> str:
    """Write a table as a kind of file, and return its name."""
    path = folder / {"stream": "t.arrows", "arrow": "t.arrow", "ipc": "t.ipc"}.get(kind, f"t.{kind}")
    if kind == "arrow":
        with pa.ipc.new_file(path, given.schema) as file:
            file.write_table(given, max_chunksize=77)
    elif kind == "stream":
        with pa.ipc.new_stream(path, given.schema) as file:
            file.write_table(given, max_chunksize=77)
    elif kind == "parquet":
        coded = given.set_column(1, "city", given.column("city").dictionary_encode())
        pq.write_table(coded, path)
    else:
        dated = given.set_column(2, "since", given.column("since").cast(pa.date32()))
        sink = pa.BufferOutputStream()
        pa.csv.write_csv(dated, sink)
        text = sink.getvalue().to_pybytes()
        if kind == "csv.gz":
            text = gzip.compress(text)
        elif kind == "csv.zst":
            text = pa.compress(text, codec="zstd", asbytes=True)
        elif kind == "bom.csv":
            text = b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n")
        elif kind == "tsv":
            text = text.replace(b",", b"\t").replace(b"Rome\t Italy", b"Rome, Italy")
        path.write_bytes(text)
    return path.name


@pytest.mark.parametrize("kind", ["csv", "bom.csv", "tsv", "csv.gz", "csv.zst", "arrow", "stream", "parquet"])
def test_every_kind_of_file_gives_the_same_figures(
    mixed: Repo, predict: Predict, flats: Path, tmp_path: Path, kind: str
) -> None:
    predict(mixed, "in/flats.parquet", out="one.parquet", probabilities=True, keep=())
    name = _as(kind, read(flats), tmp_path)
    predict(mixed, name, out="other.parquet", probabilities=True, keep=(), chunk=100)
    assert read(tmp_path / "other.parquet").equals(read(tmp_path / "one.parquet"))


@pytest.mark.parametrize("suffix", [".csv", ".arrow", ".parquet"])
@pytest.mark.usefixtures("flats")
def test_every_form_of_output_holds_the_same(mixed: Repo, predict: Predict, tmp_path: Path, suffix: str) -> None:
    said = predict(mixed, "in/flats.parquet", out=f"out{suffix}", probabilities=True, chunk=300)
    assert re.fullmatch(rf"1,000 rows in [\d.]+ s \([\d,]+ rows/s\): out{suffix}", said)
    predict(mixed, "in/flats.parquet", out="whole.parquet", probabilities=True)
    expected, found = rows(tmp_path / "whole.parquet"), rows(tmp_path / f"out{suffix}")
    as_text = [{name: str(value) for name, value in row.items()} for row in expected]
    assert found == (as_text if suffix == ".csv" else expected)
    assert list(parts(tmp_path / f"out{suffix}")) == []


def test_a_folder_gives_an_output_for_each_input(mixed: Repo, predict: Predict, tmp_path: Path) -> None:
    for number in range(3):
        pq.write_table(table(50, seed=number), tmp_path / f"in/part-{number}.parquet")
    (tmp_path / "in/t.csv").write_text("id,city,since,rooms,size\na,Bern,2001-02-03,2,\n")
    assert predict(mixed, "in", out="out").endswith(": out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "part-0.parquet", "part-1.parquet", "part-2.parquet", "t.csv",
    ]  # fmt: skip
    assert read(tmp_path / "out/part-2.parquet").column("id").to_pylist()[-1] == "k00049"
    predict(mixed, "in/*.parquet", out="csv", format="csv")
    assert sorted(path.name for path in (tmp_path / "csv").iterdir()) == ["part-0.csv", "part-1.csv", "part-2.csv"]


def test_several_inputs_become_one_data_set_in_their_order(mixed: Repo, predict: Predict, tmp_path: Path) -> None:
    pq.write_table(table(5, seed=1), tmp_path / "in/b.parquet")
    pq.write_table(
        table(3, seed=2).select(["size", "price", "rooms", "since", "city", "id"]), tmp_path / "in/a.parquet"
    )
    predict(mixed, "in/b.parquet", "in/a.parquet", out="out.parquet")
    found = read(tmp_path / "out.parquet")
    assert found.column_names == ["file", "row", "id", "price", "predicted"]
    assert found.column("file").to_pylist() == ["in/b.parquet"] * 5 + ["in/a.parquet"] * 3
    assert found.column("row").to_pylist() == [0, 1, 2, 3, 4, 0, 1, 2]


def test_a_row_keeps_its_own_number_and_keep_chooses_columns(mixed: Repo, predict: Predict, tmp_path: Path) -> None:
    given = table(4).append_column("row", pa.array([40, 41, 42, 43]))
    pq.write_table(given, tmp_path / "in/t.parquet")
    predict(mixed, "in/t.parquet", out="out.parquet", keep=("size", "id"))
    found = read(tmp_path / "out.parquet")
    assert found.column_names == ["row", "size", "id", "predicted"]
    assert found.column("row").to_pylist() == [40, 41, 42, 43]


def test_row_numbers_of_csv_and_parquet_become_one_data_set(mixed: Repo, predict: Predict, tmp_path: Path) -> None:
    pq.write_table(table(2).append_column("row", pa.array([40, 41])), tmp_path / "in/t.parquet")
    text = "row,city,since,rooms,size\n7,Bern,2001-02-03,2,50\n9,Oslo,2001-02-03,3,60\n"
    (tmp_path / "in/t.csv").write_text(text)
    predict(mixed, "in/t.parquet", "in/t.csv", out="out.parquet", keep=())
    assert read(tmp_path / "out.parquet").column("row").to_pylist() == [40, 41, 7, 9]
    predict(mixed, "in/t.csv", "in/t.parquet", out="out.parquet", keep=())
    assert read(tmp_path / "out.parquet").column("row").to_pylist() == ["7", "9", "40", "41"]
    (tmp_path / "in/t.csv").write_text(text.replace("9,Oslo", "x9,Oslo"))
    with pytest.raises(UserError, match=r"in/t\.csv: has 'row' as string, and in/t\.parquet as int64; the inputs must"):
        predict(mixed, "in/t.parquet", "in/t.csv", out="out.parquet", keep=())


def test_what_a_prediction_made_is_no_input_of_the_next(mixed: Repo, predict: Predict, tmp_path: Path) -> None:
    good = "id,city,since,rooms,size\na,Bern,2001-02-03,2,50\n"
    (tmp_path / "in/a.csv").write_text(good + "b,Bern,2001-02-03,x,50\n")
    (tmp_path / "in/b.csv").write_text(good)
    for name, out in (
        ("in/*.csv", "in/p.parquet"), ("in/*", "in/p.csv"), ("in/**/*.csv", "in/p.csv"), ("in", "in/p.arrow"),
        ("in", "in/out"), ("in/**/*", "in/out"),
    ):  # fmt: skip
        for _ in range(2):
            assert predict(mixed, name, out=out, max_errors=1).startswith("2 rows in ")
            assert (tmp_path / f"{out}.errors.csv").exists()
        shutil.rmtree(tmp_path / out) if out == "in/out" else (tmp_path / out).unlink()
        (tmp_path / f"{out}.errors.csv").unlink()
    predict(mixed, "in/b.csv", out="in/p.csv")
    for name in ("in/p.csv", "in/p.cs[v]"):
        with pytest.raises(UserError):
            predict(mixed, name, out="in/p.csv")
    (tmp_path / "in/p.csv").write_text(good)  # a table, which would be lost
    with pytest.raises(UserError, match=r"--out: in/p\.csv is one of the inputs"):
        predict(mixed, "in/*.csv", out="in/p.csv", max_errors=1)
    predict(mixed, "in/*.csv", out="in", format="arrow", max_errors=1)
    predict(mixed, "in/*.csv", out="in", format="arrow", max_errors=1)


def test_contributions_of_trees_add_up_to_the_raw_score(
    mixed: Repo, predict: Predict, flats: Path, tmp_path: Path
) -> None:
    from stages import models

    predict(mixed, "in/flats.parquet", out="out.parquet", explain=True)
    found = read(tmp_path / "out.parquet")
    assert found.column_names[-6:] == ["predicted", *(f"e_{name}" for name in TAKEN), "e_base"]
    model = models.load(mixed.path / "models/model")
    raw = model.estimator.predict(model.prepared(read(flats)).values, prediction_type="RawFormulaVal")
    total = sum(found.column(f"e_{name}").to_numpy() for name in (*TAKEN, "base"))
    assert np.allclose(total, np.max(raw, axis=1), rtol=0, atol=1e-9)  # of the label that is predicted


def test_contributions_of_a_linear_model_add_up_to_its_decision(
    linear: Repo, predict: Predict, flats: Path, tmp_path: Path
) -> None:
    from stages import models

    predict(linear, "in/flats.parquet", out="out.parquet", model="lines", explain=True)
    found = read(tmp_path / "out.parquet")
    decision: Any = models.load(linear.path / "models/model").decision(read(flats))
    total = sum(found.column(f"e_{name}").to_numpy() for name in (*TAKEN, "base"))
    assert np.allclose(total, np.max(decision, axis=1), rtol=0, atol=1e-9)


def test_bad_rows_go_to_a_side_file_and_the_others_are_predicted(mixed: Repo, predict: Predict, tmp_path: Path) -> None:
    text = "id,city,since,rooms,size\na,Bern,2001-02-03,2,50\nb,=Bern,2001-02-03,x,50\nc,Oslo\nd,Oslo,2001-02-03,3,60\n"
    (tmp_path / "in/t.csv").write_text(text)
    said = predict(mixed, "in/t.csv", out="out.csv", max_errors=2, chunk=1)
    assert said.endswith(": out.csv; 2 bad rows: out.csv.errors.csv")
    assert [(row["row"], row["id"]) for row in rows(tmp_path / "out.csv")] == [("0", "a"), ("3", "d")]
    assert (tmp_path / "out.csv.errors.csv").read_text().splitlines() == [
        "file,row,column,reason",
        "in/t.csv,1,city,\"has no category '=Bern'; it has: Bern, Oslo, Rome, Italy\"",
        "in/t.csv,1,rooms,\"must be a whole number, got 'x'\"",
        'in/t.csv,2,,"has 2 cells, and the header 5"',
    ]
    (tmp_path / "in/t.csv").write_text(text.splitlines()[0] + "\na,Bern,2001-02-03,2,50\n")
    predict(mixed, "in/t.csv", out="out.csv")
    assert not (tmp_path / "out.csv.errors.csv").exists()


def test_an_unknown_category_is_taken_when_asked_for(mixed: Repo, predict: Predict, tmp_path: Path) -> None:
    (tmp_path / "in/t.csv").write_text("city,since,rooms,size\nParis,2001-02-03,2,50\n")
    predict(mixed, "in/t.csv", out="out.csv", unknown=True)
    assert len(rows(tmp_path / "out.csv")) == 1


def test_rows_come_from_a_bucket_a_web_server_and_a_revision(
    mixed: Repo, predict: Predict, flats: Path, tmp_path: Path, s3: S3
) -> None:
    bucket, client = s3.bucket("predict"), s3.client()
    client.upload_file(str(flats), bucket, "in/flats.parquet")
    predict(mixed, f"s3://{bucket}/in/flats.parquet", out="s3.parquet", endpoint=s3.url)
    predict(mixed, "in/flats.parquet", out="here.parquet")
    assert read(tmp_path / "s3.parquet").equals(read(tmp_path / "here.parquet"))
    predict(mixed, f"dvc:{mixed.path}#data/raw.parquet@main", out="folder")
    assert read(tmp_path / "folder/raw.parquet").num_rows == 300
    with serving() as web:
        web.files["/flats.parquet"] = flats.read_bytes()
        predict(mixed, f"{web.address}/flats.parquet", out="web.parquet")
    assert read(tmp_path / "web.parquet").equals(read(tmp_path / "here.parquet"))


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """40,000 rows."""
    path = tmp_path / "large.parquet"
    pq.write_table(pa.concat_tables([table(1000, seed=i) for i in range(40)]), path)
    return path


def _started(repo: Repo, path: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    """Start a prediction, and return once it has finished some chunks."""
    command = ["trialtree", "predict", "flats", str(path), "--out", str(out), "--chunk", "50", *options]
    process = subprocess.Popen(command, cwd=repo.path, env=dict(repo.env), stderr=subprocess.PIPE, text=True)
    journal = out.with_name(f".{out.name}.parts") / "0.jsonl"
    while not (journal.exists() and journal.read_bytes().count(b"\n") > 5):
        assert process.poll() is None, process.stderr and process.stderr.read()
    return process


@pytest.fixture
def at_once(mixed: Repo, large: Path, tmp_path: Path) -> bytes:
    """What comes of the rows where nothing interrupts."""
    mixed.run("trialtree", "predict", "flats", str(large), "--out", str(tmp_path / "whole.parquet"), "--chunk", "50")
    return (tmp_path / "whole.parquet").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_prediction_goes_on_and_gives_the_same_bytes(
    mixed: Repo, large: Path, tmp_path: Path, at_once: bytes, how: signal.Signals
) -> None:
    out = tmp_path / "out.parquet"
    with _started(mixed, large, out) as process:
        process.send_signal(how)
        said = process.communicate()[1]
    assert process.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    assert how == signal.SIGKILL or said.endswith("the same command goes on from there\n")
    assert not out.exists()
    done = mixed.run("trialtree", "predict", "flats", str(large), "--out", str(out), "--chunk", "50")
    assert f"{out}: goes on after " in done.stderr
    assert out.read_bytes() == at_once
    assert list(parts(out)) == []


@pytest.mark.slow
def test_a_damaged_chunk_is_made_again(mixed: Repo, large: Path, tmp_path: Path, at_once: bytes) -> None:
    out = tmp_path / "out.parquet"
    with _started(mixed, large, out) as process:
        process.kill()
        process.communicate()
    folder = tmp_path / ".out.parquet.parts"
    content = bytearray((folder / "0.chunks").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "0.chunks").write_bytes(content)
    with (folder / "0.jsonl").open("a") as journal:
        journal.write('{"input": 0, "re')
    mixed.run("trialtree", "predict", "flats", str(large), "--out", str(out), "--chunk", "50")
    assert out.read_bytes() == at_once


@pytest.mark.slow
def test_another_option_or_input_begins_anew_and_fresh_does_too(mixed: Repo, large: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with _started(mixed, large, out) as process:
        process.kill()
        process.communicate()
    command = ["trialtree", "predict", "flats", str(large), "--out", str(out), "--keep", "id"]
    done = mixed.run(*command, "--chunk", "50")
    assert f"{out}: what was finished before is made anew, as --keep is another now" in done.stderr
    assert "goes on" not in done.stderr
    with _started(mixed, large, out, "--keep", "id") as process:
        process.kill()
        process.communicate()
    os.utime(large, ns=(0, 0))
    done = mixed.run(*command, "--chunk", "50")
    assert f"as {large} is another now" in done.stderr
    with _started(mixed, large, out, "--keep", "id") as process:
        process.kill()
        process.communicate()
    done = mixed.run(*command, "--chunk", "50", "--fresh")
    assert "goes on" not in done.stderr
    assert read(out).num_rows == 40_000


def test_two_at_once_on_one_output_are_refused(mixed: Repo, large: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with _started(mixed, large, out) as process:
        process.send_signal(signal.SIGSTOP)
        other = mixed.run("trialtree", "predict", "flats", str(large), "--out", str(out), check=False)
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()
    assert (other.returncode, other.stderr) == (1, f"{out}: another `trialtree predict` is writing it\n")


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(mixed: Repo, large: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    limited = "import resource, sys, os; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); "
    command = ["trialtree", "predict", "flats", str(large), "--out", str(out), "--chunk", "500"]
    script = limited + "os.execvp(sys.argv[1], sys.argv[1:])"
    full = mixed.run(sys.executable, "-c", script, *command, check=False)
    assert full.returncode == 1
    assert re.fullmatch("a file would be larger than is allowed here.*\n", full.stderr)
    done = mixed.run(*command)
    assert "goes on after " in done.stderr
    assert read(out).num_rows == 40_000


def test_quiet_says_nothing(mixed: Repo, large: Path, tmp_path: Path) -> None:
    done = mixed.run("trialtree", "predict", "flats", str(large), "--out", str(tmp_path / "o.csv"), "--quiet")
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_memory_does_not_grow_with_the_rows(mixed: Repo, tmp_path: Path, suffix: str) -> None:
    peaks = {}
    for thousands in (600, 1800):
        path = tmp_path / f"{thousands}{suffix}"
        _write_large(path, thousands)
        command = ["trialtree", "predict", "flats", str(path), "--out", str(tmp_path / f"out{suffix}"), "--quiet"]
        script = f"import subprocess, sys; subprocess.run(sys.argv[1:], check=True); {PEAK}"
        peaks[thousands] = int(mixed.run(sys.executable, "-c", script, *command).stdout) / 1000  # MB
        assert read(tmp_path / f"out{suffix}").num_rows == thousands * 1000
    assert peaks[1800] - peaks[600] < 30, peaks


def _write_large(path: Path, thousands: int) -> None:
    def tables() -> Iterator[pa.Table]:
        for i in range(thousands // 10):
            yield table(10_000, seed=i)

    if path.suffix == ".parquet":
        with pq.ParquetWriter(path, table(1).schema) as writer:
            for each in tables():
                writer.write_table(each)
    else:
        with pa.csv.CSVWriter(path, table(1).schema) as writer:
            for each in tables():
                writer.write_table(each)


@pytest.mark.usefixtures("flats")
def test_an_output_that_is_there_is_replaced_whole(mixed: Repo, predict: Predict, tmp_path: Path) -> None:
    (tmp_path / "out.parquet").write_text("old")
    predict(mixed, "in/flats.parquet", out="out.parquet")
    assert pc.sum(read(tmp_path / "out.parquet").column("row")).as_py() == 999 * 500
