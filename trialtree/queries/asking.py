"""What `trialtree runs` is asked, and its answer."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trialtree.queries import runs as store
from trialtree.queries import where
from trialtree.queries.runs import KINDS, RunsError
from trialtree.tracking import locks


@dataclass(frozen=True)
class Asked:
    """The options of the command."""

    sort: str | None = None
    where: str | None = None
    limit: int | None = None
    experiment: str | None = None
    every: bool = False
    kinds: list[str] | None = None
    reverse: bool = False
    as_json: bool = False


def runs(asked: Asked) -> None:
    """Print the runs.

    Raises:
        UserError: the question has a fault, or MLflow cannot be reached.
    """
    kinds = asked.kinds or ["trial"]
    if odd := [kind for kind in kinds if kind not in KINDS]:
        raise RunsError(f"--kind: must be one of {', '.join(KINDS)}, got {odd[0]!r}")
    if asked.every and asked.experiment:
        raise RunsError("--all and --experiment: give one of them")
    if asked.sort in ("", "-", "+"):
        raise RunsError(f"--sort: must be a metric, got {asked.sort!r}")
    if asked.where is not None:
        where.parse(asked.where)  # before MLflow, which takes its time
    content = _params()
    named = content.get("experiment")
    own = named if isinstance(named, str) else None
    there = store.read(None if asked.every else asked.experiment or own, kinds, must=asked.experiment is not None)
    found, metric = store.ordered(store.chosen(there, asked.where), asked.sort, reverse=asked.reverse)
    limited = found[: asked.limit]
    if asked.as_json:
        print(json.dumps([run.as_json() for run in limited], indent=2, ensure_ascii=False))
    elif limited:
        from trialtree.queries import tables

        tables.show(limited, content, metric, len(found))
    elif there:
        print(f"none of {len(there)} runs is so", file=sys.stderr)
    else:
        print(f"no run of kind {', '.join(kinds)} yet; `dvc repro` makes a trial's", file=sys.stderr)


def _params() -> Mapping[str, Any]:
    """Return params.yaml; empty where it cannot be read, for it only helps."""
    try:
        content = locks.load(Path("params.yaml").read_bytes())
    except (OSError, locks.TrialError):
        return {}
    return content if isinstance(content, Mapping) else {}
