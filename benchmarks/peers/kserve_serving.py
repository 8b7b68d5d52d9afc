"""A model on kserve's own server, as upstream's sklearnserver and xgbserver serve it.

Usage: kserve_serving.py FOLDER PORT GRPC_PORT WORKERS
"""

import sys
from pathlib import Path
from typing import Any

from kserve import Model, ModelServer
from kserve.utils.utils import get_predict_input, get_predict_response
from serving_models import load

FOLDER, PORT, GRPC_PORT, WORKERS = Path(sys.argv[1]), *map(int, sys.argv[2:5])


class OneModel(Model):
    def load(self) -> bool:
        self.model = load(FOLDER)
        self.ready = True
        return True

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        found = self.model(get_predict_input(payload))
        return get_predict_response(payload, found, self.name)


if __name__ == "__main__":
    model = OneModel("model")
    model.load()
    ModelServer(http_port=PORT, grpc_port=GRPC_PORT, workers=WORKERS).start([model])
