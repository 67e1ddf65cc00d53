"""Say all that is wrong with params.yaml and dvc.yaml, without running anything."""

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages import estimators, params, scores, scripts
from stages.errors import UserError
from trialtree import foreseeing, imports, modules
from trialtree.review.section import ReviewParams
from trialtree.tracking import git, wishes

STAGES = ("fetch", "split", "train", "evaluate", "register")
DVC_YAML = Path("dvc.yaml")
OF = "TRIALTREE_CHECK"  # variable: `trial` leaves the sweep section out, which a trial does without
_SOURCES = "data/source/"
_OF_SCRIPT = "script."  # before the name of a metric that the training script logs


def faults(*, of_sweep: bool = False) -> list[str]:
    """Return every fault of params.yaml and dvc.yaml, one line each; none when both are in order.

    `of_sweep`: those of the sweep section too, which a trial does without.
    """
    lines: list[str] = []
    try:
        content = params.load()
    except UserError as error:
        lines += str(error).splitlines()
    else:
        lines += _params(content)
        if of_sweep and not lines and "sweep" in content:
            lines += _sweep(content)
    lines += _pipeline()
    return list(dict.fromkeys(lines))


def _params(content: dict[str, Any]) -> Iterator[str]:
    """Yield the faults of each section, then those that take two sections to see."""
    for wished in (wishes.experiment, wishes.of):
        try:
            wished(content)
        except UserError as error:
            yield from str(error).splitlines()
    read: dict[str, Any] = {}
    for stage in STAGES:
        if stage not in content:
            yield f"{params.PATH}: {stage}: is missing, and DVC asks for it; `{stage}: {{}}` takes its defaults"
            continue
        model = getattr(import_module(f"stages.{stage}"), f"{stage.capitalize()}Params")
        try:
            read[stage] = params.parse(stage, content.get(stage), model)
        except UserError as error:
            yield from str(error).splitlines()
    if "review" in content:
        try:
            params.parse("review", content["review"], ReviewParams)
        except UserError as error:
            yield from str(error).splitlines()
    if "fetch" in read and "split" in read:
        yield from _columns(read["fetch"], read["split"], content["fetch"])
    if "train" in read:
        yield from _estimator(read)


def _sweep(content: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the sweep section."""
    from trialtree.sweep import checking, section

    try:
        yield from checking.check(section.read(content), content)
    except UserError as error:
        yield from str(error).splitlines()


def _columns(fetch: Any, split: Any, section: Any) -> Iterator[str]:
    """Yield columns that split asks for and fetch leaves out or the table has not, and what is wrong with its files."""
    asked = {"target": split.target, "group": split.group, "time": split.time, "key": split.key}
    left_out = False
    for key, name in asked.items():
        if name is None:
            continue
        if name in (fetch.drop or ()):
            left_out = True
            yield f"{params.PATH}: split.{key}: {name!r} is among fetch.drop"
        elif fetch.keep and name not in fetch.keep and name not in fetch.derive:
            left_out = True
            yield f"{params.PATH}: split.{key}: {name!r} is not among fetch.keep: {', '.join(fetch.keep)}"
    try:
        there = foreseeing.columns(fetch, section)
    except UserError as error:
        yield from str(error).splitlines()
        return
    for key, name in asked.items():
        if there is not None and not left_out and name is not None and name not in there:
            yield f"{params.PATH}: split.{key}: the table has no column {name!r}; {params.nearest(name, there)}"


def _estimator(read: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the estimator, its hyperparameters, and the metrics asked of its task."""
    train = read["train"]
    if train.script is not None:
        yield from _script(read)
        return
    try:
        cls = estimators.find(train.estimator)
    except UserError as error:
        yield from str(error).splitlines()
        return
    try:
        estimators.check(train.estimator, cls, train.hyperparameters)
    except UserError as error:
        yield from str(error).splitlines()
    task = estimators.task(cls)
    known = scores.NUMBERS if task == "regression" else (*scores.CLASSES, *scores.TWO_CLASSES)
    for name in read["register"].gates if "register" in read else ():
        # A gate may name a part, as in cv.accuracy_std, and the number of rows.
        metric = name.rpartition(".")[2].removesuffix("_std")
        if name.startswith(_OF_SCRIPT):
            yield f"{params.PATH}: register.gates.{name}: there is no train.script that would log it"
        elif metric not in (*known, "rows"):
            yield _no_metric(f"register.gates.{name}", metric, task, known)
    for place, name in enumerate((read["evaluate"].metrics if "evaluate" in read else None) or ()):
        if name not in known:
            yield _no_metric(f"evaluate.metrics[{place}]", name, task, known)


def _script(read: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a training script, and what is asked of a trial that only the script can fit."""
    try:
        scripts.check(read["train"].script)
        file = read["train"].script.file
        if git.run("ls-files", "--error-unmatch", "--", file) is None:
            yield (
                f"{params.PATH}: train.script: {file} is unknown to Git: DVC's queue would leave it behind; "
                f"`git add {file}`"
            )
        yield from imports.faults(read["train"].script.file)
    except UserError as error:
        yield from str(error).splitlines()
    # What it logs is known when it has run; whether it predicts numbers or labels, too.
    for name in read["register"].gates if "register" in read else ():
        metric = name.rpartition(".")[2]
        if not name.startswith(_OF_SCRIPT) and metric not in (*scores.METRICS, "rows"):
            said = f"{metric!r} is no metric of ours; one that the script logs is {_OF_SCRIPT}{metric}"
            yield f"{params.PATH}: register.gates.{name}: {said}"


def _no_metric(key: str, name: str, task: str, known: Sequence[str]) -> str:
    return f"{params.PATH}: {key}: {name!r} is no metric of a {task}; {params.nearest(name, known)}"


def _pipeline() -> Iterator[str]:
    """Yield the faults of dvc.yaml."""
    try:
        content = YAML(typ="safe", pure=True).load(DVC_YAML.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        yield f"{DVC_YAML}: cannot be read: {' '.join(str(error).split())}"
        return
    stages = content.get("stages") if isinstance(content, dict) else None
    if not isinstance(stages, dict):
        yield f"{DVC_YAML}: stages: must be a mapping of stages"
        return
    for name in STAGES:
        if name not in stages:
            yield f"{DVC_YAML}: stages.{name}: is missing"
        elif not isinstance(stages[name], dict):
            yield f"{DVC_YAML}: stages.{name}: must be a mapping"
        else:
            yield from _stage(name, stages[name])
    yield from _said_by_dvc()


def _stage(name: str, stage: dict[str, Any]) -> Iterator[str]:
    """Yield what DVC would not notice about a stage: code or params that it does not hash."""
    where = f"{DVC_YAML}: stages.{name}"
    if stage.get("cmd") == f"python -m stages.{name}":
        deps = [dep if isinstance(dep, str) else next(iter(dep)) for dep in stage.get("deps", [])]
        needed = {path.as_posix() for path in modules.needed(name)}
        own = _own_estimator() - needed if name in ("train", "evaluate") else set()
        for path in sorted(needed - set(deps)):
            yield f"{where}.deps: lacks {path}, which the stage imports"
        for path in sorted(own - set(deps)):
            yield f"{where}.deps: lacks {path}, which train.estimator names"
        for path in sorted({d for d in deps if d.startswith("stages/")} - needed - own):
            yield f"{where}.deps: has {path}, which the stage does not import"
        if name not in stage.get("params", []):
            yield f"{where}.params: lacks {name}"
        if name == "fetch":
            yield from _sources(where, deps)


def _own_estimator() -> set[str]:
    """Return the modules of an estimator that stands in the repository's own stages/."""
    try:
        dotted = str(params.load()["train"]["estimator"])
        package, module, *_ = dotted.split(".")
        if package == "stages":
            return {path.as_posix() for path in modules.needed(module)}
    except (UserError, KeyError, TypeError, ValueError, FileNotFoundError):
        pass  # said elsewhere
    return set()


def _sources(where: str, deps: list[str]) -> Iterator[str]:
    """Yield tables that are not where dvc.yaml says."""
    for path in (Path(dep) for dep in deps if dep.startswith(_SOURCES)):
        if not path.exists() and not Path(f"{path}.dvc").exists():
            yield f"{where}.deps: {path} is not there; put it there by `trialtree data add {path.name}`"


def _said_by_dvc() -> Iterator[str]:
    """Yield what DVC itself says against the files: its schema, unknown outputs, cycles."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            repo.index.check_graph()
    except DvcException as error:
        yield f"{DVC_YAML}: {' '.join(str(error).split())}"
