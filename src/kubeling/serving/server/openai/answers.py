"""What is answered through OpenAI's API."""

from __future__ import annotations

import time
import uuid
from typing import Any

from msgspec import UNSET, UnsetType, field

from kubeling.serving.server.openai.structs import ApiObject

__all__ = [
    "ChatCompletion",
    "ChatCompletionChoice",
    "ChatCompletionChunk",
    "ChatCompletionLogProb",
    "ChatCompletionLogProbs",
    "ChatCompletionLogProbsContent",
    "ChatMessage",
    "ChoiceDelta",
    "ChunkChoice",
    "Classification",
    "ClassificationData",
    "Completion",
    "CompletionChoice",
    "CompletionChunk",
    "CompletionChunkChoice",
    "CompletionLogProbs",
    "Embedding",
    "EmbeddingResponseData",
    "Error",
    "ErrorResponse",
    "FunctionCall",
    "Model",
    "ModelList",
    "Rerank",
    "RerankDocument",
    "RerankResult",
    "ToolCall",
    "UsageInfo",
    "new_id",
]


def new_id(kind: str) -> str:
    """An identity for an answer."""
    return f"{kind}-{uuid.uuid4().hex}"


def _now() -> int:
    return int(time.time())


class UsageInfo(ApiObject, kw_only=True):
    """How many tokens were read and made."""

    prompt_tokens: int = 0
    completion_tokens: int | None = 0
    total_tokens: int = 0


class CompletionLogProbs(ApiObject, kw_only=True):
    """How likely the tokens of a completion were."""

    text_offset: list[int] = field(default_factory=list)
    token_logprobs: list[float | None] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    top_logprobs: list[dict[str, float] | None] = field(default_factory=list)


class CompletionChoice(ApiObject, kw_only=True):
    """A text."""

    index: int
    text: str
    logprobs: CompletionLogProbs | None = None
    finish_reason: str | None = None


class Completion(ApiObject, kw_only=True):
    """The texts of a completion."""

    id: str = field(default_factory=lambda: new_id("cmpl"))
    object: str = "text_completion"
    created: int = field(default_factory=_now)
    model: str
    choices: list[CompletionChoice]
    system_fingerprint: str | None = None
    usage: UsageInfo | None = None


class CompletionChunkChoice(CompletionChoice, kw_only=True):
    """What a text grew by."""


class CompletionChunk(ApiObject, kw_only=True):
    """What the texts of a completion grew by."""

    id: str = field(default_factory=lambda: new_id("cmpl"))
    object: str = "text_completion"
    created: int = field(default_factory=_now)
    model: str
    choices: list[CompletionChunkChoice]
    system_fingerprint: str | None = None
    usage: UsageInfo | None = None


class ChatCompletionLogProb(ApiObject, kw_only=True):
    """How likely a token was."""

    token: str
    logprob: float
    bytes: list[int] | None = None


class ChatCompletionLogProbsContent(ChatCompletionLogProb, kw_only=True):
    """How likely a token was, and which were likeliest."""

    top_logprobs: list[ChatCompletionLogProb] = field(default_factory=list)


class ChatCompletionLogProbs(ApiObject, kw_only=True):
    """How likely the tokens of a message were."""

    content: list[ChatCompletionLogProbsContent] | None = None


class FunctionCall(ApiObject, kw_only=True, omit_defaults=True):
    """A function's name, and its arguments as JSON."""

    name: str | None = None
    arguments: str = ""


class ToolCall(ApiObject, kw_only=True, omit_defaults=True):
    """A call of a tool that the model asks for; in a stream, what it grew by."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: FunctionCall


class ChatMessage(ApiObject, kw_only=True):
    """A message of the model."""

    role: str
    content: str | None = None
    tool_calls: list[ToolCall] | UnsetType = UNSET


class ChatCompletionChoice(ApiObject, kw_only=True):
    """A message, and why it ends."""

    index: int
    message: ChatMessage
    logprobs: ChatCompletionLogProbs | None = None
    finish_reason: str | None = None


class ChatCompletion(ApiObject, kw_only=True):
    """The messages that go on with a conversation."""

    id: str = field(default_factory=lambda: new_id("chatcmpl"))
    object: str = "chat.completion"
    created: int = field(default_factory=_now)
    model: str
    choices: list[ChatCompletionChoice]
    system_fingerprint: str | None = None
    usage: UsageInfo | None = None


class ChoiceDelta(ApiObject, kw_only=True, omit_defaults=True):
    """What a message grew by; clients add up what is there."""

    role: str | None = None
    content: str | None = None
    tool_calls: list[ToolCall] | None = None


class ChunkChoice(ApiObject, kw_only=True):
    """What one of the messages grew by."""

    index: int
    delta: ChoiceDelta
    logprobs: ChatCompletionLogProbs | None = None
    finish_reason: str | None = None


class ChatCompletionChunk(ApiObject, kw_only=True):
    """What the messages grew by."""

    id: str = field(default_factory=lambda: new_id("chatcmpl"))
    object: str = "chat.completion.chunk"
    created: int = field(default_factory=_now)
    model: str
    choices: list[ChunkChoice]
    system_fingerprint: str | None = None
    usage: UsageInfo | None = None


class EmbeddingResponseData(ApiObject, kw_only=True):
    """The vector of a text, as numbers or as the base64 of little-endian floats."""

    index: int
    embedding: list[float] | str
    object: str = "embedding"


class Embedding(ApiObject, kw_only=True):
    """The vectors of texts."""

    data: list[EmbeddingResponseData]
    model: str
    usage: UsageInfo
    object: str = "list"
    id: str = field(default_factory=lambda: new_id("embd"))
    created: int = field(default_factory=_now)


class RerankDocument(ApiObject, kw_only=True):
    """A document."""

    text: str


class RerankResult(ApiObject, kw_only=True):
    """A document, its place in the request, and its relevance."""

    index: int
    document: RerankDocument
    relevance_score: float


class Rerank(ApiObject, kw_only=True):
    """Documents, the most relevant first."""

    model: str
    results: list[RerankResult]
    usage: UsageInfo
    id: str = field(default_factory=lambda: new_id("rerank"))


class ClassificationData(ApiObject, kw_only=True):
    """A text's place in the request, its likeliest class, and how likely all are."""

    index: int
    label: str
    probs: list[float]
    num_classes: int


class Classification(ApiObject, kw_only=True):
    """The classes of texts."""

    model: str
    data: list[ClassificationData]
    usage: UsageInfo
    object: str = "list"
    created: int = field(default_factory=_now)
    id: str = field(default_factory=lambda: new_id("classify"))


class Model(ApiObject, kw_only=True):
    """A model by its name."""

    id: str
    created: int = field(default_factory=_now)
    object: str = "model"
    owned_by: str = ""


class ModelList(ApiObject, kw_only=True):
    """The models of a server."""

    data: list[Model] = field(default_factory=list)
    object: str = "list"


class Error(ApiObject, kw_only=True):
    """What is wrong, with the field and the status."""

    message: str
    type: str = "BadRequestError"
    param: str | None = ""
    code: str | None = "400"


class ErrorResponse(ApiObject, kw_only=True):
    """An error as it is answered."""

    error: Error

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return self.model_dump()
