"""What a script logged to MLflow, read from the folder that MLflow kept it in, without MLflow's import of 1.5 s.

A run that the script started is the trial's: its values stand under their own
names. Of several, the last that ended well is, and the others, nested runs
too, stand behind their name: `fold-1.accuracy`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_FAILED = 4  # MLflow's number of that status
_SYSTEM = "mlflow."  # tags that MLflow sets
_DRAWN = re.compile("[0-9a-f]{32}")
_GENERATED = re.compile(r"[a-z]+-[a-z]+-\d+")  # a run's name that MLflow has drawn


@dataclass(frozen=True)
class Run:
    """A run as it lies in the folder."""

    folder: Path
    meta: Mapping[str, Any]

    @cached_property
    def tags(self) -> dict[str, str]:
        """All its tags, MLflow's own too."""
        return dict(_texts(self.folder / "tags"))

    @property
    def params(self) -> dict[str, str]:
        """Its params."""
        return dict(_texts(self.folder / "params"))

    @property
    def own_tags(self) -> dict[str, str]:
        """The tags that the script has set."""
        return {name: value for name, value in self.tags.items() if not name.startswith(_SYSTEM)}

    @property
    def history(self) -> list[tuple[str, int, float]]:
        """The name, step and value of each point of each metric; of a metric in the order of its steps."""
        return [(name, *point) for name, text in _texts(self.folder / "metrics") for point in _points(text)]

    @property
    def artifacts(self) -> Path | None:
        """The folder of its files; None where they are elsewhere."""
        place = _place(self.meta["artifact_uri"])
        return place if place and place.is_dir() else None

    @property
    def parent(self) -> str | None:
        """The id of the run that it is nested in."""
        return self.tags.get("mlflow.parentRunId")


@dataclass(frozen=True)
class Registration:
    """A version that the script asked for."""

    name: str
    folder: Path | None  # of its model; None where it is elsewhere
    aliases: list[str]


def runs(store: Path) -> dict[str, Run]:
    """Return the runs by what stands before the names of their values, "" for the trial's own, which comes first."""
    found = [Run(path.parent, meta) for path in store.glob("*/*/meta.yaml") if "run_id" in (meta := _yaml(path))]
    found = [run for run in found if run.meta.get("lifecycle_stage") == "active"]
    found.sort(key=lambda run: (run.meta["start_time"], run.folder.stat().st_ctime_ns))
    ids = {run.meta["run_id"] for run in found}
    outermost = [run for run in found if run.parent not in ids]
    if not outermost:
        return {}
    main = next((run for run in reversed(outermost) if run.meta["status"] != _FAILED), outermost[-1])
    named = {"": main}
    for number, run in enumerate((run for run in found if run is not main), 1):
        name = run.tags.get("mlflow.runName", "")
        name = f"run-{number}" if not name or _GENERATED.fullmatch(name) else name
        named[f"{name}." if f"{name}." not in named else f"{name}-{number}."] = run
    return named


def registrations(store: Path) -> list[Registration]:
    """Return the versions that the script asked for, the first first."""
    found = []
    for path in store.glob("models/*/version-*/meta.yaml"):
        meta, model = _yaml(path), _yaml(path.parent.parent / "meta.yaml")
        aliases = [alias for alias, number in _texts(path.parent.parent / "aliases") if number == str(meta["version"])]
        place = _place(meta.get("storage_location") or meta.get("source") or "")
        order = (meta["creation_timestamp"], int(meta["version"]))
        found.append((order, Registration(model["name"], place if place and place.is_dir() else None, aliases)))
    return [registration for _, registration in sorted(found, key=lambda each: each[0])]


def ids(store: Path) -> list[str]:
    """Return what MLflow drew at random to name runs and models."""
    names = {path.parent.name.removeprefix("m-") for path in (*store.glob("*/*/meta.yaml"), *_logged(store))}
    return sorted(name for name in names if _DRAWN.fullmatch(name))


def models(store: Path) -> list[Path]:
    """Return the folders of the models that the script logged, the first first."""
    metas = [_yaml(path) for path in _logged(store)]
    metas.sort(key=lambda meta: meta.get("creation_timestamp") or 0)
    places = (_place(meta.get("artifact_location") or "") for meta in metas)
    return [place for place in places if place and (place / "MLmodel").is_file()]


def _logged(store: Path) -> Iterator[Path]:
    return store.glob("*/models/*/meta.yaml")


def _points(text: str) -> list[tuple[int, float]]:
    """Return the step and value of each line of a metric's file: time, value, step, and the dataset it is of."""
    lines = dict.fromkeys(tuple(line.split(" ")[:3]) for line in text.splitlines() if line)  # logged for a model, twice
    points = [(int(line[2]), int(line[0]), float(line[1])) for line in lines]
    points.sort(key=lambda point: point[:2])  # as MLflow chooses the last one
    return [(step, value) for step, _, value in points]


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and content of each file of a folder, in order; a name with a slash is a file in a folder."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield path.relative_to(folder).as_posix(), path.read_text(encoding="utf-8")


def _yaml(path: Path) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def _place(uri: str) -> Path | None:
    """Return the path of a file's address; None of another's."""
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") and parts.path else None
