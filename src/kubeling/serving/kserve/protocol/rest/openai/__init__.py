"""The classes of ``kserve.protocol.rest.openai``; the proxy to another server is not among them."""

from kubeling.serving.server.openai.chat_adapter import OpenAIChatAdapterModel
from kubeling.serving.server.openai.models import (
    ChatPrompt,
    OpenAIEncoderModel,
    OpenAIGenerativeModel,
    OpenAIModel,
)
from kubeling.serving.server.openai.requests import ChatCompletionRequest, CompletionRequest

__all__ = [
    "ChatCompletionRequest",
    "ChatPrompt",
    "CompletionRequest",
    "OpenAIChatAdapterModel",
    "OpenAIEncoderModel",
    "OpenAIGenerativeModel",
    "OpenAIModel",
]
