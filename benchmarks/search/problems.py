"""What is searched: functions with a known minimum, and models trained on scikit-learn's data.

A problem's parameters are those of an Experiment, so that every searcher translates the same ones.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

Assignment = Mapping[str, Any]
"""A parameter's value: a float, an int or a category."""


@dataclass(frozen=True)
class Problem:
    """A loss to be made small."""

    name: str
    parameters: tuple[dict[str, Any], ...]
    loss: Callable[[Assignment], float]


def double(name: str, low: float, high: float, log: bool = False) -> dict[str, Any]:
    space = {
        "min": repr(low),
        "max": repr(high),
        "distribution": "logUniform" if log else "uniform",
    }
    return {"name": name, "parameterType": "double", "feasibleSpace": space}


def integer(name: str, low: int, high: int) -> dict[str, Any]:
    space = {"min": str(low), "max": str(high), "distribution": "uniform"}
    return {"name": name, "parameterType": "int", "feasibleSpace": space}


def category(name: str, *values: str) -> dict[str, Any]:
    return {"name": name, "parameterType": "categorical", "feasibleSpace": {"list": list(values)}}


def branin(x: Assignment) -> float:
    a, b = x["a"], x["b"]
    bowl = b - 5.1 / (4 * math.pi**2) * a**2 + 5 / math.pi * a - 6
    return float(bowl**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10 - 0.397887)


_HARTMANN_A = (
    (10, 3, 17, 3.5, 1.7, 8),
    (0.05, 10, 17, 0.1, 8, 14),
    (3, 3.5, 1.7, 10, 17, 8),
    (17, 8, 0.05, 10, 0.1, 14),
)
_HARTMANN_P = (
    (1312, 1696, 5569, 124, 8283, 5886),
    (2329, 4135, 8307, 3736, 1004, 9991),
    (2348, 1451, 3522, 2883, 3047, 6650),
    (4047, 8828, 8732, 5743, 1091, 381),
)


def hartmann(x: Assignment) -> float:
    total = 0.0
    for weight, row, place in zip((1.0, 1.2, 3.0, 3.2), _HARTMANN_A, _HARTMANN_P, strict=True):
        off = sum(
            a * (x[f"x{i}"] - p * 1e-4) ** 2
            for i, (a, p) in enumerate(zip(row, place, strict=True))
        )
        total += weight * math.exp(-off)
    return 3.32237 - total


def rosenbrock(x: Assignment) -> float:
    v = [x[f"x{i}"] for i in range(10)]
    return float(sum(100 * (v[i + 1] - v[i] ** 2) ** 2 + (1 - v[i]) ** 2 for i in range(9)))


def ackley(x: Assignment) -> float:
    v = [x[f"x{i}"] for i in range(20)]
    square, wave = sum(a * a for a in v) / 20, sum(math.cos(2 * math.pi * a) for a in v) / 20
    return 20 + math.e - 20 * math.exp(-0.2 * math.sqrt(square)) - math.exp(wave)


def mixed(x: Assignment) -> float:
    """Categories that shift the optimum, an integer, logarithmic rates: a training run's shape."""
    shift = {"sgd": 0.0, "adam": -1.5, "rmsprop": -1.0}[x["optimizer"]]
    rate = math.log10(x["rate"]) - (-1.5 + shift)
    decay = math.log10(x["decay"]) + 4
    shape = {"relu": 0.0, "tanh": 0.15, "gelu": 0.05, "elu": 0.1}[x["activation"]]
    layers = abs(x["layers"] - (4 if x["activation"] == "relu" else 6)) / 4
    waves = 0.1 * (1 - math.cos(4 * rate))
    base = {"sgd": 0.1, "adam": 0.0, "rmsprop": 0.05}[x["optimizer"]]
    dropout = (x["dropout"] - 0.2 - 0.02 * x["layers"]) ** 2
    return 0.3 * rate**2 + waves + 0.02 * decay**2 + shape + layers**2 * 0.3 + base + 2 * dropout


@cache
def _data(name: str) -> Any:
    from sklearn import datasets, model_selection

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return model_selection.train_test_split(x, y, test_size=0.4, random_state=0)


def boosted(x: Assignment) -> float:
    import xgboost
    from sklearn import metrics

    train_x, test_x, train_y, test_y = _data("breast_cancer")
    model = xgboost.XGBClassifier(
        n_estimators=x["trees"],
        learning_rate=x["rate"],
        max_depth=x["depth"],
        subsample=x["subsample"],
        colsample_bytree=x["columns"],
        reg_lambda=x["l2"],
        min_child_weight=x["weight"],
        n_jobs=1,
        random_state=0,
    )
    model.fit(train_x, train_y)
    return float(metrics.log_loss(test_y, model.predict_proba(test_x)))


def support(x: Assignment) -> float:
    from sklearn import pipeline, preprocessing, svm

    train_x, test_x, train_y, test_y = _data("digits")
    scaler = {
        "standard": preprocessing.StandardScaler(),
        "minmax": preprocessing.MinMaxScaler(),
        "none": "passthrough",
    }[x["scaler"]]
    model = svm.SVC(C=x["c"], gamma=x["gamma"], kernel=x["kernel"], degree=3, cache_size=50)
    fitted = pipeline.make_pipeline(scaler, model).fit(train_x[:400], train_y[:400])
    return float(1 - fitted.score(test_x, test_y))


def perceptron(x: Assignment) -> float:
    from sklearn import metrics, neural_network, pipeline, preprocessing

    train_x, test_x, train_y, test_y = _data("wine")
    model = neural_network.MLPClassifier(
        hidden_layer_sizes=(x["width"],) * x["layers"],
        learning_rate_init=x["rate"],
        alpha=x["decay"],
        activation=x["activation"],
        batch_size=min(x["batch"], len(train_x)),
        max_iter=15,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = pipeline.make_pipeline(preprocessing.StandardScaler(), model).fit(train_x, train_y)
        probabilities = fitted.predict_proba(test_x)
    return float(metrics.log_loss(test_y, probabilities))


PROBLEMS = {
    problem.name: problem
    for problem in (
        Problem("branin", (double("a", -5.0, 10.0), double("b", 0.0, 15.0)), branin),
        Problem("hartmann-6", tuple(double(f"x{i}", 0.0, 1.0) for i in range(6)), hartmann),
        Problem("rosenbrock-10", tuple(double(f"x{i}", -5.0, 10.0) for i in range(10)), rosenbrock),
        Problem("ackley-20", tuple(double(f"x{i}", -10.0, 20.0) for i in range(20)), ackley),
        Problem(
            "mixed",
            (
                double("rate", 1e-6, 1.0, log=True),
                double("decay", 1e-8, 1e-1, log=True),
                double("dropout", 0.0, 0.7),
                integer("layers", 1, 12),
                category("optimizer", "sgd", "adam", "rmsprop"),
                category("activation", "relu", "tanh", "gelu", "elu"),
            ),
            mixed,
        ),
        Problem(
            "xgboost",
            (
                double("rate", 1e-3, 1.0, log=True),
                integer("trees", 5, 60),
                integer("depth", 1, 8),
                double("subsample", 0.3, 1.0),
                double("columns", 0.3, 1.0),
                double("l2", 1e-3, 100.0, log=True),
                double("weight", 0.1, 20.0, log=True),
            ),
            boosted,
        ),
        Problem(
            "svm",
            (
                double("c", 1e-3, 1e4, log=True),
                double("gamma", 1e-6, 10.0, log=True),
                category("kernel", "rbf", "poly", "sigmoid", "linear"),
                category("scaler", "standard", "minmax", "none"),
            ),
            support,
        ),
        Problem(
            "mlp",
            (
                double("rate", 1e-5, 1.0, log=True),
                double("decay", 1e-8, 10.0, log=True),
                integer("width", 2, 64),
                integer("layers", 1, 4),
                integer("batch", 4, 64),
                category("activation", "relu", "tanh", "logistic"),
            ),
            perceptron,
        ),
    )
}
