"""Forms that a text must have: JSON of a schema, a regular expression, one of several texts.

llguidance, by which vLLM, SGLang and llama.cpp do so as well, says after each token which ones may
follow. It is an extra; a request that needs it is refused where it is missing.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np

from kubeling.serving.server.errors import InvalidInput

__all__ = ["Guide", "Guides"]

_JSON: Final = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""Free spaces would let a small model make nothing else until it may make no more."""


class Guide:
    """Follows one text, and says which tokens it may go on with."""

    def __init__(self, torch: Any, matcher: Any) -> None:
        self._torch, self._matcher = torch, matcher

    def bound(self, logits: Any) -> Any:
        """The logits, with those of tokens that may not follow taken away."""
        allowed = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        bits = np.unpackbits(allowed, bitorder="little")[: len(logits)].astype(bool)
        return logits.masked_fill(~self._torch.from_numpy(bits), float("-inf"))

    def took(self, token: int) -> None:
        """Goes on by a token."""
        if not self._matcher.consume_token(token):
            raise RuntimeError(f"the form of the text is lost: {self._matcher.get_error()}")

    @property
    def complete(self) -> bool:
        """Whether nothing may follow."""
        return bool(self._matcher.is_stopped())


class Guides:
    """The forms of a model's texts. May be used in any thread, by one at a time."""

    def __init__(self, torch: Any, tokenizer: Any, size: int, ends: Iterable[int]) -> None:
        self._torch = torch
        self._tokenizer, self._size, self._ends = tokenizer, size, sorted(ends)
        self._known: Any = None

    def of(self, field: str, form: Mapping[str, Any]) -> Callable[[], Guide]:
        """What makes a guide for each text; raises :class:`~..errors.InvalidInput`.

        The form is one of vLLM's ``structured_outputs``: ``json``, ``regex``, ``choice`` or
        ``grammar``.
        """
        library = self._library(field)
        (kind, value), *others = [item for item in form.items() if item[1] is not None] or [("", 0)]
        if others:
            raise InvalidInput(f"{field}: takes one of json, regex, choice and grammar")
        try:
            grammar = _grammar(library.LLMatcher, kind, value)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInput(f"{field}.{kind}: {error}") from None
        if wrong := library.LLMatcher.validate_grammar(grammar, self._known):
            raise InvalidInput(f"{field}: {wrong}")

        def guide() -> Guide:
            return Guide(self._torch, library.LLMatcher(self._known, grammar))

        return guide

    def _library(self, field: str) -> Any:
        try:
            library = importlib.import_module("llguidance")
            hub = importlib.import_module("llguidance.hf")
        except ImportError:
            raise InvalidInput(
                f"{field}: needs the Python package llguidance, which is not installed here; add "
                "it to the runtime's image"
            ) from None
        if self._known is None:
            try:
                self._known = hub.from_tokenizer(
                    self._tokenizer, n_vocab=self._size, eos_token=self._ends
                )
            except Exception as error:
                # What it knows of tokenizers is its own business; most it takes.
                raise InvalidInput(f"{field}: not with this model's tokenizer: {error}") from error
        return library


def _grammar(matcher: Any, kind: str, value: Any) -> Any:
    if kind == "json":
        schema = json.loads(value) if isinstance(value, str) else value
        return matcher.grammar_from_json_schema(schema, defaults=_JSON)
    if kind == "regex" and isinstance(value, str):
        return matcher.grammar_from_regex(value)
    if kind == "grammar" and isinstance(value, str):
        return matcher.grammar_from_lark(value)
    if kind == "choice" and value and all(isinstance(text, str) and text for text in value):
        texts = " | ".join(json.dumps(text) for text in value)
        return matcher.grammar_from_lark(f"start: {texts}")
    raise ValueError("takes a schema, an expression, or texts to choose from")
