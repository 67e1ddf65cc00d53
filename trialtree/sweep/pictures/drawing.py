"""All pictures of a sweep, in a folder."""

from collections.abc import Sequence
from pathlib import Path

from trialtree.sweep.pictures import page, plots, png, study
from trialtree.sweep.records import Sweep
from trialtree.sweep.screen import standing

FOLDER = "pictures"  # in the sweep's


def draw(sweep: Sweep, folder: Path, text: Sequence[str], importance: Sequence[tuple[str, float]] = ()) -> list[Path]:
    """Draw a sweep, and return the files: the page that shows all first, then the PNGs; none where no trial is done.

    Args:
        sweep: to draw.
        folder: to draw into; files of these names are replaced.
        text: lines to stand above the pictures.
        importance: how much each param counts, by key, the most important first.
    """
    if not sweep.of("done"):
        return []
    goals = standing.recorded(sweep.head.section).objectives
    drawn = list(plots.plots(study.read(sweep, goals), goals, importance))
    folder.mkdir(parents=True, exist_ok=True)
    pages = page.write(folder, f"sweep {sweep.head.id}", text, drawn)
    pictures = [folder / f"{plot.name}.png" for plot in drawn]
    for plot, path in zip(drawn, pictures, strict=True):
        png.save(plot, path)
    return [pages[0], *pictures]
