"""Predict the rows of tables by a registered model.

    trialtree predict NAME[@alias|/version] INPUT... --out OUT

Reads   the registry, the inputs, .OUT.parts/ of a run that was stopped
Writes  OUT, whole or not at all; OUT.errors.csv, where rows are bad; .OUT.parts/ meanwhile
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stages import files
from trialtree.predicting import asked as asking
from trialtree.predicting import explaining, finished, inputs, jobs, making, parts, sidefile, telling
from trialtree.predicting.asked import Asked, PredictError, StoppedError
from trialtree.predicting.inputs import Input
from trialtree.predicting.jobs import Job
from trialtree.predicting.making import Count
from trialtree.serving import scoring
from trialtree.serving.registry import asking as names
from trialtree.serving.registry import resolving
from trialtree.serving.scoring import Scorer

_FORMAT = 1  # of what is kept of a run that was stopped


def run(given: Asked, say: Callable[[str], None]) -> str:
    """Make what is asked for, and return what came of it in one line; `say` is told what else there is to know.

    Raises:
        UserError: the model, an input or an option cannot be used, or too many rows are bad.
        StoppedError: Ctrl-C; the same command goes on.
    """
    asked, start, count = asking.checked(given), time.monotonic(), Count()
    try:
        with parts.held(asked.place, str(asked.out)) as folder:
            found = inputs.find(asked.inputs, asked.here, asked.endpoint, folder / parts.BROUGHT)
            scorer = _scorer(asked)
            planned = jobs.plan(asked, found, scorer)
            if other := parts.begun(folder, _record(asked, scorer, found), asked.fresh):
                say(f"{asked.out}: what was finished before is made anew, as {other} is another now")
            if rows := sum(line.read for number in range(len(planned)) for line in finished.lines(folder, number)):
                say(f"{asked.out}: goes on after {rows:,} rows that are finished")
            _make(asked, scorer, folder, planned, count)
            parts.remove(folder)
    except KeyboardInterrupt:
        raise StoppedError(f"stopped after {count.read:,} rows; the same command goes on from there") from None
    return _ended(asked, count, time.monotonic() - start)


def _scorer(asked: Asked) -> Scorer:
    """Return the scorer of the model, which has all that is asked of it."""
    registry = resolving.resolver()  # as long as it lives, nobody removes the files
    resolved = registry.resolve(names.parse(asked.model))
    found = scoring.load(resolved.folder, resolved.digest, resolved.gaps, asked.unknown, asked.allow_pickle)
    if asked.probabilities and not found.has_probabilities:
        why = "it predicts numbers" if found.task == "regression" else "train.calibrate: true makes them"
        raise PredictError(f"--probabilities: {found.estimator} has none; {why}")
    if asked.explain:
        explaining.explainer(found)
    return found


def _make(asked: Asked, scorer: Scorer, folder: Path, planned: Sequence[Job], count: Count) -> None:
    """Make all outputs, and put them in their places."""
    takes = [taken for job in planned for taken in job.takes]
    with telling.telling([t.input for t in takes], [t.source for t in takes], asked.quiet) as tell:
        maker = making.Maker(scorer, asked, folder, planned, count, tell)
        whole = [maker.make(number) for number in range(len(planned))]
    sidefile.write(asked.place, maker.noted())
    for path, job in zip(whole, planned, strict=True):
        job.target.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as written:
            files.sync(written)
    for path, job in zip(whole, planned, strict=True):
        path.replace(job.target)


def _record(asked: Asked, scorer: Scorer, found: Sequence[Input]) -> dict[str, Any]:
    """Return what must be the same for a run to go on where another stopped."""
    return {
        "format": _FORMAT,
        "model": scorer.digest,
        "options": {
            "probabilities": asked.probabilities,
            "explain": asked.explain,
            "keep": None if asked.keep is None else list(asked.keep),
            "chunk": asked.chunk,
            "format": asked.format,
            "unknown-categories": asked.unknown,
        },
        "inputs": [{"name": each.shown, "kind": each.kind, **each.stamp} for each in found],
    }


def _ended(asked: Asked, count: Count, seconds: float) -> str:
    """Return the last line."""
    new = count.read - count.again
    pace = f"{new / seconds:,.0f} rows/s" if seconds else ""
    said = f"{count.written:,} rows in {seconds:.1f} s ({pace}): {asked.out}"
    if count.bad:
        said += f"; {count.bad:,} bad row{'' if count.bad == 1 else 's'}: {sidefile.of(asked.out)}"
    return said
