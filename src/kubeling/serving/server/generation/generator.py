"""A model that makes text, apart from the protocols that ask for it: tokens in, pieces out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from kubeling.serving.server.errors import InvalidInput
from kubeling.serving.server.generation.engine import Engine
from kubeling.serving.server.generation.growing import Growth
from kubeling.serving.server.generation.guides import Guide, Guides
from kubeling.serving.server.generation.own_calls import CallStyle
from kubeling.serving.server.generation.sampling import Sampling

__all__ = ["Generator", "context_length"]

T = TypeVar("T")

_CONTEXT_KEYS: Final = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "seq_length",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
"""What configurations call the longest text a model knows (upstream's utils.py)."""
_CONTEXT: Final = 2048
_LONGEST_TOKEN: Final = 1024
"""Characters; what has more for each token of the context is too long, and long to take apart."""


class Generator:
    """A tokenizer and the engine of a model. Its coroutines are for one event loop."""

    def __init__(
        self,
        tokenizer: Any,
        engine: Engine,
        context: int,
        vocabulary: int,
        continues: bool = True,
        guides: Guides | None = None,
        calls: CallStyle | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.engine = engine
        self.context = context
        """How many tokens the prompt and the text have at most."""
        self.vocabulary = vocabulary
        self.continues = continues
        self.calls = calls
        """How the model writes calls of tools, if that is known."""
        self._guides = guides
        self.prompt_tokens = 0
        self.made_tokens = 0
        self._special = frozenset(tokenizer.all_special_ids)
        # A fast tokenizer refuses to be used by two threads where one of them changes it.
        self._lock = threading.Lock()

    async def tokens(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """The tokens of a text; one without any is begun as the model's texts are.

        Raises :class:`~..errors.InvalidInput` for a text that is surely too long.
        """
        if len(text) > self.context * _LONGEST_TOKEN:
            raise InvalidInput(
                f"This model's maximum context length is {self.context} tokens. However, you sent "
                f"{len(text)} characters. Please reduce the length of the messages."
            )

        def encode() -> list[int]:
            return list(self.tokenizer(text, add_special_tokens=add_special_tokens)["input_ids"])

        return await self.locked(encode) or self._beginning()

    async def locked(self, work: Callable[[], T]) -> T:
        """Does something with the tokenizer in a thread."""

        def run() -> T:
            try:
                with self._lock:
                    return work()
            except Exception:
                raise
            except BaseException as panic:
                # One of Rust; who asked would never be answered.
                raise RuntimeError(f"the tokenizer failed: {panic}") from panic

        return await asyncio.to_thread(run)

    async def guide(self, field: str, form: Mapping[str, Any]) -> Callable[[], Guide]:
        """What keeps texts to a form; raises :class:`~..errors.InvalidInput`."""
        guides = self._guides
        if guides is None:
            raise InvalidInput(f"{field}: this model's texts have no form of their own")
        return await self.locked(lambda: guides.of(field, form))

    def checked(self, tokens: Sequence[Any], param: str = "prompt") -> list[int]:
        """Tokens that a client sent; raises :class:`~..errors.InvalidInput`."""
        for token in tokens:
            if not isinstance(token, int) or not 0 <= token < self.vocabulary:
                raise InvalidInput(
                    f"{param}: {token!r} is no token; tokens are 0 to {self.vocabulary - 1}"
                )
        return list(tokens)

    def room(self, prompt: Sequence[int], wanted: int | None) -> int:
        """How many tokens may be made; raises :class:`~..errors.InvalidInput`, in vLLM's words."""
        used = len(prompt) if self.continues else 0
        if len(prompt) > self.context or used + (wanted or 1) > self.context:
            asked = "" if wanted is None else f", {wanted} in the completion"
            total = len(prompt) + (wanted or 1)
            raise InvalidInput(
                f"This model's maximum context length is {self.context} tokens. However, you "
                f"requested {total} tokens ({len(prompt)} in the messages{asked}). Please reduce "
                "the length of the messages or completion."
            )
        return self.context - used if wanted is None else wanted

    def grow(self, prompts: Sequence[Sequence[int]], samplings: Sequence[Sampling]) -> Growth:
        """Begins texts; raises :class:`~..errors.Overloaded`."""
        for sampling in samplings:
            self.checked(list(sampling.logit_bias), "logit_bias")
        return self.engine.grow(prompts, samplings)

    def text_of(self, token: int) -> str:
        """A token as text, by itself."""
        return str(self.tokenizer.decode([token]))

    def is_special(self, token: int) -> bool:
        """Whether a token is one that no text shows."""
        return token in self._special

    def count(self, prompt: int, made: int) -> None:
        """Remembers how many tokens were read and made."""
        self.prompt_tokens += prompt
        self.made_tokens += made

    def _beginning(self) -> list[int]:
        for token in (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return [int(token)]
        raise InvalidInput("prompt: has no tokens, and the tokenizer none to begin a text with")


def context_length(config: Any, tokenizer: Any, wanted: int | None = None) -> int:
    """The longest text of a model, or a shorter one that is wanted."""
    text = getattr(config, "text_config", None) or config
    found = [getattr(text, key) for key in _CONTEXT_KEYS if getattr(text, key, None)]
    known = int(tokenizer.model_max_length)
    # Where a tokenizer says nothing, transformers has an absurd number.
    limits = [int(number) for number in found] + ([known] if known < 1 << 30 else [])
    longest = min(limits, default=_CONTEXT)
    return min(longest, wanted) if wanted else longest
