"""Which trials the repository holds: every commit that brings one in, on branches, tags and as DVC experiments.

A trial is told by its content and, where it is a DVC experiment, by that: two
experiments of equal content are two trials.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from trialtree.tracking import git, keys, refs
from trialtree.tracking.keys import Key
from trialtree.tracking.locks import LOCK
from trialtree.tracking.refs import Refs

# Trailers of a commit's message.
TRAILER = "Trial-Branch"  # the branch that `trialtree run` made it on
SWEEP, NUMBER = "Trial-Sweep", "Trial-Number"  # the sweep that made it, and its number there, from 0


@dataclass(frozen=True)
class Place:
    """A trial's place in Git."""

    key: str
    commits: tuple[str, ...]  # that brought it in, the first one first
    experiment: str | None  # its name as a DVC experiment
    baseline: str | None  # the commit that it was made at
    branch: str | None  # that it was made on
    author: str
    seconds: int  # time of the first commit, since 1970
    data_commit: str | None  # the first one that has its data; None where a shallow clone has lost it
    branches: tuple[str, ...] = ()  # whose last trial it is
    tags: tuple[str, ...] = ()  # of Git, that stand at it
    cut: bool = False  # a shallow clone ends at its commit: an earlier one may have brought it in
    sweep: str | None = None  # that made it
    number: int | None = None  # of it in its sweep, from 0

    @property
    def commit(self) -> str:
        """The trial's own commit."""
        return self.commits[0]

    @property
    def name(self) -> str:
        """The name of its run: the experiment's, or branch and commit."""
        short = self.commit[:7]
        return self.experiment or (f"{self.branch}@{short}" if self.branch else short)


@dataclass(frozen=True)
class Commit:
    """A commit as Git has it."""

    author: str
    seconds: int
    parents: Sequence[str]
    trailers: Mapping[str, str]  # of its message

    @property
    def branch(self) -> str | None:
        """The branch that it says it was made on."""
        return self.trailers.get(TRAILER)

    @property
    def swept(self) -> tuple[str | None, int | None]:
        """The sweep that made it, and its number there."""
        number = self.trailers.get(NUMBER, "")
        return self.trailers.get(SWEEP), int(number) if number.isdecimal() else None


@dataclass
class Survey:
    """The trials of the repository at one moment; `main` is the branch whose own history comes first."""

    refs: Refs
    main: str = "main"
    _commits: dict[str, Commit] = field(default_factory=dict)
    _first: dict[str, str] = field(default_factory=dict)  # the commit that first had the data of one

    @cached_property
    def _changes(self) -> dict[str, list[str]]:
        """The commits that change dvc.lock, the newest first, each with those of them before it."""
        return refs.descent(self.refs.tips, f"./{LOCK}")

    @cached_property
    def _keys(self) -> dict[str, Key]:
        return keys.of_commits(dict.fromkeys([*self._changes, *self.refs.tips]))

    @cached_property
    def branch_of(self) -> Mapping[str, str]:
        """The branch on which each commit was made, as far as Git can tell."""
        return self.refs.branch_of(self.main)

    @cached_property
    def places(self) -> list[Place]:
        """Every trial, the first made first."""
        brought: dict[tuple[str, str | None], list[str]] = {}
        for commit in reversed([*self._experiments_alone, *self._changes]):
            key = self._keys[commit].trial
            if key is None:
                continue
            names = self.refs.experiments.get(commit)
            before = {self._keys[parent].trial for parent in self._changes.get(commit, ())}
            if names or key not in before:
                brought.setdefault((key, min(names) if names else None), []).append(commit)
        with git.objects() as objects:
            for commits in brought.values():
                for commit in commits:
                    self._commits[commit] = commit_of(objects.read(commit) or b"")
        found = [self._place(key, name, commits) for (key, name), commits in brought.items()]
        return sorted(found, key=lambda place: (place.seconds, place.commit))

    @property
    def _experiments_alone(self) -> list[str]:
        """The experiments that left dvc.lock as their baseline has it."""
        return [commit for commit in self.refs.experiments if commit not in self._changes]

    def _place(self, key: str, name: str | None, commits: list[str]) -> Place:
        """Return the place of a trial."""
        ordered = tuple(sorted(commits, key=lambda commit: (self._commits[commit].seconds, commits.index(commit))))
        first = ordered[0]
        commit = self._commits[first]
        parent = next(iter(commit.parents), None)
        baseline = self.refs.experiments[first][name] if name else parent
        branch = commit.branch or self.branch_of.get((baseline if name else first) or "")
        here = self._standing.get(first if name else key, ((), ()))
        return Place(
            key, ordered, name, baseline, branch, commit.author, commit.seconds, self.data_commit(first), *here,
            first in self._cut, *(commit.swept if name else ()),
        )  # fmt: skip

    @cached_property
    def _standing(self) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
        """The branches and the tags that stand at a trial, by its key; at an experiment, by its commit."""
        found: dict[str, tuple[list[str], list[str]]] = {}
        for kind, named in enumerate((self.refs.named, self.refs.tags)):
            for name, commit in named.items():
                at = commit if commit in self.refs.experiments else self._keys[commit].trial
                if at is not None:
                    found.setdefault(at, ([], []))[kind].append(name)
        return {key: (tuple(sorted(branches)), tuple(sorted(tags))) for key, (branches, tags) in found.items()}

    def data_commit(self, commit: str) -> str | None:
        """Return the first commit that had the data of a commit, going back as long as they are there."""
        data = (self._keys[commit].raw, self._keys[commit].split)
        at = commit if commit in self._changes else self._changed_before(commit)
        walked = []
        while at is not None and at not in self._first:
            walked.append(at)
            before = [p for p in self._changes[at] if (self._keys[p].raw, self._keys[p].split) == data]
            if not before:
                self._first[at] = at
                break
            at = before[0]
        if at is None:
            return None
        first = self._first[at]
        self._first.update(dict.fromkeys(walked, first))
        return None if first in self._cut else first

    def _changed_before(self, commit: str) -> str | None:
        """Return the last commit before one that changed dvc.lock."""
        return next(iter(refs.descent([commit], f"./{LOCK}")), None)

    @cached_property
    def _cut(self) -> frozenset[str]:
        return frozenset(refs.cut())

    def at(self, commit: str) -> Place | None:
        """Return the trial that a commit holds; None where it holds none."""
        key = self._keys[commit].trial if commit in self._keys else keys.of_commits([commit])[commit].trial
        names = self.refs.experiments.get(commit)
        name = min(names) if names else None
        found = (place for place in self.places if (place.key, place.experiment) == (key, name))
        fallback = (place for place in self.places if place.key == key)  # of an experiment that a branch went on from
        return (next(found, None) or next(fallback, None)) if key else None


def read(main: str, *others: str) -> Survey:
    """Return the trials of the repository; `others` are commits that count though no reference leads to them.

    Raises:
        GitError: there is no git.
    """
    return Survey(refs.read(*others), main)


def commit_of(content: bytes) -> Commit:
    """Return what a commit object says."""
    head, _, message = content.decode(errors="replace").partition("\n\n")
    fields = [line.split(" ", 1) for line in head.splitlines() if " " in line]
    parents = [value for name, value in fields if name == "parent"]
    named = dict(reversed(fields))
    lines = (line.partition(": ") for line in message.rpartition("\n\n")[2].splitlines())
    trailers = {name: value.strip() for name, _, value in lines if name in (TRAILER, SWEEP, NUMBER)}
    return Commit(named["author"].rpartition(" <")[0], int(named["committer"].rsplit(" ", 2)[1]), parents, trailers)
