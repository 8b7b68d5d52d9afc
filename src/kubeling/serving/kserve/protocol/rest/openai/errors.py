"""The errors of ``kserve.protocol.rest.openai.errors``."""

from kubeling.serving.server.openai.errors import OpenAIError, create_error_response

__all__ = ["OpenAIError", "create_error_response"]
