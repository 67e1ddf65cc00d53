"""Whether dvc.lock is that of its commit: of its code, params, pipeline, and of what the stages before made."""

from collections.abc import Mapping
from typing import Any

from trialtree.branches import locks as files
from trialtree.review.subjects import Subject
from trialtree.tracking import committed, locks


def reasons(of: Subject) -> list[str]:
    """Return in what a dvc.lock is another's; data need not be here for that."""
    content = of.laid.content
    lock, pipeline = (files.parsed(content.read(f"{of.commit}:./{name}")) for name in ("dvc.lock", "dvc.yaml"))
    if missing := [stage for stage in locks.STAGES if stage not in of.lock]:
        return [f"dvc.lock has no {', '.join(missing)}: the pipeline has not run"]
    changed = committed.differing(content, of.commit, of.lock)
    stale = sorted(files.stale(lock).intersection(locks.STAGES))
    stages = pipeline.get("stages") or {}
    other = [name for name in locks.STAGES if not _same(stages.get(name), of.lock[name])]
    said = [f"{', '.join(changed)} changed since"] if changed else []
    said += [f"{', '.join(stale)} did not run on what the stages before made"] if stale else []
    return [*said, *([f"{', '.join(other)} of dvc.yaml changed since"] if other else [])]


def _same(stage: Any, entry: Mapping[str, Any]) -> bool:
    """Say whether a stage of dvc.yaml has the command, dependencies and outputs that dvc.lock has of it."""
    if not isinstance(stage, Mapping) or stage.get("cmd") != entry.get("cmd"):
        return False
    deps = {dep if isinstance(dep, str) else next(iter(dep)) for dep in stage.get("deps") or ()}
    outs = {
        out if isinstance(out, str) else next(iter(out))
        for kind in ("outs", "metrics", "plots")
        for out in stage.get(kind) or ()
    }
    return deps == {dep["path"] for dep in entry.get("deps") or ()} and outs == {
        out["path"] for out in entry.get("outs") or ()
    }
