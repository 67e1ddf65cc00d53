"""Read commits and files out of Git through one `git cat-file --batch` process, however many are asked for."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from trialtree.branches import commands


@dataclass(frozen=True)
class Commit:
    """A commit, as Git keeps it."""

    name: str
    content: bytes

    @cached_property
    def _headers(self) -> list[tuple[str, str]]:
        lines = self.content.partition(b"\n\n")[0].decode(errors="replace").split("\n")
        return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]

    @property
    def parents(self) -> list[str]:
        """The parents' names, the first first."""
        return [value for key, value in self._headers if key == "parent"]

    @property
    def author(self) -> str:
        """The author's name, without the address."""
        return dict(self._headers).get("author", "").partition(" <")[0]

    @property
    def seconds(self) -> int:
        """When it was made, in seconds since 1970."""
        return int(dict(self._headers).get("author", "").rpartition("> ")[2].split(" ")[0] or 0)


class Reader:
    """Answers what a revision holds; see `reading`."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._names: dict[str, str | None] = {}
        self._commits: dict[str, Commit | None] = {}

    def _ask(self, expression: str) -> tuple[str, bytes] | None:
        """Return an object's name and content, or None where there is none."""
        reads, writes = self._process.stdout, self._process.stdin
        if "\n" in expression or reads is None or writes is None:
            return None
        writes.write(expression.encode(errors="surrogateescape") + b"\n")
        writes.flush()
        head = reads.readline().decode(errors="replace").split()
        if len(head) != 3 or not head[2].isdigit():  # NAME missing
            return None
        content = reads.read(int(head[2]))
        reads.read(1)
        return head[0], content

    def commit(self, name: str) -> Commit | None:
        """Return a commit by its full name."""
        if name not in self._commits:
            found = self._ask(name)
            self._commits[name] = Commit(*found) if found else None
        return self._commits[name]

    def file(self, commit: str, path: str) -> bytes | None:
        """Return a file of a commit."""
        found = self._ask(f"{commit}:./{path}")
        return found[1] if found else None

    def version(self, commit: str, path: str) -> str | None:
        """Return the name of a file's content in a commit, which is the same for the same bytes."""
        if commit not in self._names:
            found = self._ask(f"{commit}:./{path}")
            self._names[commit] = found[0] if found else None
        return self._names[commit]


@contextmanager
def reading() -> Iterator[Reader]:
    """Yield a reader of the repository around the working folder; paths are relative to that."""
    process = subprocess.Popen(["git", "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        yield Reader(process)


def references(*patterns: str) -> list[tuple[str, str]]:
    """Return names and commits of the references under these prefixes."""
    said = commands.git("for-each-ref", "--format=%(refname) %(objectname) %(symref)", *patterns)
    rows = [line.split(" ") for line in said.splitlines()]
    return [(name, commit) for name, commit, symbolic in rows if not symbolic]
