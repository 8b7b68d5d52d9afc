"""How the next token is chosen.

The parameters are OpenAI's, and those that vLLM adds to its API (``top_k``, ``min_p``,
``repetition_penalty``, ``ignore_eos``, ``min_tokens``). A request has a generator of its own, so
that equal seeds give equal texts whatever else is made at the time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kubeling.serving.server.generation.guides import Guide

__all__ = ["Chooser", "Chosen", "Sampling", "told"]

_GREEDY: Final = 1e-5
"""Temperatures below it only leave the likeliest token, and numbers that are none (as vLLM's)."""
_LARGEST: Final = 1e30
"""What a logit may become; beyond it probabilities would not be numbers."""
_USUALLY: Final = 1024
"""Tokens of which one is chosen by a share, mostly."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """What a request says about the tokens it wants."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    min_tokens: int = 0
    logprobs: int | None = None
    """How many of the likeliest tokens are told beside the chosen one; none if ``None``."""
    prompt_logprobs: bool = False
    """Whether the same is told of the tokens of the prompt."""
    guide: Callable[[], Guide] | None = None
    """Makes what keeps a text to its form."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A token, how likely the model found it, and the likeliest ones."""

    token: int
    logprob: float | None = None
    likeliest: Sequence[tuple[int, float]] = ()


def told(logits: Any, tokens: Sequence[int], likeliest: int) -> list[Chosen]:
    """How likely tokens were, each by a row of logits, and which ones were likeliest."""
    logprobs = logits.float().log_softmax(-1)
    best = logprobs.topk(min(likeliest, logprobs.shape[-1]))
    rows = zip(tokens, best.indices.tolist(), best.values.tolist(), strict=True)
    return [
        Chosen(token, float(logprobs[row, token]), list(zip(ids, values, strict=True)))
        for row, (token, ids, values) in enumerate(rows)
    ]


class Chooser:
    """Chooses the tokens of one text."""

    def __init__(self, torch: Any, sampling: Sampling, prompt: Sequence[int]) -> None:
        self._torch = torch
        self._sampling = sampling
        self._made: Counter[int] = Counter()
        self._seen = set(prompt) if sampling.repetition_penalty != 1.0 else set()
        bias = sampling.logit_bias
        self._biased = torch.tensor([*bias], dtype=torch.long)
        self._bias = torch.tensor([*bias.values()], dtype=torch.float32)
        self._guide = sampling.guide and sampling.guide()
        self._random = torch.Generator()
        if sampling.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(sampling.seed % (1 << 63))

    @property
    def complete(self) -> bool:
        """Whether the text has its form, and nothing may follow."""
        return self._guide is not None and self._guide.complete

    def choose(self, logits: Any, forbidden: Sequence[int] = ()) -> Chosen:
        """The next token, by the model's logits for each of the vocabulary."""
        logits = logits.float()
        adjusted = self._adjusted(logits.clone())
        if forbidden:
            adjusted[list(forbidden)] = float("-inf")
        if self._guide is not None:
            adjusted = self._guide.bound(adjusted)
        token = self._picked(adjusted)
        if self._guide is not None:
            self._guide.took(token)
        self._made[token] += 1
        if self._sampling.repetition_penalty != 1.0:
            self._seen.add(token)
        if self._sampling.logprobs is None:
            return Chosen(token)
        return told(logits[None], [token], self._sampling.logprobs)[0]

    def _adjusted(self, logits: Any) -> Any:
        sampling = self._sampling
        if self._seen:
            seen = sorted(self._seen)
            found, penalty = logits[seen], sampling.repetition_penalty
            changed = self._torch.where(found > 0, found / penalty, found * penalty)
            logits[seen] = changed.clamp(-_LARGEST, _LARGEST)
        if self._made and (sampling.presence_penalty or sampling.frequency_penalty):
            counts = self._torch.tensor(list(self._made.values()))
            taken = sampling.presence_penalty + counts * sampling.frequency_penalty
            logits[list(self._made)] -= taken
        if sampling.logit_bias:
            logits[self._biased] += self._bias
        return logits

    def _picked(self, logits: Any) -> int:
        sampling = self._sampling
        if sampling.temperature < _GREEDY:
            return int(logits.argmax())
        logits = logits / sampling.temperature
        if 0 < sampling.top_k < len(logits):
            logits[logits < logits.topk(sampling.top_k).values[-1]] = float("-inf")
        probabilities = logits.softmax(-1)
        if sampling.min_p:
            probabilities[probabilities < sampling.min_p * probabilities.max()] = 0
        if sampling.top_p < 1:
            probabilities = self._likeliest(probabilities, max(sampling.top_p, 1e-9))
        return int(self._torch.multinomial(probabilities, 1, generator=self._random))

    def _likeliest(self, probabilities: Any, share: float) -> Any:
        """Leaves out those whose likelier ones already make up the share; one always stays."""
        ordered, places = probabilities.topk(min(_USUALLY, len(probabilities)))
        if ordered.sum() < share:
            # To sort a large vocabulary takes longer than all else.
            ordered, places = probabilities.sort(descending=True)
        kept = places[ordered.cumsum(-1) - ordered < share]
        return self._torch.zeros_like(probabilities).index_copy(0, kept, probabilities[kept])
