"""Which requests may be sent a second time: those that compute an answer and change nothing."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["may_be_repeated"]

_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_COMPUTING: Final = re.compile(
    r"/v1/models/[^/]+:(predict|explain)|/v2/models/.+/(infer|generate)"
    r"|/openai/v1/(chat/completions|completions|embeddings|rerank)"
)


def may_be_repeated(method: str, target: str) -> bool:
    """By the method, as HTTP has it, or by the path, if it is an inference protocol's."""
    return method in _IDEMPOTENT or _COMPUTING.fullmatch(target.partition("?")[0]) is not None
