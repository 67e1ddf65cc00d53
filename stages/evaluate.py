"""Score the model on rows that it was not fitted on.

    python -m stages.evaluate

Reads   data/split/, models/model/
Writes  reports/metrics.json, reports/predictions.parquet, reports/folds.csv, reports/plots/*.csv

Predictions and plots are of the test part. Metrics of the validation part,
which chose the best iteration of an estimator that boosts, stand apart, and so
do those of cross-validation on the train part.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field

from stages import command, fitting, folding, memory, models, params, plots, predictions, scores, tables, targets
from stages.batches import Part
from stages.files import replacing, replacing_folder, write_csv, write_json
from stages.models import Label, Model
from stages.params import PATH, ParamsError
from stages.tables import Columns, DataError

if TYPE_CHECKING:
    import pyarrow as pa

METRICS = Path("reports/metrics.json")
PREDICTIONS = Path("reports/predictions.parquet")
FOLDS = Path("reports/folds.csv")
PLOTS = Path("reports/plots")


def _known_metric(name: str) -> str:
    if name not in scores.METRICS:
        raise ValueError(f"must be a metric ({params.nearest(name, scores.METRICS)})")
    return name


def _defaults_if_true(value: Any) -> Any:
    return {True: {}, False: None}[value] if isinstance(value, bool) else value


class CrossValidation(params.Section):
    """Folds of the train part: whole groups or in time where there is such a column, else shuffled (stratified).

    Equal rows share a shuffled fold, whatever split.duplicates says: a row that was learned proves nothing.
    """

    folds: int = Field(ge=2)
    seed: int = Field(default=0, ge=0, lt=2**32)  # of the shuffle


class LearningCurve(params.Section):
    """Fits on growing numbers of rows."""

    points: int = Field(default=5, ge=2)


class EvaluateParams(params.Section):
    """The evaluate section."""

    metrics: Annotated[list[Annotated[str, AfterValidator(_known_metric)]], Field(min_length=1)] | None = None  # all
    positive: bool | int | float | str | None = None  # of two labels the one that precision is of; default the last
    cross_validation: CrossValidation | None = None
    learning_curve: Annotated[LearningCurve | None, BeforeValidator(_defaults_if_true)] = None
    labels: Annotated[list[str | int | float], Field(min_length=2)] | None = None  # that a script's classes 0, 1, mean
    allow_pickle: bool = False  # load a script's model from a pickle, which runs the code in it


def chosen(p: EvaluateParams, model: Model) -> list[str]:
    """Return the metrics to compute: those of params, or all that apply.

    Raises:
        ParamsError: one is not for this model.
    """
    known = scores.applying(len(model.labels))
    for place, name in enumerate(p.metrics or []):
        if name not in known:
            kind = "numbers" if name in scores.NUMBERS else "two labels" if name in scores.TWO_CLASSES else "labels"
            raise ParamsError(
                f"{PATH}: evaluate.metrics[{place}]: {name} is for {kind}, and the model predicts "
                f"{scores.outcome(model.labels)}; known: {', '.join(known)}"
            )
    return list(p.metrics or known)


def on_train(
    p: EvaluateParams, columns: Columns, model: Model, names: Sequence[str], of: Label | None
) -> tuple[list[folding.Record], list[folding.Point], list[str]]:
    """Return cross-validation's records and the learning curve's points, each only if asked for, and notes on them.

    A record stands in folds.csv as soon as its fold is done. The learning curve is of the last fold (of five, without
    cross-validation).

    Raises:
        DataError: the train part is too small for the folds.
    """
    if p.cross_validation is None and p.learning_curve is None:
        return folding.written(FOLDS, (), names), [], []
    if models.by_script():
        said = "neither cross-validation nor a learning curve: only the script itself can fit its model again"
        return folding.written(FOLDS, (), names), [], [said]

    def trial(some: "pa.Table", held: Sequence["pa.Table"]) -> list[dict[str, float]]:
        fitted = fitting.refitted(model.recipe, columns, some)
        seen = (predictions.predicted(fitted, table, of, "rows to score") for table in held)
        return [scores.score(rows, names, "cv")[0] for rows in seen]

    cv = p.cross_validation or CrossValidation(folds=5)
    train = _in_memory(Part("train"), columns, model)
    labels = targets.values(train, model.target, model.task) if model.labels else None
    try:
        folds = folding.folds(columns, train, labels, cv.folds, cv.seed)
    except DataError as error:
        if p.cross_validation:
            raise
        raise DataError(f"{error}; evaluate.learning_curve takes 5 where there is no such key") from None
    coming = folding.cross_validated(columns, train, folds, trial) if p.cross_validation else ()
    records = folding.written(FOLDS, coming, names)
    if p.learning_curve is None:
        return records, [], []
    arrival = folding.arrival(columns, folds[-1], cv.seed)
    return records, *folding.learning_curve(train, folds[-1], arrival, p.learning_curve.points, trial)


def _in_memory(part: Part, columns: Columns, model: Model) -> "pa.Table":
    """Return the columns of the train part that folds are made by and fitted on.

    Raises:
        DataError: they do not fit into train.memory.
    """
    roles = ("feature", "target", "group", "time")
    taken = [c for c in columns if c.role in roles or c.name in model.columns.names]
    # A text has about 8 bytes more than its place; folds are taken out as copies.
    needed, limit = 2 * 16 * part.num_rows * len(taken), memory.limit(model.recipe)
    if part.num_rows * len(taken) >= memory.STREAMED and needed > limit:
        raise DataError(
            f"{PATH}: evaluate.cross_validation: holds the train part in memory, {part.num_rows:,} rows x {len(taken)} "
            f"columns, about {memory.shown(needed)}, and train.memory is {memory.shown(limit)}; leave it and "
            "evaluate.learning_curve out, or raise train.memory"
        )
    return part.read(taken)


def _strangers(rows: scores.Predicted, part: str) -> list[str]:
    """Return a note on rows of labels that the model was not trained on."""
    labels = scores.unknown_labels(rows)
    if not labels:
        return []
    some = ", ".join(map(repr, labels[:5])) + (", ..." if len(labels) > 5 else "")
    return [f"{part}: {np.isin(rows.actual, labels).sum()} rows have a label that train lacks: {some}"]


def shown(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """Return the metrics as text, a column a part, to four digits."""
    names = dict.fromkeys(n for of in metrics.values() for n in of if n != "rows" and not n.endswith("_std"))
    lines = [["", *metrics]]
    lines += [[name, *(f"{of[name]:.4f}" if name in of else "" for of in metrics.values())] for name in names]
    lines += [["rows", *(str(of.get("rows", "")) for of in metrics.values())]]
    width = max(len(line[0]) for line in lines)
    return "\n".join("".join([line[0].ljust(width), *(f"{cell:>12}" for cell in line[1:])]).rstrip() for line in lines)


def _of_script(p: EvaluateParams, columns: Columns) -> tuple[Model, list[str]] | None:
    """Return a script's model over the split's rows, and notes on it; None, after saying why, where there is none."""
    from stages import adapting, foreign

    try:
        return adapting.load(columns, p.labels, p.allow_pickle)
    except foreign.Unscored as reason:
        print(f"nothing is scored: {reason}")
        return None


def write_nothing() -> None:
    """Write the outputs of a model that is not scored."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    nothing = scores.Predicted(np.empty(0), np.empty(0))
    with replacing(PREDICTIONS) as path:
        pq.write_table(pa.table({name: [] for name in (tables.ROW, "row_hash", "actual", "predicted")}), path)
    with replacing_folder(PLOTS) as folder:
        plots.write(plots.of_predictions(nothing), folder)
        plots.write({"importance": plots.importance({}), "learning_curve": plots.learning_curve([], "")}, folder)
    write_csv(FOLDS, ["fold"], [])
    write_json(METRICS, {})


def main() -> None:
    """Run the stage."""
    p = params.read("evaluate", EvaluateParams)
    columns = tables.read_columns()
    if (p.labels or p.allow_pickle) and not models.by_script():
        key = "labels" if p.labels else "allow_pickle"
        raise ParamsError(
            f"{PATH}: evaluate.{key}: is for the model of a training script, and there is no train.script"
        )
    found = _of_script(p, columns) if models.by_script() else (models.load(), [])
    if found is None:
        write_nothing()
        return
    model, about = found
    predictions.check(model, columns)
    names, of = chosen(p, model), scores.positive(p.positive, model.labels)
    parts = {part: Part(part) for part in ("test", "validation")}
    if not parts["test"].num_rows:
        raise DataError(f"{tables.SPLIT}/test has no rows to score the model on; see split.test")
    files = {"test": PREDICTIONS}
    seen = {
        part: predictions.of_rows(model, rows, of, files.get(part)) for part, rows in parts.items() if rows.num_rows
    }
    metrics: dict[str, dict[str, float]] = {}
    notes = [*about]
    for part, rows in seen.items():
        values, said = scores.score(rows, names, part)
        metrics[part] = values | {"rows": len(rows.actual)}
        notes += [*_strangers(rows, part), *said]
    records, curve, left = on_train(p, columns, model, names, of)
    notes += left
    if records:
        metrics["cv"] = folding.summary(records, names)
        # One that the test part lacks too has its line already.
        lacking = metrics["test"].keys() - metrics["cv"].keys()
        notes += [f"cv: {name} left out: a fold cannot give it" for name in names if name in lacking]
    with replacing_folder(PLOTS) as folder:
        plots.write(plots.of_predictions(seen["test"]), folder)
        plots.write({"importance": plots.importance(model.importances() or {})}, folder)
        plots.write({"learning_curve": plots.learning_curve(curve, names[0])}, folder)
    write_json(METRICS, metrics)
    print("\n".join([shown(metrics), *notes]))


if __name__ == "__main__":
    command.run(main)
