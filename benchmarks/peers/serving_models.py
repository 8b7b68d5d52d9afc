"""The models that servers are compared with, in whatever environment a server runs.

``python serving_models.py MODEL FOLDER`` trains one there, as pickles are for the version of the
library that made them; a server's script loads it and predicts rows.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

CALM = {"nthread": 1}


def train(model: str, folder: Path) -> None:
    import joblib
    from sklearn.datasets import load_digits, load_iris
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.svm import SVC

    features, target = (load_iris if model == "iris" else load_digits)(return_X_y=True)
    if model == "xgboost":
        import xgboost

        settings = {"objective": "multi:softprob", "num_class": 10, "max_depth": 4, **CALM}
        # A round grows a tree for each class.
        made = xgboost.train(settings, xgboost.DMatrix(features, target), 50)
        made.save_model(folder / "model.json")
        return
    kinds: dict[str, Any] = {
        "iris": SVC(),
        "forest": RandomForestClassifier(100, random_state=0),
        "mlp": MLPClassifier((64,), random_state=0, max_iter=300),
    }
    joblib.dump(kinds[model].fit(features, target), folder / "model.joblib")


def load(folder: Path) -> Any:
    """What predicts rows."""
    if (folder / "model.joblib").exists():
        import joblib

        return joblib.load(folder / "model.joblib").predict
    import xgboost

    booster = xgboost.Booster(CALM)
    booster.load_model(folder / "model.json")
    return lambda rows: booster.inplace_predict(np.asarray(rows, dtype=np.float32))


if __name__ == "__main__":
    train(sys.argv[1], Path(sys.argv[2]))
