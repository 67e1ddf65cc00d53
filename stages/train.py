"""Fit preprocessing and estimator together, on the train part only.

    python -m stages.train

Reads   data/split/
Writes  models/model/, reports/curves.csv

The validation part, put through the fitted preprocessing, only chooses the
best iteration of an estimator that boosts.  The same params and data give the
same bytes.  Only the columns that the recipe takes are read, and a table that
does not fit into train.memory is held in a file or learned in batches.
"""

from pathlib import Path

from stages import command, fitting, models, params, tables
from stages.batches import Part
from stages.files import write_csv
from stages.recipes import Recipe

CURVES = Path("reports/curves.csv")


class TrainParams(Recipe):
    """The train section is a recipe; see `recipes.Recipe`."""


def write_curves(curve: dict[str, list[float]], path: Path = CURVES) -> None:
    """Write the curve, a line for each iteration and part; only the header where there are no iterations."""
    steps = range(max(map(len, curve.values()), default=0))
    rows = [(step, label, values[step]) for step in steps for label, values in curve.items() if step < len(values)]
    write_csv(path, ["step", "label", "value"], rows)


def main() -> None:
    """Run the stage."""
    p = params.read("train", TrainParams)
    columns = tables.read_columns()
    train = Part("train")
    fitted = fitting.fit(p, columns, train, Part("validation"))
    models.save(fitted.model)
    write_curves(fitted.curve)
    for note in fitted.notes:
        print(note)
    model = fitted.model
    print(f"{p.estimator} on {train.num_rows} rows x {len(model.outputs)} features -> {models.FOLDER}")


if __name__ == "__main__":
    command.run(main)
