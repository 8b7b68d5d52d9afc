"""The base class of models, as ``kserve.model`` has it, and the types that module imports."""

from kubeling.serving.server.grpc.messages import ModelInferRequest
from kubeling.serving.server.infer_types import InferRequest, InferResponse
from kubeling.serving.server.model import Model
from kubeling.serving.server.predictor import PredictorConfig, PredictorProtocol

__all__ = [
    "InferRequest",
    "InferResponse",
    "Model",
    "ModelInferRequest",
    "PredictorConfig",
    "PredictorProtocol",
]
