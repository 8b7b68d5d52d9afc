"""Steps of a transformers model: the logits of the next token, given those before it.

``generate()`` of transformers runs one request to its end. Steps of one's own let several texts
grow in turns in one thread, be cancelled between two tokens, and have random numbers of their own.
A text is a batch of one, so there is no padding that a model could mistake for text.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Protocol

__all__ = ["CausalDecoder", "Decoder", "Seq2SeqDecoder", "State"]


class State(Protocol):
    """One text that grows. Used in one thread only."""

    def logits(self, token: int | None) -> Any:
        """Takes the token chosen last, none at first; the logits of the next one."""


class Decoder(Protocol):
    """A model whose texts grow."""

    continues: bool
    """Whether a text goes on where its prompt ends."""

    def begin(self, prompt: Sequence[int]) -> State:
        """Begins a text; nothing is computed yet."""


class CausalDecoder:
    """Models that go on where the prompt ends."""

    continues = True

    def __init__(self, torch: Any, model: Any) -> None:
        self._torch, self._model = torch, model
        self._cache = _cache_name(model)
        self._last_only = _last_only(model)

    def begin(self, prompt: Sequence[int]) -> State:
        def forward(tokens: Any, past: Any) -> Any:
            more = {self._cache: past, **self._last_only}
            return self._model(input_ids=tokens, use_cache=True, **more)

        return _Growing(self._torch, forward, self._cache, prompt)


class Seq2SeqDecoder:
    """Models that read the prompt, and answer with a text of its own."""

    continues = False

    def __init__(self, torch: Any, model: Any) -> None:
        self._torch, self._model = torch, model
        self._cache = _cache_name(model)
        start = getattr(model.generation_config, "decoder_start_token_id", None)
        if start is None:
            start = getattr(model.config, "decoder_start_token_id", None)
        self._start = int(start if start is not None else model.config.bos_token_id or 0)

    def begin(self, prompt: Sequence[int]) -> State:
        read: Any = None
        tokens = self._torch.tensor([list(prompt)])
        mask = self._torch.ones_like(tokens)

        def forward(made: Any, past: Any) -> Any:
            nonlocal read
            if read is None:
                read = self._model.get_encoder()(input_ids=tokens, attention_mask=mask)
            return self._model(
                encoder_outputs=read,
                attention_mask=mask,
                decoder_input_ids=made,
                use_cache=True,
                **{self._cache: past},
            )

        return _Growing(self._torch, forward, self._cache, [self._start])


class _Growing:
    """Keeps what the model knows of the tokens before; if it keeps nothing, the tokens."""

    def __init__(self, torch: Any, forward: Any, cache: str, tokens: Sequence[int]) -> None:
        self._torch, self._forward, self._cache = torch, forward, cache
        self._tokens = list(tokens)
        self._past: Any = None

    def logits(self, token: int | None) -> Any:
        if token is not None:
            self._tokens.append(token)
        new = self._tokens if self._past is None or token is None else [token]
        found = self._forward(self._torch.tensor([new]), self._past)
        self._past = getattr(found, self._cache, None)
        return found.logits[0, -1]


def _last_only(model: Any) -> dict[str, int]:
    """What keeps a model from computing the logits after each token of a prompt.

    Of 8,000 tokens and a vocabulary of 150,000 they take 4.8 GB; only the last ones are looked at.
    """
    known = inspect.signature(model.forward).parameters
    # The second is what older releases of transformers call it.
    found = next((n for n in ("logits_to_keep", "num_logits_to_keep") if n in known), None)
    return {found: 1} if found else {}


def _cache_name(model: Any) -> str:
    """What models call what they know of the tokens before; it changed with transformers 5."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
