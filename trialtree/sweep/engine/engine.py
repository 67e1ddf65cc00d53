"""What all trials of a sweep share: the pipeline, the cache, params.yaml, and who commits them."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import chdir
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from trialtree.sweep.engine import entries, pipeline, saving
from trialtree.sweep.engine.caching import Cache
from trialtree.sweep.engine.paramsfile import ParamsFile
from trialtree.sweep.engine.pipeline import TARGET, Stage
from trialtree.sweep.engine.snapshot import Snapshot
from trialtree.sweep.engine.trial import Made, Making, Reply, Tree, Work
from trialtree.tracking.locks import LOCK


class Engine:
    """Makes the trials of one sweep."""

    def __init__(self, root: Path, first: Path, of: Snapshot, sweep: str, targets: Sequence[str] = (TARGET,)) -> None:
        """Read the pipeline in the worktree `first`; `root` is the folder of the DVC repository, `targets` stages.

        Raises:
            SweepError: dvc.yaml cannot be run up to evaluate, or Git does not know who commits.
        """
        from dvc.repo import Repo

        self.root, self.snapshot, self.sweep, self.targets = root, of, sweep, targets
        with Repo(str(root)) as main:
            self.cache = Cache(main)
            tmp = Path(main.tmp_dir)
            self._local = main.config.read("local")
        self.configure(first)
        repo = Repo(str(first))
        with chdir(first):  # DVC looks for dvc.yaml where it stands
            read = pipeline.read(repo, targets)
            self.show = saving.ShowCache(repo, tmp, [stage.name for stage in read.stages])
        self.pipeline = replace(read, inexact="the cache is shared by a group") if self.cache.shared else read
        self.made_by = self.pipeline.made_by()
        self.saver = saving.Saver(root, of)
        self.params = ParamsFile((first / "params.yaml").read_text(encoding="utf-8"))
        self.lock = entries.Lock((self.saver.blob(LOCK.as_posix()) or b"").decode(), self.pipeline.lock)
        self.of_git = [out.def_path for out in repo.index.outs if not out.use_cache]
        self.ignored = lru_cache(4096)(lambda path: bool(repo.dvcignore.is_ignored_file(str(first / path))))
        self.others = {
            file: dict(_read_params(repo, first / file, stage.params[file]))
            for stage in self.pipeline.stages for file in stage.params if file != "params.yaml"
        }  # fmt: skip
        self.sound = {stage.name: self._is_sound(stage) for stage in self.pipeline.stages}

    def configure(self, tree: Path) -> None:
        """Let DVC in a worktree use the repository's cache and local settings."""
        from configobj import ConfigObj

        config = ConfigObj(str(tree / ".dvc" / "config.local"))
        config.clear()
        config.merge(self._local)
        config.merge({"cache": {"dir": str(self.cache.folder.parent.parent)}})
        config.write()

    def _is_sound(self, stage: Stage) -> bool:
        """Say whether all outputs that the lock has of a stage can be had."""
        locked = entries.hashes((stage.locked or {}).get("outs", ()))
        return all(
            out.path in locked
            and (
                self.cache.has(locked[out.path])
                if out.cached
                else self.cache.name_of(self.saver.blob(out.path) or b"") == locked[out.path].md5
            )
            for out in stage.outs
        )

    def run(self, tree: Tree, values: Mapping[str, Any], name: str, number: int) -> Generator[Work, Reply, Made]:
        """Make a trial, up to its commit; no reference leads to that yet. See `trial.Making`."""
        made = yield from Making(self, tree, values, name, number).all()
        return made

    def keep(self, name: str, made: Made) -> str:
        """Make a trial the DVC experiment of a name, and return its commit.

        Raises:
            SweepError: the name is another experiment's.
        """
        return self.saver.refer(name, made.commit)

    def output(self, made: Made, path: str) -> bytes | None:
        """Return a file that a stage of a trial wrote; None where it has none, or DVC itself ran the stages."""
        of = made.outs.get(path)
        place = None if of is None else self.cache.place(of.md5)
        return place.read_bytes() if place is not None and place.is_file() else None

    def tidy(self, *, objects: bool = False) -> None:
        """Keep Git quick after many trials: references in one file, and with `objects` these in a pack."""
        self.saver.pack()
        if objects:
            self.saver.repack()


def _read_params(repo: Any, file: Path, keys: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    from dvc.dependency.param import read_param_file

    yield from read_param_file(repo.fs, str(file), list(keys), flatten=True).items()
