"""The base class of models, as ``kserve.model`` has it."""

from kubeling.serving.server.model import Model
from kubeling.serving.server.predictor import PredictorConfig, PredictorProtocol

__all__ = ["Model", "PredictorConfig", "PredictorProtocol"]
