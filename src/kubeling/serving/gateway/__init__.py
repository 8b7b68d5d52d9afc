"""The inference gateway: every served model at one address, split among its revisions."""

from kubeling.serving.gateway.entry import gateway_of
from kubeling.serving.gateway.inference import InferenceGateway

__all__ = ["InferenceGateway", "gateway_of"]
