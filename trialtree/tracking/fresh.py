"""The places in Git of experiments that were made just now on one baseline: as `survey` has them, without its walk."""

from functools import cached_property

from trialtree.tracking import git, keys, locks, refs, survey
from trialtree.tracking.keys import Key
from trialtree.tracking.locks import LOCK, TrialError
from trialtree.tracking.survey import Place, Survey


class Baseline:
    """A commit that experiments stand on: what Git says of it holds for each of them."""

    def __init__(self, commit: str, main: str) -> None:
        self.commit = commit
        found = refs.read(commit)
        found.experiments.clear()  # they are beside, not before it
        self._survey = Survey(found, main)

    @cached_property
    def _branch(self) -> str | None:
        return self._survey.branch_of.get(self.commit)

    @cached_property
    def _key(self) -> Key:
        return keys.of_commits([self.commit])[self.commit]

    @cached_property
    def _data_commit(self) -> str | None:
        return self._survey.data_commit(self.commit)

    def place(self, objects: git.Objects, commit: str, name: str) -> Place:
        """Return the place of an experiment.

        Raises:
            TrialError: it holds no whole trial, or is gone.
        """
        content = objects.read(commit)
        if content is None:
            raise TrialError(f"commit {commit[:7]} is not here")
        said = survey.commit_of(content)
        lock = locks.read_lock(objects.read(f"{commit}:./{LOCK}") or b"")
        inherited = locks.data(lock) == (self._key.raw, self._key.split)
        return Place(
            locks.content_key(lock), (commit,), name, self.commit, said.branch or self._branch, said.author,
            said.seconds, self._data_commit if inherited else commit,
            sweep=said.swept[0], number=said.swept[1],
        )  # fmt: skip
