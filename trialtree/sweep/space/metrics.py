"""Whether the trials of a sweep will have the metrics that it goes by."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages import scores
from stages.errors import UserError
from stages.params import PATH, nearest
from trialtree.sweep.space import MISSING, Point, keys

if TYPE_CHECKING:
    from trialtree.sweep.section import SweepParams

_DVC_YAML = Path("dvc.yaml")
_EVALUATE = "python -m stages.evaluate"  # with another command nobody knows what a trial writes
_PARTS = ("cv", "validation", "test", "script")
_STD = "_std"


def faults(section: "SweepParams", base: Mapping[str, Any], points: Sequence[Point]) -> Iterator[str]:
    """Yield metrics of the section that a trial of these points would not have, or that must not choose it."""
    if not _is_ours():
        return
    kinds = {str(sorted(kind.items())): kind for kind in (_kind(base, point.values) for point in points)}
    for place, name in _named(section):
        said = next((said for kind in kinds.values() if (said := _fault(name, kind, section.allow_test))), None)
        if said:
            yield f"{PATH}: sweep.{place}.metric: {said}"


def _is_ours() -> bool:
    try:
        return _EVALUATE in _DVC_YAML.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return True  # said elsewhere


def _named(section: "SweepParams") -> Iterator[tuple[str, str]]:
    """Yield where the section names a metric, and its name."""
    for number, objective in enumerate(section.objectives):
        yield f"objective[{number}]" if isinstance(section.objective, list) else "objective", objective.metric
    for number, objective in enumerate(section.tie_break):
        yield f"tie_break[{number}]", objective.metric


def _kind(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the metrics of a point's trial depend on."""

    def at(key: str) -> Any:
        found = keys.seen(base, values, key)
        return None if found is MISSING else found

    return {
        "script": at("train.script"),
        "estimator": at("train.estimator"),
        "cv": bool(at("evaluate.cross_validation")),
        "validation": bool(at("split.validation")),
        "names": at("evaluate.metrics"),
    }


def _fault(name: str, kind: Mapping[str, Any], allow_test: bool) -> str | None:
    """Return what is wrong with a metric for a kind of trial."""
    part, _, metric = name.rpartition(".")
    if part == "script":
        return None if kind["script"] else f"{name}: there is no train.script that would log it"
    task, known = _known(kind)
    if part not in _PARTS:
        of_parts = [f"{part}.{name}" for part in ("cv", "validation") for name in known]
        return f"{name!r} must begin with one of {', '.join(_PARTS)} and a dot; {nearest(f'cv.{metric}', of_parts)}"
    plain = metric.removesuffix(_STD) if part == "cv" else metric
    if plain not in known:
        return f"{name!r} is no metric{task}; {nearest(name, [f'{part}.{other}' for other in known])}"
    if kind["names"] and plain not in kind["names"]:
        return f"{name} is none of evaluate.metrics: {', '.join(kind['names'])}"
    return _unwritten(part, name, kind) or (_of_test(metric) if part == "test" and not allow_test else None)


def _unwritten(part: str, name: str, kind: Mapping[str, Any]) -> str | None:
    """Return why a kind of trial has no metrics of a part."""
    if part == "cv" and kind["script"]:
        return f"{name} is never written: only the script itself can fit its model on folds; take a metric of script"
    if part == "cv" and not kind["cv"]:
        return f"{name} is only written with evaluate.cross_validation, such as {{folds: 5}}"
    if part == "validation" and not kind["validation"]:
        return f"{name} is only written with split.validation, such as 0.2"
    return None


def _of_test(metric: str) -> str:
    return f"test.{metric} would let the test part choose the trial; take cv.{metric}, or set sweep.allow_test: true"


def _known(kind: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return what a trial predicts, as ` of a classification`, and the metrics that it may have."""
    from stages import estimators

    names: Sequence[str] = scores.METRICS
    task = ""
    if not kind["script"]:
        try:
            found = estimators.task(estimators.find(str(kind["estimator"])))
        except UserError:
            pass  # said elsewhere
        else:
            task = f" of a {found}"
            names = scores.NUMBERS if found == "regression" else (*scores.CLASSES, *scores.TWO_CLASSES)
    return task, list(names)
