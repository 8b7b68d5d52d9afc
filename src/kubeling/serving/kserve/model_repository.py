"""The class of ``kserve.model_repository``."""

from kubeling.serving.server.repository import ModelRepository

__all__ = ["ModelRepository"]
