"""Where a trial comes from, and how to get it."""

from dataclasses import dataclass

from trialtree.branches import locks as files
from trialtree.review.subjects import Subject
from trialtree.tracking import committed, git, locks, refs


@dataclass(frozen=True)
class Origin:
    """Who made a trial, when, from which data, and whether others can have these."""

    commit: str
    who: str
    when: str  # the commit's day, in its own time zone
    subject: str
    data_commit: str | None  # that first had its data
    in_remote: str  # yes, no, part (11 of 26), unknown, or why; - without a DVC remote
    experiment: str | None  # its name as a DVC experiment


def origin(of: Subject) -> Origin:
    """Return where a trial comes from, and whether DVC's default remote has its outputs."""
    who, when, subject = (git.run("log", "-1", "--format=%an%x00%as%x00%s", of.commit) or "\0\0").split("\0")
    names = refs.read().experiments.get(of.commit)
    data = committed.data_commit(of.commit, locks.data(of.lock)) if of.lock else None
    return Origin(of.commit, who, when, subject, data, in_remote(of), min(names) if names else None)


def in_remote(of: Subject) -> str:
    """Say whether the default remote holds all of a trial."""
    lock, pipeline = (of.laid.content.read(f"{of.commit}:./{name}") for name in ("dvc.lock", "dvc.yaml"))
    return of.laid.remote.held(files.objects(files.parsed(lock), files.parsed(pipeline)))
