"""What a library says about the values of its hyperparameters, in the words of params.yaml."""

import re
from typing import Any

from stages.params import PATH


def sklearn_fault(key: str, value: Any, declared: Any) -> str | None:
    """Return a line on a value outside scikit-learn's constraints, or None."""
    if not isinstance(declared, list) or satisfied(value, declared):
        return None
    if isinstance(value, list) and satisfied(tuple(value), declared):
        return None
    return f"{PATH}: train.hyperparameters.{key}: must be {_rule(declared)}, got {value!r}"


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
    code = (validation._Callables, validation._RandomStates, validation._CVObjects, validation.HasMethods)
    said = [_words(str(c)) for c in constraints if not (c.hidden or isinstance(c, code))]
    said = list(dict.fromkeys(s for s in said if not s.startswith("an instance of 'sklearn")))
    if any(isinstance(c, validation._RandomStates) for c in constraints):
        said.insert(0, "a whole number from 0")
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} or {said[-1]}"


def _words(rule: str) -> str:
    """Return one constraint in YAML's words, the same in every process."""
    # scikit-learn prints options in the order of a set.
    rule = re.sub(r"\{(.*)\}", lambda found: ", ".join(sorted(found[1].split(", "))), rule)
    for theirs, ours in (
        ("a str among", "one of"),
        ("an instance of 'bool' or an instance of 'numpy.bool'", "true or false"),
        ("an int in the range", "a whole number in"),
        ("a float in the range", "a number in"),
        ("an array-like", "a list"),
        ("an instance of 'dict'", "a mapping"),
        ("an instance of 'str'", "text"),
        ("an instance of 'list'", "a list"),
        ("an instance of 'tuple'", "a list"),
    ):
        rule = rule.replace(theirs, ours)
    return "null" if rule == "None" else rule


def catboost_fault(key: str, value: Any) -> str | None:
    """Return a line on a value that CatBoost refuses before it sees data, or None."""
    from catboost import CatBoostError, _catboost, core

    where = f"{PATH}: train.hyperparameters.{key}"
    if key in ("allow_writing_files", "train_dir", "save_snapshot", "snapshot_file") and value:
        return f"{where}: must be left out: a stage writes only its outputs, got {value!r}"
    settings = {key: value}
    try:
        core._process_synonyms(settings)
        _catboost._check_train_params(settings)
    except CatBoostError as error:
        # Its messages begin with the place in its own source.
        said = re.sub(r"^\S+\.(cpp|h):\d+: ", "", str(error).strip().splitlines()[0]).rstrip(". ")
        return f"{where}: {said[:1].lower()}{said[1:]}, got {value!r}"
    return None
