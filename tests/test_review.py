"""`trialtree report` and `trialtree gate`: what a reviewer sees of a pull request, and what keeps it from a merge."""

import csv
import hashlib
import json
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from stages.scores import score
from tests import reviewing
from tests.conftest import PROJECT, Repo
from tests.reviewing import branch, report, rows, trial, write
from tests.slow import until
from trialtree.review import pairs
from trialtree.review.gate import Check
from trialtree.review.remotely import Remote
from trialtree.revisions import Out


@pytest.fixture(scope="session")
def bank_once(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A repository with a trial on main and one each on the branches params, data and leak; for copies only."""
    repo = reviewing.made(tmp_path_factory.mktemp("bank"))
    trial(branch(repo, "params", {"train.hyperparameters.C": 0.001}), "Less C")
    branch(repo, "data")
    other = [[line[0], line[1] * 2 if number < 100 else line[1], *line[2:]] for number, line in enumerate(rows(620))]
    write(repo, [[*line[:2], "Delft" if line[2] == "Bonn" else line[2], line[3]] for line in other[20:]])
    trial(repo, "New data")
    branch(repo, "leak")
    with_code = rows(extra=lambda number, default: f"{default[0]}{number % 3}")
    write(repo, with_code, ("age", "income", "city", "code", "default"))
    code = repo.path / "stages/train.py"
    code.write_text(code.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    trial(repo, "Add a column")
    repo.git("switch", "-q", "main")
    repo.dvc("checkout", "-q")
    return repo


@pytest.fixture
def bank(bank_once: Repo, tmp_path: Path) -> Repo:
    """A copy of it, to change."""
    return reviewing.copied(bank_once, tmp_path)


def section(text: str, title: str) -> str:
    """Return a section of a report."""
    return text.partition(f"### {title}\n\n")[2].partition("\n### ")[0].partition("\n<details>")[0].strip()


# What a report tells.


def test_a_change_of_params_is_judged_on_the_same_rows(bank_once: Repo) -> None:
    text = report(bank_once, "params")
    main, head = (bank_once.git("rev-parse", "--short=7", name) for name in ("main", "params"))
    lines = text.splitlines()
    assert lines[:2] == ["<!-- trialtree report -->", f"## Trial `params` ({head}) against `main` ({main})"]
    assert lines[3].startswith("**")
    assert ": roc\\_auc 0." in lines[3]
    assert lines[5].startswith("Both test parts are the same 150 rows, matched by their number.")
    assert section(text, "Params").splitlines() == [
        "| param | base | head |", "| :-- | :-- | :-- |", "| `train.hyperparameters.C` | `1.0` | `0.001` |",
    ]  # fmt: skip
    assert section(text, "Data") == "The same data, dealt out the same."
    assert section(text, "Code") == "The same."
    scored = [json.loads(bank_once.git("show", f"{c}:reports/metrics.json"))["test"] for c in ("main", "params")]
    row = next(line for line in section(text, "Metrics").splitlines() if "`test.roc_auc`" in line)
    assert row.split(" | ")[1:3] == [f"{of['roc_auc']:.4f}" for of in scored]
    assert "| `roc_auc` | min 0.6 | " in text
    assert "trialtree finish params" in text


def test_new_data_are_told_row_by_row_and_column_by_column(bank_once: Repo) -> None:
    text = report(bank_once, "data")
    assert "The test parts differ: of 150 rows of base and 150 of head, " in text
    table = [line.strip("| ").split(" | ") for line in section(text, "Data").splitlines() if line.startswith("| t")]
    counts = {line[0]: [int(n.replace(",", "")) for n in line[1:]] for line in table}
    for before, now, stayed, moved, changed, added, _ in counts.values():
        assert now == stayed + moved + changed + added
        assert before > stayed
    assert sum(of[1] for of in counts.values()) == 600
    assert "| `city` | " in text
    assert "`city`: values new: `Delft`." in text
    assert "`city`: values gone: `Bonn`." in text
    assert "- `city` has drifted far (stability index " in section(text, "Warnings")


def test_a_column_that_repeats_the_target_is_warned_of_and_the_code_named(bank_once: Repo) -> None:
    text = report(bank_once, "leak")
    assert "- The column `code` alone predicts the target almost perfectly (100.0%): is it known before?" in text
    assert "Columns added: `code: category`." in section(text, "Data")
    assert section(text, "Code").splitlines()[2] == "| `train` | `stages/train.py` |"
    assert "Features new: `code`." in section(text, "Model")
    assert "**Better**: roc\\_auc " in text


@pytest.mark.slow
def test_rescored_the_model_of_base_is_judged_on_the_rows_of_head(bank_once: Repo) -> None:
    text = report(bank_once, "data", "--rescore")
    assert "Base's model on all of head's test rows (150): **" in text
    assert "--rescore" not in text
    assert "of head's test part were in base's train part: base's model has learned them." in text
    other = report(bank_once, "leak", "--base", "data", "--rescore")
    assert "Base's model on all of head's test rows (150): **" in other
    assert "Base's model is not scored on head's test rows: models/model takes 'code'" in report(
        bank_once, "data", "--base", "leak", "--rescore"
    )


@pytest.mark.slow
def test_a_folder_has_both_forms_the_pictures_and_the_long_tables(bank_once: Repo, tmp_path: Path) -> None:
    said = report(bank_once, "data", "--out", str(tmp_path / "out")).splitlines()
    names = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert names == [
        "columns.csv", "plots/calibration.png", "plots/confusion.png", "plots/importance.png", "plots/roc.png",
        "report.html", "report.md",
    ]  # fmt: skip
    assert sorted(said) == sorted(str(tmp_path / "out" / name) for name in names)
    text = (tmp_path / "out/report.md").read_text(encoding="utf-8")
    assert "![ROC curves of the test part, main (" in text
    assert "](plots/roc.png)" in text
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/png;base64,') == 4
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")
    again = report(bank_once, "data", "--out", str(tmp_path / "out")).splitlines()
    assert again == said
    report(bank_once, "leak", "--out", str(tmp_path / "one.html"))
    report(bank_once, "leak", "--out", str(tmp_path / "one.md"), "--pictures", "https://example.org/p/")
    assert "](https://example.org/p/roc.png)" in (tmp_path / "one.md").read_text(encoding="utf-8")


def test_several_trials_stand_in_one_table_with_the_best_marked(bank_once: Repo) -> None:
    text = report(bank_once, "--against", "main", "params", "data", "leak")
    assert "\n## 3 trials against `main`\n" in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert rows[2].startswith("| `leak` **best** | better | 1.0000 | +0.")
    assert "**best**" not in rows[0] + rows[1]
    assert "| `train.hyperparameters.C` | `1.0` | `0.001` | = | = |" in rows


@pytest.mark.slow
def test_an_experiment_is_reported_by_its_name(bank: Repo) -> None:
    bank.dvc("exp", "run", "-q", "-n", "exp", "-S", "train.hyperparameters.C=0.1", "evaluate")
    bank.git("checkout", "-q", ".")
    text = report(bank, "exp")
    assert "\n## Trial `exp` (" in text
    assert "dvc exp apply exp\n" in text


def test_dvc_draws_the_plots_of_both_sides(bank_once: Repo) -> None:
    done = bank_once.dvc("plots", "diff", "main", "params", "--json")
    assert {"ROC", "calibration", "confusion matrix", "feature importance"} <= json.loads(done.stdout)["data"].keys()


@pytest.mark.slow
def test_merged_by_squash_a_trial_stays_findable(ran: Repo) -> None:
    ran.run("trialtree", "start", "soft", "-S", "train.hyperparameters.C=0.5")
    ran.run("trialtree", "run")
    ran.git("switch", "-q", "main")
    ran.git("merge", "--squash", "-q", "soft")
    commit = ran.commit("Soft, squashed")
    ran.git("branch", "-q", "-D", "soft")
    ran.run("trialtree", "track", "--all")
    found = {run["name"]: run["tags"] for run in json.loads(ran.run("trialtree", "runs", "--json").stdout)}
    tags = found[f"main@{commit[:7]}"]
    assert (tags["trialtree.commit"], tags["branch"]) == (commit, "main")
    assert f"{commit[:7]}" in ran.run("trialtree", "list", "--all").stdout


@pytest.mark.slow
def test_a_trial_of_a_sweep_stands_among_the_others(bank: Repo) -> None:
    space = {"train.hyperparameters.C": {"choice": [0.0001, 0.01, 1.0, 100.0]}}
    section = {"objective": {"metric": "cv.roc_auc", "goal": "maximize"}, "sampling": "grid", "space": space}
    bank.params({"sweep": section})
    bank.commit("Sweep")
    bank.run("trialtree", "sweep", "--lines", "--no-mlflow")
    bank.run("trialtree", "best", "--branch", "best")
    text = report(bank, "best")
    assert "of which 4 trials are here:" in text
    assert "| rank | trial | cv.roc\\_auc | train.hyperparameters.C |" in text
    assert " **this one** |" in text


# What is missing.


def test_without_a_base_the_trial_is_told_alone(bank_once: Repo) -> None:
    text = report(bank_once, "params", "--base", "nowhere")
    assert "**No verdict**: there is no base." in text
    assert "- there is no nowhere here to compare with" in text
    assert "| `test.roc_auc` | 0." in text


def test_a_shallow_clone_says_how_to_get_the_rest(bank: Repo, tmp_path: Path) -> None:
    bank.git("branch", "-q", "other", "main")
    bank.run("git", "clone", "-q", "--depth", "1", "--branch", "params", f"file://{bank.path}", str(tmp_path / "clone"))
    clone = Repo(tmp_path / "clone", bank.env)
    assert "in CI fetch-depth: 0" in report(clone, "HEAD", "--base", "main")
    clone.git("fetch", "-q", "--depth", "1", "origin", "main:refs/remotes/origin/main")
    text = report(clone, "HEAD", "--base", "main")
    assert "have no history in common; this is a shallow clone: fetch-depth: 0" in text
    assert "| `train.hyperparameters.C` | `1.0` | `0.001` |" in text


def test_histories_that_are_not_related_are_compared_and_said_to_be(bank: Repo) -> None:
    bank.git("checkout", "-q", "--orphan", "island", "params")
    bank.commit("Island")
    assert "- main and island have no history in common" in report(bank, "island")


def test_main_that_has_gone_on_is_said(bank: Repo) -> None:
    (bank.path / "NOTES").write_text("x", encoding="utf-8")
    bank.commit("Note")
    assert "- main has gone on by 1 commit since params began there" in report(bank, "params")


def test_metrics_of_one_side_and_other_names_are_shown_as_they_are(bank: Repo) -> None:
    trial(branch(bank, "few", {"evaluate.metrics": ["accuracy"]}), "Few")
    text = report(bank, "few")
    assert "| `test.roc_auc` | 0." in text
    row = next(line for line in text.splitlines() if "`test.roc_auc`" in line)
    assert row.endswith("| – | – |  |")
    assert "**No difference**: both predict the same of all 150 rows." in text
    assert "register.gates.roc\\_auc: reports/metrics.json has no such metric" in text


@pytest.mark.slow
def test_another_task_is_told_and_not_judged(bank: Repo) -> None:
    estimator = "sklearn.linear_model.LinearRegression"
    changes = {"split.target": "income", "split.by": "random", "train": {"estimator": estimator}}
    trial(branch(bank, "other", {**changes, "evaluate": {}, "register.gates": {}}), "Other target")
    text = report(bank, "other")
    assert "**No verdict**: base predicts 'no' or 'yes', head numbers." in text
    assert "| `split.target` | `default` | `income` |" in text


def test_a_damaged_lock_metrics_and_model_leave_the_rest(bank: Repo) -> None:
    bank.git("switch", "-q", "params")
    (bank.path / "reports/metrics.json").write_text("{", encoding="utf-8")
    bank.commit("Damage metrics")
    text = report(bank, "params")
    assert "- params: reports/metrics.json is not the one of dvc.lock, and left out" in text
    assert "| `train.hyperparameters.C` | `1.0` | `0.001` |" in text
    (bank.path / "dvc.lock").write_text("stages: [", encoding="utf-8")
    bank.commit("Damage the lock")
    text = report(bank, "params")
    assert "**No verdict**" in text
    assert "- params: dvc.lock is damaged" in text


def test_a_model_file_that_is_damaged_is_not_timed(bank: Repo) -> None:
    bank.git("switch", "-q", "params")
    bank.dvc("checkout", "-q")
    path = (bank.path / "models/model/estimator.skops").resolve()
    listed = json.loads((bank.path / "models/model/manifest.json").read_text(encoding="utf-8"))["sha256"]
    digest = listed["estimator.skops"]
    for kept in (bank.path / ".dvc/cache/files/md5").rglob("*"):
        if kept.is_file() and hashlib.sha256(kept.read_bytes()).hexdigest() == digest:
            kept.chmod(0o644)
            kept.write_bytes(kept.read_bytes()[:-10])
    assert path.exists()
    text = report(bank, "params")
    assert "| a prediction | " in text
    assert (
        "- params: its predictions are not timed: models/model/estimator.skops is damaged: its SHA-256 is not " in text
    )


@pytest.mark.slow
def test_what_the_cache_lacks_is_said_and_pulled_when_asked(bank: Repo, tmp_path: Path) -> None:
    clone = cloned(bank, tmp_path)
    text = report(clone, "origin/params", "--base", "origin/main")
    assert "**No verdict**: origin/main and origin/params: no predictions here." in text
    assert "reports/predictions.parquet: " in text
    assert "there is no default remote" in text
    bank.dvc("remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    for name in ("main", "params"):
        bank.git("switch", "-q", name)
        bank.dvc("push", "-q")
    clone.dvc("remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    text = report(clone, "origin/params", "--base", "origin/main")
    assert "Both test parts are the same 150 rows" in text
    assert "- origin/params: data/split is not in DVC's cache here; `--pull` brings it from the remote" in text.replace(
        "\\", ""
    )
    assert "| data in the remote | yes | yes |" in text
    assert " µs a row" not in text
    text = report(clone, "origin/params", "--base", "origin/main", "--pull")
    assert "Not told" not in text
    assert " µs a row" in text
    assert gate(clone, "origin/params", "--base", "origin/main")["figures"][0]


def cloned(repo: Repo, tmp_path: Path) -> Repo:
    """Clone a repository, with an empty cache."""
    repo.run("git", "clone", "-q", str(repo.path), str(tmp_path / "clone"))
    return Repo(tmp_path / "clone", repo.env)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("nowhere",), "nowhere is no commit, branch, tag or experiment of this repository"),
        (("params", "--out", "a.pdf"), "--out: must be a folder or end in .md or .html, got a.pdf"),
        (("params", "--out", "dvc.yaml/out"), "--out: "),
    ],
)
def test_what_cannot_be_reported_is_one_line(bank_once: Repo, arguments: tuple[str, ...], line: str) -> None:
    done = bank_once.run("trialtree", "report", *arguments, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_many_columns_and_large_params_stay_within_a_comment(bank: Repo, tmp_path: Path) -> None:
    columns = ("age", "income", "city", *(f"column_{n:03}" for n in range(500)), "default")

    def wide(more: int) -> list[list[Any]]:
        """Return rows with 500 columns of numbers, larger by `more` in every other row."""
        return [
            [*line[:3], *((n * k + k) % 97 + more * (n % 2) for k in range(500)), line[3]]
            for n, line in enumerate(rows(200))
        ]

    write(bank, wide(0), columns)
    trial(bank, "Wide")
    branch(bank, "wide", {"train.hyperparameters.C": 2.0, "tags": {f"key_{n:04}": "x" * 1900 for n in range(1000)}})
    write(bank, wide(50), columns)
    trial(bank, "Large")
    text = report(bank, "wide")
    assert len(text) <= 65_536
    assert "*and " in text
    report(bank, "wide", "--out", str(tmp_path / "out"))
    with (tmp_path / "out/columns.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.reader(file))) > 400


# The gate.


def gate(repo: Repo, *args: str) -> dict[str, tuple[bool, str]]:
    """Return what came of each rule; the exit status says whether one failed."""
    done = repo.run("trialtree", "gate", *args, "--json", check=False)
    assert done.stderr == ""
    found = {check["rule"]: (check["holds"], check["said"]) for check in json.loads(done.stdout)}
    assert done.returncode == (0 if all(holds for holds, _ in found.values()) else 1)
    return found


def test_a_trial_that_holds_passes(bank_once: Repo) -> None:
    assert {rule: holds for rule, (holds, _) in gate(bank_once, "main", "--base", "params").items()} == {
        "review.up_to_date": True, "figures": True, "register.gates.roc_auc": True, "review.not_worse.roc_auc": True,
        "review.data.leaks": True,
    }  # fmt: skip
    assert gate(bank_once, "main", "--no-base")["figures"] == (
        True,
        "12 metrics of the test part are what the predictions give",
    )


FAULTS: list[tuple[str, Mapping[str, Any], str, str]] = [
    ("params", {"metrics": {"accuracy": {"min": 0.999}}}, "metrics.accuracy", "gate fails by"),
    ("params", {"metrics": {"cv.acuracy": {"min": 0.5}}}, "metrics.cv.acuracy", "did you mean cv.accuracy?"),
    ("params", {"not_worse": {"roc_auc": {"tolerance": 1e-4, "proven": True}}}, "not_worse.roc_auc", ", proven"),
    ("params", {"model_size": "0.001MB"}, "model_size", "bytes, at most 0.001MB"),
    ("params", {"prediction_time": 1e-12}, "prediction_time", "s a row, at most 1e-12"),
    ("params", {"data": {"missing": 0.01}}, "data.missing", "missing in more than 1.0% of the rows: age (2."),
    ("params", {"in_remote": True}, "in_remote", "there is no DVC remote"),
    ("data", {"data": {"new_categories": 0}}, "data.new_categories", "more than 0 new values: city (1)"),
    ("data", {"data": {"drift": 0.25}}, "data.drift", "stability index over 0.25: city ("),
    ("leak", {"metric": "mcc"}, "data.leaks", "alone predict the target: code (100.0%)"),
]


@pytest.mark.parametrize(("name", "section", "rule", "said"), FAULTS, ids=[fault[2] for fault in FAULTS])
def test_each_fault_is_refused_with_its_reason(
    bank: Repo, name: str, section: Mapping[str, Any], rule: str, said: str
) -> None:
    bank.git("switch", "-q", name)
    bank.params({"review": {"metric": "roc_auc", **section}})
    bank.commit("Ask for more")
    holds, reason = gate(bank)[f"review.{rule}"]
    assert not holds
    assert said in reason


def test_a_trial_does_not_pass_by_what_it_leaves_out(bank: Repo) -> None:
    bank.params({"review": {"metric": "roc_auc", "metrics": {"accuracy": {"min": 0.9999}}}})
    bank.params({"register.gates.roc_auc.min": 0.99})
    bank.commit("Ask for more on main")
    bank.git("switch", "-q", "params")
    bank.params({"review": {"up_to_date": False}, "register.gates": {}})
    bank.commit("Ask for nothing")
    found = gate(bank)
    assert found["review.metrics.accuracy"][1].endswith(", min 0.9999 (so asks main)")
    assert found["register.gates.roc_auc"][1].endswith(", min 0.99 (so asks main)")
    assert not found["register.gates.roc_auc"][0]
    assert gate(bank, "--no-base") == {rule: of for rule, of in gate(bank, "--no-base").items() if of[0]}


@pytest.mark.slow
def test_what_is_not_the_commits_is_refused(bank: Repo) -> None:
    bank.git("switch", "-q", "params")
    bank.params({"train.hyperparameters.C": 5.0})
    bank.commit("Only the params")
    assert gate(bank)["review.up_to_date"] == (False, "params.yaml changed since; `dvc repro`, then commit")
    assert section(report(bank, "params"), "Warnings").startswith(
        "- dvc.lock is not that of this commit, and what is told below is of another: params.yaml changed since."
    )
    bank.git("reset", "-q", "--hard", "HEAD~1")
    path = bank.path / "stages/evaluate.py"
    path.write_text(path.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    bank.commit("Only the code")
    assert gate(bank)["review.up_to_date"][1].startswith("stages/evaluate.py changed since")
    bank.git("reset", "-q", "--hard", "HEAD~1")
    pipeline = bank.path / "dvc.yaml"
    pipeline.write_text(
        pipeline.read_text(encoding="utf-8").replace("python -m stages.train", "python -m stages.train --x")
    )
    bank.commit("Only the pipeline")
    assert gate(bank)["review.up_to_date"][1].startswith("train of dvc.yaml changed since")


def test_figures_that_the_predictions_do_not_give_are_refused(bank: Repo) -> None:
    bank.git("switch", "-q", "params")
    bank.dvc("checkout", "-q")
    metrics = bank.path / "reports/metrics.json"
    content = json.loads(metrics.read_text(encoding="utf-8"))
    content["test"]["roc_auc"] = 0.99
    metrics.write_text(json.dumps(content), encoding="utf-8")
    bank.dvc("commit", "-q", "-f", "evaluate")
    bank.commit("Polish")
    found = gate(bank)
    assert found["review.up_to_date"][0]
    assert found["figures"] == (False, "reports/metrics.json does not say what the predictions give: roc_auc")


@pytest.mark.parametrize("how", ["fewer rows", "other targets"])
def test_predictions_that_are_not_of_the_test_part_are_refused(bank: Repo, how: str) -> None:
    bank.git("switch", "-q", "params")
    bank.dvc("checkout", "-q")
    place = bank.path / "reports/predictions.parquet"
    table = pq.read_table(place)
    if how == "fewer rows":
        table = table.filter(pc.equal(table["actual"], table["predicted"]))
    else:
        table = table.set_column(table.column_names.index("actual"), "actual", table["predicted"])
    place.unlink()  # a link into the cache
    pq.write_table(table, place)
    rows = pairs.read(place, "yes")
    content = json.loads((bank.path / "reports/metrics.json").read_text(encoding="utf-8"))
    content["test"] = score(rows, [name for name in content["test"] if name != "rows"], "test")[0]
    content["test"]["rows"] = table.num_rows
    (bank.path / "reports/metrics.json").write_text(json.dumps(content), encoding="utf-8")
    bank.dvc("commit", "-q", "-f", "evaluate")
    bank.commit("Polish")
    found = gate(bank)
    assert found["review.up_to_date"][0]
    assert not found["figures"][0]
    said = (
        f"{table.num_rows} of its {table.num_rows} rows are among the 150 there"
        if how == "fewer rows"
        else "have another"
    )
    assert said in found["figures"][1]
    if how == "other targets":
        assert "of both test parts have another target on each side." in section(report(bank, "params"), "Warnings")


def test_the_metric_that_decides_for_base_may_not_fall_behind_either(bank: Repo) -> None:
    changes = {"train.estimator": "sklearn.dummy.DummyClassifier", "train.hyperparameters": {"strategy": "prior"}}
    trial(branch(bank, "swapped", {**changes, "review.metric": "accuracy", "register.gates": {}}), "Swap")
    found = gate(bank, "swapped")
    assert not found["review.not_worse.roc_auc"][0]
    text = section(report(bank, "swapped"), "Warnings")
    assert "This branch changes the rules that it is judged by: `register.gates.roc_auc.min`, `review.metric`." in text


def test_metrics_of_another_label_are_not_compared(bank: Repo) -> None:
    trial(branch(bank, "other", {"evaluate.positive": "no"}), "Other label")
    text = report(bank, "other")
    row = next(line for line in text.splitlines() if "`test.f1`" in line)
    assert row.endswith("| – |  |")
    assert (
        "- evaluate.positive differs: precision, recall, f1, average\\_precision of base are of another label" in text
    )


def test_an_order_to_end_leaves_nothing_behind(bank: Repo, tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    process = subprocess.Popen(
        ["trialtree", "report", "params"], cwd=bank.path, env={**bank.env, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    until(lambda: any(folder.glob("trialtree-review-*/head")))
    children = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    process.communicate()
    assert process.returncode not in (0, -signal.SIGTERM)
    assert list(folder.iterdir()) == []
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


def test_a_remote_that_says_nothing_is_left(bank: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        bank.dvc("remote", "add", "-q", "-d", "store", "s3://bucket/x")
        bank.dvc("remote", "modify", "-q", "store", "endpointurl", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.chdir(bank.path)
        for name, value in {**bank.env, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}.items():
            monkeypatch.setenv(name, value)
        remote = Remote()
        assert remote.bring([(Out("x", "0" * 32), "")], 5.0) == ["the remote did not answer within 5 s"]
        assert remote.held(["0" * 32]) == "unknown: the remote did not answer within 5 s"


def test_a_line_of_the_gate_is_one_line() -> None:
    assert str(Check("review.data.leaks", False, "code\npass  figures: \x1b[1mfine")) == (
        "FAIL  review.data.leaks: code\\u000apass  figures: \\u001b[1mfine"
    )


def test_a_gate_that_cannot_know_lets_nothing_through(bank: Repo, tmp_path: Path) -> None:
    clone = cloned(bank, tmp_path)
    found = gate(clone, "origin/params", "--base", "origin/main")
    assert found["figures"] == (False, "reports/predictions.parquet is neither here nor in the remote")
    assert not found["against base"][0]
    bank.git("switch", "-q", "params")
    bank.params({"review.data": {"leaks": True, "drift": 0.2}})
    bank.commit("Ask for more")
    clone.git("fetch", "-q")
    found = gate(clone, "origin/params", "--base", "origin/main")
    away = (False, "the data are not here; `--pull` brings them")
    assert (found["review.data.leaks"], found["review.data.drift"]) == (away, away)


def test_a_wrong_review_section_is_one_line(bank: Repo) -> None:
    bank.git("switch", "-q", "params")
    bank.params({"review": {"metrik": "mcc"}})
    assert bank.run("trialtree", "check", check=False).stderr == (
        "params.yaml: review.metrik is not a key; did you mean metric?\n"
    )
    bank.commit("Wrong")
    done = bank.run("trialtree", "gate", check=False)
    assert (done.returncode, done.stderr) == (1, "params.yaml: review.metrik is not a key; did you mean metric?\n")


def test_every_key_of_the_section_is_explained() -> None:
    from trialtree.review.section import DataRules, NotWorse, ReviewParams

    page = (PROJECT / "docs/params.md").read_text(encoding="utf-8")
    names = [*ReviewParams.model_fields, *NotWorse.model_fields, *DataRules.model_fields]
    assert [name for name in names if name != "data" and f".{name}`" not in page] == []
