"""A model on LitServe, as its introduction shows it.

Usage: litserve_serving.py FOLDER PORT GRPC_PORT WORKERS
"""

import sys
from pathlib import Path
from typing import Any

import litserve
import numpy as np
from serving_models import load

FOLDER, PORT, _, WORKERS = Path(sys.argv[1]), *map(int, sys.argv[2:5])


class OneModel(litserve.LitAPI):
    def setup(self, device: Any) -> None:
        self.model = load(FOLDER)

    def decode_request(self, request: dict[str, Any]) -> Any:
        return request["instances"]

    def predict(self, x: Any) -> Any:
        return self.model(np.asarray(x))

    def encode_response(self, output: Any) -> Any:
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(OneModel(), accelerator="cpu", workers_per_device=WORKERS)
    server.run(port=PORT, generate_client_file=False, log_level="warning")
