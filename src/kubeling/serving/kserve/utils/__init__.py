"""The package of :mod:`.utils`."""

from kubeling.serving.kserve.utils import utils

__all__ = ["utils"]
