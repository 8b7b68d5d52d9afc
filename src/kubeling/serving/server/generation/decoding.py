"""Steps of a transformers model: the logits of the next token, given those before it.

``generate()`` of transformers runs one request to its end. Steps of one's own let texts grow
together, be cancelled between two tokens, and have random numbers of their own. Here a step is of
one text, as any model can do it; :mod:`.packing` has steps of several, for models proved able to.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

__all__ = ["CausalDecoder", "Decoder", "Part", "Seq2SeqDecoder", "State", "keeping_last"]


class State(Protocol):
    """What a model knows of one text that grows. Used in one thread only."""

    @property
    def unread(self) -> int:
        """How many tokens the model has not read yet."""

    @property
    def kept(self) -> int:
        """How many tokens something is kept of."""

    def append(self, token: int) -> None:
        """Adds the token that was chosen."""

    def forget(self) -> None:
        """Gives up what is kept; all tokens are unread again."""


class Part(NamedTuple):
    """A text, how many of its unread tokens are to be read, and whether each one's logits count."""

    state: State
    length: int
    every: bool = False


class Decoder(Protocol):
    """A model whose texts grow."""

    continues: bool
    """Whether a text goes on where its prompt ends."""
    together: bool
    """Whether a step may read tokens of several texts, and prompts in pieces."""
    token_bytes: int
    """What is kept of a token; 0 if it is not known."""

    def begin(self, prompt: Sequence[int]) -> State:
        """Begins a text; nothing is computed yet."""

    def read(self, parts: Sequence[Part]) -> list[Any]:
        """Reads on in texts; the logits after the last token read of each, or a row for every one.

        If it raises, every text is as it was before.
        """


class _Alone:
    """Steps of one text each, which is read to its end."""

    together = False
    token_bytes = 0

    def read(self, parts: Sequence[Part]) -> list[Any]:
        """Reads on in texts, one after another."""
        found = []
        for state, _, every in parts:
            assert isinstance(state, _Growing)
            found.append(state.logits(every))
        return found


class CausalDecoder(_Alone):
    """Models that go on where the prompt ends."""

    continues = True

    def __init__(self, torch: Any, model: Any) -> None:
        self._torch, self._model = torch, model
        self._cache = _cache_name(model)
        self._last = keeping_last(model)

    def begin(self, prompt: Sequence[int]) -> State:
        def forward(tokens: Any, past: Any, every: bool) -> Any:
            more = {self._cache: past, **({self._last: 1} if self._last and not every else {})}
            return self._model(input_ids=tokens, use_cache=True, **more)

        return _Growing(self._torch, forward, self._cache, prompt)


class Seq2SeqDecoder(_Alone):
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

        def forward(made: Any, past: Any, _: bool) -> Any:
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
        self.kept = 0

    @property
    def unread(self) -> int:
        return len(self._tokens) - self.kept

    def append(self, token: int) -> None:
        self._tokens.append(token)

    def forget(self) -> None:
        self._past, self.kept = None, 0

    def logits(self, every: bool) -> Any:
        new = self._tokens if self._past is None else self._tokens[self.kept :]
        found = self._forward(self._torch.tensor([new]), self._past, every)
        self._past = getattr(found, self._cache, None)
        self.kept = len(self._tokens)
        return found.logits[0] if every else found.logits[0, -1]


def keeping_last(model: Any) -> str | None:
    """The argument that keeps a model from computing the logits after each token of a prompt.

    Of 8,000 tokens and a vocabulary of 150,000 they take 4.8 GB; only the last ones are looked at.
    """
    known = inspect.signature(model.forward).parameters
    # The second is what older releases of transformers call it.
    return next((n for n in ("logits_to_keep", "num_logits_to_keep") if n in known), None)


def _cache_name(model: Any) -> str:
    """What models call what they know of the tokens before; it changed with transformers 5."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
