"""Optuna's plots by plotly, for a browser without a network: a page for each, and one that shows all."""

import html
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stages.files import replacing
from trialtree.sweep.pictures import plots
from trialtree.sweep.pictures.plots import Kind, Plot

SCRIPT = "plotly.min.js"  # beside the pages, 5 MB: in each it would be that much again
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<script src="{script}"></script>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff }}
body {{ margin: 1.5rem auto; max-width: 1240px; padding: 0 1rem }}
h1 {{ font-size: 1.4rem }}
h2 {{ font-size: 1.1rem; margin: 2rem 0 0 }}
h2 a {{ font-size: .8rem; font-weight: normal; margin-left: .8rem }}
pre {{ background: #f5f5f5; padding: .8rem 1rem; overflow-x: auto; font-size: .85rem }}
.plot {{ overflow-x: auto }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""
_ACROSS = 4  # slices in a row
_PANEL = 200  # pixels of a slice's height
_SHADES = [[0, "#c6dbef"], [0.5, "#4292c6"], [1, "#08306b"]]
_FONT = {"family": "system-ui, sans-serif", "color": "#222", "size": 12}


def write(folder: Path, title: str, text: Sequence[str], drawn: Sequence[Plot]) -> list[Path]:
    """Write the pages into a folder, and return their files, the one that shows all first."""
    from plotly.offline import get_plotlyjs

    _write(folder / SCRIPT, get_plotlyjs())
    written, sections = [], [f"<pre>{html.escape(chr(10).join(text))}</pre>"]
    for plot in drawn:
        figure = _figure(plot).to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False})
        div = f'<div class="plot">{figure}</div>'
        links = f'<a href="{plot.name}.html">alone</a><a href="{plot.name}.png">PNG</a>'
        sections.append(f"<h2>{html.escape(plot.title)}{links}</h2>\n{div}")
        written.append(_page(folder / f"{plot.name}.html", f"{title}: {plot.title}", div))
    return [_page(folder / "index.html", title, "\n".join(sections)), *written]


def _page(path: Path, title: str, body: str) -> Path:
    return _write(path, _PAGE.format(title=html.escape(title), script=SCRIPT, body=body))


def _write(path: Path, text: str) -> Path:
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def _figure(plot: Plot) -> Any:
    """Return Optuna's figure, made readable."""
    import optuna.visualization

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that two params are never together
        figure = getattr(optuna.visualization, plot.function)(plot.of, **plot.options)
    figure.update_layout(
        title=None, template="plotly_white", font=_FONT, margin={"t": 30, "r": 30, "b": 60, "l": 70},
        height=_height(plot),
    )  # fmt: skip
    _TIDY.get(plot.kind, _nothing)(figure, plot)
    return figure


def _height(plot: Plot) -> int:
    """Return the height of a figure in pixels."""
    params = len(plot.options.get("params", ()))
    if plot.kind == "slices":
        return (_PANEL + _gap(plot)) * -(-params // _ACROSS) + 60
    return {"contour": 460 if params == 2 else 190 * params + 80, "parallel": 460}.get(plot.kind, 380)


def _gap(plot: Plot) -> int:
    """Return the pixels below a row of slices: more where long names of choices are turned."""
    known = {name: on for trial in plot.trials for name, on in trial.distributions.items()}
    choices = [getattr(known[name], "choices", ()) for name in plot.options["params"]]
    return 140 if any(sum(map(len, map(str, of))) > 30 for of in choices) else 75


def _nothing(_figure: Any, _plot: Plot) -> None:
    pass


def _history(figure: Any, _plot: Plot) -> None:
    figure.data[0].update(name="each trial")
    for trace in figure.data[1:]:
        trace.update(name="best so far")
    figure.update_layout(xaxis_title="trial")


def _importance(figure: Any, plot: Plot) -> None:
    figure.update_layout(xaxis_title=f"importance for {plot.options['target_name']}", yaxis_title=None)


def _parallel(figure: Any, plot: Plot) -> None:
    figure.update_annotations(bgcolor="rgba(255,255,255,0.75)")
    if (params := len(plot.options["params"])) > 8:
        figure.update_layout(width=135 * (params + 1))


def _slices(figure: Any, plot: Plot) -> None:
    """Put the panels into rows."""
    count = len(plot.options["params"])
    across, down, gap = min(_ACROSS, count), -(-count // _ACROSS), _gap(plot)
    row_height = 1 / (down - gap / (_PANEL + gap))  # the last has nothing below it
    for place in range(count):
        row, column = divmod(place, across)
        name = str(place + 1) if place else ""
        top = 1 - row * row_height
        figure.layout[f"xaxis{name}"].domain = (column / across, (column + 0.88) / across)
        figure.layout[f"yaxis{name}"].domain = (max(top - row_height * _PANEL / (_PANEL + gap), 0), top)
        figure.layout[f"yaxis{name}"].showticklabels = column == 0
        figure.layout[f"yaxis{name}"].title = plot.options["target_name"] if column == 0 else None
    figure.update_layout(width=None)
    figure.update_traces(marker_colorscale=_SHADES, marker_size=6)


def _contour(figure: Any, plot: Plot) -> None:
    low, high = plots.shaded(plot)
    figure.update_traces(
        selector={"type": "contour"}, colorscale=_SHADES, reversescale=not plot.more, zmin=low, zmax=high,
        zauto=False, contours_showlines=False, line_width=0,
    )  # fmt: skip
    figure.update_traces(selector={"type": "scatter"}, marker_size=4, marker_line_width=0, marker_opacity=0.6)


def _curves(figure: Any, plot: Plot) -> None:
    for trace, (color, best) in zip(figure.data, plots.colors(plot), strict=False):
        trace.update(mode="lines", line={"color": color, "width": 2.5 if best else 1}, opacity=1 if best else 0.6)
    figure.update_layout(xaxis_title="report", yaxis_title="value", hovermode="closest")


_TIDY: dict[Kind, Callable[[Any, Plot], None]] = {
    "history": _history,
    "importance": _importance,
    "parallel": _parallel,
    "slices": _slices,
    "contour": _contour,
    "curves": _curves,
}
