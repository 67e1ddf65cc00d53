"""One trial in a worktree: what changed is found as DVC finds it, run, kept, and committed.

A trial is a generator: it yields a `Work` whenever a stage must run, and is
sent whether that was done, or is to be asked for again: another tree has
meanwhile made it, or the process was lost in which it ran.
"""

import json
import shlex
import sys
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stages.errors import UserError
from trialtree.sweep.engine import entries, metrics, outputs, runcache, saving, trees
from trialtree.sweep.engine.caching import remove
from trialtree.sweep.engine.entries import Entry
from trialtree.sweep.engine.hashes import Hash
from trialtree.sweep.engine.pipeline import Stage
from trialtree.sweep.timing import Timed
from trialtree.tracking import locks

if TYPE_CHECKING:
    from trialtree.sweep.engine.engine import Engine

BY_DVC = "dvc"  # the name of the work in which DVC runs all stages itself

_PARAMS, _LOCK = "params.yaml", locks.LOCK.as_posix()

Reply = Literal["done", "again", "stopped"]


class _StoppedError(Exception):
    """A trial that is to end where it is."""


@dataclass(frozen=True)
class Work:
    """A stage to be run in a tree."""

    stage: str
    cmd: str | list[str]
    module: bool  # whether a warm process can run it
    key: str  # equal for stages whose results will be equal; empty where that is not known
    env: Mapping[str, str]
    params: str | None = None  # text and content of the tree's params.yaml as JSON, where JSON can say it


@dataclass
class Tree:
    """A worktree, and the outputs that are known to stand in it."""

    path: Path
    here: dict[str, Hash] = field(default_factory=dict)


@dataclass
class Made(Timed):
    """What came of a trial."""

    commit: str = ""
    metrics: dict[str, float] = field(default_factory=dict)  # by dotted name
    model_bytes: int | None = None
    ran: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    outs: Mapping[str, Hash] = field(default_factory=dict)  # all that DVC keeps of it, by path


class Making:
    """A trial as it is made."""

    def __init__(self, engine: "Engine", tree: Tree, values: Mapping[str, Any], name: str, number: int) -> None:
        self._of, self._tree, self._number = engine, tree, number
        self._made = Made()
        with self._made.timed("params"):
            self._text, self._content = engine.params.changed(values)
            remove(tree.path / _PARAMS)
            (tree.path / _PARAMS).write_text(self._text, encoding="utf-8", newline="\n")
        # What DVC tells the commands of an experiment.
        self._env = {
            "DVC_ROOT": str(engine.root),
            "DVC_EXP_NAME": name,
            "DVC_EXP_BASELINE_REV": engine.snapshot.baseline,
        }
        self._params = as_json(self._text, self._content)
        self._known: dict[str, Hash] = {**engine.pipeline.sources, **engine.pipeline.code}
        self._changed: dict[str, Entry] = {}
        self._loose = False  # whether a command of the user's runs or ran, which may have changed any file

    def all(self) -> Generator[Work, Reply, Made]:
        """Run what changed, and commit it.

        Raises:
            UserError: an output is missing, or a metrics file damaged.
        """
        try:
            return (yield from self._steps())
        finally:
            if self._loose and not self._made.commit:  # it broke off, and the next trial must not find what is left
                trees.clean(self._tree.path, self._of.snapshot, ())

    def _steps(self) -> Generator[Work, Reply, Made]:
        """Run what changed, and commit it."""
        if self._of.pipeline.inexact is None:
            try:
                for stage in self._of.pipeline.stages:
                    yield from self._stage(stage)
            except outputs.OddOutputError:
                pass  # an output that only DVC itself saves
            except _StoppedError:
                self._finish_early()
                return self._made
            else:
                self._finish()
                return self._made
        yield from self._by_dvc()
        return self._made

    def _stage(self, stage: Stage) -> Generator[Work, Reply, None]:
        """See to one stage: as it was, restored, or run."""
        with self._made.timed("plan"):
            new = self._entry(stage)
            if not stage.always and self._of.sound[stage.name] and _same(stage, new):
                self._known |= entries.hashes((stage.locked or {}).get("outs", ()))
                return
            key = runcache.key(stage, new)
        outs = self._kept(stage, key)
        if outs is not None:
            self._made.restored.append(stage.name)
        while outs is None:
            with self._made.timed("place"):
                self._place(stage)
            self._loose |= not stage.is_module or metrics.has_script(stage.name, self._content)
            env = {**self._env, "DVC_STAGE": stage.name}
            reply = yield Work(stage.name, stage.cmd, stage.is_module, key, env, self._params)
            if reply == "stopped":
                raise _StoppedError
            if reply == "again":
                outs = self._kept(stage, key)
                continue
            outs = self._saved(stage, key, new)
        self._known |= outs
        self._changed[stage.name] = {**new, "outs": entries.items(stage, outs)} if outs else new

    def _entry(self, stage: Stage) -> Entry:
        """Return a stage's entry of dvc.lock, without its outputs."""
        return entries.entry(stage, self._known, self._value)

    def _value(self, file: str, key: str) -> Any:
        """Return a param of a stage.

        Raises:
            UserError: there is none.
        """
        if file != _PARAMS:
            return self._of.others[file][key]
        at: Any = self._content
        for step in key.split("."):
            if not isinstance(at, Mapping) or step not in at:
                raise UserError(f"{_PARAMS} has no {key}, on which dvc.yaml lets a stage depend")
            at = at[step]
        return at

    def _kept(self, stage: Stage, key: str) -> dict[str, Hash] | None:
        """Return the outputs that DVC has kept of a stage."""
        if not stage.kept:
            return None
        with self._made.timed("plan"):
            outs = runcache.find(self._of.cache, key)
        return outs if outs is not None and all(out.path in outs for out in stage.outs) else None

    def _place(self, stage: Stage) -> None:
        """Put what a stage depends on into the tree, and take its outputs away.

        Raises:
            UserError: something of it is nowhere.
        """
        tree = self._tree
        paths = stage.deps
        if not stage.reads_its_deps:
            # It may read whatever `dvc exp run` would have put there.
            paths = tuple(self._known)
            remove(tree.path / _LOCK)
            (tree.path / _LOCK).write_text(self._of.lock.changed(self._changed), encoding="utf-8", newline="\n")
        for path in paths:
            if path in self._of.pipeline.code or tree.here.get(path) == self._known[path]:
                continue
            maker = self._of.made_by.get(path)
            of_git = maker is not None and path in self._of.of_git
            try:
                self._of.cache.checkout(self._known[path], tree.path / path, copied=of_git)
            except FileNotFoundError:
                raise UserError(f"{path} is not in DVC's cache, into which `dvc pull` brings it") from None
            tree.here[path] = self._known[path]
        for out in stage.outs:
            tree.here.pop(out.path, None)
            remove(tree.path / out.path)
            (tree.path / out.path).parent.mkdir(parents=True, exist_ok=True)

    def _saved(self, stage: Stage, key: str, new: Entry) -> dict[str, Hash]:
        """Return the hashes of the outputs that a stage wrote, after keeping them and the result."""
        of = self._of
        with self._made.timed("hash and link"):
            found = {
                out.path: outputs.saved(self._tree.path, out, of.cache, of.ignored, kept=stage.kept)
                for out in stage.outs
            }
            self._tree.here |= found
        with self._made.timed("run cache"):
            if stage.kept:
                runcache.save(of.cache, key, {**new, "outs": entries.items(stage, found)})
        self._made.ran.append(stage.name)
        return found

    def _finish(self) -> None:
        """Commit the trial, and note what is shown of it."""
        from dvc.utils import dict_sha256

        of, made = self._of, self._made
        with made.timed("dvc.lock"):
            lock = of.lock.changed(self._changed)
        with made.timed("commit"):
            outs = [out for stage in of.pipeline.stages for out in stage.outs if not out.cached]
            files = {out.path: self._file(out.path) for out in outs}
            self._commit({**files, _PARAMS: self._text.encode(), _LOCK: lock.encode()}, dict_sha256(self._changed))
        read = {out.path: metrics.parsed(out.path, files[out.path]) for out in outs if out.metric}
        made.metrics = metrics.flat(read.values())
        made.model_bytes = self._known[locks.MODEL].size if locks.MODEL in self._known else None
        made.outs = self._known
        with made.timed("exp show"):
            of.show.put(made.commit, self._seconds, self._content, read, self._known)

    def _finish_early(self) -> None:
        """Commit a trial that was stopped: its params and the stages before; what it did not come to is not there."""
        from dvc.utils import dict_sha256

        of = self._of
        outs = {stage.name: [out for out in stage.outs if not out.cached] for stage in of.pipeline.stages}
        gone = [stage.name for stage in of.pipeline.stages if any(out.path not in self._known for out in stage.outs)]
        files = {
            out.path: None if name in gone else self._file(out.path) for name in outs for out in outs[name]
        }  # fmt: skip
        lock = of.lock.changed(self._changed, gone)
        self._commit({**files, _PARAMS: self._text.encode(), _LOCK: lock.encode()}, dict_sha256(self._changed))

    def _file(self, path: str) -> bytes:
        """Return a file that Git keeps, as the trial has it."""
        of = self._known[path]
        if self._tree.here.get(path) == of:
            return (self._tree.path / path).read_bytes()
        place = self._of.cache.place(of.md5)
        return place.read_bytes() if place.exists() else self._of.saver.blob(path) or b""

    def message(self, digest: str) -> str:
        """Return the message of the commit; `digest` is DVC's hash of the stages."""
        return saving.message(digest, self._of.sweep, self._number)

    def _commit(self, files: Mapping[str, bytes | None], digest: str) -> None:
        """Commit these files, and where any other may have changed all that did, as DVC does."""
        of, tree = self._of, self._tree
        said = self.message(digest)
        if not self._loose:
            self._made.commit, self._seconds = of.saver.commit(files, said)
            return
        for path, content in files.items():
            remove(tree.path / path)
            if content is not None:
                (tree.path / path).write_bytes(content)
        self._made.commit, self._seconds = of.saver.commit_tree(
            trees.written(tree.path, [path for path in files if files[path] is not None]), said
        )
        for path in files:
            tree.here.pop(path, None)
        trees.clean(tree.path, of.snapshot, [*tree.here])

    def _by_dvc(self) -> Generator[Work, Reply, None]:
        """Let DVC itself run the pipeline in the tree."""
        tree, python = self._tree, f'"{sys.executable}" -m dvc'
        (tree.path / _LOCK).unlink(missing_ok=True)
        if (before := self._of.saver.blob(_LOCK)) is not None:
            (tree.path / _LOCK).write_bytes(before)
        targets = " ".join(shlex.quote(target) for target in self._of.targets)
        there = f"{python} checkout --quiet --force --with-deps --allow-missing {targets}"
        self._loose = True
        for name, line in (("dvc checkout", there), (BY_DVC, f"{python} repro {targets}")):
            while (yield Work(name, line, module=False, key="", env=self._env)) == "again":
                pass  # its process was lost
        tree.here.clear()
        lock = (tree.path / _LOCK).read_bytes()
        found = (locks.load(lock) or {}).get("stages") or {}  # whatever stages there are
        files = {path: (tree.path / path).read_bytes() for path in self._of.of_git if (tree.path / path).is_file()}
        self._made.ran, self._made.restored = [*found], []
        self._made.metrics = metrics.flat(metrics.parsed(path, files[path]) for path in files)
        self._made.model_bytes = metrics.size(found, locks.MODEL)
        self._commit({**files, _PARAMS: self._text.encode(), _LOCK: lock}, self._of.cache.name_of(lock))


def as_json(text: str, content: Mapping[str, Any]) -> str | None:
    """Return a params.yaml and what it says as JSON; None where JSON would say something else: dates, other keys."""
    try:
        made = json.dumps([text, content])
    except TypeError:
        return None
    return made if json.loads(made) == [text, content] else None


def _same(stage: Stage, new: Entry) -> bool:
    """Say whether a stage is as the lock has it: command, hashes of dependencies, params."""
    locked = stage.locked
    if locked is None or locked.get("cmd") != stage.cmd:
        return False
    before = {path: of.md5 for path, of in entries.hashes(locked.get("deps", ())).items()}
    now = {path: of.md5 for path, of in entries.hashes(new.get("deps", ())).items()}
    return before == now and locked.get("params", {}) == new.get("params", {})
