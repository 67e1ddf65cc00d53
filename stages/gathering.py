"""What a training script logged, printed and saved becomes files of the trial.

reports/script.json      {"script": metrics}; {} where an estimator is trained, not a script
reports/script/          empty then, else
    params.json          the params it logged
    history.csv          each point of each metric
    tags.json            the tags it set
    registrations.json   the versions it asked for
    artifacts/           the files it logged, and those it left in outputs/ and SM_OUTPUT_DATA_DIR
    output.log           what it printed
models/model/            see `foreign`
"""

import math
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stages import filestores, foreign
from stages.files import replacing_folder, write_csv, write_json
from stages.scripts import FOLDER, METRICS, Script

# MLflow's lines begin with the time: equal runs would print other logs.
_STAMP = re.compile(r"(?m)^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d (?=[A-Z]+ \S)")


@dataclass(frozen=True)
class Left:
    """Where a script left what."""

    store: Path  # what it logged
    log: Path  # what it printed
    output: Path  # SM_OUTPUT_DATA_DIR
    model: Path  # SM_MODEL_DIR
    folders: Sequence[Path] = ()  # MLflow models that it saved
    outputs: Sequence[Path] = ()  # files of outputs/ that are of this run


@dataclass
class _Trial:
    """What is gathered of all runs."""

    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[tuple[str, int, float]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def write(script: Script, left: Left, source: str) -> list[str]:
    """Write the files of a trial from what a script left, and return what is to be said of them."""
    trial = _Trial()
    runs = filestores.runs(left.store)
    text = left.log.read_text(encoding="utf-8", errors="replace")
    for prefix, run in runs.items():
        trial.params |= {prefix + name: value for name, value in run.params.items()}
        trial.tags |= {prefix + name: value for name, value in run.own_tags.items()}
        trial.history += [(prefix + name, step, value) for name, step, value in run.history]
    if len(runs) > 1:
        others = ", ".join(prefix[:-1] for prefix in runs if prefix)
        trial.notes.append(f"{len(runs)} MLflow runs: the values of all but one stand behind their names: {others}")
    elif not runs and "set_tracking_uri" in source:
        trial.notes.append(
            f"{script.file} calls mlflow.set_tracking_uri: what it logs goes to that store; without the call it is "
            "part of the trial"
        )
    trial.history += _printed(script, text, trial.notes)
    _settle(trial)
    asked, ids = filestores.registrations(left.store), filestores.ids(left.store)
    with replacing_folder(FOLDER) as folder:
        _write_folder(folder, trial, left, runs)
        listed = [{"name": each.name, "aliases": each.aliases} for each in asked]
        write_json(folder / "registrations.json", listed)
        (folder / "output.log").write_text(_settled(text, left, ids), encoding="utf-8")
    write_json(METRICS, {"script": trial.metrics})
    trial.notes += [f"{script.file} asks for a version of {each.name}: register decides on it" for each in asked]
    of = foreign.About(script.file, "SM_CHANNEL" in source)
    return [*trial.notes, *foreign.write(of, _models(left, asked), _files(left), ids)]


def _settled(text: str, left: Left, ids: Sequence[str]) -> str:
    """Return what was printed without what differs between equal runs: MLflow's times and ids, the store's place."""
    text = _STAMP.sub("", text).replace(str(left.store.parent.resolve()), "…")
    for each in ids:
        text = text.replace(each, "…")
    return text


def _printed(script: Script, text: str, notes: list[str]) -> Iterator[tuple[str, int, float]]:
    """Yield the metrics that patterns find in the output; the last match counts."""
    for name, pattern in script.metrics.items():
        found = re.findall(pattern, text)
        try:
            yield name, 0, float(found[-1])
        except IndexError:
            notes.append(f"script.{name} left out: nothing that {script.file} printed matches {pattern!r}")
        except ValueError:
            notes.append(f"script.{name} left out: {pattern!r} found {found[-1]!r}, which is no number")


def _settle(trial: _Trial) -> None:
    """Give each metric its last value; JSON has no word for one that is no finite number."""
    last = {name: value for name, _, value in trial.history}
    trial.metrics = {name: value for name, value in sorted(last.items()) if math.isfinite(value)}
    odd = {name: value for name, value in last.items() if not math.isfinite(value)}
    trial.notes += [f"script.{name} left out of {METRICS}: it is {value}" for name, value in sorted(odd.items())]


def _write_folder(folder: Path, trial: _Trial, left: Left, runs: Mapping[str, filestores.Run]) -> None:
    """Fill reports/script/ but for what is not in the store."""
    write_json(folder / "params.json", dict(sorted(trial.params.items())))
    write_json(folder / "tags.json", dict(sorted(trial.tags.items())))
    write_csv(folder / "history.csv", ["name", "step", "value"], trial.history)
    artifacts = folder / "artifacts"
    for prefix, run in runs.items():
        if run.artifacts:
            own = run.artifacts.is_relative_to(left.store.resolve())  # else in a place that the script chose
            (_move if own else _copy)(run.artifacts, artifacts / prefix.removesuffix("."))
    if any(left.output.glob("*")):
        _move(left.output, artifacts / "output")
    for path in left.outputs:
        (artifacts / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, artifacts / path)


def _move(source: Path, target: Path) -> None:
    """Move what a folder holds into another."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        if path.is_dir() and (target / path.name).is_dir():
            _move(path, target / path.name)
        else:
            shutil.move(path, target / path.name)


def _copy(source: Path, target: Path) -> None:
    """Copy what a folder holds into another."""
    shutil.copytree(source, target, dirs_exist_ok=True)


def _models(left: Left, asked: Iterable[filestores.Registration]) -> Path | None:
    """Return the MLflow model that is the trial's: the last one registered, else logged, else saved."""
    registered = [each.folder for each in asked if each.folder]
    return next(reversed([*left.folders, *filestores.models(left.store), *registered]), None)


def _files(left: Left) -> dict[str, Path]:
    """Return the files of SM_MODEL_DIR by their path in it, else the models of outputs/."""
    found = {path.relative_to(left.model).as_posix(): path for path in sorted(left.model.rglob("*")) if path.is_file()}
    return found or {path.name: path for path in left.outputs if path.suffix in foreign.LOADED}


def files_of(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return the files below a folder with what changes when one is written."""
    stats = {path: path.stat() for path in sorted(folder.rglob("*")) if path.is_file()}
    return {path: (stat.st_mtime_ns, stat.st_size) for path, stat in stats.items()}


def saved_models(top: Path) -> set[Path]:
    """Return the folders below `top` that MLflow saved a model in; not those of stores, tables and environments."""
    found = set()
    for folder, folders, files in os.walk(top):
        if "MLmodel" in files:
            found.add(Path(folder))
        if "MLmodel" in files or "pyvenv.cfg" in files:
            folders.clear()
        left_out = ("data", "mlruns", "mlartifacts", "node_modules") if Path(folder) == top else ()
        folders[:] = [name for name in folders if not name.startswith(".") and name not in left_out]
    return found
