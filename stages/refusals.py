"""What libraries refuse or warn of while a recipe is fitted, a line each."""

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

from stages.params import PATH
from stages.recipes import Recipe, TrainError


def called(recipe: Recipe, key: str, function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a library's fit, and say in one line what it refuses; the user's own estimator keeps its traceback."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        refused = isinstance(error, ValueError | TypeError | AttributeError) or type(error).__name__ == "CatBoostError"
        if recipe.estimator.startswith("stages.") or not refused:
            raise
        what = f"{recipe.estimator} cannot be fitted: " if key == "train" else ""
        raise TrainError(f"{PATH}: {key}: {what}{first_line(error)}") from error


def first_line(said: object) -> str:
    """Return the first line that a library says, at most 300 characters of it."""
    line = next((line.strip() for line in str(said).splitlines() if line.strip()), type(said).__name__)
    return line if len(line) <= 300 else f"{line[:297]}..."


def warned(caught: Sequence[warnings.WarningMessage]) -> list[str]:
    """Return what libraries warned of: a line for each, however often it was said."""
    said = Counter(f"{warning.category.__name__}: {first_line(warning.message)}" for warning in caught)
    return [f"{line} ({times} times)" if times > 1 else line for line, times in said.items()]
