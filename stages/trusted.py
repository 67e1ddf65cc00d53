"""The types that a stored model may name beyond those that skops trusts: a fixed list, never the file's own.

skops makes an object without calling its __init__ and fills in its
attributes, through __setstate__ where there is one. A type is on the list
when none of that, nor its fit, predict or transform, runs a function that the
file chooses. So no functions, no getters, and of partials only the one below.
"""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

_TYPES = frozenset(
    {
        # scikit-learn: the folds within which categories are encoded by the target
        "sklearn.model_selection._split.KFold",
        "sklearn.model_selection._split.StratifiedKFold",
        # calibration
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.calibration._TemperatureScaling",
        # trees and neighbours: C code follows the places in their arrays, so that a made-up file can end the
        # process (it cannot run anything); whoever writes a model's digests is trusted that far
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.tree._tree.Tree",
        # losses of generalized linear models
        "sklearn._loss.loss.HalfTweedieLoss",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        # neural networks' optimizers
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        # Gaussian processes
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.gaussian_process.kernels.CompoundKernel",
        "sklearn.gaussian_process.kernels.ConstantKernel",
        "sklearn.gaussian_process.kernels.DotProduct",
        "sklearn.gaussian_process.kernels.ExpSineSquared",
        "sklearn.gaussian_process.kernels.Exponentiation",
        "sklearn.gaussian_process.kernels.Matern",
        "sklearn.gaussian_process.kernels.Product",
        "sklearn.gaussian_process.kernels.RBF",
        "sklearn.gaussian_process.kernels.RationalQuadratic",
        "sklearn.gaussian_process.kernels.Sum",
        "sklearn.gaussian_process.kernels.WhiteKernel",
        # neighbours
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        *(
            f"sklearn.metrics._dist_metrics.{name}Distance64"
            for name in (
                "BrayCurtis", "Canberra", "Chebyshev", "Dice", "Euclidean", "Hamming", "Haversine", "Jaccard",
                "Mahalanobis", "Manhattan", "Minkowski", "RogersTanimoto", "RussellRao", "SEuclidean", "SokalSneath",
            )
        ),
        # a dict with attributes; an array's dtype
        "sklearn.utils._bunch.Bunch",
        "numpy.dtype",
        # boosting libraries that may be installed: their models go through their own readers, as a .cbm does
        "collections.OrderedDict",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMClassifier",
        "lightgbm.sklearn.LGBMRegressor",
        "xgboost.core.Booster",
        "xgboost.sklearn.XGBClassifier",
        "xgboost.sklearn.XGBRFClassifier",
        "xgboost.sklearn.XGBRFRegressor",
        "xgboost.sklearn.XGBRegressor",
        # imbalanced-learn's ensembles, and what they hold
        "imblearn.ensemble._bagging.BalancedBaggingClassifier",
        "imblearn.ensemble._easy_ensemble.EasyEnsembleClassifier",
        "imblearn.ensemble._forest.BalancedRandomForestClassifier",
        "imblearn.ensemble._weight_boosting.RUSBoostClassifier",
        "imblearn.pipeline.Pipeline",
        "imblearn.under_sampling._prototype_selection._random_under_sampler.RandomUnderSampler",
    }
)  # fmt: skip


# The one function that may be bound in a partial: HistGradientBoosting checks its categories by it.
_CHECK = ("sklearn.utils.validation", "check_array")


def named(nodes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return those of the types in a skops schema that are trusted."""
    nodes = list(nodes)
    names = {f"{node['__module__']}.{node['__class__']}" for node in nodes}
    partials = [node for node in nodes if node["__loader__"] == "PartialNode"]
    own = {name for name in names if _is_own(name) or _is_public(name)}
    checks = {"functools.partial", ".".join(_CHECK)} if partials and all(map(_is_check, partials)) else set()
    return sorted((names & _TYPES) | own | checks)


def _is_check(partial: Mapping[str, Any]) -> bool:
    """Return whether a partial only binds arguments of `_CHECK`."""
    func = partial["content"]["func"]
    named = (func["__module__"], func["__class__"])
    return func["__loader__"] == "FunctionNode" and "__id__" not in func and named == _CHECK


def _is_public(name: str) -> bool:
    """Return whether a name is an estimator or transformer that scikit-learn offers to everybody."""
    module, _, class_name = name.rpartition(".")
    public = module.partition("._")[0]
    if not name.startswith("sklearn.") or not class_name.isidentifier():
        return False
    from sklearn.base import BaseEstimator

    try:
        found = getattr(import_module(public), class_name, None)
    except ModuleNotFoundError:
        return False
    return isinstance(found, type) and issubclass(found, BaseEstimator) and f"{found.__module__}.{class_name}" == name


def _is_own(name: str) -> bool:
    """Return whether a name is an estimator or transformer class of `stages`: the repository's code, in Git."""
    package, _, rest = name.partition(".")
    module_name, _, class_name = rest.partition(".")
    if package != "stages" or not module_name.isidentifier() or not class_name.isidentifier():
        return False
    from sklearn.base import BaseEstimator

    try:
        module = import_module(f"stages.{module_name}")
    except ModuleNotFoundError:
        return False
    found = getattr(module, class_name, None)
    return isinstance(found, type) and issubclass(found, BaseEstimator) and found.__module__ == module.__name__
