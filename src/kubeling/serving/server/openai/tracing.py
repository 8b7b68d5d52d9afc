"""What spans of OpenAI's pages tell, by the semantic conventions for generative models."""

from __future__ import annotations

from typing import Any, Final

from kubeling.monitoring.tracing import Span, current_span

__all__ = ["asked_of", "tell_usage"]

_OPERATIONS: Final = {
    "completions": "text_completion",
    "chat/completions": "chat",
    "embeddings": "embeddings",
}


def asked_of(page: str, model: str) -> Span | None:
    """The request's span, told which model is asked for what; ``None`` while traces are off."""
    span = current_span.get()
    if span is not None:
        span.set("gen_ai.operation.name", _OPERATIONS.get(page, page))
        span.set("gen_ai.request.model", model)
    return span


def tell_usage(span: Span, answer: Any) -> None:
    """The tokens of an answer that says how many there were; none of one that streams."""
    usage = getattr(answer, "usage", None)
    for name, field in (("input", "prompt_tokens"), ("output", "completion_tokens")):
        if (tokens := getattr(usage, field, None)) is not None:
            span.set(f"gen_ai.usage.{name}_tokens", tokens)
