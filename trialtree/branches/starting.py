"""Start a trial: a branch at a clean base, with its params.

    trialtree start NAME

Reads   params.yaml, or the file of --from; dvc.yaml
Writes  params.yaml; dvc.yaml where the source is another one

The params are not committed: `trialtree run` commits them together with what came of them, so that every
commit's dvc.lock is that of its params.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from stages import params, sources
from stages.files import write_json
from trialtree.branches import commands, locks, merging, writing
from trialtree.branches.commands import CommandError
from trialtree.tracking import git

_JOURNAL = Path(".dvc/tmp/trialtree-start.json")  # there while a start is under way
_WRITTEN = (str(params.PATH), str(sources.DVC_YAML))


def start(name: str, given: Path | None = None, sets: Sequence[str] = (), base: str = "HEAD") -> list[str]:
    """Make branch `name` at `base` with these params, and return what to print; nothing is left of a start that fails.

    Args:
        given: a file to take as params.yaml.
        sets: as `dvc exp run -S` takes them.

    Raises:
        UserError: the tree has changes, the name is taken or no name, or the params are not in order.
    """
    content = _read(given)
    with commands.alone():
        said = _undo_cut_off()
        commit = _checked(name, base)
        merging.install()
        back = git.branch() or git.head()
        write_json(_JOURNAL, {"name": name, "commit": commit, "back": back})
        try:
            commands.git("switch", "--quiet", "--no-track", "--create", name, commit)
            before = dict(locks.flat(params.load()))
            writing.write(content, sets)
            _check_faults()
        except BaseException:
            _undo()
            raise
        _JOURNAL.unlink()
    now = dict(locks.flat(params.load()))
    changed = [f"  {key}: {before.get(key, 'not set')} -> {now.get(key, 'not set')}" for key in {**before, **now}
               if before.get(key) != now.get(key)]  # fmt: skip
    return [*said, f"branch {name} at {commit[:7]}" + (", with" if changed else ""), *changed, "next: `trialtree run`"]


def _read(given: Path | None) -> bytes | None:
    """Return the file of --from."""
    if given is None:
        return None
    try:
        return given.read_bytes()
    except OSError as error:
        raise CommandError(f"--from {sources.relative(str(given))}: {error.strerror}") from None


def _checked(name: str, base: str) -> str:
    """Return the commit to start at.

    Raises:
        CommandError: there can be no such branch, no such commit, or the tree has changes.
    """
    if git.run("check-ref-format", "--branch", name) is None or name.startswith("@"):
        raise CommandError(
            f"{name!r} can be no name of a branch: no blanks, .., ~, ^, :, ?, * or [, and no - or / first"
        )
    if commands.commit_of(f"refs/heads/{name}"):
        raise CommandError(f"there is a branch {name} already: `git switch {name}` goes to it; or take another name")
    refuse_changes("`trialtree run` or `git commit` keeps them, `git stash` puts them aside")
    commit = commands.commit_of(base)
    if commit is None:
        raise CommandError(f"--base: there is no commit {base}; see `git log`, or `git fetch` first")
    return commit


def refuse_changes(mend: str) -> None:
    """Stop where tracked files have changes.

    Raises:
        CommandError: they have; or a merge is under way.
    """
    if commands.merging():
        raise CommandError(
            "a merge is under way: `git merge --abort` ends it, `git commit` or `trialtree finish` goes on"
        )
    changed = [change.path for change in git.changes() if change.tracked]
    if changed:
        raise CommandError(f"changed and not committed: {commands.listed(changed)}; {mend}")


def _check_faults() -> None:
    """Run `trialtree check` of the branch's own code."""
    # By a variable, which code that does not know it passes over.
    done = subprocess.run(
        [sys.executable, "-m", "trialtree.cli", "check"], env={**os.environ, "TRIALTREE_CHECK": "trial"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise writing.FaultsError(done.stderr.rstrip())


def _undo_cut_off() -> list[str]:
    """Undo a start that was killed."""
    if not _JOURNAL.exists():
        return []
    name = _undo(keep=True)
    return [f"the start of {name}, which was cut off, is undone; its params are in `git stash list`"] if name else []


def _undo(*, keep: bool = False) -> str | None:
    """Take back what the journal tells of; return the branch that is gone.

    With `keep` the params go to a stash: somebody may have edited them since.
    """
    try:
        journal = json.loads(_JOURNAL.read_text(encoding="utf-8"))
    except ValueError:
        journal = {}
    name, undone = journal.get("name", ""), None
    if name and commands.commit_of(f"refs/heads/{name}") == journal["commit"]:
        if git.branch() == name:
            if keep:
                commands.git("stash", "push", "--quiet", "--message", f"the start of {name}", "--", *_WRITTEN)
            else:
                commands.git("restore", "--staged", "--worktree", "--", *_WRITTEN)
            commands.git("switch", "--quiet", *_to(journal["back"]))
        commands.git("branch", "--quiet", "-D", name)
        undone = name
    _JOURNAL.unlink()
    return str(undone) if undone else None


def _to(back: str) -> list[str]:
    """Return what `git switch` takes to go back to a branch, or to a commit that was checked out without one."""
    return [back] if commands.commit_of(f"refs/heads/{back}") else ["--detach", back]
