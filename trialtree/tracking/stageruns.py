"""A run for each stage of a trial, nested below the trial's: what went in, what came out, when and how it ended."""

import json
from typing import TYPE_CHECKING, Any

from trialtree.tracking import locks
from trialtree.tracking.index import KIND, PARENT

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from trialtree.tracking.trials import Trial

_STAGE = "trialtree.stage"  # tag: the stage's name
_LIMIT = 8000  # characters of a tag


def log(client: "MlflowClient", run: Any, trial: "Trial") -> None:
    """Make the runs of a trial's stages, or bring those there up to date."""
    from mlflow.entities import RunTag

    below = f"tags.`{PARENT}` = '{run.info.run_id}' and tags.`{KIND}` = 'stage'"
    there = {r.data.tags.get(_STAGE): r for r in client.search_runs([run.info.experiment_id], below)}
    for name, entry in trial.stages.items():
        tags = _tags(name, entry) | {PARENT: run.info.run_id}
        found = there.get(name)
        if found is None:
            found = client.create_run(run.info.experiment_id, start_time=run.info.start_time, tags=tags, run_name=name)
        new = [RunTag(key, value) for key, value in tags.items() if found.data.tags.get(key) != value]
        if new:
            client.log_batch(found.info.run_id, tags=new)
        if found.info.status != "FINISHED":
            client.set_terminated(found.info.run_id, end_time=run.info.end_time)


def _tags(name: str, entry: Any) -> dict[str, str]:
    """Return what dvc.lock says of a stage, as tags: `in.PATH` and `out.PATH` with DVC's hash."""
    found = {KIND: "stage", _STAGE: name, "cmd": str(entry.get("cmd", ""))}
    found |= {f"in.{dep['path']}": dep["md5"] for dep in entry.get("deps", ()) if "md5" in dep}
    found |= {f"out.{out['path']}": out["md5"] for out in entry.get("outs", ()) if "md5" in out}
    params = dict(locks.flat({k: v for file in entry.get("params", {}).values() for k, v in file.items()}))
    found |= {f"param.{key}": json.dumps(value, ensure_ascii=False) for key, value in params.items()}
    return {key: value[:_LIMIT] for key, value in found.items()}
