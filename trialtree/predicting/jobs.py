"""The outputs that a prediction makes, and which inputs become which."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trialtree.predicting import layout, reading
from trialtree.predicting.asked import FORMATS, Asked, Format, PredictError
from trialtree.predicting.inputs import Input, Kind
from trialtree.predicting.layout import Layout
from trialtree.predicting.pieces import Source
from trialtree.serving.scoring import Scorer

_FORMATS: dict[Kind, Format] = {"csv": "csv", "parquet": "parquet", "arrow": "arrow", "stream": "arrow"}


@dataclass(frozen=True)
class Taken:
    """An input that is open, and its columns."""

    input: Input
    source: Source
    layout: Layout


@dataclass(frozen=True)
class Job:
    """An output and the inputs that it is made of."""

    target: Path
    shown: str
    format: Format
    takes: tuple[Taken, ...]


def plan(asked: Asked, inputs: Sequence[Input], scorer: Scorer) -> list[Job]:
    """Return what is to be made.

    Raises:
        UserError: an input cannot be used, two would become one file, or an output would replace an input.
    """
    several = asked.is_one and len(inputs) > 1
    takes = []
    for each in inputs:
        source = reading.opened(each)
        takes.append(Taken(each, source, layout.of(source, scorer, asked, several)))
    jobs = [_one(asked, takes)] if asked.is_one else [_own(asked, taken) for taken in takes]
    _refuse_clashes(jobs, inputs)
    return jobs


def _one(asked: Asked, takes: Sequence[Taken]) -> Job:
    first, *others = takes
    for other in others:
        layout.refuse_odd(first.input.shown, first.layout, other.input.shown, other.layout)
    # All are written as the first: their columns may stand in another order.
    alike = [_like(taken, first.layout) for taken in takes]
    return Job(asked.place, str(asked.out), FORMATS[asked.out.suffix.lower()], tuple(alike))


def _like(taken: Taken, first: Layout) -> Taken:
    found = taken.layout
    same = Layout(found.taken, first.carried, found.own_rows, first.schema, found.texts)
    return Taken(taken.input, taken.source, same)


def _own(asked: Asked, taken: Taken) -> Job:
    form = asked.format or _FORMATS[taken.input.kind]
    suffix = next(suffix for suffix, each in FORMATS.items() if each == form)
    name = f"{taken.input.stem}{suffix}"
    return Job(asked.place / name, str(asked.out / name), form, (taken,))


def _refuse_clashes(jobs: Sequence[Job], inputs: Sequence[Input]) -> None:
    made: dict[Path, Job] = {}
    for job in jobs:
        if job.target in made:
            one, other = made[job.target].takes[0].input.shown, job.takes[0].input.shown
            raise PredictError(f"{one} and {other} would both become {job.shown}")
        made[job.target] = job
    places = {target.resolve(): job for target, job in made.items()}
    if taken := next((each for each in inputs if each.path.resolve() in places), None):
        raise PredictError(f"--out: {places[taken.path.resolve()].shown} is one of the inputs")
