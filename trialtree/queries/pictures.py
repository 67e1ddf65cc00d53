"""Draw how trials differ: a panel for each metric, and one for each training curve."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.files import replacing
from trialtree.branches import locks
from trialtree.drawing import caption
from trialtree.queries.differences import Comparison, Row
from trialtree.queries.sides import CompareError, Side

_MOST = 6  # metrics drawn, and curves
_ACROSS = 3  # panels in a row
_PART = "test."


def check(target: Path) -> None:
    """See that a picture can be written there.

    Raises:
        CompareError: it cannot.
    """
    if target.suffix.lower() != ".png":
        raise CompareError(f"--plot: must end in .png, got {target.name}")
    if not target.parent.is_dir():
        raise CompareError(f"--plot: {target.parent} is no folder; make it first")


def draw(of: Comparison, target: Path) -> None:
    """Write the picture.

    Raises:
        CompareError: there is neither a metric nor a curve.
    """
    metrics, labels = _metrics(of), _labels(of.sides)
    if not metrics and not labels:
        raise CompareError("--plot: there is nothing to draw: no side has metrics of its test part, or a curve")
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    count = len(metrics) + len(labels)
    across = min(count, _ACROSS)
    down = -(-count // across)
    figure, grid = plt.subplots(
        down, across, figsize=(3.4 * across, 2.6 * down + 0.4), squeeze=False, layout="constrained"
    )
    panels = list(grid.flat)
    colors = {place: f"C{place % 10}" for place in range(len(of.sides))}
    for row, axes in zip(metrics, panels, strict=False):
        _bars(axes, row, colors)
    for label, axes in zip(labels, panels[len(metrics) :], strict=False):
        _curve(axes, label, of.sides, colors)
    for axes in panels[:count]:
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[count:]:
        axes.set_visible(False)
    marks = [mpl.patches.Patch(color=colors[place], label=caption(side.shown)) for place, side in enumerate(of.sides)]
    figure.legend(handles=marks, loc="outside upper center", ncols=min(len(marks), 4), frameon=False)
    with replacing(target) as partial:
        # No software name: the same trials give the same bytes.
        figure.savefig(partial, dpi=120, format="png", metadata={"Software": None})
    plt.close(figure)


def _metrics(of: Comparison) -> list[Row]:
    """Return the metrics to draw: those of the test part and of a script, those that differ first."""
    found = [row for row in of.metrics if row.name.startswith((_PART, "script.")) and row.name != f"{_PART}rows"]
    return sorted(found, key=lambda row: not row.differs)[:_MOST]


def _labels(sides: Sequence[Side]) -> list[str]:
    """Return the names of the curves that any side has."""
    return list(dict.fromkeys(label for side in sides for label in side.curves))[:_MOST]


def _bars(axes: Any, row: Row, colors: dict[int, str]) -> None:
    there = [(place, value) for place, value in enumerate(row.values) if value is not None]
    bars = axes.bar([p for p, _ in there], [v for _, v in there], color=[colors[p] for p, _ in there], width=0.7)
    axes.bar_label(bars, [locks.shown(value) for _, value in there], fontsize=8, padding=2)
    axes.set(title=caption(row.name.removeprefix(_PART)), xlim=(-0.6, len(row.values) - 0.4), xticks=[])
    axes.margins(y=0.15)
    axes.axhline(0, color="grey", linewidth=0.8)


def _curve(axes: Any, label: str, sides: Sequence[Side], colors: dict[int, str]) -> None:
    for place, side in enumerate(sides):
        if label in side.curves:
            axes.plot(*zip(*side.curves[label], strict=True), color=colors[place], linewidth=1.2)
    axes.set(title=caption(label), xlabel="step")
