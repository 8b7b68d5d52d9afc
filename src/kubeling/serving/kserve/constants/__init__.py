"""Names of the protocols, as ``kserve.constants`` has them."""

from kubeling.serving.kserve.constants import constants

__all__ = ["constants"]
