"""A model on BentoML, as its introduction shows it; ``bentoml serve`` reads this.

Environment: FOLDER, WORKERS
"""

import os
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
from serving_models import load


@bentoml.service(workers=int(os.environ["WORKERS"]))
class OneModel:
    def __init__(self) -> None:
        self.model = load(Path(os.environ["FOLDER"]))

    @bentoml.api
    def predict(self, instances: list[list[float]]) -> dict[str, Any]:
        return {"predictions": self.model(np.asarray(instances)).tolist()}
