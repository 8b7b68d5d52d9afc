"""Where OpenAI's pages are.

Upstream has them below ``/openai`` (``KSERVE_OPENAI_ROUTE_PREFIX``; kserve's
protocol/rest/openai/endpoints.py). LLMInferenceServices are asked below ``/v1``, as vLLM answers,
so the pages are there, too; ``/v1/models`` then has the form of both protocols.
"""

from __future__ import annotations

import os
from typing import Final

__all__ = ["CLASSIFY", "PAGES", "page_of", "route_prefix"]

PAGES: Final = ("completions", "chat/completions", "embeddings", "rerank")
"""The pages that are below ``/v1`` as well."""
CLASSIFY: Final = "classify"
"""vLLM's own page, which is at the root."""


def route_prefix() -> str:
    """Where the pages are; without slashes around it."""
    return os.environ.get("KSERVE_OPENAI_ROUTE_PREFIX", "/openai").strip("/")


def page_of(path: str, prefix: str) -> str | None:
    """The page at a path, what follows ``v1/``; ``None`` if it is none of these."""
    root = f"{prefix}/v1/"
    if prefix and path.startswith(root):
        return path.removeprefix(root)
    page = path.removeprefix("v1/")
    if page == CLASSIFY:
        return page
    return page if page in PAGES and page != path else None
