"""What a training script of the user's own logged, as the train stage left it in reports/script/."""

import csv
import io
import json
from typing import Any

from trialtree.tracking.curves import Point
from trialtree.tracking.files import Files

FOLDER = "reports/script"


def params(of: Files) -> dict[str, Any]:
    """Return the params that the script logged, as `script.NAME`."""
    return {f"script.{name}": value for name, value in _mapping(of, "params.json").items()}


def tags(of: Files) -> dict[str, str]:
    """Return the tags that the script set, as `script.NAME`."""
    return {f"script.{name}": str(value) for name, value in _mapping(of, "tags.json").items()}


def history(of: Files) -> list[Point]:
    """Return the points of the metrics that the script logged in steps; of a single one the metric says all."""
    content = (of.read(f"{FOLDER}/history.csv") or b"").decode("utf-8", errors="replace")
    found: dict[str, list[Point]] = {}
    for row in csv.DictReader(io.StringIO(content)):
        name = f"script.{row['name']}"
        found.setdefault(name, []).append((name, float(row["value"]), int(row["step"])))
    return [point for points in found.values() if len(points) > 1 for point in points]


def _mapping(of: Files, name: str) -> dict[str, Any]:
    """Return what a JSON file of the folder holds; nothing where there is none."""
    found = json.loads(of.read(f"{FOLDER}/{name}") or b"{}")
    return found if isinstance(found, dict) else {}
