"""Run a sweep: a new one, one that was left, or what failed of one.

    trialtree sweep [--resume [ID]] [--rerun-failed [ID]]

Reads   params.yaml, dvc.yaml, and all that the stages read
Writes  DVC experiments, their results in DVC's cache, the journal, MLflow runs
"""

import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from stages import params
from stages.logs import ORDER
from stages.recipes import size_in_bytes
from trialtree.sweep import bycli, interruptions, journal, limits, profiling, screen, section, space, telling, watched
from trialtree.sweep.driver import Driver
from trialtree.sweep.engine import DVC_VERSION, snapshot, trees
from trialtree.sweep.engine.snapshot import Snapshot
from trialtree.sweep.engine.trial import Tree
from trialtree.sweep.journal import Journal, SweepError
from trialtree.sweep.ledger import Ledger
from trialtree.sweep.parts import Parts, Runner
from trialtree.sweep.publishing import Publishing
from trialtree.sweep.records import Head, Sweep
from trialtree.sweep.screen import Kind, ending
from trialtree.sweep.section import SweepParams
from trialtree.sweep.space import Space
from trialtree.sweep.stopping import candidates
from trialtree.sweep.workers import jobs, shares
from trialtree.sweep.workers.jobs import Job
from trialtree.sweep.workers.pool import Limits, Pool, Setup
from trialtree.tracking import git, wishes

_MOST = 64  # trials at once, where nobody knows how many there will be
_KEPT = 50  # sweeps whose logs and pictures are kept
_LONG = 3600.0  # seconds that nothing here takes
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # of an id; none that is taken for another


@dataclass(frozen=True)
class Options:
    """What a person asked for."""

    executor: Literal["engine", "cli"] | None = None  # None: the engine, where DVC is the version that it knows
    kind: Kind = "auto"  # of screen
    profile: bool = False
    publish: bool = True  # to MLflow


def new(options: Options) -> int:
    """Run the sweep of params.yaml, and return the exit status.

    Raises:
        UserError: the section, the pipeline or Git do not allow it; then nothing has run.
    """
    content = params.load()
    settled = section.read(content)
    if settled.order == "fixed" and settled.limits.concurrent is None:
        # The trials depend on it, and a machine with other cores may go on.
        given = content[section.NAME]
        asked = {**given.get("limits", {}), "concurrent": len(shares.processors())}
        content = {**content, section.NAME: {**given, "limits": asked}}
        settled = section.read(content)
    of = snapshot.take()
    experiment = wishes.experiment(content)
    folder = named(experiment)
    folder.mkdir(parents=True)
    head = Head(
        folder.name, int(time.time() * 1000), dict(content[section.NAME]), content, experiment, of.baseline, of.tree,
        of.changed, settled.seed, *_executor(options),
    )  # fmt: skip
    try:
        return _Running(folder, Sweep(head), settled, of, options).run()
    finally:
        if not (folder / journal.FILE).exists():
            shutil.rmtree(folder)


def resume(name: str | None, options: Options, *, failed: bool = False) -> int:
    """Go on with a sweep that was left, with `failed` with what failed of it, and return the exit status.

    Raises:
        UserError: there is no such sweep, it is running, or there is nothing left to do.
    """
    folder = journal.find(name)
    with Journal(folder) as log:
        sweep = journal.read(folder)
        if failed and not sweep.of("failed"):
            raise SweepError(f"no trial of sweep {folder.name} has failed")
        if sweep.finished is not None and not failed:
            raise SweepError(f"sweep {folder.name} is over: {sweep.finished}; `trialtree sweep` begins another")
        settled = section.read(sweep.head.params)
        of = Snapshot(sweep.head.baseline, sweep.head.tree, tuple(sweep.head.changed), git.prefix())
        if git.run("cat-file", "-e", of.tree) is None:
            raise SweepError(f"sweep {folder.name} cannot go on: Git has thrown away the files it began with")
        said = {"failed": [trial.number for trial in sweep.of("failed")] if failed else []}
        log.add("resumed", time=int(time.time() * 1000), **said)
        journal.apply(sweep, "resumed", said)
        return _Running(folder, sweep, settled, of, options).run(log)


def checked(content: dict[str, object]) -> SweepParams:
    """Return the section of params.yaml, held against all of the file.

    Raises:
        ParamsError: all that is wrong with it.
    """
    settled = section.read(content)
    from trialtree.sweep import checking

    if faults := checking.check(settled, content):
        raise params.ParamsError("\n".join(faults))
    return settled


def _executor(options: Options) -> tuple[str, str]:
    """Return who makes the trials, and DVC's version."""
    dvc = version("dvc")
    return options.executor or ("engine" if dvc == DVC_VERSION else "cli"), dvc


def named(experiment: str) -> Path:
    """Return the folder of a new sweep."""
    word = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in experiment.lower())
    word = "-".join(part for part in word.split("-") if part)[:24] or "sweep"
    while True:
        folder = journal.place() / f"{word}-{''.join(secrets.choice(_LETTERS) for _ in range(4))}"
        if not folder.exists():
            return folder


@dataclass
class _Running:
    """A sweep that is to run, and what it runs with."""

    folder: Path
    sweep: Sweep
    section: SweepParams
    snapshot: Snapshot
    options: Options

    def __post_init__(self) -> None:
        self.root = Path.cwd()
        self.by_cli = self.sweep.head.executor == "cli"
        self.space = space.read(self.section.space, self.section.where, self.sweep.head.params)
        self.total = limits.total(self.section, self.space.size, len(self.sweep.trials))
        self.concurrent = min(self.section.limits.concurrent or len(shares.processors()), self.total or _MOST)

    def run(self, log: Journal | None = None) -> int:
        """Run what is to be run, say what came of it, and return the exit status; without a journal it is new.

        Raises:
            UserError: the section, the pipeline or Git do not allow it, or it cannot go on.
        """
        begun = time.monotonic()
        _forget(self.folder)
        publishing = Publishing(self.folder) if self.options.publish else None
        with ExitStack() as stack:
            stack.enter_context(interruptions.as_ctrl_c())
            # Its imports take longest: they begin first.
            pool = stack.enter_context(Pool(self._setup()))
            runner, places, notes = stack.enter_context(self._makers())
            if log is None:
                notes += self._check(pool)
                log = stack.enter_context(Journal(self.folder))
                log.add("sweep", **asdict(self.sweep.head))
            ledger = self._drive(log, pool, runner, places, notes, publishing)
        self._say(publishing, ledger, time.monotonic() - begun)
        return 130 if self.sweep.finished is None else 0 if self.sweep.of("done") else 1

    def _drive(  # noqa: PLR0913, PLR0917  # all that a driver needs
        self, log: Journal, pool: Pool, runner: Runner, places: list[Tree], notes: list[str],
        publishing: Publishing | None,
    ) -> Ledger:  # fmt: skip
        """Run the trials."""
        watching = watched.make(self.section, self.sweep.head.params, self.sweep)
        teller = telling.Teller(self.section, self.sweep.head.params, self.sweep, self.concurrent)
        ledger = Ledger(log, self.sweep, self.section, teller)
        ready, news = (publishing.start, publishing.news) if publishing else (_nothing, tuple[str, ...])
        shown = screen.make(self.options.kind, self.sweep, self.section, self.total, self.concurrent)
        reason: str | None = None
        try:
            known = *_notes(self.sweep, self.options), *notes, *teller.sampler.notes
            for note in (*known, *(watching.notes if watching else ())):
                shown.note(note)
            if watching and self.by_cli:
                shown.note("no trial is stopped early: DVC runs each in a folder of its own")
            Driver(Parts(ledger, self.section, runner, pool, shown, watching, places, ready, news)).run()
        finally:
            reason = self.sweep.finished or self.sweep.interrupted
            shown.close(reason)
        return ledger

    @contextmanager
    def _makers(self) -> Iterator[tuple[Runner, list[Tree], list[str]]]:
        """Yield who makes the trials, a tree for each slot, and notes."""
        if self.by_cli:
            yield bycli.Cli(self.root, self.snapshot, self.sweep.head.id), [Tree(self.root)] * self.concurrent, []
            return
        trees.tidy(self.root)
        taken = trees.Trees(self.root, self.snapshot)
        with ExitStack() as stack:
            stack.callback(taken.close)
            paths = taken.take(self.concurrent)
            from trialtree.sweep.engine.engine import Engine

            engine = Engine(self.root, paths[0], self.snapshot, self.sweep.head.id)
            for path in paths[1:]:
                engine.configure(path)
            inexact = engine.pipeline.inexact
            if not self.sweep.trials:  # one that goes on has its data in the cache, whatever stands here by now
                snapshot.check_data({path: kept.md5 for path, kept in engine.pipeline.sources.items()})
            notes = [f"DVC itself runs the stages of each trial: {inexact}"] if inexact else []
            yield engine, [Tree(path) for path in paths], notes

    def _check(self, pool: Pool) -> list[str]:
        """Hold the section against all of params.yaml, where its estimators are imported, and return notes on it.

        Raises:
            ParamsError: all that is wrong with it.
        """
        log = self.folder / "check.log"
        pool.run(0, Job(-1, "check", jobs.CHECK, self.root, log, began=time.monotonic() + _LONG))
        while not (ended := pool.poll(_LONG)):
            pass
        said = log.read_text(encoding="utf-8").strip() if log.exists() else ""
        log.unlink(missing_ok=True)
        if ended[0].end != "done":
            raise params.ParamsError(said if said.startswith(str(params.PATH)) else f"{ended[0].reason}\n{said}")
        return said.splitlines()

    def _setup(self) -> Setup:
        """Return what the processes are for."""
        memory = self.section.limits.memory
        held = Limits(self.section.limits.trial_timeout, None if memory is None else size_in_bytes(memory))
        estimators = tuple(dict.fromkeys(kind.estimator for kind in candidates.of(self.space)))
        return Setup(
            self.root, self.concurrent, _stages(self.space), estimators, journal.place().parent,
            self.folder / "workers.log",
            limits=held, isolation=self.section.isolation,
        )  # fmt: skip

    def _say(self, publishing: Publishing | None, ledger: Ledger, seconds: float) -> None:
        """Say what came of the sweep."""
        lines = ending.final(self.sweep, self.section, seconds)
        if publishing is not None:
            published = publishing.finish()
            if published.where:
                lines.append(f"in MLflow at {published.where}: {published.count} trials; `trialtree ui`")
            lines += published.notes
        if self.options.profile:
            lines += profiling.lines(self.sweep, ledger.parts, seconds)
        if self.options.kind != "json":
            print("\n".join(lines))


def _nothing() -> None:
    """Do nothing."""


def _stages(searched: Space) -> tuple[str, ...]:
    """Return the stages that a space makes run, as far as it is known before."""
    first = min(
        (ORDER.index(key.partition(".")[0]) for key in searched.keys if key.partition(".")[0] in ORDER), default=0
    )
    return ORDER[first : ORDER.index("evaluate") + 1]


def _notes(sweep: Sweep, options: Options) -> Iterator[str]:
    """Yield what a person should know before the first trial."""
    if changed := sweep.head.changed:
        named = ", ".join(changed[:4]) + (f" and {len(changed) - 4} more" if len(changed) > 4 else "")
        yield f"uncommitted changes are taken into the trials: {named}"
    if sweep.head.executor == "cli" and options.executor is None and sweep.head.dvc != DVC_VERSION:
        yield f"DVC is {sweep.head.dvc} and not {DVC_VERSION}: trials are run by `dvc exp run --temp`, one process each"


def _forget(keep: Path) -> None:
    """Remove logs and pictures of old sweeps; their journals stay."""
    for folder in journal.folders()[:-_KEPT]:
        if folder != keep and not journal.running(folder):
            for name in ("logs", "pictures"):
                shutil.rmtree(folder / name, ignore_errors=True)
