"""Fitted objects to files and back: the same bytes, the same predictions, and no code run by a file."""

import json
import os
import pickle
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from catboost import CatBoostClassifier, CatBoostRegressor
from imblearn.ensemble import (
    BalancedBaggingClassifier,
    BalancedRandomForestClassifier,
    EasyEnsembleClassifier,
    RUSBoostClassifier,
)
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import Birch
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC
from sklearn.utils import all_estimators

from stages import canonical, storing, trusted
from stages.transformers import Clip, DateParts

IRIS = load_iris(return_X_y=True)
DIABETES = load_diabetes(return_X_y=True)
PROJECT = Path(__file__).resolve().parent.parent


def preprocessing() -> ColumnTransformer:
    """Every step that stages.features can ask for."""
    number = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), Clip(), StandardScaler())
    steps = [
        ("number", number, [0, 1]),
        ("knn", make_pipeline(KNNImputer(), MinMaxScaler()), [2, 3]),
        ("robust", RobustScaler(), [0]),
        ("bins", KBinsDiscretizer(quantile_method="averaged_inverted_cdf"), [0]),
        ("onehot", OneHotEncoder(max_categories=3, handle_unknown="infrequent_if_exist"), [4]),
        ("ordinal", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan), [5]),
        ("target", TargetEncoder(random_state=0), [5]),
        ("date", DateParts(cyclic=True), [5]),
        ("rest", "passthrough", [0]),
    ]
    return ColumnTransformer(steps, sparse_threshold=0)


def mixed() -> np.ndarray[Any, Any]:
    """Iris with gaps, two columns of categories and days."""
    rows = np.arange(len(IRIS[0]))
    values = np.column_stack([IRIS[0], rows % 5, rows % 37])
    values[::7, 1] = np.nan
    return values


ESTIMATORS = {
    "svc": SVC(),
    "forest": RandomForestClassifier(5, random_state=0, oob_score=False),
    "gradient boosting": GradientBoostingClassifier(n_estimators=3, random_state=0),
    "hist gradient boosting": HistGradientBoostingClassifier(
        max_iter=3, categorical_features=[4], early_stopping=True, random_state=0
    ),
    "neighbours": KNeighborsClassifier(algorithm="kd_tree"),
    "network": MLPClassifier(max_iter=5, random_state=0),
    "gaussian process": GaussianProcessClassifier(random_state=0),
    "calibrated": CalibratedClassifierCV(SVC(), ensemble=False),
    "stacking": StackingClassifier(
        [("a", LogisticRegression()), ("b", RandomForestClassifier(3, random_state=0))], cv=2
    ),
    "voting": VotingClassifier([("a", LogisticRegression()), ("b", KNeighborsClassifier())]),
    "pca": make_pipeline(PCA(2, random_state=0), SVC()),
    "balanced forest": BalancedRandomForestClassifier(3, random_state=0),
    "balanced bagging": BalancedBaggingClassifier(n_estimators=3, random_state=0),
    "easy ensemble": EasyEnsembleClassifier(3, random_state=0),
    "rusboost": RUSBoostClassifier(n_estimators=3, random_state=0),
}

X = np.column_stack([IRIS[0], np.arange(len(IRIS[0])) % 5])


def fitted(name: str) -> Any:
    """An estimator of `ESTIMATORS`, fitted on iris and a category."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ESTIMATORS[name].fit(X, IRIS[1])


def write_all(folder: Path) -> None:
    """Fit and store everything; two processes call it."""
    for number, name in enumerate(ESTIMATORS):
        storing.dump_skops(fitted(name), folder / f"{number}.skops")
    storing.dump_skops(preprocessing().fit(mixed(), IRIS[1]), folder / "preprocess.skops")
    storing.dump_skops({"set": {"a", "b", "c", "d"}, "bytes": b"1", "shared": [IRIS[0], IRIS[0]]}, folder / "set.skops")
    storing.dump_catboost(catboost(CatBoostClassifier, *IRIS), folder / "model.cbm")
    storing.dump_pickle(fitted("svc"), folder / "estimator.pkl")


class Strange:
    """What nobody has heard of."""


# A dict of which skops makes texts, an array and a text that stand in two places, and what has its own order.
ODD = {1: {"a", "b", "c"}, "bytes": b"1", "shared": [IRIS[0], IRIS[0]], "slice": slice(1, 2), 2.5: np.float32(3)}


def catboost(cls: type, features: Any, target: Any, **settings: Any) -> Any:
    """A small CatBoost model."""
    return cls(iterations=5, verbose=0, allow_writing_files=False, random_seed=0, **settings).fit(features, target)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_comes_back_with_its_predictions(name: str, tmp_path: Path) -> None:
    estimator = fitted(name)
    storing.dump_skops(estimator, tmp_path / "estimator.skops")
    back = storing.load_skops(tmp_path / "estimator.skops")
    assert type(back) is type(estimator)
    assert np.array_equal(back.predict(X), estimator.predict(X))
    if hasattr(estimator, "predict_proba"):
        assert np.array_equal(back.predict_proba(X), estimator.predict_proba(X))


def test_preprocessing_comes_back_whole(tmp_path: Path) -> None:
    values = mixed()
    transformer = preprocessing().fit(values, IRIS[1])
    storing.dump_skops(transformer, tmp_path / "preprocess.skops")
    back = storing.load_skops(tmp_path / "preprocess.skops")
    assert np.array_equal(back.transform(values), transformer.transform(values), equal_nan=True)


@pytest.mark.slow
def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    folders = []
    for seed, padding in (("1", "x"), ("2", "y" * 1000)):
        folder = tmp_path / seed
        folder.mkdir()
        # Another hash seed, environment size and folder move every address and the order of sets.
        env = {**os.environ, "PYTHONHASHSEED": seed, "PADDING": padding, "PYTHONPATH": str(PROJECT)}
        code = "import sys, pathlib; from tests.test_storing import write_all; write_all(pathlib.Path(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", code, str(folder)], check=True, env=env, cwd=folder)
        folders.append(folder)
    names = sorted(path.name for path in folders[0].iterdir())
    assert len(names) == len(ESTIMATORS) + 4
    assert [n for n in names if (folders[0] / n).read_bytes() != (folders[1] / n).read_bytes()] == []


@pytest.mark.parametrize("name", [*ESTIMATORS, "preprocessing", "a set and bytes"])
def test_the_file_is_what_skops_writes_in_canonical_form(name: str) -> None:
    made = {"preprocessing": lambda: preprocessing().fit(mixed(), IRIS[1]), "a set and bytes": lambda: ODD}
    for _ in range(2):  # types that are known to be safe are not looked at again
        found = made[name]() if name in made else fitted(name)
        assert storing.as_skops(found) == canonical.rewritten(skops.io.dumps(found))


def test_a_type_that_was_safe_in_one_file_is_so_only_with_what_is_safe() -> None:
    storing.as_skops({"a": [1, (2.0, SVC())]})
    with pytest.raises(storing.Unsafe, match=r"it holds tests\.test_storing\.Strange;"):
        storing.as_skops({"a": [1, (2.0, SVC()), Strange()]})


def test_skops_itself_reads_the_file(tmp_path: Path) -> None:
    path = tmp_path / "svc.skops"
    storing.dump_skops(fitted("svc"), path)
    assert np.array_equal(skops.io.load(path).predict(X), fitted("svc").predict(X))


def test_writing_what_was_read_gives_the_same_bytes(tmp_path: Path) -> None:
    storing.dump_skops(fitted("forest"), tmp_path / "first.skops")
    storing.dump_skops(storing.load_skops(tmp_path / "first.skops"), tmp_path / "second.skops")
    assert (tmp_path / "first.skops").read_bytes() == (tmp_path / "second.skops").read_bytes()


def test_an_object_in_two_places_is_one_object_again(tmp_path: Path) -> None:
    array = np.arange(3.0)
    storing.dump_skops({"a": array, "b": [array]}, tmp_path / "shared.skops")
    back = storing.load_skops(tmp_path / "shared.skops")
    assert back["a"] is back["b"][0]


@pytest.mark.parametrize("broken", [FunctionTransformer(len), Birch(), (print, open)])
def test_what_has_no_safe_form_is_refused_with_the_way_out(broken: Any, tmp_path: Path) -> None:
    path = tmp_path / "estimator.skops"
    with pytest.raises(storing.Unsafe) as caught:
        storing.dump_skops(broken, path)
    assert str(caught.value).startswith(f"params.yaml: train.estimator: a fitted {type(broken).__name__} cannot be")
    assert "train.allow_pickle: true" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not path.exists()


def node(module: str, name: str, loader: str = "ObjectNode", **content: Any) -> dict[str, Any]:
    """A node of a skops schema."""
    return {"__module__": module, "__class__": name, "__loader__": loader, **content}


def plain(value: Any) -> dict[str, Any]:
    """A node of a plain value."""
    return node("builtins", "str", "JsonNode", content=json.dumps(value), is_json=True)


def values(*inner: Any) -> dict[str, Any]:
    """A node of a tuple."""
    return node("builtins", "tuple", "TupleNode", content=list(inner))


def mapping(content: Mapping[str, Any]) -> dict[str, Any]:
    """A node of a dict with texts as keys."""
    kinds = node("builtins", "list", "ListNode", content=[node("builtins", "str", "TypeNode") for _ in content])
    return node("builtins", "dict", "DictNode", content=content, key_types=kinds)


SYSTEM = node("os", "system", "FunctionNode")
CHECK = node("sklearn.utils.validation", "check_array", "FunctionNode")


def partial(func: Any) -> dict[str, Any]:
    """A node of a partial."""
    inner = {"func": func, "args": values(plain("touch hit")), "kwds": mapping({}), "namespace": plain(None)}
    return node("functools", "partial", "PartialNode", content=inner)


HOSTILE = {
    "os.system": SYSTEM,
    "posix.system": node("posix", "system", "TypeNode"),
    "builtins.eval": node("builtins", "eval", "ConstructorFromReduceNode", content=values(plain("open('hit', 'w')"))),
    "functools.partial": partial(SYSTEM),
    "functools.partial of a ufunc": partial(node("numpy", "add", "FunctionNode")),
    "operator.methodcaller": node("operator", "methodcaller", "OperatorFuncNode", attrs=values(plain("system"))),
    "subprocess.Popen": node("subprocess", "Popen", "ObjectNode", content=mapping({})),
    "a method": node(
        "sklearn.svm._classes", "SVC", "MethodNode",
        content={"func": "fit", "obj": node("sklearn.svm._classes", "SVC", content=mapping({}))},
    ),
    "a function of stages": node("stages.files", "write_json", "FunctionNode"),
    "a class of stages that is no estimator": node("stages.tables", "Columns", "TypeNode"),
    "a module of stages that is not there": node("stages.nothing", "Thing", "ObjectNode"),
    "a type of a dict's keys": node(
        "builtins", "dict", "DictNode", content={"touch hit": plain(1)},
        key_types=node("builtins", "list", "ListNode", content=[node("os", "system", "TypeNode")]),
    ),
    "an unsafe type beside a safe partial": values(partial(CHECK), SYSTEM),
}  # fmt: skip


def write(path: Path, schema: Any, **members: bytes) -> Path:
    """Write a skops file by hand."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", json.dumps({**schema, "protocol": 2, "_skops_version": "0.16.0"}))
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
    return path


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_names_code_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "hostile.skops", mapping({"inner": HOSTILE[name]}))
    with pytest.raises(storing.Unsafe) as caught:
        storing.load_skops(path)
    assert str(caught.value).startswith(f"{path} names types that are not safe to load: ")
    assert [p.name for p in tmp_path.iterdir()] == ["hostile.skops"]


def broken_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Files that are no model, with their names."""
    whole = folder / "whole.skops"
    storing.dump_skops(fitted("svc"), whole)
    content = whole.read_bytes()
    whole.unlink()
    yield "empty", b""
    yield "text", b"not a zip file"
    yield "cut", content[: len(content) // 2]
    yield "cut at the end", content[:-1]
    array = node("numpy", "ndarray", "NdArrayNode", type="numpy")
    yield "other member", write(folder / "f", {**array, "file": "1.npy"}, **{"2_npy": b"x"}).read_bytes()
    yield "above", write(folder / "f", {**array, "file": "../1.npy"}).read_bytes()
    yield "no array", write(folder / "f", {**array, "file": "1.npy"}, **{"1_npy": b"x"}).read_bytes()
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999,), }".ljust(117)
    huge = b"\x93NUMPY\x01\x00v\x00" + header + b"\n"
    yield "huge array", write(folder / "f", {**array, "file": "1.npy"}, **{"1_npy": huge}).read_bytes()
    one = {**plain([]), "__loader__": "ListNode", "content": [], "__id__": 1}
    yield "two of one number", write(folder / "f", values(one, one)).read_bytes()
    yield "unknown number", write(folder / "f", values({**one, "__loader__": "CachedNode"})).read_bytes()
    with zipfile.ZipFile(folder / "f", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b" " * 10_000_000)
    yield "bomb", (folder / "f").read_bytes()
    with zipfile.ZipFile(folder / "f", "w") as archive:
        archive.writestr("schema.json", "[" * 100_000)
    yield "nested", (folder / "f").read_bytes()
    with zipfile.ZipFile(folder / "f", "w") as archive:
        archive.writestr("schema.json", "[]")
    yield "no mapping", (folder / "f").read_bytes()


def test_a_damaged_file_is_refused_in_one_line_that_names_it(tmp_path: Path) -> None:
    for name, content in broken_files(tmp_path):
        path = tmp_path / f"{name}.skops"
        path.write_bytes(content)
        with pytest.raises(storing.Damaged) as caught:
            storing.load_skops(path)
        assert str(caught.value).startswith(f"{path} is damaged or no model: "), name
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < len(str(path)) + 250


def test_a_pickle_is_loaded_only_where_it_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "estimator.pkl"
    storing.dump_pickle(fitted("svc"), path)
    assert np.array_equal(storing.load_pickle(path, allowed=True).predict(X), fitted("svc").predict(X))
    with pytest.raises(storing.Unsafe) as caught:
        storing.load_pickle(path, allowed=False)
    assert str(caught.value) == (
        f"{path} is a pickle, which runs code when it is loaded; params.yaml: train.allow_pickle allows it"
    )


def test_a_cut_pickle_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "estimator.pkl"
    path.write_bytes(pickle.dumps(fitted("svc"))[:100])
    with pytest.raises(storing.Damaged):
        storing.load_pickle(path, allowed=True)


CATBOOST = {
    "three classes": (CatBoostClassifier, IRIS[0], IRIS[1], {}),
    "two classes": (CatBoostClassifier, IRIS[0], IRIS[1] > 0, {}),
    "texts": (CatBoostClassifier, IRIS[0], np.array(["a", "b", "c"])[IRIS[1]], {}),
    "one against all": (CatBoostClassifier, IRIS[0], IRIS[1], {"loss_function": "MultiClassOneVsAll"}),
    "numbers": (CatBoostRegressor, *DIABETES, {}),
    "quantile": (CatBoostRegressor, *DIABETES, {"loss_function": "Quantile:alpha=0.9"}),
}


@pytest.mark.parametrize("name", CATBOOST)
def test_a_catboost_model_comes_back_as_what_it_was_only(name: str, tmp_path: Path) -> None:
    cls, features, target, settings = CATBOOST[name]
    model = catboost(cls, features, target, **settings)
    path = tmp_path / "model.cbm"
    storing.dump_catboost(model, path)
    back = storing.load_catboost(path, cls)
    assert type(back) is cls
    assert np.array_equal(back.predict(features), model.predict(features))
    other = CatBoostRegressor if cls is CatBoostClassifier else CatBoostClassifier
    with pytest.raises(storing.Damaged) as caught:
        storing.load_catboost(path, other)
    assert str(caught.value) == f"{path} holds no {other.__name__}: it was trained for another task"


def test_a_catboost_file_does_not_tell_the_machine(tmp_path: Path) -> None:
    for number in (1, 2):
        model = catboost(CatBoostClassifier, *IRIS)
        model.get_metadata()["train_finish_time"] = str(number)
        storing.dump_catboost(model, tmp_path / f"{number}.cbm")
    assert (tmp_path / "1.cbm").read_bytes() == (tmp_path / "2.cbm").read_bytes()
    system = json.loads(storing.load_catboost(tmp_path / "1.cbm", CatBoostClassifier).get_metadata()["params"])
    assert system["system_options"]["thread_count"] == 1


@pytest.mark.parametrize("content", [b"", b"CBM1", b"no model at all"])
def test_what_is_no_catboost_model_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.cbm"
    path.write_bytes(content)
    with pytest.raises(storing.Damaged) as caught:
        storing.load_catboost(path, CatBoostRegressor)
    assert str(caught.value).startswith(f"{path} is damaged or no model: ")


def test_nothing_is_imported_before_it_is_needed() -> None:
    code = "import sys, stages.storing; print(sorted({'sklearn', 'skops', 'catboost', 'pandas'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# They need arguments, several targets or one column.
UNFITTED = {
    "CCA", "ClassifierChain", "FixedThresholdClassifier", "IsotonicRegression", "MultiOutputClassifier",
    "MultiOutputRegressor", "MultiTaskElasticNet", "MultiTaskElasticNetCV", "MultiTaskLasso", "MultiTaskLassoCV",
    "OneVsOneClassifier", "OneVsRestClassifier", "OutputCodeClassifier", "PLSCanonical", "RegressorChain",
    "SelfTrainingClassifier", "StackingClassifier", "StackingRegressor", "TunedThresholdClassifierCV",
    "VotingClassifier", "VotingRegressor",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_every_estimator_of_scikit_learn_is_stored_safely(kind: str, tmp_path: Path) -> None:
    features, target = (np.abs(a) for a in (IRIS if kind == "classifier" else DIABETES))
    for name, cls in all_estimators(type_filter=kind):
        if name in UNFITTED:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator = cls().fit(features, target)
        storing.dump_skops(estimator, tmp_path / name)
        back = storing.load_skops(tmp_path / name)
        # To rounding: numpy multiplies a matrix by itself otherwise than by its copy.
        np.testing.assert_allclose(*(m.predict(features) for m in (back, estimator)), rtol=1e-12, err_msg=name)


def test_a_regressor_too_comes_back(tmp_path: Path) -> None:
    for estimator in (LinearRegression(), RandomForestRegressor(3, random_state=0)):
        storing.dump_skops(estimator.fit(*DIABETES), tmp_path / "regressor.skops")
        back = storing.load_skops(tmp_path / "regressor.skops")
        assert np.array_equal(back.predict(DIABETES[0]), estimator.predict(DIABETES[0]))


def test_every_public_estimator_of_scikit_learn_is_trusted_by_rule() -> None:
    names = {f"{cls.__module__}.{cls.__qualname__}" for _, cls in all_estimators()}
    nodes = [
        {"__module__": m, "__class__": c, "__loader__": "ObjectNode"} for m, _, c in (n.rpartition(".") for n in names)
    ]
    assert set(trusted.named(nodes)) == names


@pytest.mark.parametrize("name", ["sklearn.utils.Bunch", "sklearn.base.clone", "sklearn.svm.os", "sklearn.nowhere.SVC"])
def test_no_other_name_of_scikit_learn_is(name: str) -> None:
    module, _, cls = name.rpartition(".")
    assert trusted.named([{"__module__": module, "__class__": cls, "__loader__": "ObjectNode"}]) == []
