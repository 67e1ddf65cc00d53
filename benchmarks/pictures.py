"""Take the pictures of docs/pictures/: the MLflow page of a repository, as `trialtree ui` serves it.

    python -m benchmarks.pictures REPOSITORY [--experiment NAME] [--run NAME] [--out FOLDER]

Writes runs.png (parents with their trials), run.png (datasets and tags), curves.png and datasets.png. The run is the
one named, else the first that has a curve.
"""

import argparse
import json
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.browser import Page, browser

# What a user would click once: the part for training, no assistant.
_CHOSEN = {
    "mlflow.workflowType_v1": "machine_learning",
    "mlflow.assistant.panelOpen_v1": False,
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": True,
}
_PLAIN = (
    "const s = document.createElement('style'); s.textContent = '.modebar {display: none}'; document.head.append(s)"
)


@contextmanager
def page_of(repository: Path) -> Iterator[str]:
    """Run `trialtree ui`; yield its address."""
    command = ["trialtree", "ui", "--port", "0", "--no-browser"]
    with subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().split()[0]
        finally:
            process.terminate()


def columns(runs: list[Any]) -> list[str]:
    """Return the columns of the list: datasets, params that differ between runs, and the first metrics."""
    names = sorted({name for run in runs for name in run.data.params})
    differ = [name for name in names if len({run.data.params.get(name) for run in runs if run.data.params}) > 1]
    metrics = [name for name in ("cv.accuracy", "test.accuracy", "test.r2", "test.rmse")
               if any(name in run.data.metrics for run in runs)]  # fmt: skip
    return [
        "attributes.`Dataset`",
        *(f"params.`{name}`" for name in differ[:3]),
        *(f"metrics.`{m}`" for m in metrics[:2]),
    ]


def has_curve(run: Any) -> bool:
    """Say whether a metric of the run has steps."""
    return any(metric.step > 0 for metric in run.data._metric_objs)


def choose(page: Page, experiment: str, runs: list[Any]) -> None:
    """Have the page as somebody has it who uses it."""
    parents = {run.data.tags.get("mlflow.parentRunId") for run in runs} - {None}
    view = {
        "orderByKey": "attributes.start_time", "orderByAsc": False, "startTime": "ALL", "lifecycleFilter": "Active",
        "searchFilter": "", "datasetsFilter": [], "modelVersionFilter": "All Runs",
        "selectedColumns": columns(runs), "runsExpanded": dict.fromkeys(parents, True),
    }  # fmt: skip
    stored = {
        **_CHOSEN,
        f'MLflowLocalStorage-1.1-ExperimentPage-["{experiment}"]-ReactComponentState': view,
    }
    kept = {name: json.dumps(value) for name, value in stored.items()}
    script = f"for (const [k, v] of Object.entries({json.dumps(kept)})) localStorage.setItem(k, v)"
    page.ask("Page.enable")
    page.ask("Page.addScriptToEvaluateOnNewDocument", source=script)


def take(page: Page, address: str, experiment: str, run: Any, out: Path) -> None:
    """Take the pictures."""
    page.open(f"{address}/#/experiments/{experiment}/runs")
    page.wait_for(run.info.run_name)
    page.settle()
    page.screenshot(out / "runs.png")
    page.open(f"{address}/#/experiments/{experiment}/runs/{run.info.run_id}")
    page.wait_for("About this run", "data/split/train")
    page.settle()
    page.screenshot(out / "run.png")
    page.click("button, a, span", "data/split/train")
    page.settle()
    page.screenshot(out / "datasets.png")
    page.open(f"{address}/#/experiments/{experiment}/runs/{run.info.run_id}/model-metrics")
    page.wait("document.querySelectorAll('.js-plotly-plot').length > 1")
    page.evaluate(_PLAIN)
    page.settle()
    page.screenshot(out / "curves.png")


def main() -> None:
    """Read the arguments, serve, take."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path)
    parser.add_argument("--experiment", default="iris")
    parser.add_argument("--run")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    import mlflow

    with page_of(asked.repository) as address, browser() as page:
        client = mlflow.MlflowClient(address)
        experiment = client.get_experiment_by_name(asked.experiment).experiment_id
        runs = client.search_runs([experiment], order_by=["attributes.start_time ASC"])
        wanted = [run for run in runs if (run.info.run_name == asked.run if asked.run else has_curve(run))]
        choose(page, experiment, runs)
        take(page, address, experiment, (wanted or runs)[0], asked.out)
    for path in sorted(asked.out.glob("*.png")):
        print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
