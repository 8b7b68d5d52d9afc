"""Names of the protocols, as ``kserve.constants.constants`` has them."""

from kubeling.serving.server.predictor import PredictorProtocol

__all__ = ["PredictorProtocol"]
