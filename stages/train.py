"""Fit preprocessing and estimator together, on the train part only.

    python -m stages.train

Reads   data/split/
Writes  models/model/, reports/curves.csv

The validation part, put through the fitted preprocessing, only chooses the
best iteration of an estimator that boosts.  The curve is written line by line
while the fit runs, and a fit of more than 5 s is shown in MLflow meanwhile:
see `live` for the two settings of that. The same params and data give the
same bytes.  Only the columns that the recipe takes are read, and a table that
does not fit into train.memory is held in a file or learned in batches.
"""

from pathlib import Path

from stages import command, curves, fitting, models, params, tables
from stages.batches import Part
from stages.curves import Curve
from stages.growing import Growing
from stages.live import Live
from stages.recipes import Recipe

CURVES = Path("reports/curves.csv")


class TrainParams(Recipe):
    """The train section is a recipe; see `recipes.Recipe`."""


def main() -> None:
    """Run the stage."""
    p = params.read("train", TrainParams)
    columns = tables.read_columns()
    train = Part("train")
    curve = Curve()
    with Live(CURVES) as live, Growing(CURVES) as file:
        with curves.written(curve, file, live.tick):
            fitted = fitting.fit(p, columns, train, Part("validation"), curve)
        models.save(fitted.model)
        file.finish(curves.HEADER, curves.rows(fitted.curve))
        live.done(models.digest())
    for note in fitted.notes:
        print(note)
    model = fitted.model
    print(f"{p.estimator} on {train.num_rows} rows x {len(model.outputs)} features -> {models.FOLDER}")


if __name__ == "__main__":
    command.run(main)
