"""A trial's commit on its baseline, its reference as a DVC experiment, and what `dvc exp show` keeps of it."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from trialtree.sweep.engine.hashes import Hash
from trialtree.sweep.engine.snapshot import Snapshot
from trialtree.sweep.journal import SweepError

SWEEP, NUMBER = "Trial-Sweep", "Trial-Number"  # trailers of a trial's commit

_TRIES = 10

T = TypeVar("T")


class Saver:
    """Makes the commits of a sweep's trials."""

    def __init__(self, top: Path, of: Snapshot) -> None:
        import pygit2

        self._git: Any = pygit2.Repository(str(top))
        self._snapshot = of
        self._base: Any = self._git[of.tree]
        self._author, self._committer = _ident("GIT_AUTHOR_IDENT"), _ident("GIT_COMMITTER_IDENT")
        self._packed = 0

    def blob(self, path: str) -> bytes | None:
        """Return a file of the DVC repository as the trials start from it."""
        try:
            return bytes(self._base[f"{self._snapshot.prefix}{path}"].data)
        except KeyError:
            return None

    def commit(self, files: Mapping[str, bytes | None], message: str) -> tuple[str, int]:
        """Return the commit of these files over the snapshot's (None: it goes), and its time; no ref leads to it."""

        def commit() -> tuple[str, int]:
            blobs = {
                f"{self._snapshot.prefix}{path}": None if content is None else self._git.create_blob(content)
                for path, content in files.items()
            }
            return self._committed(self._with(self._base, blobs), message)

        return _tried(commit)

    def commit_tree(self, tree: str, message: str) -> tuple[str, int]:
        """Return the commit of a whole tree, and its time in seconds."""
        return _tried(lambda: self._committed(self._git[tree].id, message))

    def _committed(self, tree: Any, message: str) -> tuple[str, int]:
        import pygit2

        seconds = int(time.time())
        offset = time.localtime(seconds).tm_gmtoff // 60
        author, committer = (pygit2.Signature(*of, seconds, offset) for of in (self._author, self._committer))
        made = self._git.create_commit(None, author, committer, message, tree, [self._snapshot.baseline])
        return str(made), seconds

    def _with(self, tree: Any, blobs: Mapping[str, Any]) -> Any:
        """Return the id of a tree with these files, by path, in the place of its own; without those that are None."""
        import pygit2

        builder = self._git.TreeBuilder(tree) if tree is not None else self._git.TreeBuilder()
        below: dict[str, dict[str, Any]] = {}
        for path, blob in blobs.items():
            first, slash, rest = path.partition("/")
            if slash:
                below.setdefault(first, {})[rest] = blob
            elif blob is not None:
                builder.insert(path, blob, pygit2.enums.FileMode.BLOB)
            elif tree is not None and path in tree:
                builder.remove(path)
        for name, inner in below.items():
            there = tree[name] if tree is not None and name in tree else None
            builder.insert(name, self._with(there, inner), pygit2.enums.FileMode.TREE)
        return builder.write()

    def refer(self, name: str, commit: str) -> str:
        """Make a commit the DVC experiment of a name, and return the commit that is it: an equal one may be there.

        Raises:
            SweepError: the name is another experiment's.
        """
        import pygit2

        base = self._snapshot.baseline
        ref = f"refs/exps/{base[:2]}/{base[2:]}/{name}"
        made = self._git[commit]
        own = _trailers(made.message)  # a name that no other process makes
        try:
            self._create(ref, commit, unlock=bool(own))
        except pygit2.AlreadyExistsError:
            there = self._git.references[ref].peel()
            if own and _trailers(there.message) == own:
                self._unlock(ref)
            if there.tree_id == made.tree_id:
                return str(there.id)
            if not own or _trailers(there.message) != own:
                raise SweepError(f"the experiment {name} is there; `dvc exp remove {name}` removes it") from None
            self._git.references[ref].set_target(commit)  # the same trial, of a driver that was killed right then
        return commit

    def _create(self, ref: str, commit: str, *, unlock: bool) -> None:
        """Make a reference; with `unlock` also where a killed driver has left its lock.

        Raises:
            pygit2.AlreadyExistsError: it is there.
            pygit2.GitError, OSError: it cannot be made.
        """
        import pygit2

        try:
            _tried(lambda: self._git.references.create(ref, commit))
        except pygit2.AlreadyExistsError:
            raise
        except (pygit2.GitError, OSError):
            if not unlock:
                raise
            self._unlock(ref)
            self._git.references.create(ref, commit)

    def _unlock(self, ref: str) -> None:
        """Remove the lock of a reference of a sweep's own, whose one driver is this."""
        of = Path(self._git.path)
        with suppress(FileNotFoundError):
            of /= (of / "commondir").read_text(encoding="utf-8").strip()  # of a worktree
        (of / f"{ref}.lock").unlink(missing_ok=True)

    def experiment(self, name: str) -> str | None:
        """Return the commit of an experiment of the baseline, if there is one."""
        base = self._snapshot.baseline
        try:
            return str(self._git.references[f"refs/exps/{base[:2]}/{base[2:]}/{name}"].peel().id)
        except KeyError:
            return None

    def pack(self) -> None:
        """Put references into one file: thousands of small ones slow Git down."""
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                ["git", "-C", self._git.workdir or ".", "pack-refs", "--all"], check=False, capture_output=True
            )

    def repack(self) -> None:
        """Put loose objects into a pack; nothing is thrown away."""
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                ["git", "-C", self._git.workdir or ".", "repack", "-d", "-q"], check=False, capture_output=True
            )


def _tried(write: Callable[[], T]) -> T:
    """Return what writes into Git, tried again where a `git gc` or `pack-refs` just takes an emptied folder away.

    Raises:
        pygit2.AlreadyExistsError: it is there.
        pygit2.GitError, OSError: it cannot be written.
    """
    import pygit2

    for _ in range(_TRIES - 1):
        try:
            return write()
        except pygit2.AlreadyExistsError:
            raise
        except (pygit2.GitError, OSError):
            pass
    return write()


def _trailers(message: str) -> list[str]:
    """Return of which sweep a commit is, and which trial; of a commit by hand nothing."""
    return [line for line in message.splitlines() if line.startswith((f"{SWEEP}: ", f"{NUMBER}: "))]


def message(first: str, sweep: str, number: int) -> str:
    """Return a trial's commit message: DVC's line, and of which sweep it is."""
    return f"dvc: commit experiment {first}\n\n{SWEEP}: {sweep}\n{NUMBER}: {number}\n"


def _ident(variable: str) -> tuple[str, str]:
    """Return name and address of who commits.

    Raises:
        SweepError: Git does not know them.
    """
    done = subprocess.run(["git", "var", variable], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SweepError("Git does not know who you are; `git config user.name` and `git config user.email` tell it")
    name, _, rest = done.stdout.rpartition(" <")
    return name, rest.partition(">")[0]


class ShowCache:
    """What `dvc exp show` keeps of each experiment, written so that it has not to read them one by one (39 ms each)."""

    def __init__(self, repo: Any, main_tmp: Path, stages: Collection[str]) -> None:
        """Take DVC's view of an open repository; `stages` are those that a trial may run."""
        from dvc.repo.experiments.serialize import SerializableExp

        self._folder = main_tmp / "exps" / "cache"
        # Of a path that several stages depend on DVC shows what the last one's entry says: of register the old one.
        last = {os.path.relpath(dep.fs_path, repo.root_dir): dep.stage for dep in repo.index.deps}
        self._old = {path for path, stage in last.items() if getattr(stage, "name", None) not in stages}
        like = SerializableExp.from_repo(repo, rev="0" * 40)
        self._like: dict[str, Any] | None = None
        if not like.contains_error:
            self._like = json.loads(like.as_bytes())
        self._params = "params.yaml"

    def put(
        self,
        commit: str,
        seconds: int,
        content: Mapping[str, Any],
        metrics: Mapping[str, Any],
        hashes: Mapping[str, Hash],
    ) -> None:
        """Keep what is shown of a commit: params, metrics by file, and hashes by path."""
        if self._like is None:
            return
        known = dict(self._like)
        known["rev"] = commit
        known["timestamp"] = datetime.fromtimestamp(seconds).isoformat()  # local time, as DVC has it
        known["params"] = {**known["params"], self._params: {"data": content}}
        known["metrics"] = {path: {"data": metrics.get(path, of.get("data"))} for path, of in known["metrics"].items()}
        known["outs"] = {path: {**of, **_shown(hashes.get(path))} for path, of in known["outs"].items()}
        known["deps"] = {
            path: of if path in self._old else {**of, **_shown(hashes.get(path))} for path, of in known["deps"].items()
        }
        path = self._folder / commit[:2] / commit[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        partial.write_bytes(json.dumps(known).encode())
        partial.rename(path)


def _shown(of: Hash | None) -> dict[str, Any]:
    return {} if of is None else {"hash": of.md5, "size": of.size, "nfiles": of.nfiles}
