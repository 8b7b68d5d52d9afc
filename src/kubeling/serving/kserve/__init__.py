"""What models written for ``kserve`` import, under the same names.

A model of upstream's runs here with ``kserve`` replaced by ``kubeling.serving.kserve`` in its
imports; its clients (``KServeClient``, ``InferenceRESTClient`` …) stay the SDK's own. Sources:
python/kserve/kserve, model.py, model_server.py, errors.py, utils/utils.py of kserve 0.20.
"""

from kubeling.serving.kserve import constants, errors, logging, model_server, utils
from kubeling.serving.kserve.model import Model
from kubeling.serving.kserve.model_repository import ModelRepository
from kubeling.serving.kserve.model_server import ModelServer
from kubeling.serving.kserve.predictor_config import PredictorConfig
from kubeling.serving.kserve.protocol.infer_type import (
    InferInput,
    InferOutput,
    InferRequest,
    InferResponse,
)

__all__ = [
    "InferInput",
    "InferOutput",
    "InferRequest",
    "InferResponse",
    "Model",
    "ModelRepository",
    "ModelServer",
    "PredictorConfig",
    "constants",
    "errors",
    "logging",
    "model_server",
    "utils",
]
