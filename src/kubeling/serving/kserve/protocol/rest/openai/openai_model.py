"""The classes of ``kserve.protocol.rest.openai.openai_model``."""

from kubeling.serving.server.openai.models import (
    AsyncMappingIterator,
    ChatPrompt,
    OpenAIEncoderModel,
    OpenAIGenerativeModel,
    OpenAIModel,
)

__all__ = [
    "AsyncMappingIterator",
    "ChatPrompt",
    "OpenAIEncoderModel",
    "OpenAIGenerativeModel",
    "OpenAIModel",
]
