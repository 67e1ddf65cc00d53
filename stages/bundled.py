"""scikit-learn's own tables, read from its files: importing scikit-learn would take longer than the whole stage.

Values are those of `sklearn.datasets.load_NAME()`, bit for bit; names are in
lower case, with underscores and without units.  Only california_housing asks
scikit-learn itself, which downloads it.
"""

import csv
import gzip
import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

from stages.tables import DataError

NAMES = ("iris", "wine", "breast_cancer", "digits", "diabetes", "california_housing")

_MEASURES = [
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave_points",
    "symmetry",
    "fractal_dimension",
]
_COLUMNS = {
    "iris": ["sepal_length", "sepal_width", "petal_length", "petal_width", "species"],
    "wine": [
        "alcohol",
        "malic_acid",
        "ash",
        "alcalinity_of_ash",
        "magnesium",
        "total_phenols",
        "flavanoids",
        "nonflavanoid_phenols",
        "proanthocyanins",
        "color_intensity",
        "hue",
        "od280_od315_of_diluted_wines",
        "proline",
        "target",
    ],
    "breast_cancer": [
        *(f"mean_{measure}" for measure in _MEASURES),
        *(f"{measure}_error" for measure in _MEASURES),
        *(f"worst_{measure}" for measure in _MEASURES),
        "target",
    ],
    "digits": [*(f"pixel_{row}_{column}" for row in range(8) for column in range(8)), "target"],
    "diabetes": ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6", "target"],
    "california_housing": [
        "med_inc",
        "house_age",
        "ave_rooms",
        "ave_bedrms",
        "population",
        "ave_occup",
        "latitude",
        "longitude",
        "target",
    ],
}
_FILES = {"iris": "iris.csv", "wine": "wine_data.csv", "breast_cancer": "breast_cancer.csv", "digits": "digits.csv.gz"}

Rows = Iterable[Sequence[float | int | str]]


def names(name: str) -> list[str]:
    """Return the names of a table's columns."""
    return list(_COLUMNS[name])


def write(name: str, path: Path) -> None:
    """Write a table of scikit-learn as CSV with a header; floats as the shortest text that gives them back.

    Raises:
        DataError: california_housing cannot be downloaded.
    """
    if name == "california_housing":
        rows = _california_housing()
    elif name == "diabetes":
        rows = _diabetes()
    else:
        rows = _labelled(name)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS[name])
        writer.writerows(rows)


def _opened(name: str) -> IO[str]:
    """Open a data file of the installed scikit-learn."""
    found = importlib.util.find_spec("sklearn")  # finds the package without importing it
    if found is None or found.origin is None:
        raise DataError("scikit-learn is not installed; `make setup` installs it")
    path = Path(found.origin).parent / "datasets" / "data" / name
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _labelled(name: str) -> Rows:
    """Return the rows of a table whose last column is a label's number."""
    with _opened(_FILES[name]) as file:
        lines = [line.rstrip("\n").split(",") for line in file]
    labels: Sequence[str] | None = None
    if name != "digits":  # which has no first line of rows, columns and labels
        _, _, *labels = lines.pop(0)
    named = labels if name == "iris" else None
    return [[*map(float, cells), int(float(label)) if named is None else named[int(label)]] for *cells, label in lines]


def _diabetes() -> Rows:
    """Return the rows of diabetes, scaled as `load_diabetes` does: a column's mean is 0, its sum of squares 1."""
    import numpy as np

    with _opened("diabetes_data_raw.csv.gz") as file:
        data = np.loadtxt(file)
    with _opened("diabetes_target.csv.gz") as file:
        target = np.loadtxt(file)
    # The steps of sklearn.preprocessing.scale in their order: another order gives other last bits.
    deviation = np.nanstd(data, 0)
    data -= np.nanmean(data, 0)
    data /= deviation
    data /= data.shape[0] ** 0.5
    rows: list[list[float]] = np.column_stack([data, target]).tolist()
    return rows


def _california_housing() -> Rows:
    """Return the rows of California housing, from scikit-learn's folder of downloads or the network."""
    import warnings

    import numpy as np
    from sklearn.datasets import fetch_california_housing

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a retry is no news
            bunch = fetch_california_housing(n_retries=1)
    except OSError as error:
        raise DataError(
            f"sklearn:california_housing cannot be downloaded: {' '.join(str(error).split())}; "
            "with network once, scikit-learn keeps it for later"
        ) from None
    rows: list[list[float]] = np.column_stack([bunch.data, bunch.target]).tolist()
    return rows
