"""Commit a trial: all that it was made of, and all that came of it that Git keeps."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trialtree.branches import commands, locks
from trialtree.branches.commands import CommandError
from trialtree.tracking import git
from trialtree.tracking.survey import TRAILER

_LOCK, _YAML, _PARAMS = Path("dvc.lock"), Path("dvc.yaml"), Path("params.yaml")
_METRICS, _DATA = Path("reports/metrics.json"), Path("reports/data.json")


def check() -> None:
    """Stop where a commit could not hold the trial.

    Raises:
        CommandError: Git does not know who commits, or does not know a file that a stage depends on.
    """
    check_identity()
    if unmerged := commands.git("diff", "--name-only", "--diff-filter=U"):
        raise CommandError(f"{commands.listed(unmerged.splitlines())}: not merged; mend it, then `git add` it")
    asked = [path for path in _dependencies() if Path(path).exists() and path not in _outputs()]
    known = set(commands.git("ls-files", "-z", "--", *asked).split("\0")) if asked else set()
    folders = {parent.as_posix() for path in known for parent in Path(path).parents}
    unknown = [path for path in asked if path not in known | folders and not under_dvc(path)]
    if unknown:
        raise CommandError(
            f"{commands.listed(unknown)}: a stage depends on it, and Git does not know it: `git add` it first"
        )


def under_dvc(path: str) -> bool:
    """Say whether a file, or a folder that it is in, was put under DVC by `dvc add`."""
    return any(Path(f"{place}.dvc").exists() for place in (Path(path), *Path(path).parents))


def check_identity() -> None:
    """Stop where Git does not know who commits: it would say so after the run only."""
    if git.run("var", "GIT_AUTHOR_IDENT") is None or git.run("var", "GIT_COMMITTER_IDENT") is None:
        raise CommandError(
            "Git does not know who you are: `git config user.name NAME` and `git config user.email ADDRESS`"
        )


def snapshot() -> str:
    """Return a tree of all files that Git tracks, as they stand now."""
    done = commands.attempt("stash", "create")
    if done.returncode and done.stderr:  # without a change it is 1 and silent
        raise CommandError(f"git stash create: {commands.reason(done)}")
    return done.stdout.strip() or git.head()


def check_unchanged(before: str) -> None:
    """Stop where something that a stage may have read is another than before the run.

    Raises:
        CommandError: a file was edited while the pipeline ran.
    """
    changed = commands.git("diff", "--name-only", "--relative", "-z", before, snapshot(), "--", ".").split("\0")
    made = _outputs()
    edited = [path for path in changed if path and not _is_result(path, made)]
    if edited:
        raise CommandError(
            f"{commands.listed(edited)}: changed while the pipeline ran, so what came of it is uncertain; "
            "nothing is committed: `dvc repro --force` makes it anew, then repeat"
        )


def commit(branch: str, message: str | None, *, merge: bool = False) -> Iterator[str]:
    """Commit every change of a tracked file and every result; yield what to print."""
    others = commands.git("ls-files", "--others", "--exclude-standard", "-z").split("\0")
    made = _outputs()
    results = [path for path in others if path and _is_result(path, made)]
    commands.git("add", "--update", ".")
    if results:
        commands.git("add", "--", *results)
    staged = commands.git("diff", "--cached", "--name-only", "--relative", "-z").split("\0")
    taken = [path for path in staged if path]
    if not (taken or merge):
        short, subject = commands.git("log", "-1", "--format=%h%n%s").split("\n")
        yield f"nothing changed since {short} ({subject}): no commit"
        return
    said = message or summary()
    # After the merge nothing else tells on which branch a trial was made.
    commands.git("commit", "--quiet", "--message", said, "--trailer", f"{TRAILER}: {branch}")
    yield f"committed {commands.git('rev-parse', '--short', 'HEAD')} on {branch}: {said.splitlines()[0]}"
    named = [path for path in taken if not _is_result(path, made) and path != str(_PARAMS)]
    if named and not merge:
        yield f"with it: {commands.listed(named)}"


def summary() -> str:
    """Return the trial in the working tree as one line."""
    lock, params = locks.parsed(_read(_LOCK)), locks.parsed(_read(_PARAMS))
    data: Any = json.loads(_read(_DATA) or b"{}")
    return locks.summary(lock, params, locks.metrics(_read(_METRICS)), data.get("rows"))


def is_whole() -> bool:
    """Say whether the working tree holds a whole trial, and not the results of some stages only."""
    return locks.whole(locks.parsed(_read(_LOCK)))


def pipeline_objects() -> list[str]:
    """Return the MD5 of all that DVC keeps for the trial in the working tree."""
    return locks.objects(locks.parsed(_read(_LOCK)), locks.parsed(_read(_YAML)))


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _pipeline() -> dict[str, Any]:
    """Return the stages of dvc.yaml."""
    return {name: stage for name, stage in (locks.parsed(_read(_YAML)).get("stages") or {}).items() if stage}


def _paths(*kinds: str) -> Iterator[str]:
    """Yield the paths of dvc.yaml under these keys of its stages."""
    for stage in _pipeline().values():
        for kind in kinds:
            for entry in stage.get(kind) or ():
                yield entry if isinstance(entry, str) else next(iter(entry))


def _dependencies() -> list[str]:
    return list(dict.fromkeys(_paths("deps")))


def _outputs() -> set[str]:
    return set(_paths("outs", "metrics", "plots"))


def _is_result(path: str, made: set[str]) -> bool:
    """Say whether a file is written by DVC or is among the outputs `made` by a stage."""
    file = Path(path)
    written = path == str(_LOCK) or file.suffix == ".dvc" or (file.name == ".gitignore" and len(file.parts) > 1)
    return written or path in made
