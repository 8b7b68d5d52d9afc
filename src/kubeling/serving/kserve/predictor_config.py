"""The class of ``kserve.predictor_config``."""

from kubeling.serving.server.predictor import PredictorConfig

__all__ = ["PredictorConfig"]
