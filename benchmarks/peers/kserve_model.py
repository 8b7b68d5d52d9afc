"""A scikit-learn model on kserve's own server, as upstream's sklearnserver serves it.

Usage: kserve_model.py FOLDER PORT
"""

import sys
from pathlib import Path
from typing import Any

import joblib
from kserve import Model, ModelServer
from kserve.utils.utils import get_predict_input, get_predict_response


class SklearnModel(Model):
    def load(self) -> bool:
        self.model = joblib.load(Path(sys.argv[1]) / "model.joblib")
        self.ready = True
        return True

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        found = self.model.predict(get_predict_input(payload))
        return get_predict_response(payload, found, self.name)


if __name__ == "__main__":
    model = SklearnModel("model")
    model.load()
    ModelServer(http_port=int(sys.argv[2]), enable_grpc=False).start([model])
