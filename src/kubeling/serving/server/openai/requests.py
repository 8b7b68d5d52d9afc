"""What is asked for through OpenAI's API, with vLLM's additions that a CPU can follow.

A field that is not known is refused, as OpenAI does; those that say nothing of the answer
(``user``, ``metadata`` …) are taken. What is known and cannot be done is refused with a reason,
where the request is answered.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from kubeling.serving.server.openai.structs import ApiObject

__all__ = [
    "ChatCompletionRequest",
    "ClassificationRequest",
    "CompletionRequest",
    "EmbeddingRequest",
    "GenerationRequest",
    "RerankRequest",
    "StreamOptions",
    "StructuredOutputs",
]

Penalty = Annotated[float, Meta(ge=-2, le=2)]
Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Bias = Annotated[float, Meta(ge=-100, le=100)]
Likeliest = Annotated[int, Meta(ge=0, le=20)]
Message = dict[str, Any]


class StreamOptions(ApiObject, kw_only=True, forbid_unknown_fields=True):
    """What a stream holds beside the text."""

    include_usage: bool = False
    continuous_usage_stats: bool = False
    include_obfuscation: bool = False


class StructuredOutputs(ApiObject, kw_only=True, forbid_unknown_fields=True):
    """The form of a text, in one of vLLM's ways."""

    json: dict[str, Any] | bool | str | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None


class GenerationRequest(ApiObject, kw_only=True, forbid_unknown_fields=True):
    """What completions and chats have in common."""

    model: str
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, Bias] | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = 1
    presence_penalty: Penalty | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Share | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None
    # vLLM's
    top_k: Annotated[int, Meta(ge=-1)] | None = None
    min_p: Share | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    ignore_eos: bool = False
    min_tokens: Count = 0
    response_format: dict[str, Any] | None = None
    structured_outputs: StructuredOutputs | None = None
    request_id: str | None = None


class CompletionRequest(GenerationRequest, kw_only=True):
    """A text to go on with, or its tokens; several of them in a list."""

    prompt: str | list[Any] | None = None
    best_of: int | None = None
    echo: bool | None = False
    logprobs: Likeliest | None = None
    max_tokens: Count | None = 16
    suffix: str | None = None
    add_special_tokens: bool = True


class ChatCompletionRequest(GenerationRequest, kw_only=True):
    """A conversation to go on with."""

    messages: list[Message]
    logprobs: bool | None = False
    top_logprobs: Likeliest | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    store: bool | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    # vLLM's
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    add_special_tokens: bool = False
    documents: list[dict[str, Any]] | None = None
    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class EmbeddingRequest(ApiObject, kw_only=True, forbid_unknown_fields=True):
    """Texts whose vectors are wanted."""

    model: str
    input: str | list[Any] | None = None
    encoding_format: str | None = "float"
    dimensions: int | None = None
    user: str | None = None
    request_id: str | None = None


class RerankRequest(ApiObject, kw_only=True, forbid_unknown_fields=True):
    """Documents to be put into the order of their relevance to a query."""

    model: str
    query: str
    documents: list[str]
    top_n: Count = 0
    user: str | None = None
    request_id: str | None = None


class ClassificationRequest(ApiObject, kw_only=True, forbid_unknown_fields=True):
    """Texts whose classes are wanted (vLLM's); without a model, the only one is asked."""

    input: str | list[str]
    model: str = ""
    user: str | None = None
    request_id: str | None = None
