"""Optuna's plots by matplotlib, made readable: sizes by what is drawn, dark on white, no label over another."""

import math
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stages.files import replacing
from trialtree.sweep.pictures import plots
from trialtree.sweep.pictures.plots import Kind, Plot

_DARK, _PALE = "#333333", "#dddddd"
_ACROSS = 4  # slices in a row
_LETTER = 0.085  # inches of a letter of a tick's label


def save(plot: Plot, path: Path) -> None:
    """Draw a plot into a file."""
    import matplotlib as mpl

    mpl.use("agg")
    import optuna.visualization.matplotlib as drawn
    from matplotlib import pyplot as plt

    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its interface may change
        axes = getattr(drawn, plot.function)(plot.of, **plot.options)
        panels = [*axes.flat] if hasattr(axes, "flat") else [axes]
        figure = panels[0].figure
        for each in figure.axes:
            _plain(each)
        figure.suptitle("")
        _TIDY[plot.kind](figure, panels, plot)
        for side in ("center", "left"):
            panels[0].set_title("", loc=side)
        with replacing(path) as partial:
            # No software name: the same trials give the same bytes.
            figure.savefig(
                partial, dpi=110, format="png", facecolor="white", bbox_inches="tight", pad_inches=0.15,
                metadata={"Software": None},
            )  # fmt: skip
        plt.close(figure)


def _plain(axes: Any) -> None:
    """Take away grey grounds and white lines."""
    axes.set_facecolor("white")
    axes.grid(visible=False)
    axes.tick_params(colors=_DARK, labelsize=8)
    for side, spine in axes.spines.items():
        spine.set_color(_DARK)
        spine.set_linewidth(0.6)
        spine.set_visible(side in ("left", "bottom") or spine.get_visible())
    for label in (axes.xaxis.label, axes.yaxis.label, axes.title):
        label.set_color(_DARK)
        label.set_size(9)


def _shades() -> Any:
    """Return blues without the palest, which white swallows."""
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap

    blues = colormaps["Blues"]
    return LinearSegmentedColormap.from_list("shades", [blues(0.25 + 0.75 * step / 63) for step in range(64)])


def _toward(plot: Plot) -> Any:
    """Return shades of which the darkest is the best."""
    return _shades() if plot.more else _shades().reversed()


def _history(figure: Any, panels: Sequence[Any], plot: Plot) -> None:
    figure.set_tight_layout(False)
    figure.set_size_inches(8, 4)
    (axes,) = panels
    for points in axes.collections:
        points.set_sizes([16 if len(plot.trials) < 200 else 6])
        points.set_alpha(0.6)
    handles, _ = axes.get_legend_handles_labels()
    axes.legend(handles, ["each trial", "best so far"], loc="best", fontsize=8, frameon=False)
    if len(handles) == 1:
        axes.get_legend().remove()
    axes.set_xlabel("trial")


def _front(figure: Any, panels: Sequence[Any], _plot: Plot) -> None:
    figure.set_size_inches(7, 5)
    (axes,) = panels
    for points, size in zip(axes.collections, (10, 28), strict=False):
        points.set_sizes([size])
    axes.legend(["other trials", "Pareto front"], fontsize=8, frameon=False)


def _importance(figure: Any, panels: Sequence[Any], plot: Plot) -> None:
    (axes,) = panels
    figure.set_size_inches(7, 0.8 + 0.35 * len(axes.get_yticks()))
    axes.set(xlabel=f"importance for {plot.options['target_name']}", ylabel="")
    for bar in axes.patches:
        bar.set_color("#3b75af")
    for text in axes.texts:
        text.set(text=f" {text.get_text()}", size=8, color=_DARK)
    axes.get_legend().remove()


def _parallel(figure: Any, panels: Sequence[Any], plot: Plot) -> None:
    (axes,) = panels
    count = len(axes.get_xticks())
    longest = max(len(label.get_text()) for other in figure.axes[1:] for label in other.get_yticklabels())
    # The axes have six tenths of the width, the rest is margins and the bar of shades.
    figure.set_size_inches(max(7, max(1.05, 0.15 + longest * _LETTER) * (count - 1) / 0.6), 4.5)
    (lines,) = axes.collections
    trials = len(plot.trials)
    lines.set_alpha(0.75 if trials < 50 else 0.5 if trials < 300 else 0.25)
    lines.set_linewidth(1.2 if trials < 300 else 0.8)
    if len(plot.of.directions) == 1:
        lines.set_cmap(_toward(plot))
        lines.set_clim(*plots.shaded(plot))
    lines.colorbar.solids.set_alpha(1)
    axes.tick_params(axis="x", length=0, pad=10)  # the last choices of the axes stand lower than these
    for label in axes.get_xticklabels():
        label.set(rotation=0 if count < 6 else 18, ha="center" if count < 6 else "right", size=9)
    for other in figure.axes[1:]:
        for label in other.get_yticklabels():
            label.set(bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}, zorder=5)


def _slices(figure: Any, panels: Sequence[Any], plot: Plot) -> None:
    """Put the panels into rows."""
    across = min(_ACROSS, len(panels))
    down = -(-len(panels) // across)
    wide, high = 2.6, 2.1  # inches of a panel
    tilted = max(_tilt(axes, wide) for axes in panels)
    gap = 0.65 + tilted * _LETTER * 0.4
    size = (across * (wide + 0.25) + 1.4, down * (high + gap) + 0.3)
    figure.set_size_inches(*size)
    for place, axes in enumerate(panels):
        row, column = divmod(place, across)
        left, bottom = 0.6 + column * (wide + 0.25), size[1] - 0.2 - (row + 1) * high - row * gap
        axes.set_position([left / size[0], bottom / size[1], wide / size[0], high / size[1]])
        axes.tick_params(labelleft=column == 0, labelbottom=True)
        axes.yaxis.label.set_visible(column == 0)
        axes.set_ylabel(plot.options["target_name"] if column == 0 else "")
        for points in axes.collections:
            points.set_sizes([16 if len(plot.trials) < 200 else 7])
            points.set_linewidth(0.3)
            points.set_cmap(_shades())
    bar = figure.axes[-1]
    bar.set_position([(size[0] - 0.7) / size[0], (size[1] - 0.2 - high) / size[1], 0.12 / size[0], high / size[1]])
    bar.set_ylabel("trial", size=9)


def _tilt(axes: Any, inches: float) -> int:
    """Turn the names of categories that would meet, and return the letters of the longest; 0 where they stay."""
    texts = [label.get_text() for label in axes.get_xticklabels()]
    numbers = all(re.fullmatch(r"[−\d.]+|\$.*|", text) for text in texts)
    if numbers or sum(len(text) + 2 for text in texts) * _LETTER <= inches:
        return 0
    for label in axes.get_xticklabels():
        label.set(rotation=25, ha="right", rotation_mode="anchor")
    return max(map(len, texts))


def _contour(figure: Any, panels: Sequence[Any], plot: Plot) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    side = math.isqrt(len(panels))
    inches = 4.6 if side == 1 else 2.1
    figure.set_size_inches(side * (inches + 0.15) + 1.8, side * (inches * 0.85 + 0.15) + 0.8)
    figure.subplots_adjust(left=0.12, right=0.86, bottom=0.12, top=0.97, wspace=0.12, hspace=0.1)
    for bar in figure.axes[len(panels) :]:
        bar.remove()
    shades = _toward(plot)
    norm = Normalize(*plots.shaded(plot))
    few = len(plot.trials) < 200
    names = sorted(plot.options["params"])
    for place, axes in enumerate(panels):
        row, column = divmod(place, side)
        _inner(axes, left=column == 0, bottom=row == side - 1)
        for drawn in axes.collections:
            if hasattr(drawn, "levels"):
                drawn.set_cmap(shades)
                drawn.set_norm(norm)
                if not drawn.filled:
                    drawn.set(linewidth=0.3, alpha=0.5, cmap=None, edgecolor=_DARK)
            else:
                drawn.set(sizes=[12 if few else 4], linewidth=0.3, alpha=0.8 if few else 0.5)
        if side > 1 and row == column:
            axes.text(0.5, 0.5, names[row], transform=axes.transAxes, ha="center", va="center", size=9, color=_DARK)
        _tilt(axes, inches)
    bar = figure.colorbar(ScalarMappable(norm, shades), ax=panels, pad=0.02, fraction=0.04)
    bar.set_label(plot.options["target_name"], size=9, color=_DARK)
    bar.ax.tick_params(labelsize=8, colors=_DARK)


def _inner(axes: Any, *, left: bool, bottom: bool) -> None:
    """Leave the names of axes and ticks to the panels at the edges."""
    axes.tick_params(labelleft=left, labelbottom=bottom, left=left, bottom=bottom, which="both")
    if not left:
        axes.set_ylabel("")
    if not bottom:
        axes.set_xlabel("")


def _curves(figure: Any, panels: Sequence[Any], plot: Plot) -> None:
    from matplotlib.lines import Line2D

    figure.set_size_inches(8, 4.5)
    (axes,) = panels
    for line, (color, front) in zip(axes.lines, plots.colors(plot), strict=False):
        line.set(color=color, alpha=0.9 if front else 0.5, linewidth=1.6 if front else 0.9, marker="", zorder=2 + front)
    handles = [Line2D([], [], color=color, label=name) for name, color in plots.CURVES.items()]
    axes.legend(handles=handles, loc="best", fontsize=8, frameon=False)
    axes.set(xlabel="report", ylabel="value")


_TIDY: dict[Kind, Callable[[Any, Sequence[Any], Plot], None]] = {
    "history": _history,
    "front": _front,
    "importance": _importance,
    "parallel": _parallel,
    "slices": _slices,
    "contour": _contour,
    "curves": _curves,
}
