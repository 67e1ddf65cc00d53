"""Draw the plots of a trial as PNG, readable on light and dark pages."""

import csv
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PLOTS = Path("reports/plots")
CURVES = Path("reports/curves.csv")

Rows = list[dict[str, str]]

_BAR_LIMIT = 20  # importances drawn; the file has more


def draw(folder: Path) -> list[Path]:
    """Draw every plot that has data into `folder`, and return the files; those of an earlier run go."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    drawn = []
    for name, path in _sources():
        rows = _read(path)
        if rows:
            figure, axes = plt.subplots(figsize=(6.4, 4.8), layout="constrained")
            DRAWERS[name](axes, rows)
            axes.spines[["top", "right"]].set_visible(False)
            drawn.append(folder / f"{name}.png")
            # A fixed date and no software name: the same data give the same bytes.
            figure.savefig(drawn[-1], dpi=120, metadata={"Software": None})
            plt.close(figure)
    return drawn


def _sources() -> Iterator[tuple[str, Path]]:
    """Yield the name and the data of each plot."""
    for name in DRAWERS:
        yield name, CURVES if name == "curves" else PLOTS / f"{name}.csv"


def _read(path: Path) -> Rows:
    """Return a CSV file's rows; none where there is no file."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []


def caption(text: str) -> str:
    """Return a label for a picture: short, and without what matplotlib takes for mathematics."""
    text = text.replace("$", r"\$")
    return text if len(text) <= 40 else text[:37] + "..."


def _confusion(axes: Any, rows: Rows) -> None:
    labels = list(dict.fromkeys([row["actual"] for row in rows] + [row["predicted"] for row in rows]))
    place = {label: i for i, label in enumerate(labels)}
    counts = [[0] * len(labels) for _ in labels]
    for row in rows:
        counts[place[row["actual"]]][place[row["predicted"]]] = int(row["count"])
    axes.imshow(counts, cmap="Blues")
    largest = max(map(max, counts))
    if len(labels) <= _BAR_LIMIT:
        for i, line in enumerate(counts):
            for j, count in enumerate(line):
                axes.text(j, i, count, ha="center", va="center", color="white" if 2 * count > largest else "black")
    shown = [caption(label) for label in labels]
    axes.set_xticks(range(len(labels)), shown, rotation=45 if len(labels) > 3 else 0)
    axes.set_yticks(range(len(labels)), shown)
    axes.set(xlabel="predicted", ylabel="actual", title="Confusion matrix, test part")


def _lines(x: str, y: str, title: str, diagonal: bool) -> Callable[[Any, Rows], None]:
    """Return a drawer of one line for each label."""

    def draw_lines(axes: Any, rows: Rows) -> None:
        by_label = defaultdict(list)
        for row in rows:
            by_label[row["label"]].append((float(row[x]), float(row[y])))
        for label, points in by_label.items():
            axes.plot(
                *zip(*points, strict=True), label=caption(label), marker="." if len(points) <= _BAR_LIMIT else None
            )
        if diagonal:
            axes.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
        if len(by_label) <= _BAR_LIMIT:
            axes.legend(frameon=False)
        axes.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "), title=title)

    return draw_lines


def _points(x: str, y: str, title: str) -> Callable[[Any, Rows], None]:
    """Return a drawer of one point for each row, with the line on which a perfect model's would lie."""

    def draw_points(axes: Any, rows: Rows) -> None:
        across, up = ([float(row[name]) for row in rows] for name in (x, y))
        axes.scatter(across, up, s=8, alpha=0.5, linewidths=0)
        if y == "residual":
            axes.axhline(0, color="grey", linewidth=1)
        else:
            axes.axline((min(across), min(across)), slope=1, color="grey", linewidth=1)
        axes.set(xlabel=x, ylabel=y, title=f"{title}, test part")

    return draw_points


def _importance(axes: Any, rows: Rows) -> None:
    shown = rows[:_BAR_LIMIT][::-1]
    # By place, not by name: two long names may be shown alike.
    axes.barh(range(len(shown)), [float(row["importance"]) for row in shown])
    axes.set_yticks(range(len(shown)), [caption(row["column"]) for row in shown])
    axes.set(xlabel="importance", title="Importance of columns")


def _learning_curve(axes: Any, rows: Rows) -> None:
    for part in ("train", "held_out"):
        points = [(int(row["rows"]), float(row[part])) for row in rows if row[part]]
        if points:
            axes.plot(*zip(*points, strict=True), marker=".", label=part.replace("_", " "))
    axes.legend(frameon=False)
    axes.set(xlabel="rows trained on", ylabel=rows[0]["metric"], title="Learning curve")


DRAWERS: dict[str, Callable[[Any, Rows], None]] = {
    "confusion": _confusion,
    "roc": _lines("false_positive_rate", "true_positive_rate", "ROC, test part", diagonal=True),
    "precision_recall": _lines("recall", "precision", "Precision and recall, test part", diagonal=False),
    "calibration": _lines("mean_probability", "share_of_rows", "Calibration, test part", diagonal=True),
    "predicted_actual": _points("actual", "predicted", "Predicted against actual"),
    "residuals": _points("predicted", "residual", "Residuals"),
    "importance": _importance,
    "learning_curve": _learning_curve,
    "curves": _lines("step", "value", "Training curve", diagonal=False),
}
