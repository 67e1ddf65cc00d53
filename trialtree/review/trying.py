"""What a model does, tried: how long a prediction takes, and what another trial's model says of these rows.

    python -m trialtree.review.trying ASKED

A process of its own, because the libraries of both models take a second to
import, in which the rest of the report is made. ASKED is JSON, and so is what
is printed: for each folder with models/model/ the seconds a row or why there
are none; with `rescore`, why there are no predictions.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.errors import UserError

_ROWS = 2000  # that are predicted, at most
_TIMES = 3  # of which the fastest counts


@dataclass(frozen=True)
class Tried:
    """What came of it, in the order of the folders."""

    seconds: Sequence[float | str]  # a row; a text says why there is no figure
    rescored: str | None  # why there are no predictions of another's rows; None where there are


class Trying:
    """Models that are being tried, beside this process."""

    def __init__(
        self,
        folders: Mapping[Path, Path | None],
        test: Path,
        rescore: Path | None,
        positive: Any,
        *,
        pickles: bool = False,
    ) -> None:
        """Begin: time the model in each folder on rows of a split; predict the `test` split's by the first."""
        asked = {
            "folders": [
                [str(folder.resolve()), str(rows.resolve()) if rows else None] for folder, rows in folders.items()
            ],
            "test": str(test.resolve()),
            "rescore": str(rescore.resolve()) if rescore else None,
            "positive": positive,
            "pickles": pickles,
        }
        self._folders = [*folders]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "trialtree.review.trying", json.dumps(asked)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ended(self) -> Tried:
        """Wait for it."""
        said, faults = self._process.communicate()
        try:
            found = json.loads(said.splitlines()[-1])
        except (IndexError, ValueError):
            lines = faults.strip().splitlines()
            reason = lines[-1] if lines else f"it ended with status {self._process.returncode}"
            return Tried([reason] * len(self._folders), reason)
        return Tried(found["seconds"], found["rescored"])

    def stop(self) -> None:
        """End it, whatever it is at."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()


def _seconds(folder: Path, rows: Path | None, *, pickles: bool) -> float | str:
    """Return how long a row takes, one of many predicted at once; or why nobody knows."""
    from stages import models
    from stages.batches import Part

    place = folder / models.FOLDER
    try:
        if models.by_script(place):
            return "a training script's model"
        model = models.load(place, None if pickles else False)
        if rows is None:
            return "no rows here to predict"
        table = Part("test", rows).read(model.columns).slice(0, _ROWS)
        if not table.num_rows:
            return "the test part has no rows"
        model.predict(table)  # what is done once for all is not counted
        taken: list[float] = []
        for _ in range(_TIMES):
            begun = time.perf_counter()
            model.predict(table)
            taken.append(time.perf_counter() - begun)
        return float(min(taken) / table.num_rows)
    except UserError as error:
        return _without(str(error), folder, rows and rows.parent.parent)
    except Exception as error:  # whatever a library says of rows of another trial
        return _without(f"{type(error).__name__}: {error}".splitlines()[0], folder, rows and rows.parent.parent)


def _rescore(folder: Path, rows: Path, target: Path, positive: Any, *, pickles: bool) -> str | None:
    """Write a model's predictions of the test part of another split, and return why it does not, if so."""
    from stages import models, predictions, scores, tables
    from stages.batches import Part

    place = folder / models.FOLDER
    try:
        if models.by_script(place):
            return "a training script's model predicts no rows but its own"
        model = models.load(place, None if pickles else False)
        predictions.check(model, tables.read_columns(rows))
        predictions.of_rows(model, Part("test", rows), scores.positive(positive, model.labels), target)
    except UserError as error:
        return _without(str(error), folder, rows.parent.parent)
    return None


def _without(text: str, *folders: Path | None) -> str:
    """Return a message with paths as they are in a workspace."""
    for folder in folders:
        text = text.replace(f"{folder}/", "") if folder else text
    return text


def main() -> None:
    """Do what is asked."""
    asked = json.loads(sys.argv[1])
    folders = [(Path(folder), rows and Path(rows)) for folder, rows in asked["folders"]]
    pickles = bool(asked["pickles"])
    rescored = None
    if asked["rescore"]:
        target, test = Path(asked["rescore"]), Path(asked["test"])
        rescored = _rescore(folders[0][0], test, target, asked["positive"], pickles=pickles)
    seconds = [_seconds(folder, rows, pickles=pickles) for folder, rows in folders]
    print(json.dumps({"seconds": seconds, "rescored": rescored}))


if __name__ == "__main__":
    main()
