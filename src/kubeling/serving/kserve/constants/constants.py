"""Names of the protocols and headers, as ``kserve.constants.constants`` has them."""

from typing import Final

from kubeling.serving.server.predictor import PredictorProtocol

__all__ = ["INFERENCE_CONTENT_LENGTH_HEADER", "PredictorProtocol"]

INFERENCE_CONTENT_LENGTH_HEADER: Final = "inference-header-content-length"
