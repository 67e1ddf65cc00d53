"""All that a report and the gate tell of one revision against another, from Git, DVC's cache and its remote."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stages import gates, params, tables
from stages.errors import UserError
from stages.gates import Gate, Result
from stages.scores import TWO_CLASSES
from stages.tables import Column
from trialtree import revisions
from trialtree.queries import differences
from trialtree.queries.differences import Comparison
from trialtree.review import bootstrap, columnwise, pairs, rowwise, staleness, subjects, verdict
from trialtree.review.bootstrap import Interval
from trialtree.review.columnwise import Looked
from trialtree.review.pairs import Pairs, PairsError
from trialtree.review.remotely import Remote
from trialtree.review.rowwise import Rows
from trialtree.review.subjects import PREDICTIONS, Subject
from trialtree.review.trying import Tried, Trying
from trialtree.review.verdict import Verdict
from trialtree.sweep import interruptions
from trialtree.tracking import git, locks

SPLIT, MODEL = "data/split", "models/model"


@dataclass(frozen=True)
class Options:
    """What a person asked for."""

    pull: bool = False  # data and models that the cache lacks
    rescore: bool = False  # base's model on head's test rows
    time: bool = True  # how long a prediction takes
    data: bool = True  # rows, columns and leaks
    pickles: bool = False  # load models from pickles, which runs the code in them


@dataclass
class Model:
    """A model, as far as its trial tells."""

    bytes: int | None = None
    seconds: float | str | None = None  # a row; a text says why it is not known
    features: list[str] | None = None
    importance: dict[str, float] = field(default_factory=dict)
    estimator: str | None = None


@dataclass
class Findings:
    """What was found; what could not be is None or empty, and a note says why."""

    head: Subject
    base: Subject | None
    metric: str | None = None  # that decides
    verdict: Verdict | None = None
    pairs: Pairs | None = None
    why_not: str | None = None  # why there is no verdict
    intervals: Mapping[str, Interval] = field(default_factory=dict)  # of the test part's metrics
    unlike: Sequence[str] = ()  # metrics that are of another label on each side
    rescored: Verdict | None = None  # on all of head's test rows
    rescored_not: str | None = None
    gates: Sequence[Result] = ()
    compared: Comparison | None = None
    stages: Mapping[str, Sequence[str]] = field(default_factory=dict)  # files that changed, by stage
    columns: Mapping[str, Sequence[Column]] = field(default_factory=dict)  # added, removed, retyped
    same_data: bool = False
    rows: Rows | None = None
    looked: Looked | None = None
    repeated: int | None = None  # rows of head's test part that equal one of its train part
    models: Sequence[Model] = ()  # base's and head's
    stale: Sequence[str] = ()  # in what head's dvc.lock is not that of its commit
    notes: list[str] = field(default_factory=list)
    wait: Callable[[], None] = lambda: None  # until the models are tried

    @property
    def has_data(self) -> bool:
        """Whether head's split is here."""
        return (self.head.folder / SPLIT / "columns.json").exists()

    @property
    def test_rows(self) -> int:
        """The rows of head's test part; 0 where its split is not here."""
        return self.looked.test_rows if self.looked else 0

    @property
    def sides(self) -> list[Subject]:
        """Base, where there is one, and head."""
        return [side for side in (self.base, self.head) if side is not None]


@contextmanager
def found(head: str, base: str | None, options: Options) -> Iterator[Findings]:
    """Yield what there is to tell, but for what the models are tried for, which `wait` brings.

    The folders in which outputs are laid out go afterwards.

    Raises:
        UserError: there is no such head.
    """
    with ExitStack() as stack:
        stack.enter_context(interruptions.as_ctrl_c())  # an order to end leaves nothing behind either
        content = stack.enter_context(git.objects())
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="trialtree-review-")))
        at = revisions.commit(head)
        against, named = subjects.resolved(base) if base else (None, "")
        remote = Remote(pull=options.pull)
        one = subjects.subject(head, at, folder / "head", content, remote)
        other = None
        if against:
            other = subjects.subject(named, against, folder / "base", content, remote)
        this = Findings(one, other)
        this.notes += [named] if base and not against else []
        this.notes += subjects.relation(other, one) if other else []
        this.notes += [f"{side.name}: {note}" for side in this.sides for note in side.notes]
        data = {side.name: side.laid.have(SPLIT) for side in this.sides}
        models = {side.name: side.laid.have(MODEL) for side in this.sides}
        if (trying := _begun(this, folder, data, models, options)) is not None:
            stack.callback(trying.stop)
            this.wait = lambda: _guarded(this, "models", lambda: _tried(this, trying.ended(), folder, options))
        parts: dict[str, Callable[[], None]] = {
            "dvc.lock": lambda: _stale(this),
            "predictions": lambda: _judge(this, data),
            "gates": lambda: _gates(this),
            "differences": lambda: _differences(this),
            "models": lambda: _models(this),
        }
        if options.data:
            parts["data"] = lambda: _data(this, folder, data)
        for name, part in parts.items():
            _guarded(this, name, part)
        for side in this.sides:
            this.notes += [
                f"{side.name}: {said}" for said in (data[side.name], models[side.name]) if said and side.lock
            ]
        yield this


def _guarded(this: Findings, name: str, part: Callable[[], None]) -> None:
    """Do a part of it; whatever a branch's files are, the rest is told."""
    try:
        part()
    except Exception as error:
        said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        this.notes.append(f"{name}: {said.splitlines()[0] if said else type(error).__name__}")


def _stale(this: Findings) -> None:
    try:
        this.stale = staleness.reasons(this.head) if this.head.lock else ()
    except Exception as error:
        this.stale = [f"it cannot be held against its commit: {str(error).splitlines()[0] or type(error).__name__}"]


def _begun(
    this: Findings, folder: Path, data: Mapping[str, str | None], models: Mapping[str, str | None], options: Options
) -> Trying | None:
    """Begin to try the models that are here, on rows that are."""
    here = [side for side in this.sides if models[side.name] is None]
    other = next((side for side in reversed(this.sides) if data[side.name] is None), None)
    if not here or not (options.time or options.rescore):
        return None
    rows = [side if data[side.name] is None else other for side in here]
    able = this.base is not None and not models[this.base.name] and not data[this.head.name]
    target = folder / "rescored.parquet" if options.rescore and able else None
    positive = this.head.param("evaluate.positive")
    folders = {side.folder: of.folder / SPLIT if of else None for side, of in zip(here, rows, strict=True)}
    return Trying(folders, this.head.folder / SPLIT, target, positive, pickles=options.pickles)


def _judge(this: Findings, missing: Mapping[str, str | None]) -> None:
    """Compare the predictions on the rows that both have."""
    if this.base is None:
        this.why_not = "there is no base"
        return
    before, now = this.base.folder / PREDICTIONS, this.head.folder / PREDICTIONS
    if without := [side.name for side in this.sides if not (side.folder / PREDICTIONS).exists()]:
        this.why_not = f"{' and '.join(without)}: no predictions here"
        return
    same_source = _source(this.base) == _source(this.head)
    try:
        splits = None
        if not any(missing.values()):
            splits = (this.base.folder / SPLIT, this.head.folder / SPLIT)
        positive = this.head.param("evaluate.positive")
        this.pairs = pairs.match(before, now, same_source=same_source, positive=positive, splits=splits)
    except PairsError as error:
        this.why_not = str(error)
        return
    this.metric = decides(this.head, this)
    names = dict.fromkeys([this.metric, *_scored(this.head)])
    this.intervals = bootstrap.differences(names, this.pairs.base, this.pairs.head)
    if this.base.param("evaluate.positive") != this.head.param("evaluate.positive"):
        this.unlike = TWO_CLASSES
        this.notes.append(f"evaluate.positive differs: {', '.join(TWO_CLASSES)} of base are of another label")
    this.verdict = verdict.judge(this.metric, this.pairs, interval=this.intervals.get(this.metric))
    if this.verdict is None:
        this.why_not = f"the rows that both have do not give {this.metric} for both"


def decides(by: Subject, of: Findings) -> str:
    """Return the metric that decides by a side's params; there are pairs."""
    assert of.pairs is not None  # noqa: S101  # see above
    return verdict.main_metric(_flat(by), of.pairs.head.task, _scored(of.head))


def _scored(side: Subject) -> list[str]:
    """Return the metrics that a trial has of its test part."""
    return [name for name in subjects.metrics(side).get("test", {}) if name != "rows"]


def _source(side: Subject) -> Any:
    """Return what tells the rows that fetch reads and their order: where they come from, and their hashes."""
    entry = side.lock.get("fetch", {})
    asked = ((entry.get("params") or {}).get("params.yaml") or {}).get("fetch") or {}
    files = {dep["path"]: dep.get("md5") for dep in entry.get("deps") or () if dep["path"].startswith("data/source/")}
    return files, {key: asked.get(key) for key in ("source", "sha256", "header", "columns", "delimiter")}


def _flat(side: Subject) -> dict[str, Any]:
    return dict(locks.flat(side.params))


def _gates(this: Findings) -> None:
    """Hold head's gates against its metrics."""
    try:
        this.gates = gated(this.head, this.head)
    except UserError as error:
        this.notes.append(f"{this.head.name}: {error}")


def gated(by: Subject, of: Subject) -> list[Result]:
    """Return what came of a side's gates on another's metrics; the registry's champion is not asked.

    Raises:
        UserError: a gate is none, or on a metric that there is not.
    """
    asked = by.param("register.gates") or {}
    if not isinstance(asked, Mapping) or of.side is None:
        return []
    read = {str(name): params.parse(f"register.gates.{name}", value, Gate) for name, value in asked.items()}
    bounds = {
        name: gate.model_copy(update={"better_than": None})
        for name, gate in read.items()
        if gate.min is not None or gate.max is not None
    }
    return gates.check(bounds, of.side.metrics, None)


def _differences(this: Findings) -> None:
    """Compare params, metrics, code and columns."""
    if this.base is None or this.base.side is None or this.head.side is None:
        return
    this.compared = differences.compare([this.base.side, this.head.side])
    changed = {row.name for row in this.compared.code}
    for name, stage in {**this.base.lock, **this.head.lock}.items():
        files = [dep["path"] for dep in stage.get("deps") or () if dep.get("path") in changed]
        commands = {side.lock.get(name, {}).get("cmd") for side in this.sides}
        if files or len(commands) > 1:
            this.stages = {**this.stages, name: files or ["its command in dvc.yaml"]}


def _data(this: Findings, folder: Path, missing: Mapping[str, str | None]) -> None:
    """Compare the splits, and look for leaks in head's."""
    if missing[this.head.name]:
        return
    here = this.head.folder / SPLIT
    base = this.base if this.base is not None and not missing[this.base.name] else None
    there = base.folder / SPLIT if base else None
    this.same_data = base is not None and this.head.out(SPLIT) == base.out(SPLIT)
    spill = folder / "spill"
    spill.mkdir(exist_ok=True)
    try:
        if there is not None and not this.same_data:
            this.columns = columnwise.changed(tables.read_columns(there), tables.read_columns(here))
            if rowwise.tells_rows(there, here):
                this.rows = rowwise.compare(there, here, spill)
            else:
                this.notes.append("data: the columns that both have do not tell rows apart: which stayed is not known")
        this.repeated = rowwise.repeated(here, spill)
        this.looked = columnwise.look(here, None if this.same_data else there)
    except UserError as error:
        this.notes.append(f"data: {error}")


def _models(this: Findings) -> None:
    """Read what the trials' own files say of their models."""
    this.models = [_model(side) for side in this.sides]


def _model(side: Subject) -> Model:
    model = Model(bytes=side.size(MODEL), estimator=side.param("train.estimator") or side.param("train.script"))
    columns = side.laid.read(MODEL, "columns.json") if (side.folder / MODEL).exists() else None
    try:
        model.features = [column["name"] for column in json.loads(columns)["columns"]] if columns else None
    except (ValueError, KeyError, TypeError):
        side.notes.append(f"{MODEL}/columns.json is damaged")
    for row in csv.DictReader(io.StringIO((read_plot(side, "importance") or b"").decode(errors="replace"))):
        try:
            model.importance[row["column"]] = float(row["importance"])
        except (KeyError, TypeError, ValueError):
            continue
    return model


def read_plot(side: Subject, name: str) -> bytes | None:
    """Return the data of a plot; None where it is not here."""
    try:
        return (side.folder / subjects.PLOTS / f"{name}.csv").read_bytes()
    except OSError:
        return None


def _tried(this: Findings, tried: Tried, folder: Path, options: Options) -> None:
    """Take in what trying the models gave."""
    times = iter(tried.seconds)
    this.models = [
        replace(model, seconds=next(times, None)) if (side.folder / MODEL).exists() else model
        for side, model in zip(this.sides, this.models, strict=True)
    ]
    this.notes += [
        f"{side.name}: its predictions are not timed: {model.seconds}"
        for side, model in zip(this.sides, this.models, strict=True)
        if isinstance(model.seconds, str)
    ]
    target = folder / "rescored.parquet"
    if not options.rescore:
        return
    if tried.rescored is not None or not target.exists():
        this.rescored_not = tried.rescored or "base's model or head's test rows are not here; `--pull` brings them"
        return
    try:
        both = pairs.match(
            target, this.head.folder / PREDICTIONS, same_source=True, positive=this.head.param("evaluate.positive")
        )
    except PairsError as error:
        this.rescored_not = str(error)
        return
    metric = this.metric or verdict.main_metric(_flat(this.head), both.head.task, ())
    this.rescored = verdict.judge(metric, both)
