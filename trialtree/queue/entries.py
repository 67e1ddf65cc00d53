"""An entry of DVC's queue: what its experiment starts from, and what is to be run.

`dvc exp run --queue` commits the files as they stand, with the new values in
params.yaml, to a stash of DVC's own; among them is a file of DVC's that says
with which options the pipeline is to be run.
"""

import pickle
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stages.errors import UserError
from trialtree.queue.messages import Message
from trialtree.sweep.engine.snapshot import Snapshot

_PARAMS, _OPTIONS = "params.yaml", ".dvc/tmp/repro.dat"

# The options of `dvc exp run` with which the engine does what DVC does.
_PLAIN: Mapping[str, Any] = {
    "single_item": False, "force": False, "dry": False, "interactive": False, "pipeline": False,
    "all_pipelines": False, "downstream": False, "recursive": False, "force_downstream": False, "pull": False,
    "allow_missing": False, "on_error": "fail",
}  # fmt: skip
_KNOWN_VARIABLES = {"DVC_EXP_BASELINE_REV", "DVC_EXP_NAME", "DVC_ROOT"}


class QueueError(UserError):
    """A queue, or an entry of it, that cannot be run."""


@dataclass(frozen=True)
class Entry:
    """What is to be run."""

    message: Message
    of: Snapshot
    params: str | None  # text of its params.yaml
    targets: tuple[str, ...]  # stages; none: all
    env: Mapping[str, str]  # that DVC gives its stages
    code: str  # digest of all files but params.yaml
    odd: str | None  # why DVC itself must run it

    @property
    def group(self) -> tuple[str, str, tuple[str, ...]]:
        """What entries have in common that differ in nothing but params.yaml."""
        return self.of.baseline, self.code, self.targets


def read(git: Any, message: Message, prefix: str) -> Entry:
    """Return the entry of a message; `git` is a `pygit2.Repository`, `prefix` leads from its top to DVC's.

    Raises:
        QueueError: its commit is gone, or is none of DVC's.
    """
    import pygit2

    commit = git.get(message.rev)
    if commit is None:
        raise QueueError(f"its commit {message.rev[:7]} is gone from Git")
    index = pygit2.Index()
    index.read_tree(commit.tree)
    files = {}
    for path in (_PARAMS, _OPTIONS):
        with_prefix = f"{prefix}{path}"
        if with_prefix in index:
            files[path] = index[with_prefix]
            index.remove(with_prefix)
    if _OPTIONS not in files:
        raise QueueError(f"its commit {message.rev[:7]} has no {_OPTIONS} of DVC's")
    code = index.write_tree(git)
    if _PARAMS in files:
        index.add(files[_PARAMS])
    head = str(message.entry.get("head_rev"))
    of = Snapshot(head, str(index.write_tree(git)), (), prefix)
    packed = _options(git[files[_OPTIONS].id].data)
    options = packed["kwargs"]
    params = git[files[_PARAMS].id].data.decode() if _PARAMS in files else None
    reasons = [*_reasons(message, packed), *([] if params else ["there is no params.yaml"])]
    targets = tuple(options.get("targets") or ())
    env = {name: str(value) for name, value in options.get("run_env", {}).items()}
    return Entry(message, of, params, targets, env, str(code), reasons[0] if reasons else None)


def _options(content: bytes) -> dict[str, Any]:
    """Return the options that DVC packed.

    Raises:
        QueueError: nobody can read them.
    """
    try:
        found = pickle.loads(content)  # noqa: S301  # as DVC itself does: it is the user's own repository
        return {"args": found["args"], "kwargs": found["kwargs"], "extra": found.get("extra")}
    except Exception as error:  # whatever a damaged pickle raises
        raise QueueError(f"{_OPTIONS} of DVC's is damaged: {error}") from None


def _reasons(message: Message, packed: Mapping[str, Any]) -> Iterator[str]:
    """Yield why the engine cannot do an entry as DVC does."""
    options = packed["kwargs"]
    if packed["args"] or packed["extra"] is not None:
        yield "it was queued by a program"
    for name, value in options.items():
        if name not in {"targets", "run_env"} and (name not in _PLAIN or value != _PLAIN[name]):
            yield f"--{name.replace('_', '-')}"
    if message.copied:
        yield "--copy-paths"
    if options.get("run_env", {}).keys() - _KNOWN_VARIABLES:
        yield "DVC Studio is told of it"
    entry = message.entry
    if entry.get("branch") or entry.get("head_rev") != entry["baseline_rev"]:
        yield "it goes on from another experiment"


def estimators(git: Any, messages: Iterable[Message], prefix: str) -> list[str]:
    """Return the estimators that entries name in their params.yaml, as far as a look tells."""
    found: dict[str, None] = {}
    for message in messages:
        commit = git.get(message.rev)
        try:
            text = commit.tree[f"{prefix}{_PARAMS}"].data.decode(errors="replace")
        except (AttributeError, KeyError):
            continue
        lines = (line.strip() for line in text.splitlines())
        found |= {line.split()[1]: None for line in lines if line.startswith("estimator: ")}
    return list(found)
