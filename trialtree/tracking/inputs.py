"""The split as MLflow's dataset inputs: a name, a digest, a source and what is in it, of each part."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trialtree.tracking import locks, storage

if TYPE_CHECKING:
    from mlflow import MlflowClient

_CONTEXTS = {"train": "training", "validation": "validation", "test": "testing"}  # MLflow's words
CONTEXT = "mlflow.data.context"
_TYPES = {"integer": "long", "number": "double", "category": "string", "text": "string", "date": "datetime"}
_LARGEST_SOURCE = 60_000  # characters


@dataclass(frozen=True)
class Dataset:
    """A part of the split."""

    name: str  # its path
    digest: str
    context: str
    source_type: str
    source: str  # JSON
    schema: str  # JSON
    profile: str  # JSON


def hashes(listed: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Return the hashes of the files of each part that has some."""
    found = {part: [e["md5"] for e in listed if e["relpath"].startswith(f"{part}/")] for part in _CONTEXTS}
    return {part: files for part, files in found.items() if files}


def read(  # noqa: PLR0913, PLR0917  # what a part's description is made of
    columns: Sequence[Mapping[str, str]], rows: Mapping[str, int], digests: Mapping[str, str],
    files: Mapping[str, Sequence[str]], remote: str | None, origin: Mapping[str, str],
) -> list[Dataset]:  # fmt: skip
    """Return the parts of a split.

    `columns` and `rows` are those of its columns.json and report.json,
    `digests` and `files` the hash of each part and of its files, `remote`
    the address of the DVC remote, `origin` what tells the part where there is none.
    """
    shown = [{"name": c["name"], "type": _TYPES[c["type"]], "required": True} for c in columns if c["role"] != "row"]
    schema = json.dumps({"mlflow_colspec": shown}, ensure_ascii=False)
    found = []
    for part, hashes in files.items():
        name = f"{locks.SPLIT}/{part}"
        kind, source = _source(name, hashes, remote, origin)
        count = rows.get(part, 0)
        profile = json.dumps({"num_rows": count, "num_elements": count * len(shown)})
        found.append(Dataset(name, digests[part], _CONTEXTS[part], kind, source, schema, profile))
    return found


def _source(name: str, files: Sequence[str], remote: str | None, origin: Mapping[str, str]) -> tuple[str, str]:
    """Return the type and the JSON of a source that MLflow knows: the remote's files, or the repository's folder."""
    if remote is not None:
        urls = [storage.address(remote, md5) for md5 in files]
        scheme = remote.partition("://")[0] if "://" in remote else "local"
        found = json.dumps({"uri": urls[0], **({"files": urls} if len(urls) > 1 else {})})
        if len(found) <= _LARGEST_SOURCE:
            return scheme, found
    return "code", json.dumps({"tags": {"mlflow.source.name": name, **origin}}, ensure_ascii=False)


def log(client: "MlflowClient", run: Any, datasets: Sequence[Dataset]) -> None:
    """Make datasets the inputs of a run that it does not have."""
    from mlflow.entities import Dataset as Logged
    from mlflow.entities import DatasetInput, InputTag

    had = {(i.dataset.name, i.dataset.digest) for i in (run.inputs.dataset_inputs if run.inputs else ())}
    new = [
        DatasetInput(
            Logged(d.name, d.digest, d.source_type, d.source, d.schema, d.profile), [InputTag(CONTEXT, d.context)]
        )
        for d in datasets
        if (d.name, d.digest) not in had
    ]
    if new:
        client.log_inputs(run.info.run_id, datasets=new)
