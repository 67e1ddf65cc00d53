"""What Git and DVC hold of a trial: everything that its MLflow run says."""

import getpass
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from stages.errors import UserError
from trialtree.tracking import committed, curves, files, git, inputs, locks, scripts, storage, survey, wishes
from trialtree.tracking.files import Files
from trialtree.tracking.inputs import Dataset
from trialtree.tracking.locks import LOCK, TrialError, content_key, read_lock
from trialtree.tracking.survey import Place

METRICS = "reports/metrics.json"
SCRIPT = "reports/script.json"

KEY = "trialtree.key"  # tag: the trial's content
COMMIT = "trialtree.commit"  # tag: the trial's own commit
COMMITS = "trialtree.commits"  # tag: all commits of that content, the first one first
DATA_COMMIT = "data_commit_hash"  # tag: the commit that first had its data
EXPERIMENT = "dvc.experiment"  # tag: the name of the DVC experiment that the trial is
DIGEST = "model.digest"  # tag: the model's SHA-256
DIRTY = "dirty"  # tag: whether the trial came from other files than its commit's
SOURCE = "mlflow.source.git.commit"  # tag: the commit that MLflow shows
REPOSITORY = "DVC_REPO_URL"  # tag: the address of Git's remote
SWEEP, NUMBER = "trialtree.sweep", "trialtree.number"  # tags: the sweep that made it, and its number there
BRANCHES, TAGS = "git.branches", "git.tags"  # tags: what stands at the trial now

# What a run holds as files, beside the plots. Predictions and the model are large, and DVC keeps them.
_FILES = ("params.yaml", LOCK.as_posix(), METRICS, "reports/data.json", "reports/curves.csv", "reports/folds.csv")
_PLOTS = "reports/plots"
_TAG = 8000  # characters of a tag


@dataclass(frozen=True)
class Trial:
    """One trial, wherever it was read from."""

    experiment: str
    name: str
    key: str  # SHA-256 of what dvc.lock says of fetch to evaluate: equal content, equal key
    params: dict[str, Any]  # by dotted name
    metrics: dict[str, float]  # by dotted name
    artifacts: dict[str, bytes]  # by path
    tags: dict[str, str]
    branch: str | None  # that it was made on
    dvc_experiment: str | None  # the name, as a DVC experiment
    datasets: tuple[Dataset, ...] = ()
    history: tuple[curves.Point, ...] = ()  # of metrics
    time: int | None = None  # of its commit, milliseconds since 1970; None before there is one
    missing: Mapping[str, str] = field(default_factory=dict)  # outputs that neither the caches here nor Git have
    uncertain: bool = False  # an earlier commit may have it, which a shallow clone does not know
    differing: tuple[str, ...] = ()  # files of its commit that are not those it ran with
    stages: Mapping[str, Any] = field(default_factory=dict)  # what dvc.lock says of those that get runs of their own

    @property
    def shown(self) -> str:
        """The name, and whether the trial came from more than that commit."""
        return f"{self.name} + uncommitted changes" if self.tags.get(DIRTY) == "true" else self.name


def workspace() -> Trial:
    """Return the trial that stands in the working folder.

    Raises:
        GitError: there is no repository, or no commit.
        TrialError: dvc.lock, metrics and model are not there, or not of one run.
        ParamsError: params.yaml has no experiment, or wrong wishes.
    """
    commit, branch = git.head(), git.branch()
    lock = read_lock(LOCK.read_bytes() if LOCK.exists() else b"")
    here, settings = files.Here(), storage.read()
    name = os.environ.get("DVC_EXP_NAME")
    # An experiment's commit takes in every change.
    dirty = not name and _dirty(lock)
    place = None if dirty or name else survey.read(main(here), commit).at(commit)
    if place is not None and place.key == content_key(lock):
        with git.objects() as objects:
            others = committed.differing(objects, place.commit, lock)
            recorded = files.Recorded(objects, place.commit)
            return _with_model(_trial(lock, recorded, place, _of_place(place, exact=not others), settings))
    baseline = os.environ.get("DVC_EXP_BASELINE_REV") or commit
    tags = {
        "baseline_commit": baseline,
        SOURCE: commit,
        DIRTY: "true" if dirty else "false",
        **_on(branch),
        **_by(git.author() or _user()),
        **_present({EXPERIMENT: name, DATA_COMMIT: committed.data_commit(commit, locks.data(lock))}),
    }
    provisional = Place(content_key(lock), (commit,), name, baseline, branch, "", 0, None)
    return _with_model(_trial(lock, here, provisional, tags, settings))


def _with_model(trial: Trial) -> Trial:
    """Return a trial of the working folder, where its model is.

    Raises:
        TrialError: it is not there.
    """
    if DIGEST not in trial.tags:
        raise TrialError(f"{locks.MODEL} holds no model; `dvc repro train` makes it")
    return trial


def of_commit(
    objects: git.Objects, place: Place, settings: storage.Settings, memo: committed.Memo | None = None
) -> Trial:
    """Return the trial of a place in Git; `memo` is what earlier calls found of the code.

    Raises:
        TrialError: its dvc.lock, params.yaml or metrics are damaged.
    """
    try:
        lock = read_lock(objects.read(f"{place.commit}:./{LOCK}") or b"")
        kept = files.Kept(objects, place.commit, lock, settings.caches)
        others = committed.differing(objects, place.commit, lock, memo)
        trial = _trial(lock, kept, place, _of_place(place, exact=not others), settings)
    except UserError as error:
        raise TrialError(f"commit {place.commit[:7]}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TrialError(f"commit {place.commit[:7]}: its files are of another form: {error!r}") from None
    return replace(trial, missing=dict(sorted(kept.missing.items())), differing=tuple(others))


def main(of: Files) -> str:
    """Return register.branch of params.yaml: the branch that a repository's own history is on."""
    try:
        content = locks.load(of.read("params.yaml") or b"")
        named = content["register"]["branch"]
    except (TrialError, KeyError, TypeError):
        return "main"
    return named if isinstance(named, str) else "main"


def _trial(
    lock: Mapping[str, Any], of: Files, place: Place, origin: Mapping[str, str], settings: storage.Settings
) -> Trial:
    """Return a trial by its files, and by the tags that say where it came from."""
    content = locks.shared(of.read("params.yaml") or b"")
    wished = wishes.of(content if isinstance(content, Mapping) else {})
    metrics = _metrics(lock, of)
    stored, datasets = _data(lock, of, settings)
    tags = {
        KEY: place.key,
        **origin,
        **_present({REPOSITORY: settings.origin, "mlflow.source.git.repoURL": settings.origin}),
        **stored,
        **_model(of),
        **scripts.tags(of),
        **wished.tags,
    }
    history = (*curves.points(of.read("reports/curves.csv") or b"", of.read("reports/folds.csv") or b""),
               *scripts.history(of))  # fmt: skip
    artifacts = dict(_artifacts(of, scripted="script" in locks.params(lock).get("train", {})))
    return Trial(
        experiment=wishes.experiment(content),
        name=place.name,
        key=place.key,
        params=dict(locks.flat(locks.params(lock))) | scripts.params(of),
        metrics=metrics,
        artifacts=artifacts,
        tags=tags,
        branch=place.branch,
        dvc_experiment=place.experiment,
        datasets=datasets,
        history=history,
        time=1000 * place.seconds or None,
        uncertain=place.cut,
        stages=lock if wished.stages else {},
    )


def _of_place(place: Place, *, exact: bool) -> dict[str, str]:
    """Return the tags of a committed trial that say where it came from."""
    return {
        COMMIT: place.commit,
        COMMITS: " ".join(place.commits),
        DIRTY: "false" if exact else "true",
        **_on(place.branch),
        **_by(place.author),
        "commit_time": datetime.fromtimestamp(place.seconds, UTC).isoformat(),
        **_present({
            SOURCE: place.commit if exact else place.baseline,
            "baseline_commit": place.baseline,
            EXPERIMENT: place.experiment,
            SWEEP: place.sweep,
            NUMBER: None if place.number is None else str(place.number),
            DATA_COMMIT: place.data_commit,
            BRANCHES: " ".join(place.branches),
            TAGS: " ".join(place.tags),
        }),
    }  # fmt: skip


def _on(branch: str | None) -> dict[str, str]:
    """Return the tags of a branch: ours, MLflow's and the field's."""
    return dict.fromkeys(("branch", "mlflow.source.git.branch", "DVC_BRANCH"), branch) if branch else {}


def _by(author: str | None) -> dict[str, str]:
    """Return the tags of who made a trial."""
    return dict.fromkeys(("USER", "mlflow.user"), author) if author else {}


def _data(
    lock: Mapping[str, Any], of: Files, settings: storage.Settings
) -> tuple[dict[str, str], tuple[Dataset, ...]]:  # fmt: skip
    """Return the tags that say which data and model these are and where they are kept, and the parts as datasets."""
    raw, split = locks.data(lock)
    model = locks.out(lock, locks.MODEL)
    listed = storage.manifest(storage.cached([*settings.caches], split or ""))
    parts = inputs.hashes(listed)
    digests = {"raw": raw, "split": split} | {part: _joined(hashes) for part, hashes in parts.items()}
    tags = _present({f"data.{name}": md5 for name, md5 in digests.items()} | {"model.md5": model})
    if settings.remote is not None:
        places = {"raw": [raw or ""], "split": [split or ""], **parts, **({"model": [model]} if model else {})}
        tags |= {f"storage.{name}": _places(settings.remote, hashes) for name, hashes in places.items()}
    report = _json(of.read(f"{locks.SPLIT}/report.json"))
    ratio = _held_out(locks.params(lock).get("split", {}), report.get("rows", {}))
    if ratio is not None:
        tags["train_test_split_ratio"] = ratio
    known = {part: digest for part, digest in digests.items() if digest}
    origin = _present({"mlflow.source.git.repoURL": settings.origin, "dvc.md5": split})
    columns = _json(of.read(f"{locks.SPLIT}/columns.json")).get("columns", [])
    return tags, tuple(inputs.read(columns, report.get("rows", {}), known, parts, settings.remote, origin))


def _joined(hashes: Sequence[str]) -> str:
    """Return one hash for the files of a part: of a single file its own."""
    return hashes[0] if len(hashes) == 1 else hashlib.md5("\n".join(hashes).encode(), usedforsecurity=False).hexdigest()


def _places(remote: str, hashes: Sequence[str]) -> str:
    """Return the addresses of files, as many as a tag holds."""
    urls = [storage.address(remote, md5) for md5 in hashes]
    return " ".join(urls[: max(1, _TAG // (len(urls[0]) + 1))])


def _held_out(p: Mapping[str, Any], rows: Mapping[str, int]) -> str | None:
    """Return the share of all rows that are held out for validation and test."""
    amounts = (p.get("validation", 0), p.get("test"))
    if any(isinstance(amount, int) and amount for amount in amounts):
        return str(round(1 - rows["train"] / sum(rows.values()), 4)) if "train" in rows else None
    return str(round(sum(amounts), 10)) if None not in amounts else None


def _model(of: Files) -> dict[str, str]:
    """Return the model's digest, the libraries that fitted it, and the iteration that the validation rows chose."""
    manifest = of.read(f"{locks.MODEL}/manifest.json")
    chosen = _json(of.read(f"{locks.MODEL}/columns.json")).get("best_iteration")
    versions = _json(of.read(f"{locks.MODEL}/versions.json"))
    return _present({
        DIGEST: hashlib.sha256(manifest).hexdigest() if manifest is not None else None,
        "best_iteration": None if chosen is None else str(chosen),  # counted from 0
        **{f"library.{name}": str(version) for name, version in versions.items()},
    })  # fmt: skip


def _metrics(lock: Mapping[str, Any], of: Files) -> dict[str, float]:
    """Return the metrics by dotted name, after checking that they are those of dvc.lock."""
    found: dict[str, Any] = {}
    for path, needed in ((METRICS, True), (SCRIPT, False)):
        content = of.read(path)
        if content is None:
            if needed:
                raise TrialError(f"{path} is not here; `dvc repro` makes it")
            continue
        try:
            found |= locks.flat(json.loads(content))
        except (ValueError, AttributeError):
            raise TrialError(f"{path} is damaged; `dvc repro --force evaluate` makes it anew") from None
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != locks.out(lock, path):
            raise TrialError(f"{path} is not the one of {LOCK}; `dvc repro` brings them together")
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def _artifacts(of: Files, *, scripted: bool) -> Iterator[tuple[str, bytes]]:
    """Yield the small files of a trial; `scripted`: what a script logged among them."""
    more = [SCRIPT, *of.below(scripts.FOLDER)] if scripted else []
    for path in (*_FILES, *of.below(_PLOTS), *more):
        content = of.read(path)
        if content is not None:
            yield path, locks.without_register(content) if path == LOCK.as_posix() else content


def _dirty(lock: Mapping[str, Any]) -> bool:
    """Say whether the trial came from other files than the commit's: tracked ones but outputs, and untracked deps."""
    top = git.prefix()
    outs = [top + out["path"] for stage in lock.values() for out in stage.get("outs", ())]
    deps = [top + dep["path"] for stage in lock.values() for dep in stage.get("deps", ())]
    made = [top + LOCK.as_posix(), *outs]
    return any(
        not _below(change.path, made) and (change.tracked or _below(change.path, deps)) for change in git.changes()
    )


def _below(path: str, places: Sequence[str]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


def _json(content: bytes | None) -> dict[str, Any]:
    """Return what JSON says; nothing where there is none, or it is damaged."""
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return None


def _present(values: Mapping[str, str | None]) -> dict[str, str]:
    """Return the entries that have a value."""
    return {name: value for name, value in values.items() if value}
