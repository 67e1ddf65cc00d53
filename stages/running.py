"""Train by a script of the user's own, as it is, and make what it leaves files of the trial.

It runs in the repository's top folder with an MLflow store of its own, which
is there for the time of the run, and the variables of SageMaker's script mode.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages import children, gathering, keeping, models, scripts, tables, threads
from stages.errors import UserError
from stages.files import scratch
from stages.gathering import Left
from stages.scripts import Script

_OUTPUTS = Path("outputs")  # what Azure ML takes as a job's files
_OTHERS = ("MLFLOW_", "SM_")  # variables that would make a run another one elsewhere
_LOG = "output.log"


class ScriptError(UserError):
    """A script that did not end well."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def run(script: Script, arguments: Mapping[str, Any]) -> list[str]:
    """Run a script, write the files of the trial, and return what is to be said.

    Raises:
        ParamsError: the script is not there, or DVC does not hash it.
        ScriptError: it ended with another status than 0.
    """
    scripts.check(script)
    source = Path(script.file).read_text(encoding="utf-8", errors="replace")
    with scratch(models.FOLDER) as folder, _taken(folder / "saved") as taken:
        left = Left(folder / "store", folder / _LOG, folder / "output", folder / "model")
        left.output.mkdir()
        left.model.mkdir()
        before = gathering.files_of(_OUTPUTS)
        command = [sys.executable, script.file, *scripts.command_line(arguments)]
        status = children.run(command, environment(left, arguments), left.log)
        if status:
            raise _failed(script, left.log, status)
        saved, written = taken(), gathering.files_of(_OUTPUTS)
        outputs = [path for path, stat in written.items() if before.get(path) != stat]
        left = Left(left.store, left.log, left.output, left.model, saved, outputs)
        notes = gathering.write(script, left, source)
    return [*notes, f"{script.file} -> {models.FOLDER}, {scripts.FOLDER}, {scripts.METRICS}"]


def environment(left: Left, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables that a script runs with: the user's, but for MLflow's and SageMaker's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
    channels = {part: (tables.SPLIT / part).resolve() for part in tables.PARTS if tables.part_files(part)}
    folders = {f"SM_CHANNEL_{part.upper()}": str(path) for part, path in channels.items()}
    return {
        **kept,
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
        "MLFLOW_TRACKING_URI": left.store.resolve().as_uri(),
        "MLFLOW_REGISTRY_URI": left.store.resolve().as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",  # a database's migrations would take 2 s
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        **folders,
        "SM_CHANNEL_TRAINING": str((tables.SPLIT / "train").resolve()),  # SageMaker's own name for it
        "SM_CHANNELS": json.dumps(list(channels)),
        "SM_INPUT_DIR": str(tables.SPLIT.resolve()),
        "SM_MODEL_DIR": str(left.model.resolve()),
        "SM_OUTPUT_DIR": str(left.output.resolve()),
        "SM_OUTPUT_DATA_DIR": str(left.output.resolve()),
        "SM_HPS": json.dumps(dict(arguments), ensure_ascii=False),
        **{f"SM_HP_{name.upper()}": str(value) for name, value in arguments.items()},
        "SM_USER_ARGS": json.dumps(list(scripts.command_line(arguments)), ensure_ascii=False),
        "SM_NUM_CPUS": str(threads.threads(1_000_000)),
        "SM_NUM_GPUS": "0",
        "SM_CURRENT_HOST": "algo-1",
        "SM_HOSTS": '["algo-1"]',
    }


@contextmanager
def _taken(folder: Path) -> "Iterator[Any]":
    """Yield a function that moves the MLflow models saved since then below `folder`, and returns where they are now.

    MLflow saves into no folder that is there: left where it is, one would stop
    the next run. A model that dvc.yaml names as an output is copied.
    """
    before = gathering.saved_models(Path())
    outs = [Path(out) for out in scripts.declared("outs")]
    moved: list[Path] = []

    def take() -> list[Path]:
        for path in sorted(gathering.saved_models(Path()) - before):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if any(path.is_relative_to(out) for out in outs):
                shutil.copytree(path, target)
            else:
                shutil.move(path, target)
                _remove_empty(path.parent)
            moved.append(target)
        return moved

    try:
        yield take
    finally:
        take()


def _remove_empty(folder: Path) -> None:
    """Remove a folder and those around it as far as nothing is in them."""
    while folder != Path() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _cause(lines: list[str]) -> str:
    """Return the line that says why: that of the last traceback's exception, whose text may go on, else the last."""
    starts = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    behind = lines[starts[-1] + 1 :] if starts else []
    return next((line for line in behind if not line.startswith(" ")), lines[-1])


def _failed(script: Script, log: Path, status: int) -> ScriptError:
    """Keep the log of a script that did not end well, and return what to say of it."""
    name = os.environ.get("DVC_EXP_NAME")  # its folder is deleted afterwards
    kept = keeping.repository() / ".dvc/tmp/trialtree/scripts" / f"{name}.log" if name else scripts.FOLDER / _LOG
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(log, kept)
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    ended = f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
    said = f": {_cause(lines).strip()[:300]}" if lines else " and printed nothing"
    message = f"{script.file} {ended}{said}; all that it printed: {kept}"
    return ScriptError(message, 128 - status if status < 0 else status)  # as a shell has it
