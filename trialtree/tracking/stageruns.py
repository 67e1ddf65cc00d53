"""A run for each stage of a trial, nested below the trial's: what went in, what came out, when and how it ended.

Hashes are dvc.lock's. When a stage ran, how long, and whether the trial took
its result from DVC's cache is what this machine's logs keep; without them, a
run has the time of its trial.
"""

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trialtree.tracking import locks
from trialtree.tracking.index import KIND, PARENT

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from trialtree.logs import Execution
    from trialtree.tracking.trials import Trial

_STAGE = "trialtree.stage"  # tag: the stage's name
_REFUSED = re.compile(r"[^/\w.\-: ]")  # in names of tags
_LIMIT = 8000  # characters of a tag


def log(client: "MlflowClient", run: Any, trial: "Trial") -> None:
    """Make the runs of a trial's stages, or bring those there up to date."""
    from mlflow.entities import RunTag

    from trialtree.logs import of_lock

    kept = of_lock(trial.stages, experiment=trial.dvc_experiment, before=trial.time)
    below = f"tags.`{PARENT}` = '{run.info.run_id}' and tags.`{KIND}` = 'stage'"
    there = {r.data.tags.get(_STAGE): r for r in client.search_runs([run.info.experiment_id], below)}
    for name, entry in trial.stages.items():
        execution = kept.get(name)
        tags = _tags(name, entry) | _ended(execution) | {PARENT: run.info.run_id}
        started = execution.started if execution else run.info.start_time
        found = there.get(name) or client.create_run(
            run.info.experiment_id, start_time=started, tags=tags, run_name=name
        )
        new = [RunTag(key, value) for key, value in tags.items() if found.data.tags.get(key) != value]
        if new:
            client.log_batch(found.info.run_id, tags=new)
        if found.info.status != "FINISHED":
            lasted = 1000 * (execution.seconds or 0) if execution else 0
            client.set_terminated(found.info.run_id, end_time=started + int(lasted))


def _ended(execution: "Execution | None") -> dict[str, str]:
    """Return what this machine's logs say of a stage."""
    if execution is None:
        return {}
    seconds = {} if execution.seconds is None else {"seconds": f"{execution.seconds:.3f}"}
    return {"cached": str(execution.cached).lower(), "exit_status": str(execution.status), **seconds}


def _tags(name: str, entry: Mapping[str, Any]) -> dict[str, str]:
    """Return what dvc.lock says of a stage, as tags: `in.PATH` and `out.PATH` with DVC's hash, `param.NAME`."""
    found = {KIND: "stage", _STAGE: name, "cmd": str(entry.get("cmd", ""))}
    found |= {f"in.{dep['path']}": dep["md5"] for dep in entry.get("deps", ()) if "md5" in dep}
    found |= {f"out.{out['path']}": out["md5"] for out in entry.get("outs", ()) if "md5" in out}
    params = dict(locks.flat({k: v for file in entry.get("params", {}).values() for k, v in file.items()}))
    found |= {f"param.{key}": json.dumps(value, ensure_ascii=False) for key, value in params.items()}
    return {_REFUSED.sub("_", key)[:250]: value[:_LIMIT] for key, value in found.items()}
