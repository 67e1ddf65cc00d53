"""What dvc.lock, params.yaml and metrics.json say of a trial, read fast: every scalar stays the text that it is."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

STAGES = ("fetch", "split", "train", "evaluate")
SOURCES = "data/source/"
# For want of gates: what is shown of a trial, in this order.
_MAIN = ("accuracy", "roc_auc", "r2", "ae_p50", "rmse")
# libyaml's parser is 20 times faster than the one that keeps comments; its base loader guesses no types.
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def parsed(content: bytes | None) -> dict[str, Any]:
    """Return a YAML file's mapping with texts as its scalars; empty where there is none or it is damaged."""
    try:
        found = yaml.load(content or b"", Loader=_LOADER)  # noqa: S506  # the base loader makes texts only
    except (yaml.YAMLError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def metrics(content: bytes | None) -> dict[str, dict[str, float]]:
    """Return metrics.json; empty where there is none or it is damaged."""
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        return {}
    return (
        {part: values for part, values in found.items() if isinstance(values, dict)} if isinstance(found, dict) else {}
    )


def flat(content: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted names and values of nested mappings."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, ", ".join(map(str, content)) if isinstance(content, list) else str(content)


def entries(lock: Mapping[str, Any], stage: str, kind: str) -> dict[str, str]:
    """Return the MD5 of each `deps` or `outs` of a stage, by path."""
    listed = ((lock.get("stages") or {}).get(stage) or {}).get(kind) or ()
    return {entry["path"]: entry["md5"] for entry in listed if "md5" in entry}


def whole(lock: Mapping[str, Any]) -> bool:
    """Say whether each stage from fetch to evaluate ran on what those before it made."""
    return all(entries(lock, stage, "outs") for stage in STAGES) and stale(lock).isdisjoint(STAGES)


def stale(lock: Mapping[str, Any]) -> set[str]:
    """Return the stages that did not run on what those before them made: what is said of them is another trial's."""
    found: set[str] = set()
    while True:
        made: dict[str, str] = {}
        for stage in lock.get("stages") or ():
            outs = entries(lock, stage, "outs")
            made |= dict.fromkeys(outs, "") if stage in found else outs
        more = {
            stage
            for stage in set(lock.get("stages") or ()) - found
            if any(made.get(path, md5) != md5 for path, md5 in entries(lock, stage, "deps").items())
        }
        if not more:
            return found
        found |= more


def split_version(lock: Mapping[str, Any]) -> str:
    """Return the MD5 of data/split; of the raw table where there is no split."""
    made = {**entries(lock, "fetch", "outs"), **entries(lock, "split", "outs")}
    return made.get("data/split") or made.get("data/raw.parquet", "")


def objects(lock: Mapping[str, Any], pipeline: Mapping[str, Any]) -> list[str]:
    """Return the MD5 of all that DVC keeps for a trial: source tables and cached outputs, stale ones left out."""
    found: dict[str, None] = {}
    left_out = stale(lock)
    for name, stage in (pipeline.get("stages") or {}).items():
        if name in left_out:
            continue
        kept = {path: md5 for path, md5 in entries(lock, name, "outs").items() if path not in set(_uncached(stage))}
        sources = {path: md5 for path, md5 in entries(lock, name, "deps").items() if path.startswith(SOURCES)}
        found |= dict.fromkeys([*sources.values(), *kept.values()])
    return list(found)


def _uncached(stage: Any) -> Iterator[str]:
    """Yield the outputs of a stage of dvc.yaml that Git keeps."""
    for kind in ("outs", "metrics", "plots"):
        for entry in stage.get(kind) or () if isinstance(stage, Mapping) else ():
            if isinstance(entry, Mapping):
                for path, options in entry.items():
                    if isinstance(options, Mapping) and options.get("cache") == "false":
                        yield path


def main_metrics(
    found: Mapping[str, Mapping[str, float]], params: Mapping[str, Any], most: int = 2
) -> dict[str, float]:
    """Return the few metrics of the test part that a trial is judged by: those of its gates, then the usual ones."""
    test = found.get("test") or {}
    gates = (params.get("register") or {}).get("gates") or {}
    names = dict.fromkeys([*(name.removeprefix("test.") for name in gates), *_MAIN, *test])
    return dict([(name, test[name]) for name in names if name in test and name != "rows"][:most])


def shown(value: float) -> str:
    """Return a metric for reading."""
    return str(value) if isinstance(value, int) else f"{value:.4f}" if abs(value) < 1000 else f"{value:.6g}"


def summary(lock: Mapping[str, Any], params: Mapping[str, Any], found: Mapping[str, Any], rows: int | None) -> str:
    """Return a trial as one line: data, estimator, metrics.

    `sklearn:iris, 150 rows: SVC, accuracy 0.9737, roc_auc 0.9832`
    """
    data = source((params.get("fetch") or {}).get("source")) + (f", {rows:,} rows" if rows else "")
    train = params.get("train") or {}
    script = train.get("script") or ""
    estimator = script.get("file", "") if isinstance(script, dict) else str(script)
    estimator = estimator or str(train.get("estimator", "")).rpartition(".")[2]
    if not whole(lock):
        return f"{data}: {estimator}, not scored"
    return ", ".join(
        [f"{data}: {estimator}", *(f"{name} {shown(v)}" for name, v in main_metrics(found, params).items())]
    )


def source(value: Any) -> str:
    """Return fetch.source in short."""
    if isinstance(value, str):
        return value.removeprefix(SOURCES)
    if isinstance(value, Sequence) and value:
        return source(value[0]) + (f" and {len(value) - 1} more" if len(value) > 1 else "")
    return next(iter(value)) if isinstance(value, Mapping) and value else "data"
