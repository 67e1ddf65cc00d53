"""Fitted objects to files and back: the same bytes for the same object, and no code run by a file.

    estimator.skops   scikit-learn and its kin: skops against the list in `trusted`, rewritten in one canonical form
    model.cbm         CatBoost's own format, without what differs between two equal fits
    estimator.pkl     Python's pickle, for train.allow_pickle only: loading one runs whatever it holds

Callers check a file's SHA-256 before they load it: a damaged model may load
and predict other numbers.
"""

import io
import json
import pickle
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from stages import canonical, trusted
from stages.errors import UserError
from stages.estimators import task
from stages.params import PATH

_PICKLE_PROTOCOL = 5
# The nodes that skops and `trusted` judge by their own type's name, whatever else a file holds.
_BY_NAME = frozenset(
    {
        "BytesNode", "CachedNode", "DTypeNode", "DictNode", "FunctionNode", "JsonNode", "ListNode", "NdArrayNode",
        "ObjectNode", "RandomStateNode", "SetNode", "SliceNode", "TreeNode", "TupleNode", "TypeNode",
    }
)  # fmt: skip

_safe: set[tuple[str, str, str]] = set()  # loader, module and class of such nodes in files that were found to be safe


class Unsafe(UserError):  # noqa: N818  # said of a type, as in "unsafe"
    """An object or a file that holds types off the list."""


class Damaged(UserError):  # noqa: N818  # said of a file
    """A file that is not what it must be."""


def dump_skops(fitted: Any, path: Path) -> None:
    """Write an object as a skops file; raises as `as_skops`."""
    path.write_bytes(as_skops(fitted))


def as_skops(fitted: Any) -> bytes:
    """Return an object as the content of a skops file.

    Raises:
        Unsafe: it holds types that are not known to be safe to load.
    """
    name = type(fitted).__name__
    try:
        schema, members = _state(fitted)
    except (TypeError, ValueError, AttributeError, RecursionError) as error:  # what skops has no form for
        raise _unstorable(name, f"{type(error).__name__}: {_line(error)}") from None
    content, nodes = canonical.packed(schema, members.__getitem__)
    if strange := _strange(content, nodes):
        raise _unstorable(name, f"it holds {', '.join(strange)}")
    return content


class _Members(dict[str, bytes]):
    """What skops takes for the zip file that it writes to."""

    def namelist(self) -> list[str]:
        """Return the names of its members."""
        return list(self)

    def writestr(self, name: str, content: Any) -> None:
        """Add a member."""
        self[name] = bytes(content)


def _state(fitted: Any) -> tuple[Any, _Members]:
    """Return the schema of an object's skops file, and its members: what `skops.io.dumps` puts into one, not packed."""
    _skops()
    import skops
    from skops.io._utils import SaveContext, get_state

    members = _Members()
    context = SaveContext(zip_file=members)
    state = get_state(fitted, context)
    state |= {"protocol": context.protocol, "_skops_version": skops.__version__}
    return json.loads(json.dumps(state)), members  # keys are texts


def load_skops(path: Path) -> Any:
    """Return the object of a skops file.

    Raises:
        Damaged: the file is not what `dump_skops` writes.
        Unsafe: it names a type that is not on the list; nothing of it was made.
    """
    skops = _skops()
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        content = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            nodes = canonical.nodes(archive)
        return skops.loads(content, trusted=trusted.named(nodes))
    except UntrustedTypesFoundException:
        strange = ", ".join(_untrusted(content, nodes))
        raise Unsafe(f"{path} names types that are not safe to load: {strange}") from None
    except MemoryError:
        raise
    except Exception as error:  # whatever a file's content makes of zipfile, json, skops, numpy and scikit-learn
        raise _damaged(path, error) from None


def dump_pickle(fitted: Any, path: Path) -> None:
    """Write an object as a pickle, which only train.allow_pickle asks for."""
    with path.open("wb") as file:
        pickle.dump(fitted, file, protocol=_PICKLE_PROTOCOL)


def load_pickle(path: Path, allowed: bool) -> Any:
    """Return the object of a pickle, which runs whatever code the pickle holds.

    Raises:
        Unsafe: it is not allowed.
        Damaged: the file is not a whole pickle.
    """
    if not allowed:
        raise Unsafe(f"{path} is a pickle, which runs code when it is loaded; {PATH}: train.allow_pickle allows it")
    try:
        return pickle.loads(path.read_bytes())  # noqa: S301  # the user allowed it
    except (pickle.UnpicklingError, EOFError) as error:
        raise _damaged(path, error) from None


def dump_catboost(model: Any, path: Path) -> None:
    """Write a CatBoost model in its own format, the same bytes for the same fit."""
    metadata = model.get_metadata()
    metadata["model_guid"] = "trialtree"
    metadata["train_finish_time"] = "1970-01-01T00:00:00Z"
    params = json.loads(metadata["params"])
    # The number of this machine's cores, unless the user gave one: that stands in flat_params too.
    params["system_options"]["thread_count"] = 1
    metadata["params"] = json.dumps(params, sort_keys=True)
    model.save_model(str(path), format="cbm")


def settle(path: Path, ids: Sequence[str]) -> None:
    """Take out of a model's file that another program wrote what differs between two equal fits.

    That is an order, a stamp, and `ids`, which MLflow drew for a run and leaves
    in its models. A file of no such kind, or that cannot be read, stays as it is.
    """
    if path.suffix == ".skops":
        with suppress(KeyError, OSError, ValueError, zipfile.BadZipFile):
            path.write_bytes(canonical.rewritten(path.read_bytes(), ids))
    elif path.suffix in (".joblib", ".pkl", ".pickle"):
        content = path.read_bytes()
        for each in ids:
            content = content.replace(each.encode(), b"0" * len(each))  # as long: a pickle counts its characters
        path.write_bytes(content)
    elif path.suffix in (".cb", ".cbm"):
        from catboost import CatBoost, CatBoostError

        with suppress(CatBoostError, KeyError, ValueError):
            dump_catboost(CatBoost().load_model(str(path), format="cbm"), path)


def load_any_catboost(path: Path) -> Any:
    """Return the CatBoost model of a file, as a classifier or a regressor, whichever was trained.

    Raises:
        Damaged: the file is no CatBoost model.
    """
    from catboost import CatBoost, CatBoostClassifier, CatBoostError, CatBoostRegressor

    try:
        classes = "class_params" in CatBoost().load_model(str(path), format="cbm").get_metadata()
    except CatBoostError as error:
        raise _damaged(path, error) from None
    return load_catboost(path, CatBoostClassifier if classes else CatBoostRegressor)


def load_catboost(path: Path, cls: type) -> Any:
    """Return the CatBoost model of a file as an object of `cls`.

    Raises:
        Damaged: the file is no CatBoost model, or one for another task: CatBoost itself would load it in silence.
    """
    from catboost import CatBoostError

    model: Any = cls()
    try:
        model.load_model(str(path), format="cbm")
    except CatBoostError as error:
        raise _damaged(path, error) from None
    # Only a classifier's training writes the labels of its classes.
    if ("class_params" in model.get_metadata()) != (task(cls) == "classification"):
        raise Damaged(f"{path} holds no {cls.__name__}: it was trained for another task")
    return model


def _skops() -> Any:
    """Return skops.io, imported without its walk through every module of scikit-learn.

    skops makes its list of scikit-learn's estimators so, in 0.3 s of every
    process. Ours is by rule: see `trusted`.
    """
    import sklearn.utils

    walk = sklearn.utils.all_estimators
    sklearn.utils.all_estimators = list
    try:
        import skops.io
    finally:
        sklearn.utils.all_estimators = walk
    return skops.io


def trusted_types(path: Path) -> list[str]:
    """Return the types that a skops file names, that skops itself does not trust, and that our list does."""
    with zipfile.ZipFile(path) as archive:
        ours = trusted.named(canonical.nodes(archive))
    return sorted(set(_skops().get_untrusted_types(file=path)) & set(ours))


def _strange(content: bytes, nodes: Sequence[canonical.Node]) -> list[str]:
    """Return the types that a skops file names and that neither skops nor our list trusts."""
    named = {(node["__loader__"], node["__module__"], node["__class__"]) for node in nodes}
    by_name = all(loader in _BY_NAME for loader, _, _ in named)
    if by_name and named <= _safe:
        return []
    strange = _untrusted(content, nodes)
    if by_name and not strange:
        _safe.update(named)
    return strange


def _untrusted(content: bytes, nodes: Sequence[canonical.Node]) -> list[str]:
    """Return the same by having skops build the file's tree."""
    return sorted(set(_skops().get_untrusted_types(data=content)) - set(trusted.named(nodes)))


def _unstorable(name: str, reason: str) -> Unsafe:
    return Unsafe(
        f"{PATH}: train.estimator: a fitted {name} cannot be stored safely: {reason}; "
        "train.allow_pickle: true stores it as a pickle, which runs code when it is loaded"
    )


def _damaged(path: Path, error: Exception) -> Damaged:
    return Damaged(f"{path} is damaged or no model: {_line(error)}")


def _line(error: Exception) -> str:
    """Return what an error says in one line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
