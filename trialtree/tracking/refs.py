"""What Git's references say of commits: which branches, tags and DVC experiments stand where, and how commits descend.

Asked of Git once for a whole repository, however many trials it holds.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from trialtree.tracking import git

# An experiment: its baseline, its name. `dvc exp` keeps other things beside them.
_EXPERIMENT = re.compile(r"refs/exps/(?P<first>[0-9a-f]{2})/(?P<rest>[0-9a-f]{38,})/(?P<name>.+)")
_FORMAT = "%(objectname) %(*objectname) %(objecttype)%(*objecttype) %(symref) %(refname)"
_COMMITS = ("commit", "tagcommit")  # a commit, or a tag of one


@dataclass
class Refs:
    """The references of a repository, each with the commit that it stands at."""

    branches: dict[str, str] = field(default_factory=dict)
    remotes: dict[str, str] = field(default_factory=dict)  # branches of remotes, by `origin/main`
    tags: dict[str, str] = field(default_factory=dict)
    experiments: dict[str, dict[str, str]] = field(default_factory=dict)  # baselines by name, by commit
    others: tuple[str, ...] = ()  # commits asked for that may be below none of them

    @property
    def tips(self) -> list[str]:
        """The commits that references stand at."""
        named = (*self.branches.values(), *self.remotes.values(), *self.tags.values(), *self.experiments, *self.others)
        return list(dict.fromkeys(named))

    @cached_property
    def parents(self) -> Mapping[str, list[str]]:
        """The parents of each commit of the branches, of the experiments' baselines, and of what was asked for."""
        baselines = (base for named in self.experiments.values() for base in named.values())
        tips = {*self.branches.values(), *self.remotes.values(), *self.tags.values(), *self.others, *baselines}
        return descent(tips)

    @cached_property
    def named(self) -> Mapping[str, str]:
        """The branches of this clone and, where it has none of the name, of its remotes, with their commits."""
        away = {name.partition("/")[2]: commit for name, commit in reversed(self.remotes.items())}
        return {**away, **self.branches}

    def branch_of(self, main: str) -> Mapping[str, str]:
        """Return the branch on which each commit was made, as far as Git can tell.

        That is `main` for what its first parents lead to, else the branch whose tip is the nearest, of this clone
        before those of remotes, by name where two are as near.
        """
        found: dict[str, str] = {}
        tips = self.named
        at = tips.get(main, "")
        while at in self.parents:
            found[at] = main
            at = next(iter(self.parents[at]), "")
        waiting = [(tips[name], name) for name in sorted(tips, key=lambda name: (name not in self.branches, name))]
        while waiting:
            following = []
            for commit, name in waiting:
                if commit not in found:
                    found[commit] = name
                    following += [(parent, name) for parent in self.parents.get(commit, ())]
            waiting = following
        return found


def read(*others: str) -> Refs:
    """Return the references of the repository; `others` are commits that count as well.

    Raises:
        GitError: there is no git.
    """
    refs = Refs(others=others)
    said = git.run("for-each-ref", f"--format={_FORMAT}", "refs/heads", "refs/remotes", "refs/tags", "refs/exps") or ""
    for line in said.splitlines():
        commit, peeled, kind, symref, name = line.split(" ", 4)
        if symref or kind not in _COMMITS:
            continue
        if experiment := _EXPERIMENT.fullmatch(name):
            refs.experiments.setdefault(commit, {})[experiment["name"]] = experiment["first"] + experiment["rest"]
            continue
        folder, _, short = name.removeprefix("refs/").partition("/")
        of = {"heads": refs.branches, "remotes": refs.remotes, "tags": refs.tags}.get(folder)
        if of is not None:
            of[short] = peeled or commit
    return refs


def descent(tips: Iterable[str], *paths: str) -> dict[str, list[str]]:
    """Return the commits that lead to `tips`, the newest first, each with its parents.

    Given paths, only the commits that change one of them, each with those of them that are before it.
    """
    options = ["--full-history", "--", *paths] if paths else []
    said = git.run("rev-list", "--parents", "--stdin", *options, given="".join(f"{tip}\n" for tip in tips)) or ""
    lines = (line.split() for line in said.splitlines())
    return {commit: parents for commit, *parents in lines}


def cut() -> Iterator[str]:
    """Yield the commits whose parents a shallow clone does not have."""
    path = git.run("rev-parse", "--git-path", "shallow")
    if path and Path(path).exists():
        yield from Path(path).read_text(encoding="ascii").split()
