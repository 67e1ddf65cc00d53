"""A chain as a tree: on a terminal in colour, in a pipe as plain text."""

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from trialtree.lineage.chain import Chain, Commit, Data, Run, Trial, Version

_SHORT = 12  # characters of a key or commit
_HEADLINE = 3  # metrics in a line about a trial


def show(chain: Chain) -> None:
    """Print a chain."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 100_000  # a pipe has no edge
    for root in _roots(chain):
        console.print(root)


def _roots(chain: Chain) -> Iterable[Tree]:
    if chain.kind == "data":
        for data in chain.data:
            root = _data(data)
            mine = [trial for trial in chain.trials if (trial.data.raw, trial.data.split) == (data.raw, data.split)]
            branch = root.add(f"{len(mine)} trial{'s' if len(mine) != 1 else ''} on these data")
            for trial in mine:
                branch.add(_short_trial(trial))
            yield root
        return
    for trial in chain.trials:
        if chain.version is None:
            yield _trial(trial)
        else:
            root = _version(chain.version)
            root.add(_trial(trial, but=chain.version))
            yield root


def _version(version: Version) -> Tree:
    aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
    tree = _tree(f"model version {version.name}/{version.number}{aliases}")
    if version.digest:
        tree.add(f"model sha256 {version.digest}")
    return tree


def _trial(trial: Trial, but: Version | None = None) -> Tree:
    """Return all of a trial."""
    tree = _tree(f"trial {trial.key[:_SHORT]}")
    _add_origin(tree, trial)
    _add_values(tree, "params", {name: str(value) for name, value in trial.params.items()})
    _add_values(tree, "metrics", {n: f"{v:.6g}" for n, v in trial.metrics.items() if not n.endswith("_std")})
    tree.add(_data(trial.data))
    for version in trial.versions:
        if but is None or (version.name, version.number) != (but.name, but.number):
            tree.add(_version(version))
    return tree


def _short_trial(trial: Trial) -> Tree:
    """Return a trial among others."""
    scores = [f"{name} {value:.6g}" for name, value in trial.metrics.items() if name.startswith("test.")]
    tree = _tree(" ".join([f"trial {trial.key[:_SHORT]}:", ", ".join([_estimator(trial), *scores[:_HEADLINE]])]))
    _add_origin(tree, trial)
    for version in trial.versions:
        tree.add(_version(version))
    return tree


def _estimator(trial: Trial) -> str:
    script = trial.params.get("train.script", trial.params.get("train.script.file"))
    return str(trial.params.get("train.estimator", script or "estimator unknown"))


def _add_origin(tree: Tree, trial: Trial) -> None:
    for commit in trial.commits:
        tree.add(_text(_commit(commit)))
    if not trial.commits:
        tree.add("not committed, or `trialtree track` has not been told of the commit")
    for run in trial.runs:
        tree.add(_text(_run(run)))


def _add_values(tree: Tree, name: str, values: dict[str, str]) -> None:
    if values:
        branch = tree.add(name)
        for key, value in values.items():
            branch.add(_text(f"{key}: {value}"))


def _commit(commit: Commit) -> str:
    if not commit.here:
        return f"commit {commit.id} (commit is not in this repository)"
    return f"commit {commit.id[:_SHORT]} {commit.subject} ({commit.author}, {commit.date[:10]})"


def _run(run: Run) -> str:
    origin = [f"on branch {run.branch}"] if run.branch else []
    origin += [f"DVC experiment {run.dvc_experiment}"] if run.dvc_experiment else []
    origin += [f"by {run.user}"] if run.user else []
    origin += ["from uncommitted changes"] if run.uncommitted_changes else []
    return ", ".join([f"run {run.name} ({run.id}) of experiment {run.experiment}", *origin])


def _data(data: Data) -> Tree:
    tree = _tree(f"data/split {data.split or 'unknown'}")
    if data.first_commit:
        tree.add(_text(f"first in {_commit(data.first_commit)}"))
    for name, address in data.storage.items():
        for at in address.split():
            tree.add(_text(f"{name} stored at {at}"))
    raw = tree.add(f"data/raw.parquet {data.raw or 'unknown'}")
    for source in data.source:
        raw.add(_text(f"source {source}"))
    return tree


def _tree(label: str) -> Tree:
    return Tree(_text(label))


def _text(label: str) -> Text:
    """Return a text of one line that is printed as it is."""
    return Text(label.replace("\n", " "), overflow="ignore", no_wrap=True)
