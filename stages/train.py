"""Fit preprocessing and estimator together, on the train part only.

    python -m stages.train

Reads   data/split/
Writes  models/model/, reports/curves.csv, reports/script.json, reports/script/

The validation part, put through the fitted preprocessing, only chooses the
best iteration of an estimator that boosts.  The curve is written line by line
while the fit runs, and a fit of more than 5 s is shown in MLflow meanwhile:
see `live` for the two settings of that. The same params and data give the
same bytes.  Only the columns that the recipe takes are read, and a table that
does not fit into train.memory is held in a file or learned in batches.

With train.script a script of the user's own trains instead; see `running`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import model_validator

from stages import command, curves, fitting, models, params, scripts, tables
from stages.batches import Part
from stages.curves import Curve
from stages.files import as_json, put, replacing_folder, write_csv, write_json
from stages.growing import Growing
from stages.live import Live
from stages.recipes import Recipe

CURVES = Path("reports/curves.csv")


class TrainParams(Recipe):
    """The train section is a recipe, see `recipes.Recipe`, or a script and what it is called with."""

    script: scripts.ScriptPath | None = None
    arguments: scripts.Arguments = {}  # --name value

    @model_validator(mode="before")
    @classmethod
    def _be_one_of_both(cls, section: Any) -> Any:
        if not isinstance(section, Mapping) or section.get("script") is None:
            if isinstance(section, Mapping) and section.get("arguments"):
                raise ValueError("arguments are those of a script, and there is no train.script")
            return section
        if others := [key for key in section if key in Recipe.model_fields]:
            raise ValueError(f"script and {others[0]} exclude each other: a script trains by its own code")
        return {**section, "estimator": ""}


def write_no_script() -> None:
    """Write what a trial that no script trains has of one."""
    write_json(scripts.METRICS, {})
    with replacing_folder(scripts.FOLDER) as folder:
        put(folder / "params.json", as_json({}))  # DVC warns of an empty folder, each time


def main() -> None:
    """Run the stage."""
    p = params.read("train", TrainParams)
    if p.script is not None:
        from stages import running

        write_csv(CURVES, curves.HEADER, [])
        print("\n".join(running.run(p.script, p.arguments)))
        return
    write_no_script()
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
