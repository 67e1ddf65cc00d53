"""Which estimators may run, how their hyperparameters are checked, and what acceleration changes."""

import logging
import platform
import subprocess
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, make_classification
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import SVC, SVR, NuSVC, NuSVR
from sklearn.utils import all_estimators

from stages import estimators, storing
from stages.constraints import sklearn_fault
from stages.params import ParamsError

PROJECT = Path(__file__).resolve().parent.parent
PACKAGES = "sklearn, catboost, imblearn, xgboost, lightgbm, skorch, stages"


def refused(name: str) -> str:
    """What `find` says of a name, without the key."""
    with pytest.raises(ParamsError) as caught:
        estimators.find(name)
    assert str(caught.value).startswith("params.yaml: train.estimator: ")
    return str(caught.value).removeprefix("params.yaml: train.estimator: ")


def faults(name: str, **hyperparameters: Any) -> list[str]:
    """What `check` says, a line each, without the key that they share."""
    with pytest.raises(ParamsError) as caught:
        estimators.check(name, estimators.find(name), hyperparameters)
    return [line.removeprefix("params.yaml: train.hyperparameters") for line in str(caught.value).splitlines()]


@pytest.mark.parametrize(
    ("name", "cls", "task"),
    [
        ("sklearn.svm.SVC", SVC, "classification"),
        ("sklearn.linear_model.LinearRegression", LinearRegression, "regression"),
        ("sklearn.ensemble.HistGradientBoostingRegressor", HistGradientBoostingRegressor, "regression"),
        ("catboost.CatBoostClassifier", CatBoostClassifier, "classification"),
        ("catboost.CatBoostRegressor", CatBoostRegressor, "regression"),
    ],
)
def test_a_name_gives_its_class_and_task(name: str, cls: type, task: str) -> None:
    assert estimators.find(name) is cls
    assert estimators.task(cls) == estimators.task(cls()) == task


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_every_estimator_of_scikit_learn_is_found(kind: str) -> None:
    for name, cls in all_estimators(type_filter=kind):
        found = estimators.find(f"{cls.__module__.partition('._')[0]}.{name}")
        assert found is cls
        assert estimators.task(found) == ("classification" if kind == "classifier" else "regression")


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "subprocess.Popen", "SVC", "", "sklearnex.svm.SVC"])
def test_other_packages_are_refused(name: str) -> None:
    assert refused(name) == f"must be from {PACKAGES}, got {name!r}"


@pytest.mark.parametrize(
    "name",
    ["sklearn.os", "catboost.core.os", "sklearn.externals", "stages.files.Path", "sklearn.svm", "stages.files.csv"],
)
def test_what_an_allowed_package_only_imports_is_refused(name: str) -> None:
    assert refused(name) == f"must be a class defined in {PACKAGES}, got {name!r}"


@pytest.mark.parametrize(
    "name", ["sklearn.svm._classes.SVC", "sklearn", "sklearn..svm", "sklearn.svm.SVC()", "stages.x y"]
)
def test_what_is_no_public_dotted_name_is_refused(name: str) -> None:
    assert refused(name) == f"must be a public dotted name such as sklearn.svm.SVC, got {name!r}"


@pytest.mark.parametrize(
    "name",
    [
        "sklearn.base.BaseEstimator", "sklearn.base.ClassifierMixin", "sklearn.pipeline.Pipeline",
        "sklearn.cluster.KMeans", "sklearn.preprocessing.StandardScaler", "catboost.CatBoostRanker",
        "catboost.Pool", "stages.tables.Columns", "stages.transformers.Clip",
    ],
)  # fmt: skip
def test_what_predicts_no_classes_or_numbers_is_refused(name: str) -> None:
    assert refused(name) == f"must be a classifier or a regressor, with fit and predict, got {name!r}"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("sklearn.svm.SVCC", "sklearn.svm.SVC"),
        ("sklearn.SVC", "sklearn.svm.SVC"),
        ("sklearn.ensembel.RandomForestClassifer", "sklearn.ensemble.RandomForestClassifier"),
        ("sklearn.tree.RandomForestClassifier", "sklearn.ensemble.RandomForestClassifier"),
        ("catboost.CatBoostClasifier", "catboost.CatBoostClassifier"),
    ],
)
def test_a_name_that_is_nearly_right_is_corrected(name: str, meant: str) -> None:
    assert refused(name) == f"there is no {name}; did you mean {meant}?"


def test_a_name_that_is_far_off_gets_what_there_is() -> None:
    assert refused("sklearn.utils.os.system") == (
        "there is no sklearn.utils.os.system; see the documentation of sklearn"
    )
    assert refused("imblearn.ensemble.Foo") == (
        "there is no imblearn.ensemble.Foo; known: imblearn.ensemble.BalancedBaggingClassifier, "
        "imblearn.ensemble.BalancedRandomForestClassifier, imblearn.ensemble.EasyEnsembleClassifier, "
        "imblearn.ensemble.RUSBoostClassifier"
    )


@pytest.mark.parametrize("package", ["xgboost", "lightgbm", "skorch"])
def test_a_package_that_is_absent_is_named_with_its_cure(package: str) -> None:
    try:
        version(package)
    except ModuleNotFoundError:
        assert refused(f"{package}.Thing") == f"{package} is not installed; pip install {package}"
    else:
        pytest.skip(f"{package} is installed here")


OWN = """
import {needed}
from sklearn.base import BaseEstimator, RegressorMixin


class Middle(RegressorMixin, BaseEstimator):
    def __init__(self, share=0.5):
        self.share = share

    def fit(self, X, y):
        self.middle_ = float(sorted(y)[int(len(y) * self.share)])
        return self

    def predict(self, X):
        return [self.middle_] * len(X)
"""


def own(folder: Path, code: str, needed: str = "math") -> subprocess.CompletedProcess[str]:
    """Run code in a repository that has a module of its own in stages/."""
    (folder / "stages").mkdir()
    for module in (PROJECT / "stages").glob("*.py"):
        (folder / "stages" / module.name).symlink_to(module)
    (folder / "stages" / "mine.py").write_text(OWN.format(needed=needed))
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)


def test_an_estimator_of_the_repository_runs_and_is_stored(tmp_path: Path) -> None:
    code = """
from pathlib import Path
from stages import estimators, storing
cls = estimators.find("stages.mine.Middle")
estimators.check("stages.mine.Middle", cls, {"share": 0.25})
fitted = estimators.make("stages.mine.Middle", {"share": 0.25}, 0).fit([[0]] * 4, [1, 2, 3, 4])
storing.dump_skops(fitted, Path("estimator.skops"))
print(estimators.task(cls), storing.load_skops(Path("estimator.skops")).predict([[0], [1]]))
"""
    done = own(tmp_path, code)
    assert (done.stdout, done.stderr) == ("regression [2.0, 2.0]\n", "")


def test_a_package_that_an_own_module_lacks_is_named(tmp_path: Path) -> None:
    done = own(tmp_path, "from stages import estimators; estimators.find('stages.mine.Middle')", needed="nowhere")
    assert done.stderr.splitlines()[-1] == (
        "stages.params.ParamsError: params.yaml: train.estimator: stages.mine.Middle needs nowhere, "
        "which is not installed"
    )


def test_only_the_module_of_the_name_is_imported() -> None:
    code = (
        "import sys; from stages import estimators; before = 'sklearn' in sys.modules\n"
        "estimators.find('sklearn.svm.SVC')\n"
        "print(before, {'sklearn.ensemble', 'catboost', 'skops', 'sklearnex', 'imblearn'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "False set()\n"


def test_a_hyperparameter_that_is_none_is_corrected() -> None:
    with pytest.raises(ParamsError) as caught:
        estimators.check("sklearn.svm.SVC", SVC, {"kernal": "linear"})
    assert str(caught.value) == (
        "params.yaml: train.hyperparameters.kernal is not a parameter of sklearn.svm.SVC; did you mean kernel?"
    )


def test_all_faults_are_said_at_once() -> None:
    assert faults(
        "sklearn.svm.SVC",
        kernal="linear",
        kernel="lin",
        C=-1,
        tol=True,
        shrinking="no",
        class_weight=3,
        random_state="x",
    ) == [
        ".kernal is not a parameter of sklearn.svm.SVC; did you mean kernel?",
        ".kernel: must be one of 'linear', 'poly', 'precomputed', 'rbf' or 'sigmoid', got 'lin'",
        ".C: must be a number in (0.0, inf], got -1",
        ".tol: must be a number in (0.0, inf), got true",
        ".shrinking: must be true or false, got 'no'",
        ".class_weight: must be 'balanced', a mapping or null, got 3",
        ".random_state: must be a whole number from 0 or null, got 'x'",
    ]


def test_values_of_a_forest_are_checked() -> None:
    assert faults("sklearn.ensemble.RandomForestClassifier", n_estimators=0, max_depth="3", max_features="x") == [
        ".n_estimators: must be a whole number in [1, inf), got 0",
        ".max_depth: must be a whole number in [1, inf) or null, got '3'",
        ".max_features: must be a whole number in [1, inf), a number in (0.0, 1.0], 'log2', 'sqrt' or null, got 'x'",
    ]


def test_arguments_that_yaml_cannot_give_are_named() -> None:
    assert faults("sklearn.semi_supervised.SelfTrainingClassifier", estimator="SVC") == [
        ".estimator: cannot be given in params.yaml, got 'SVC'"
    ]
    assert faults("sklearn.ensemble.StackingClassifier") == [": sklearn.ensemble.StackingClassifier needs estimators"]


def test_values_of_catboost_are_checked_by_itself() -> None:
    assert faults("catboost.CatBoostRegressor", learning_rat=1, depth=100, iterations=-1, nan_mode="x") == [
        ".learning_rat is not a parameter of catboost.CatBoostRegressor; did you mean learning_rate?",
        ".depth: maximum tree depth is 16, got 100",
        ".iterations: CatBoost cannot take this value, got -1",
        ".nan_mode: must be one of 'Min', 'Max', 'Forbidden', got 'x'",
    ]


@pytest.mark.parametrize(
    ("name", "value"), [("allow_writing_files", True), ("train_dir", "here"), ("save_snapshot", True)]
)
def test_catboost_writes_nothing_beside_the_outputs(name: str, value: Any) -> None:
    assert faults("catboost.CatBoostClassifier", **{name: value}) == [
        f".{name}: must be left out: a stage writes only its outputs, got {'true' if value is True else repr(value)}"
    ]


def test_one_of_two_names_for_the_same_thing_is_enough() -> None:
    assert faults("catboost.CatBoostClassifier", iterations=10, n_estimators=10) == [
        ": only one of the parameters iterations, n_estimators, num_boost_round, num_trees should be initialized"
    ]


def test_every_default_of_scikit_learn_is_inside_its_constraints() -> None:
    for _, cls in all_estimators():
        declared = getattr(cls, "_parameter_constraints", {})
        for key, parameter in estimators._signature(cls).items():
            if key in declared and parameter.default not in (parameter.empty, "deprecated", "warn"):
                fault = sklearn_fault(key, parameter.default, declared[key])
                # scikit-learn's own slip: this default is not inside its constraints.
                assert fault is None or (cls, key) == (SelfTrainingClassifier, "estimator"), fault


def test_every_constraint_of_scikit_learn_has_words() -> None:
    for name, cls in all_estimators():
        for key, declared in getattr(cls, "_parameter_constraints", {}).items():
            line = sklearn_fault(key, object, declared) or ""
            assert not {"instance", "{", "float", " int "} & set(line.split("got")[0].split()), (name, line)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("sklearn.svm.SVC", {"C": 1, "kernel": "rbf", "class_weight": {"a": 2.0, "b": 1}}),
        ("sklearn.neural_network.MLPClassifier", {"hidden_layer_sizes": [8, 4], "alpha": 1e-3}),
        ("sklearn.linear_model.RidgeCV", {"alphas": [0.1, 1, 10]}),
        ("imblearn.ensemble.BalancedRandomForestClassifier", {"n_estimators": 5}),
        ("catboost.CatBoostRegressor", {"iterations": 3, "learning_rate": 1, "monotone_constraints": [1, 0]}),
    ],
)
def test_what_is_right_passes(name: str, settings: dict[str, Any]) -> None:
    estimators.check(name, estimators.find(name), settings)
    made = estimators.make(name, settings, 0).get_params()
    assert {key: made[key] for key in settings} == settings


def test_an_estimator_draws_by_the_seed_unless_it_is_given_one() -> None:
    name = "sklearn.ensemble.RandomForestClassifier"
    assert estimators.make(name, {}, 7).random_state == 7
    assert estimators.make(name, {"random_state": 3}, 7).random_state == 3
    assert estimators.make(name, {"random_state": None}, 7).random_state == 7
    assert (
        estimators.make("sklearn.linear_model.LinearRegression", {}, 7).get_params() == LinearRegression().get_params()
    )


@pytest.mark.parametrize("key", ["random_seed", "random_state"])
def test_catboost_is_quiet_writes_nothing_and_is_seeded(key: str) -> None:
    quiet = {"allow_writing_files": False, "verbose": 0}
    assert estimators.make("catboost.CatBoostClassifier", {}, 7).get_params() == {**quiet, "random_seed": 7}
    assert estimators.make("catboost.CatBoostClassifier", {key: 3}, 7).get_params() == {**quiet, key: 3}
    assert estimators.make("catboost.CatBoostClassifier", {"logging_level": "Info", key: 3}, 7).get_params() == {
        "allow_writing_files": False,
        "logging_level": "Info",
        key: 3,
    }


needs_intelex = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="scikit-learn-intelex needs x86-64 Linux"
)


def scaled(table: Any) -> tuple[Any, Any]:
    """A table of scikit-learn with standard-scaled features."""
    return StandardScaler().fit_transform(table[0]), table[1]


CLASSES = {
    "iris": scaled(load_iris(return_X_y=True)),
    "breast cancer": scaled(load_breast_cancer(return_X_y=True)),
    "digits": scaled(load_digits(return_X_y=True)),
    "made": scaled(make_classification(1000, 20, n_informative=8, n_classes=3, random_state=0)),
}
MACHINES = [
    SVC(random_state=0),
    SVC(kernel="linear"),
    SVC(kernel="poly", decision_function_shape="ovo"),
    SVC(C=100, class_weight="balanced"),
    NuSVC(nu=0.1),
]


def pairwise(machine: Any, X: Any) -> Any:
    """Decision values between each two classes."""
    return machine.set_params(decision_function_shape="ovo").decision_function(X)


@needs_intelex
@pytest.mark.parametrize("table", CLASSES)
@pytest.mark.parametrize("machine", MACHINES, ids=str)
def test_a_classifier_is_accelerated_within_its_tolerance(machine: Any, table: str) -> None:
    X, y = CLASSES[table]
    fast, said = estimators.accelerated(machine)
    assert said == f"accelerated by scikit-learn-intelex {version('scikit-learn-intelex')}"
    fast.fit(X, y)
    assert estimators.fell_back(fast) is None
    plain = estimators.plain(fast)
    stock = type(machine)(**machine.get_params()).fit(X, y)
    assert type(plain) is type(machine)
    assert plain.get_params() == machine.get_params()
    assert plain.__dict__.keys() == stock.__dict__.keys()
    # The plain one is the accelerated one, to rounding.
    assert np.array_equal(plain.predict(X), fast.predict(X))
    np.testing.assert_allclose(plain.decision_function(X), fast.decision_function(X), rtol=1e-9, atol=1e-9)
    # And the stock one within the documented tolerance.
    np.testing.assert_allclose(pairwise(plain, X), pairwise(stock, X), rtol=0, atol=100 * machine.tol)
    assert np.mean(plain.predict(X) == stock.predict(X)) >= 0.998


@needs_intelex
@pytest.mark.parametrize("machine", [SVR(C=100), SVR(kernel="linear"), NuSVR(kernel="poly", C=10)], ids=str)
def test_a_regressor_is_accelerated_within_its_tolerance(machine: Any) -> None:
    X, y = load_diabetes(return_X_y=True)
    fast = estimators.accelerated(machine)[0].fit(X, y)
    plain = estimators.plain(fast)
    stock = type(machine)(**machine.get_params()).fit(X, y)
    assert plain.__dict__.keys() == stock.__dict__.keys()
    np.testing.assert_allclose(plain.predict(X), fast.predict(X), rtol=1e-9)
    np.testing.assert_allclose(plain.predict(X), stock.predict(X), rtol=0, atol=100 * machine.tol)


@needs_intelex
def test_a_calibrated_estimator_becomes_plain_within() -> None:
    X, y = CLASSES["iris"]
    fast = CalibratedClassifierCV(estimators.accelerated(SVC())[0], ensemble=False).fit(X, y)
    probabilities = fast.predict_proba(X)
    assert estimators.fell_back(fast) is None
    plain = estimators.plain(fast)
    assert (type(plain.estimator), type(plain.calibrated_classifiers_[0].estimator)) == (SVC, SVC)
    np.testing.assert_allclose(plain.predict_proba(X), probabilities, rtol=1e-9)


@needs_intelex
def test_a_stored_accelerated_model_needs_no_intelex(tmp_path: Path) -> None:
    X, y = CLASSES["iris"]
    plain = estimators.plain(estimators.accelerated(SVC())[0].fit(X, y))
    storing.dump_skops(plain, tmp_path / "estimator.skops")
    code = (
        "import sys, pathlib; sys.modules['sklearnex'] = None; from stages import storing\n"
        "from sklearn.datasets import load_iris; from sklearn.preprocessing import scale\n"
        "X, y = load_iris(return_X_y=True)\n"
        "print((storing.load_skops(pathlib.Path(sys.argv[1])).predict(scale(X)) == y).sum())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "estimator.skops")]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == f"{(plain.predict(X) == y).sum()}\n"


@needs_intelex
def test_acceleration_leaves_scikit_learn_alone_and_is_quiet(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        estimators.plain(estimators.accelerated(SVC())[0].fit(*CLASSES["iris"]))
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert SVC.__module__ == "sklearn.svm._classes"
    assert sys.modules["sklearn.svm"].SVC is SVC


@needs_intelex
@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (GradientBoostingClassifier(), "scikit-learn-intelex has no GradientBoostingClassifier"),
        (CatBoostClassifier(), "scikit-learn-intelex has no CatBoostClassifier"),
        (MLPClassifier(), "scikit-learn-intelex has no MLPClassifier"),
        (
            RandomForestClassifier(),
            "scikit-learn-intelex's RandomForestClassifier draws other random numbers, so its forest is another one",
        ),
        (
            LogisticRegression(),
            "scikit-learn-intelex's LogisticRegression stops elsewhere: up to 10 of 450 labels differ",
        ),
        (
            LinearRegression(),
            "scikit-learn-intelex's LinearRegression solves the normal equations, "
            "which go wrong for columns of unlike size",
        ),
        (SVC(kernel="sigmoid"), "a kernel must be one of linear, poly, rbf for its one optimum, got 'sigmoid'"),
        (SVC(probability=True), "scikit-learn-intelex calibrates otherwise; leave probability out"),
    ],
    ids=str,
)
def test_what_is_not_accelerated_is_said_with_the_reason(estimator: Any, reason: str) -> None:
    assert estimators.accelerated(estimator) == (estimator, f"not accelerated: {reason}")
    assert estimators.plain(estimator) is estimator
    assert estimators.fell_back(estimator) is None


@needs_intelex
def test_a_fit_that_intelex_leaves_to_scikit_learn_is_said() -> None:
    X, y = CLASSES["iris"]
    fast = estimators.accelerated(SVC())[0].set_params(kernel="precomputed").fit(X @ X.T, y)
    assert estimators.fell_back(fast) == (
        "not accelerated: scikit-learn-intelex left the fit of this SVC to scikit-learn"
    )
    stock = SVC(kernel="precomputed").fit(X @ X.T, y)
    assert np.array_equal(estimators.plain(fast).predict(X @ X.T), stock.predict(X @ X.T))
