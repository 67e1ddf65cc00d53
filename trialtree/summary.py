"""Say what a run of the pipeline came out with, after drawing its plots.

    python -m trialtree.summary

Reads   reports/metrics.json, reports/script.json, reports/register.json, reports/plots/, reports/curves.csv
Writes  reports/figures/*.png
"""

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from stages import scripts
from trialtree import drawing, repository

METRICS = Path("reports/metrics.json")
REGISTER = Path("reports/register.json")
FIGURES = Path("reports/figures")


def metrics_table(metrics: dict[str, dict[str, float]]) -> Table:
    """Return the metrics as a table: a row for each, a column for each part."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("metric")
    for part in metrics:
        table.add_column(part, justify="right")
    names = dict.fromkeys(name for part in metrics.values() for name in part if not name.endswith("_std"))
    for name in names:
        table.add_row(name, *(_cell(name, part) for part in metrics.values()))
    return table


def _cell(name: str, part: dict[str, float]) -> str:
    """Return a metric with its spread over the folds, where it has one."""
    value, spread = part.get(name), part.get(f"{name}_std")
    if value is None:
        return ""
    text = str(value) if isinstance(value, int) else f"{value:.4f}"
    return text if spread is None else f"{text} ± {spread:.4f}"


def registered(register: dict[str, Any]) -> str:
    """Return what came of the registration, as one line."""
    if not register.get("registered"):
        return "registered: false"
    aliases = ", ".join(register["aliases"])
    return f"registered: {register['name']} version {register['version']}{f' ({aliases})' if aliases else ''}"


def main() -> None:
    """Draw, then print."""
    repository.enter()
    try:
        metrics = json.loads(METRICS.read_text(encoding="utf-8"))
        metrics |= json.loads(scripts.METRICS.read_text(encoding="utf-8"))
        register = json.loads(REGISTER.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        sys.exit(f"{error.filename} is not here; `dvc repro` makes it")
    drawn = drawing.draw(FIGURES)
    console = Console(highlight=False, soft_wrap=True)
    console.print()
    console.print(metrics_table(metrics))
    console.print()
    console.print(registered(register), markup=False)
    console.print(f"plots: {FIGURES}/ ({', '.join(path.stem for path in drawn)})", markup=False)
    console.print("\nlook further:\n  dvc metrics show\n  trialtree ui", markup=False)


if __name__ == "__main__":
    repository.run(main)
