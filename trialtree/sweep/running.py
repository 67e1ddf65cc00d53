"""Run a sweep: a new one, one that was left, or what failed of one.

    trialtree sweep [--resume [ID]] [--rerun-failed [ID]]

Reads   params.yaml, dvc.yaml, and all that the stages read
Writes  DVC experiments, their results in DVC's cache, the journal, MLflow runs
"""

import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from stages import params
from stages.logs import ORDER
from stages.recipes import size_in_bytes
from trialtree.sweep import bycli, journal, limits, profiling, screen, section, space, telling, watched
from trialtree.sweep.driver import Driver
from trialtree.sweep.engine import DVC_VERSION, snapshot, trees
from trialtree.sweep.engine.snapshot import Snapshot
from trialtree.sweep.engine.trial import Tree
from trialtree.sweep.journal import Journal, SweepError
from trialtree.sweep.ledger import Ledger
from trialtree.sweep.parts import Parts, Runner
from trialtree.sweep.publishing import Publishing
from trialtree.sweep.records import Head, Sweep
from trialtree.sweep.screen import Kind, Screen, ending
from trialtree.sweep.section import SweepParams
from trialtree.sweep.space import Space
from trialtree.sweep.stopping import candidates
from trialtree.sweep.workers import shares
from trialtree.sweep.workers.pool import Limits, Pool, Setup
from trialtree.tracking import git, wishes

_MOST = 64  # trials at once, where nobody knows how many there will be
_KEPT = 50  # sweeps whose logs and pictures are kept
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
    settled = checked(content)
    of = snapshot.take()
    experiment = wishes.experiment(content)
    folder = _named(experiment)
    head = Head(
        folder.name, int(time.time() * 1000), dict(content[section.NAME]), content, experiment, of.baseline, of.tree,
        of.changed, settled.seed, *_executor(options),
    )  # fmt: skip
    with Journal(folder) as log:
        log.add("sweep", **asdict(head))
        return _Running(log, Sweep(head), settled, of, options).run()


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
        return _Running(log, sweep, settled, of, options).run()


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


def _named(experiment: str) -> Path:
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

    log: Journal
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

    def run(self) -> int:
        """Run what is to be run, say what came of it, and return the exit status."""
        begun = time.monotonic()
        _forget(self.log.folder)
        publishing = Publishing(self.log.folder) if self.options.publish else None
        with ExitStack() as stack:
            shown = screen.make(self.options.kind, self.sweep, self.section, self.total, self.concurrent)
            reason: str | None = None
            stack.callback(lambda: shown.close(reason))
            for note in _notes(self.sweep, self.options):
                shown.note(note)
            runner, pool, places = stack.enter_context(self._makers(shown))
            watching = watched.make(self.section, self.sweep.head.params, self.sweep)
            for note in watching.notes if watching else ():
                shown.note(note)
            teller = telling.Teller(self.section, self.sweep.head.params, self.sweep, self.concurrent)
            ledger = Ledger(self.log, self.sweep, self.section, teller)
            ready: Callable[[], object] = publishing.start if publishing else _nothing
            driver = Driver(Parts(ledger, self.section, runner, pool, shown, watching, places, ready))
            try:
                driver.run()
            finally:
                reason = self.sweep.finished or self.sweep.interrupted
        self.log.close()
        self._say(publishing, ledger, time.monotonic() - begun)
        return 130 if self.sweep.finished is None else 0 if self.sweep.of("done") else 1

    @contextmanager
    def _makers(self, shown: Screen) -> Iterator[tuple[Runner, Pool, list[Tree]]]:
        """Yield who makes the trials, the processes that stages run in, and a tree for each slot."""
        if self.by_cli:
            with Pool(self._setup(self.root)) as pool:
                places = [Tree(self.root) for _ in range(self.concurrent)]
                yield bycli.Cli(self.root, self.snapshot, self.sweep.head.id), pool, places
            return
        trees.tidy(self.root)
        taken = trees.Trees(self.root, self.snapshot)
        with ExitStack() as stack:
            stack.callback(taken.close)
            first = taken.take(1)[0]
            pool = stack.enter_context(Pool(self._setup(first)))  # its imports take longest: they begin first
            from trialtree.sweep.engine.engine import Engine

            engine = Engine(self.root, first, self.snapshot, self.sweep.head.id)
            places = [Tree(path) for path in taken.take(self.concurrent)]
            for place in places[1:]:
                engine.configure(place.path)
            if engine.pipeline.inexact:
                shown.note(f"DVC itself runs the stages of each trial: {engine.pipeline.inexact}")
            snapshot.check_data({path: kept.md5 for path, kept in engine.pipeline.sources.items()})
            yield engine, pool, places

    def _setup(self, tree: Path) -> Setup:
        """Return what the processes are for."""
        memory = self.section.limits.memory
        held = Limits(self.section.limits.trial_timeout, None if memory is None else size_in_bytes(memory))
        stages: tuple[str, ...] = () if self.by_cli else _stages(self.space)
        estimators = () if self.by_cli else tuple(dict.fromkeys(k.estimator for k in candidates.of(self.space)))
        return Setup(
            tree, self.concurrent, stages, estimators, journal.place().parent, self.log.folder / "workers.log",
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
    if sweep.head.executor == "cli" and options.executor is None:
        yield f"DVC is {sweep.head.dvc} and not {DVC_VERSION}: trials are run by `dvc exp run --temp`, one process each"


def _forget(keep: Path) -> None:
    """Remove logs and pictures of old sweeps; their journals stay."""
    for folder in journal.folders()[:-_KEPT]:
        if folder != keep and not journal.running(folder):
            for name in ("logs", "pictures"):
                shutil.rmtree(folder / name, ignore_errors=True)
