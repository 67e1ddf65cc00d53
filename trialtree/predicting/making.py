"""Make one output: what is finished of it is taken again, the rest scored, each chunk kept as soon as it is."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from trialtree.predicting import chunks, finished, outputs, pipeline, sidefile
from trialtree.predicting.asked import Asked, PredictError
from trialtree.predicting.chunks import Scored
from trialtree.predicting.finished import Finished, Line
from trialtree.predicting.jobs import Job
from trialtree.predicting.telling import Telling
from trialtree.serving.faults import Fault
from trialtree.serving.scoring import Scorer


@dataclass
class Count:
    """What a prediction has done so far, in rows."""

    read: int = 0
    written: int = 0
    bad: int = 0
    again: int = 0  # that an earlier run had finished
    first: tuple[str, Fault] | None = None  # of the bad ones

    def add(self, read: int, written: int, faults: Sequence[Fault], shown: str) -> None:
        """Count a chunk."""
        self.read += read
        self.written += written
        self.bad += len({fault.row for fault in faults})
        if faults and self.first is None:
            self.first = shown, faults[0]


@dataclass(frozen=True)
class Maker:
    """What all outputs of a prediction have in common."""

    scorer: Scorer
    asked: Asked
    folder: Path  # of the parts
    jobs: Sequence[Job]
    count: Count
    tell: Telling

    def make(self, number: int) -> Path:
        """Return the path of an output that is whole, in the folder of parts.

        Raises:
            UserError: an input cannot be read, or too many rows are bad.
        """
        job, whole = self.jobs[number], self.folder / f"{number}.whole"
        kept = Finished(self.folder, number)
        if whole.exists():
            for line in finished.lines(self.folder, number):
                self._again(job, line)
            return whole
        partial = whole.with_suffix(".partial")
        with closing(kept), outputs.writing(partial, job.takes[0].layout.schema, job.format, job.shown) as write:
            begun = [0] * len(job.takes)  # rows read of each input
            last: Line | None = None
            for last, batch in kept.replayed():
                write(batch)
                begun[last.input] += last.read
                self._again(job, last)
            self._check()
            for i in range(last.input if last else 0, len(job.takes)):
                if last is not None and (last.input, last.read) == (i, 0):
                    continue  # it ended in records that are no rows
                for scored in self._scored(job, i, begun[i]):
                    self._take(job, i, scored, kept)
                    write(scored.batch)
        partial.rename(whole)
        kept.drop()
        return whole

    def noted(self) -> Iterator[tuple[str, Fault]]:
        """Yield the bad rows of all that is finished, by the names of inputs."""
        for number, job in enumerate(self.jobs):
            for line in finished.lines(self.folder, number):
                for fault in line.faults:
                    yield job.takes[line.input].input.shown, fault

    def _scored(self, job: Job, i: int, start: int) -> Iterator[Scored]:
        """Yield the chunks of an input from a row on."""
        taken = job.takes[i]
        score = chunks.scoring(self.scorer, self.asked, taken.layout, taken.input.shown)
        pieces = taken.source.pieces(taken.layout.read, self.asked.chunk, start)
        self.tell.begin(sum(len(before.takes) for before in self.jobs[: self.jobs.index(job)]) + i)
        none = start == 0
        for scored in pipeline.ordered(pieces, score, self.asked.workers):
            none = False
            yield scored
        if none:
            raise PredictError(f"{taken.input.shown}: has no row")

    def _take(self, job: Job, i: int, scored: Scored, kept: Finished) -> None:
        """Keep a chunk, unless too many rows are bad by now."""
        shown, faults = job.takes[i].input.shown, tuple(scored.faults)
        self.count.add(scored.read, len(scored.batch), faults, shown)
        self.tell.done(scored.read, scored.share)
        self._check([(shown, fault) for fault in faults])
        kept.add(i, scored.read, scored.batch, faults)

    def _again(self, job: Job, line: Line) -> None:
        """Count a chunk of an earlier run."""
        self.count.add(line.read, line.written, line.faults, job.takes[line.input].input.shown)
        self.count.again += line.read
        self.tell.done(line.read, 0.0)

    def _check(self, more: Sequence[tuple[str, Fault]] = ()) -> None:
        """Stop where too many rows are bad; `more` are those that no journal has."""
        if self.count.bad <= self.asked.max_errors or self.count.first is None:
            return
        sidefile.write(self.asked.place, [*self.noted(), *more])
        shown, first = self.count.first
        found = f"{self.count.bad} bad row{'' if self.count.bad == 1 else 's'} in {self.count.read:,} rows"
        raise PredictError(
            f"{shown}: {first}; {found} so far, and --max-errors allows {self.asked.max_errors}; "
            f"all of them: {sidefile.of(self.asked.out)}"
        )
