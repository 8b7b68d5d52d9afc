"""Metrics of models that make text, under vLLM's names, by which LLM services are watched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kubeling.serving.server.generation.generator import Generator
from kubeling.serving.server.generation.pages import Generates
from kubeling.serving.server.model import Model

__all__ = ["generation_metrics"]

_SERIES: Final = (
    ("num_requests_running", "gauge", "Texts being made"),
    ("num_requests_waiting", "gauge", "Texts to be made"),
    ("kv_cache_usage_perc", "gauge", "Share of the memory for texts that is used, up to 1"),
    ("num_preemptions_total", "counter", "Texts that waited again as that memory was full"),
    ("prompt_tokens_total", "counter", "Tokens read"),
    ("generation_tokens_total", "counter", "Tokens made"),
)


def generation_metrics(models: Mapping[str, Model]) -> str:
    """The exposition format; empty without such models."""
    found = {
        name: model.generator
        for name, model in models.items()
        if isinstance(model, Generates) and model.ready
    }
    if not found:
        return ""
    lines: list[str] = []
    for title, kind, told in _SERIES:
        lines += [f"# HELP vllm:{title} {told}", f"# TYPE vllm:{title} {kind}"]
        for name, generator in found.items():
            lines.append(f'vllm:{title}{{model_name="{name}"}} {_value(generator, title)}')
    return "\n".join(lines) + "\n"


def _value(generator: Generator, title: str) -> float:
    match title:
        case "num_requests_running":
            return generator.engine.growing
        case "num_requests_waiting":
            return generator.engine.waiting
        case "kv_cache_usage_perc":
            return round(generator.engine.fullness, 4)
        case "num_preemptions_total":
            return generator.engine.preemptions
        case "prompt_tokens_total":
            return generator.prompt_tokens
        case _:
            return generator.made_tokens
