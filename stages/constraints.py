"""What a library says about the values of its hyperparameters, in the words of params.yaml."""

import re
from collections.abc import Mapping
from typing import Any

from stages.params import PATH, nearest, shown

_KEY = f"{PATH}: train.hyperparameters"
_WRITES = ("allow_writing_files", "save_snapshot", "snapshot_file", "train_dir")  # files beside a stage's outputs

# scikit-learn's words and ours.
_WORDS = (
    ("an instance of 'bool' or an instance of 'numpy.bool'", "true or false"),
    ("an int in the range", "a whole number in"),
    ("a float in the range", "a number in"),
    ("an array-like", "a list"),
    ("a sparse matrix", ""),
    ("an instance of 'dict'", "a mapping"),
    ("an instance of 'str'", "text"),
    ("an instance of 'list'", "a list"),
    ("an instance of 'tuple'", "a list"),
    ("an instance of 'int'", "a whole number"),
    ("an instance of 'float'", "a number"),
    ("numbers.Integral", "a whole number"),
    ("numbers.Real", "a number"),
)


def sklearn_fault(key: str, value: Any, declared: Any) -> str | None:
    """Return a line on a value outside scikit-learn's constraints, or None."""
    if not isinstance(declared, list) or satisfied(value, declared):
        return None
    if isinstance(value, list) and satisfied(tuple(value), declared):
        return None
    rule = _rule(declared)
    return f"{_KEY}.{key}: {f'must be {rule}' if rule else f'cannot be given in {PATH}'}, got {shown(value)}"


def satisfied(value: Any, declared: list[Any]) -> bool:
    """Return whether a value is inside one of scikit-learn's constraints."""
    from sklearn.utils import _param_validation as validation

    constraints = [validation.make_constraint(c) for c in declared]
    if isinstance(value, bool):  # which Python takes for a number, and a person does not
        constraints = [c for c in constraints if not isinstance(c, validation.Interval)]
    return any(constraint.is_satisfied_by(value) for constraint in constraints)


def _rule(declared: list[Any]) -> str:
    """Return constraints as `A, B or C`, without those that no YAML can meet."""
    from sklearn.utils import _param_validation as validation

    constraints = [validation.make_constraint(c) for c in declared]
    said: list[str] = []
    for constraint in constraints:
        if isinstance(constraint, validation.Options):
            # scikit-learn has them in a set, whose order differs between processes.
            said += sorted(repr(option) for option in constraint.options if option not in ("deprecated", "warn"))
        elif isinstance(constraint, validation._RandomStates):
            said += ["a whole number from 0", "null"]
        elif isinstance(constraint, validation._CVObjects):
            said += ["a whole number from 2", "null"]
        elif isinstance(constraint, validation._VerboseHelper):
            said += ["a whole number from 0", "true or false"]
        elif not (constraint.hidden or isinstance(constraint, validation._Callables | validation.HasMethods)):
            said.append(_words(str(constraint)))
    said = [phrase for phrase in dict.fromkeys(said) if phrase and "instance of" not in phrase]
    options = len(said) > 1 and all(phrase.startswith("'") for phrase in said)
    return ("one of " if options else "") + (
        " or ".join([", ".join(said[:-1]), said[-1]]) if said[1:] else "".join(said)
    )


def _words(rule: str) -> str:
    """Return one constraint in YAML's words."""
    for theirs, ours in _WORDS:
        rule = rule.replace(theirs, ours)
    return "null" if rule == "None" else rule


def catboost_faults(hyperparameters: Mapping[str, Any]) -> list[str]:
    """Return a line for each value that CatBoost refuses before it sees data."""
    lines = [f"{_KEY}.{key}: {rule}" for key, value in hyperparameters.items() if (rule := _catboost_rule(key, value))]
    if not lines and (said := _catboost_says(hyperparameters)):
        lines.append(f"{_KEY}: {said}")
    return lines


def _catboost_rule(key: str, value: Any) -> str | None:
    """Return what one value must be, with what it is, or None."""
    if key in _WRITES and value:
        return f"must be left out: a stage writes only its outputs, got {shown(value)}"
    said = _catboost_says({key: value})
    if said is None:
        return None
    options = re.findall(r"'(\w+)'", said.partition("Valid options are")[2])
    if 0 < len(options) <= 10:
        said = f"must be one of {', '.join(map(repr, options))}"
    elif options:
        said = f"is none of CatBoost's; {nearest(str(value), options)}"
    elif said.startswith("can't parse"):
        said = "CatBoost cannot take this value"
    return f"{said}, got {shown(value)}"


def _catboost_says(hyperparameters: Mapping[str, Any]) -> str | None:
    """Return the first line of CatBoost's own complaint, without the place in its source."""
    from catboost import CatBoostError, _catboost, core

    settings = dict(hyperparameters)
    try:
        core._process_synonyms(settings)
        _catboost._check_train_params(settings)
    except (CatBoostError, TypeError) as error:
        said = re.sub(r"^\S+\.(cpp|h):\d+: ", "", str(error).strip().splitlines()[0]).rstrip(". ")
        return said[:1].lower() + said[1:]
    return None
