"""Which curves an estimator's fit writes into reports/curves.csv, and where they should go: known before it is fitted.

Kept with `stages.stepwise`, `stages.boosting` and `stages.curves`, which write
them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trialtree.sweep.stopping.rule import Goal

Get = Callable[[str], Any]  # the value of a hyperparameter, None where it has none


@dataclass(frozen=True)
class Label:
    """A curve."""

    name: str
    goal: Goal | None
    late: bool = False  # it is written when the fit is over, so that there is nothing left to stop
    negative: bool = False  # its values are below zero


@dataclass(frozen=True)
class Curves:
    """The curves of an estimator."""

    labels: tuple[Label, ...] = ()
    length: int = 0  # reports at most
    default: tuple[str, ...] = ()  # labels, of which a fit has one, of what is held back: best to go by


# CatBoost's metrics (as it names them, in small letters), scikit-learn's, and those of `stages.scores`.
_MAXIMIZED = {
    "accuracy", "auc", "average_precision", "balanced_accuracy", "balancedaccuracy", "cox", "f", "f1", "f1_macro",
    "kappa", "loglikelihoodofprediction", "mcc", "normalizedgini", "prauc", "precision", "precision_macro",
    "queryauc", "r2", "recall", "recall_macro", "roc_auc", "totalf1", "wkappa",
}  # fmt: skip
_MINIMIZED = {
    "ae_p10", "ae_p50", "ae_p90", "balancederrorrate", "brierscore", "crossentropy", "expectile", "fairloss", "focal",
    "hammingloss", "hingeloss", "huber", "log_loss", "logcosh", "loglinquantile", "logloss", "loss", "lq",
    "mae", "mape", "medianabsoluteerror", "msle", "multiclass", "multiclassonevsall", "multicrossentropy",
    "multilogloss", "multiquantile", "multirmse", "numerrors", "poisson", "quantile", "rmse", "rmsewithuncertainty",
    "smape", "survivalaft", "tweedie", "zerooneloss",
}  # fmt: skip
_ITERATIONS = ("iterations", "n_estimators", "num_boost_round", "num_trees")
_FORESTS = ("ExtraTreesClassifier", "ExtraTreesRegressor", "RandomForestClassifier", "RandomForestRegressor")
_STAGED = ("AdaBoostClassifier", "AdaBoostRegressor")  # scored when they are fitted
# Known to keep no curve; of others nobody knows, as of what learns in batches where the table is large.
_WITHOUT = ("sklearn.svm.", "sklearn.tree.", "sklearn.neighbors.", "sklearn.dummy.", "xgboost.", "lightgbm.")

RELEVANT = (
    *_ITERATIONS, "custom_metric", "early_stopping", "eval_metric", "loss_function", "max_iter", "metric_period",
    "objective", "scoring", "solver", "task_type",
)  # fmt: skip  # hyperparameters that curves depend on


def goal_of(metric: str) -> Goal | None:
    """Return where a metric should go, such as logloss or quantile:alpha=0.9; None where nobody knows."""
    name = metric.partition(":")[0].lower()
    return "maximize" if name in _MAXIMIZED else "minimize" if name in _MINIMIZED else None


def curves(train: Mapping[str, Any], get: Get, validated: bool) -> Curves | None:
    """Return the curves of the estimator of a train section; None where nobody knows before.

    `validated`: the split has a validation part.
    """
    estimator = str(train.get("estimator"))
    name = estimator.rpartition(".")[2]
    if train.get("calibrate"):
        return Curves()
    if estimator.startswith("catboost."):
        return _of_catboost(name, get, validated)
    if estimator.startswith("sklearn."):
        known = _of_sklearn(name, get, _score(name, validated), bool(train.get("accelerate")))
        if known is not None:
            return known
    return Curves() if estimator.startswith(_WITHOUT) else None


def _of_catboost(name: str, get: Get, validated: bool) -> Curves:
    """Return CatBoost's: what it boosts by and its other metrics, of each part; by default its evaluation metric."""
    loss = get("loss_function") or get("objective")
    own = [loss] if loss else ["Logloss", "MultiClass"] if name.endswith("Classifier") else ["RMSE"]
    custom = get("custom_metric") or []
    by = [get("eval_metric")] if get("eval_metric") else own
    metrics = dict.fromkeys(_called(m) for m in [*by, *own, *([custom] if isinstance(custom, str) else custom)])
    late = str(get("task_type")).upper() == "GPU"  # there CatBoost calls nobody
    parts = ("validation", "train") if validated else ("train",)
    labels = tuple(Label(f"{part}_{metric}", goal_of(metric), late) for part in parts for metric in metrics)
    default = tuple(f"validation_{_called(metric)}" for metric in by) if validated and not late else ()
    count = next((get(key) for key in _ITERATIONS if get(key)), 1000)
    return Curves(labels, -(-count // (get("metric_period") or 1)), default)


def _called(metric: Any) -> str:
    """Return a metric as CatBoost names it in its results: without hints."""
    name, _, options = str(metric).partition(":")
    kept = [option for option in options.split(";") if option and not option.startswith("hints=")]
    return (f"{name}:{';'.join(kept)}" if kept else name).lower()


def _score(name: str, validated: bool) -> Label:
    """Return the curve of scores that `stages.stepwise` makes."""
    metric = "accuracy" if name.endswith("Classifier") else "r2"
    return Label(f"{'validation' if validated else 'train'}_{metric}", "maximize")


def _of_sklearn(name: str, get: Get, score: Label, accelerated: bool) -> Curves | None:
    """Return the curves of an estimator of scikit-learn's that has some."""
    kind = name.removesuffix("Classifier").removesuffix("Regressor")
    late = Label(score.name, score.goal, late=True)
    if kind == "GradientBoosting":
        return Curves((Label("train_score", "minimize"),), get("n_estimators") or 100)  # it is the loss
    if kind == "HistGradientBoosting":
        return _of_histogram(get, late)
    if kind == "MLP":
        return _of_perceptron(get)
    if name in _FORESTS:
        held = (score.name,) if score.name.startswith("validation") else ()
        return Curves() if accelerated else Curves((score,), get("n_estimators") or 100, held)
    return Curves((late,), get("n_estimators") or 50) if name in _STAGED else None


def _of_histogram(get: Get, late: Label) -> Curves:
    """Return those of histogram gradient boosting: its own where it stops early, as by default from 10,000 rows on."""
    early, length = get("early_stopping"), (get("max_iter") or 100) + 1
    if early is False:
        return Curves((late,), length)
    negative = get("scoring") in (None, "loss")
    own = [Label(name, "maximize", negative=negative) for name in ("validation_score", "train_score")]
    return Curves((*own, *(() if early is True else (late,))), length, ("validation_score",))


def _of_perceptron(get: Get) -> Curves:
    """Return those of a multilayer perceptron."""
    if get("solver") == "lbfgs":
        return Curves()
    own, held = Label("train_loss", "minimize"), Label("validation_score", "maximize")
    length = get("max_iter") or 200
    return Curves((own, held), length, (held.name,)) if get("early_stopping") else Curves((own,), length)
