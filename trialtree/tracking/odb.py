"""The objects of the repository, read in this process: for a thousand trials, without asking another one each time."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from trialtree.tracking import git
from trialtree.tracking.git import Objects


class Direct(Objects):
    """Reads objects by libgit2."""

    def __init__(self, repository: Any, prefix: str) -> None:
        self._repository, self._prefix = repository, prefix
        self._read = lru_cache(maxsize=32)(self._found)  # of one trial, some files are asked for again and again

    def read(self, name: str) -> bytes | None:
        """Return the content of `COMMIT`, `COMMIT:./path` or another object's hash; None where there is none."""
        return self._read(name)

    def _found(self, name: str) -> bytes | None:
        of, inside, path = name.partition(":./")
        try:
            found = self._repository[of]
            if inside:
                found = found.tree[self._prefix + path]
            return bytes(found.read_raw())
        except (KeyError, ValueError):
            return None


@contextmanager
def objects() -> Iterator[Objects]:
    """Yield the objects of the repository around the working folder, each named by a whole hash.

    Raises:
        GitError: there is no git.
    """
    direct = _direct()
    if direct is not None:
        yield direct
    else:
        with git.objects() as asked:
            yield asked


def _direct() -> Objects | None:
    """Return a reader by libgit2; None where that does not open the repository, or would not fetch what it lacks."""
    import pygit2

    if git.run("config", "--get", "extensions.partialclone"):
        return None
    try:
        repository = pygit2.Repository(pygit2.discover_repository("."))
    except (pygit2.GitError, KeyError, TypeError):
        return None
    return Direct(repository, git.prefix())
