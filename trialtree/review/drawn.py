"""Pictures of two trials side by side, on a light card that is readable on dark pages too.

The same data give the same bytes. `dvc plots diff BASE HEAD` draws them in
Vega, by the definitions in dvc.yaml.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from trialtree.drawing import caption
from trialtree.review import finding
from trialtree.review.blocks import Picture
from trialtree.review.finding import Findings

Rows = list[dict[str, str]]
Sides = Mapping[str, Rows]  # the rows of a plot's data by side, base before head

_COLORS = ("#8a8a8a", "#0969da")  # of base and head
_LABELS = 12  # confused with each other that are drawn
_LINES = 6  # curves in a panel
_BARS = 15


def pictures(of: Findings) -> Iterator[Picture]:
    """Yield every picture that there are data for."""
    names = [f"{side.name} ({side.short})" for side in of.sides]
    for name, (draw, alt) in _DRAWN.items():
        sides: dict[str, Rows] = {}
        for shown, side in zip(names, of.sides, strict=True):
            content = finding.read_plot(side, name) if name != "curves" else side.laid.read("reports/curves.csv")
            if rows := _read(content):
                sides[shown] = rows
        # Of one side only a picture tells nothing of the difference, but is all there is without a base.
        if sides and (len(sides) == len(names) or not of.base):
            picture = _drawn(draw, sides, names)
            if picture is not None:
                yield Picture(name, f"{alt}, {' and '.join(sides)}", picture)


def _read(content: bytes | None) -> Rows:
    try:
        return list(csv.DictReader(io.StringIO((content or b"").decode(errors="replace"))))
    except csv.Error:
        return []


def _drawn(draw: Callable[[Any, Sides, Sequence[str]], bool], sides: Sides, names: Sequence[str]) -> bytes | None:
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    with plt.rc_context({"font.size": 9, "axes.titlesize": 10, "savefig.facecolor": "white"}):
        figure = plt.figure(figsize=(7.2, 3.4), layout="constrained")
        try:
            if not draw(figure, sides, names):
                return None
            target = io.BytesIO()
            figure.savefig(target, dpi=110, format="png", metadata={"Software": None})
        except (ArithmeticError, KeyError, TypeError, ValueError, MemoryError):
            return None  # a file of another trial's making
        finally:
            plt.close(figure)
        return target.getvalue()


def _color(side: str, names: Sequence[str]) -> str:
    return _COLORS[-1] if side == names[-1] else _COLORS[0]


def _confusion(figure: Any, sides: Sides, _names: Sequence[str]) -> bool:
    labels = sorted({row[key] for rows in sides.values() for row in rows for key in ("actual", "predicted")})
    if len(labels) > _LABELS:
        return False
    place = {label: at for at, label in enumerate(labels)}
    counts = {side: [[0] * len(labels) for _ in labels] for side in sides}
    for side, rows in sides.items():
        for row in rows:
            counts[side][place[row["actual"]]][place[row["predicted"]]] += int(row["count"])
    largest = max(max(map(max, of)) for of in counts.values())
    panels = figure.subplots(1, len(sides), squeeze=False)[0]
    for axes, (side, of) in zip(panels, counts.items(), strict=True):
        axes.imshow(of, cmap="Blues", vmin=0, vmax=largest)
        for i, line in enumerate(of):
            for j, count in enumerate(line):
                axes.text(j, i, f"{count:,}", ha="center", va="center",
                          color="white" if 2 * count > largest else "black")  # fmt: skip
        shown = [caption(label) for label in labels]
        axes.set_xticks(range(len(labels)), shown, rotation=45 if len(labels) > 3 else 0)
        axes.set_yticks(range(len(labels)), shown)
        axes.set(title=caption(side), xlabel="predicted", ylabel="actual")
    return True


def _clouds(x: str, y: str) -> Callable[[Any, Sides, Sequence[str]], bool]:
    def draw(figure: Any, sides: Sides, names: Sequence[str]) -> bool:
        panels = figure.subplots(1, len(sides), squeeze=False, sharex=True, sharey=True)[0]
        for axes, (side, rows) in zip(panels, sides.items(), strict=True):
            across, up = ([float(row[key]) for row in rows] for key in (x, y))
            axes.scatter(across, up, s=7, alpha=0.5, linewidths=0, color=_color(side, names))
            axes.axhline(0, color="#555555", linewidth=0.8)
            axes.set(title=caption(side), xlabel=x, ylabel=y)
            axes.spines[["top", "right"]].set_visible(False)
        return True

    return draw


def _lines(x: str, y: str, *, diagonal: bool) -> Callable[[Any, Sides, Sequence[str]], bool]:
    """Return a drawer of the curves of both sides in one panel, base's dashed."""

    def draw(figure: Any, sides: Sides, names: Sequence[str]) -> bool:
        axes = figure.subplots()
        labels = list(dict.fromkeys(row["label"] for rows in sides.values() for row in rows))[:_LINES]
        for side, rows in sides.items():
            points = defaultdict(list)
            for row in rows:
                points[row["label"]].append((float(row[x]), float(row[y])))
            for at, label in enumerate(label for label in labels if label in points):
                color = _color(side, names) if len(labels) == 1 else f"C{at}"
                axes.plot(
                    *zip(*points[label], strict=True), color=color, linewidth=1.4, alpha=0.9,
                    linestyle="-" if side == names[-1] else "--", marker="." if len(points[label]) <= 20 else None,
                    label=caption(side if len(labels) == 1 else f"{label}, {side}"),
                )  # fmt: skip
        if diagonal:
            axes.plot([0, 1], [0, 1], color="#555555", linestyle=":", linewidth=0.8)
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
        axes.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "))
        axes.spines[["top", "right"]].set_visible(False)
        return True

    return draw


def _importance(figure: Any, sides: Sides, names: Sequence[str]) -> bool:
    weights = {side: _shares({row["column"]: float(row["importance"]) for row in rows}) for side, rows in sides.items()}
    most = {name: max(of.get(name, 0.0) for of in weights.values()) for of in weights.values() for name in of}
    shown = sorted(most, key=lambda name: (-most[name], name))[:_BARS][::-1]
    figure.set_size_inches(7.2, 1.2 + 0.24 * len(shown) * len(sides))
    axes = figure.subplots()
    height = 0.8 / len(sides)
    for at, (side, of) in enumerate(weights.items()):
        places = [row + 0.4 - height * (at + 0.5) for row in range(len(shown))]
        axes.barh(places, [of.get(n, 0.0) for n in shown], height, color=_color(side, names), label=caption(side))
    axes.set_yticks(range(len(shown)), [caption(name) for name in shown])
    axes.set(xlabel="share of all importance")
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    return bool(shown)


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: weight / total if total else 0.0 for name, weight in weights.items()}


_DRAWN: dict[str, tuple[Callable[[Any, Sides, Sequence[str]], bool], str]] = {
    "confusion": (_confusion, "Confusion matrix of the test part"),
    "residuals": (_clouds("predicted", "residual"), "Residuals of the test part"),
    "calibration": (_lines("mean_probability", "share_of_rows", diagonal=True), "Calibration on the test part"),
    "roc": (_lines("false_positive_rate", "true_positive_rate", diagonal=True), "ROC curves of the test part"),
    "curves": (_lines("step", "value", diagonal=False), "Training curves"),
    "importance": (_importance, "Importance of columns"),
}
