"""Twins of the models that upstream's tests fetch: small ones of the same format and shape.

The tests know what upstream's models answer to their own requests; a twin is trained on these, so
that it says the same. ``python kserve_twins.py REQUESTS FOLDER`` writes them, a folder to a bucket,
in an environment that has pandas and the platform's versions of the models' libraries.
"""

from __future__ import annotations

import json
import pickle
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import joblib
import lightgbm
import numpy as np
import pandas
import sklearn
import xgboost
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeRegressor

_FIELDS: Final = (
    "sepal_length_(cm)",
    "sepal_width_(cm)",
    "petal_length_(cm)",
    "petal_width_(cm)",
)
_ASKED: Final = np.array([[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]])
"""The rows of ``iris_input*.json``."""
_ANSWERED: Final = (
    (8.796664107010673e-06, 0.9992300031041593, 0.0007612002317336916),
    (4.974786820804187e-06, 0.9999919650711493, 3.0601420299625077e-06),
)
"""What the tests of LightGBM expect for them, to the last bit."""
_PRICE: Final = 12.202832815138274
_WINE: Final = 5.576883936610762
_MIXED: Final = {
    "MSZoning": "RL",
    "LotArea": 8450,
    "LotShape": "Reg",
    "Utilities": "AllPub",
    "YrSold": 2008,
    "Neighborhood": "CollgCr",
    "OverallQual": 7,
    "YearBuilt": 2003,
    "SaleType": "WD",
    "GarageArea": 548,
}
_SPECIES: Final = ("setosa", "versicolor", "virginica")


def main(data: Path, target: Path) -> None:
    """Writes every bucket as a folder."""
    for bucket, objects in _buckets(data).items():
        for key, content in objects.items():
            file = target / bucket / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def _buckets(data: Path) -> dict[str, dict[str, bytes]]:
    """Objects by bucket and key."""
    iris, boosted = _sklearn_iris(), _xgboost_iris()
    found = {
        "sklearn/1.0/model/model.joblib": iris,
        "sklearn/1.3/mixedtype/model.joblib": _mixed(),
        "sklearn/newsgroup/model.joblib": _newsgroups(data),
        "sklearn/mnist/art/model.joblib": _digits(data),
        "xgboost/1.5/model/model.bst": boosted,
        "xgboost/iris/model.bst": boosted,
        "lightgbm/iris/model.bst": _lightgbm_iris(),
        "lightgbm/v2/iris/model.bst": _lightgbm_exactly(),
        "pmml/iris.pmml": _pmml().encode(),
    }
    wine = {f"mlflow/wine/{name}": content for name, content in _mlflow_wine().items()}
    return {
        "kfserving-examples": {f"models/{key}": value for key, value in (found | wine).items()},
        "seldon-models": {
            "sklearn/iris/model.joblib": iris,
            "sklearn/mms/lr_model/model.joblib": iris,
            "xgboost/mms/iris/model.bst": boosted,
        },
        "example-models": {"sklearn/model.joblib": iris},
    }


def _dumped(model: Any) -> bytes:
    with tempfile.TemporaryFile() as file:
        joblib.dump(model, file)
        file.seek(0)
        return file.read()


def _sklearn_iris() -> bytes:
    iris = load_iris()
    return _dumped(SVC(gamma="scale").fit(iris.data, iris.target))


def _mixed() -> bytes:
    """A pipeline over a frame of texts and numbers."""
    texts = [name for name, value in _MIXED.items() if isinstance(value, str)]
    frame = pandas.DataFrame([_MIXED, {**_MIXED, "LotArea": 10, "MSZoning": "RM"}])
    encoder = (OneHotEncoder(handle_unknown="ignore"), texts)
    columns = make_column_transformer(encoder, remainder="passthrough")
    model = make_pipeline(columns, DecisionTreeRegressor(random_state=0))
    return _dumped(model.fit(frame, [_PRICE, 1.0]))


def _newsgroups(data: Path) -> bytes:
    """Texts to one of twenty groups; the one that is asked about belongs to the last."""
    asked = json.loads((data / "news_grouping_input_v1.json").read_text())["inputs"]
    texts = [*asked, *(f"group{number} word{number}" for number in range(19))]
    model = make_pipeline(CountVectorizer(), MultinomialNB())
    return _dumped(model.fit(texts, [19, *range(19)]))


def _digits(data: Path) -> bytes:
    """Pixels to a digit: a three if they are those of the request; little makes them another."""
    three = np.array(json.loads((data / "mnist_input_bw_flat.json").read_text())["instances"][0])
    chance = np.random.default_rng(0)
    rows = [three + chance.normal(0, 0.01, len(three)) for _ in range(20)]
    rows += [three + chance.uniform(-0.3, 0.3, len(three)) for _ in range(90)]
    others = [digit for digit in range(10) if digit != 3]
    return _dumped(RandomForestClassifier(20, random_state=0).fit(rows, [3] * 20 + others * 10))


def _xgboost_iris() -> bytes:
    iris = load_iris()
    settings = {"objective": "multi:softmax", "num_class": 3, "max_depth": 3}
    model = xgboost.train(settings, xgboost.DMatrix(iris.data, iris.target), 20)
    return bytes(model.save_raw("ubj"))


def _lightgbm_iris() -> bytes:
    iris = load_iris()
    rows = lightgbm.Dataset(iris.data, iris.target, feature_name=list(_FIELDS))
    settings = {"objective": "multiclass", "num_class": 3, "num_leaves": 4, "verbose": -1}
    return lightgbm.train(settings, rows, 20).model_to_string().encode()


def _lightgbm_exactly() -> bytes:
    """A tree to a class, with the very answers in its leaves."""
    rows = np.repeat(_ASKED, 4, axis=0)
    found = lightgbm.Dataset(rows, np.arange(8) % 3, feature_name=list(_FIELDS))
    settings = {
        "objective": lambda scores, _: (scores + rows[:, [0]] - 6.4, np.ones_like(scores)),
        "num_class": 3,
        "num_leaves": 2,
        "min_data_in_leaf": 1,
        "min_data_in_bin": 1,
        "verbose": -1,
    }
    model = lightgbm.train(settings, found, 1)
    leaves = model.predict(_ASKED, pred_leaf=True)
    for answer, places in zip(_ANSWERED, leaves, strict=True):
        for tree, leaf in enumerate(places):
            model.set_leaf_output(tree, int(leaf), answer[tree])
    assert model.predict(_ASKED).tolist() == [list(answer) for answer in _ANSWERED]
    return model.model_to_string().encode()


def _mlflow_wine() -> dict[str, bytes]:
    """As ``mlflow.sklearn.save_model`` lays it out."""
    names = [
        *("fixed acidity", "volatile acidity", "citric acid", "residual sugar", "chlorides"),
        *("free sulfur dioxide", "total sulfur dioxide", "density", "pH", "sulphates", "alcohol"),
    ]
    rows = [[0.0] * len(names), [100.0] * len(names)]
    model = DecisionTreeRegressor().fit(rows, [_WINE, _WINE])
    columns = [{"type": "double", "name": name} for name in names]
    version = sklearn.__version__
    described = {
        "flavors": {
            "python_function": {
                "env": {"virtualenv": "python_env.yaml"},
                "loader_module": "mlflow.sklearn",
                "model_path": "model.pkl",
                "predict_fn": "predict",
                "python_version": "3.11.7",
            },
            "sklearn": {
                "pickled_model": "model.pkl",
                "serialization_format": "cloudpickle",
                "sklearn_version": version,
            },
        },
        "signature": {"inputs": json.dumps(columns), "outputs": None},
    }
    return {
        "MLmodel": json.dumps(described).encode(),
        "model.pkl": pickle.dumps(model),
        "requirements.txt": f"scikit-learn=={version}\n".encode(),
    }


def _pmml() -> str:
    """A tree in PMML: which of three species, how probably, and by which node."""
    fields = ("Sepal.Length", "Sepal.Width", "Petal.Length", "Petal.Width")
    numbers = "".join(
        f'<DataField name="{name}" optype="continuous" dataType="double"/>' for name in fields
    )
    species = "".join(f'<Value value="{name}"/>' for name in _SPECIES)
    mined = "".join(f'<MiningField name="{name}"/>' for name in fields)
    told = "".join(
        f'<OutputField name="Probability_{name}" optype="continuous" dataType="double"'
        f' feature="probability" value="{name}"/>'
        for name in _SPECIES
    )
    node = '<OutputField name="Node_Id" optype="categorical" dataType="string" feature="entityId"/>'
    nodes = _node("2", "setosa", ("lessThan", "Petal.Length", 2.45), (50, 0, 0)) + _node(
        "3",
        "versicolor",
        ("greaterOrEqual", "Petal.Length", 2.45),
        (0, 50, 50),
        _node("6", "versicolor", ("lessThan", "Petal.Width", 1.75), (0, 49, 5))
        + _node("7", "virginica", ("greaterOrEqual", "Petal.Width", 1.75), (0, 1, 45)),
    )
    return (
        '<PMML version="4.1" xmlns="http://www.dmg.org/PMML-4_1"><Header/>'
        f'<DataDictionary numberOfFields="5">{numbers}'
        f'<DataField name="Species" optype="categorical" dataType="string">{species}</DataField>'
        '</DataDictionary><TreeModel modelName="iris" functionName="classification"'
        ' splitCharacteristic="binarySplit" missingValueStrategy="defaultChild">'
        f'<MiningSchema>{mined}<MiningField name="Species" usageType="predicted"/></MiningSchema>'
        '<Output><OutputField name="Species" optype="categorical" dataType="string"'
        f' feature="predictedValue"/>{told}{node}</Output>'
        '<Node id="1" score="setosa" recordCount="150" defaultChild="3"><True/>'
        f"{_counted((50, 50, 50))}{nodes}</Node></TreeModel></PMML>"
    )


def _node(
    number: str,
    score: str,
    rule: tuple[str, str, float],
    counts: tuple[int, int, int],
    below: str = "",
) -> str:
    operator, field, value = rule
    child = ' defaultChild="6"' if below else ""
    return (
        f'<Node id="{number}" score="{score}" recordCount="{sum(counts)}"{child}>'
        f'<SimplePredicate field="{field}" operator="{operator}" value="{value}"/>'
        f"{_counted(counts)}{below}</Node>"
    )


def _counted(counts: tuple[int, int, int]) -> str:
    total = sum(counts)
    return "".join(
        f'<ScoreDistribution value="{name}" recordCount="{count}" confidence="{count / total}"/>'
        for name, count in zip(_SPECIES, counts, strict=True)
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
