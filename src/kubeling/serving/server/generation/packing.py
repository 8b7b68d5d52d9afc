"""Steps of several texts at once: their tokens lie one after another in a batch of one.

A step of a model mostly waits for its weights, so it costs little more for 16 texts than for one.
Batches as transformers pads them would cost what the longest text of each costs, and be copied
whenever one joins or ends. Here only attention knows which token belongs to which text: it is a
function registered with transformers' attention interface, which keeps the keys and values of each
text by themselves. So prompts may be read in pieces between the tokens of others, as vLLM does.

transformers has a continuous batching of its own (``generate_batch``); it has one random generator
for all requests, and neither penalties nor biases nor the likeliest tokens for each.

What a model does beside attention may still mix texts, and what it adds to attention may be left
out. So each model is tried with known tokens, and packed only if its logits are those it has alone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final

from kubeling.serving.server.generation.decoding import (
    CausalDecoder,
    Decoder,
    Part,
    State,
    keeping_last,
)

__all__ = ["PackedDecoder", "fastest_decoder"]

log = logging.getLogger(__name__)

_NAME: Final = "kubeling_packed"
_ROOM: Final = 64
"""Tokens that there is room for at first."""
_KNOWN: Final = {"DynamicLayer", "DynamicSlidingWindowLayer"}
"""How transformers caches layers of plain attention."""
_BY_LENGTH: Final = {"dynamic", "longrope", "su"}
"""Rotary embeddings that are other ones for long texts, which those beside them would get, too."""
_step = threading.local()
"""The texts of the step that this thread is at."""


class NotPackable(Exception):
    """Why a model's texts grow one by one."""


def fastest_decoder(torch: Any, transformers: Any, model: Any) -> Decoder:
    """Steps of several texts if the model is proved able to, else of one."""
    alone = CausalDecoder(torch, model)
    usual = getattr(model.config, "_attn_implementation", None)
    try:
        with torch.inference_mode():
            packed = PackedDecoder(torch, transformers, model)
            _prove(torch, model, alone, packed)
    except Exception as error:
        # Whatever a model does, it can be served one text after another.
        if usual is not None and model.config._attn_implementation != usual:
            model.set_attn_implementation(usual)
        log.info("texts grow in turns, not together: %s: %s", type(error).__name__, error)
        return alone
    return packed


class PackedDecoder:
    """Models of plain attention; raises :class:`NotPackable`, or what transformers raises."""

    continues = True
    together = True

    def __init__(self, torch: Any, transformers: Any, model: Any) -> None:
        self._torch, self._model = torch, model
        self._windows = _windows(transformers, model)
        self._last = keeping_last(model)
        transformers.AttentionInterface.register(_NAME, _attend)
        self.token_bytes = 0

    def begin(self, prompt: Sequence[int]) -> State:
        return _Text(self._torch, prompt)

    def read(self, parts: Sequence[Part]) -> list[Any]:
        tokens: list[int] = []
        positions: list[int] = []
        pieces = []
        wanted: list[int] = []
        for state, count, every in parts:
            assert isinstance(state, _Text)
            start, begin = len(tokens), state.kept
            wanted += range(start if every else start + count - 1, start + count)
            tokens += state.tokens[begin : begin + count]
            positions += range(begin, begin + count)
            pieces.append(_Piece(state, start, count))
        ends = self._torch.tensor(wanted)
        more = {self._last: ends} if self._last else {}
        _step.pieces, _step.windows = pieces, self._windows
        try:
            found = self._model(
                input_ids=self._torch.tensor([tokens]),
                position_ids=self._torch.tensor([positions]),
                use_cache=False,
                **more,
            )
        finally:
            _step.pieces = ()
        for piece in pieces:
            piece.text.kept += piece.count
        logits = found.logits[0] if self._last else found.logits[0][ends]
        rows = logits.split([part.length if part.every else 1 for part in parts])
        return [mine if part.every else mine[0] for mine, part in zip(rows, parts, strict=True)]


class _Text:
    """The tokens of a text, and by layer the keys and values of those that were read."""

    def __init__(self, torch: Any, tokens: Sequence[int]) -> None:
        self._torch = torch
        self.tokens = list(tokens)
        self.kept = 0
        self.layers: dict[int, list[Any]] = {}

    @property
    def unread(self) -> int:
        return len(self.tokens) - self.kept

    @property
    def bytes(self) -> int:
        """What is kept of a token."""
        return sum(
            tensor.element_size() * tensor.shape[1] * tensor.shape[3]
            for layer in self.layers.values()
            for tensor in layer
        )

    def append(self, token: int) -> None:
        self.tokens.append(token)

    def forget(self) -> None:
        self.kept, self.layers = 0, {}

    def keep(self, layer: int, new: Sequence[Any], end: int) -> list[Any]:
        """Keeps new keys and values; all up to there. What a failed step left is written over."""
        room = self.layers.get(layer)
        if room is None or room[0].shape[2] < end:
            room = self.layers[layer] = [self._larger(room, i, t, end) for i, t in enumerate(new)]
        for kept, tensor in zip(room, new, strict=True):
            kept[:, :, self.kept : end] = tensor
        return [kept[:, :, :end] for kept in room]

    def _larger(self, room: list[Any] | None, index: int, like: Any, end: int) -> Any:
        size = max(_ROOM, end if room is None else max(end, 2 * room[index].shape[2]))
        found = like.new_empty(1, like.shape[1], size, like.shape[3])
        if room is not None:
            found[:, :, : self.kept] = room[index][:, :, : self.kept]
        return found


class _Piece:
    """Where the new tokens of a text are in a step."""

    def __init__(self, text: _Text, start: int, count: int) -> None:
        self.text, self.start, self.count = text, start, count
        self._masks: dict[int | None, Any] = {}

    def attend(
        self,
        torch: Any,
        layer: int,
        window: int | None,
        query: Any,
        key: Any,
        value: Any,
        **how: Any,
    ) -> Any:
        """What the new tokens see of the text's."""
        place = slice(self.start, self.start + self.count)
        end = self.text.kept + self.count
        keys, values = self.text.keep(layer, (key[:, :, place], value[:, :, place]), end)
        if self.count == 1 and window is not None:
            keys, values = keys[:, :, -window:], values[:, :, -window:]
        return torch.nn.functional.scaled_dot_product_attention(
            query[:, :, place],
            keys,
            values,
            attn_mask=self._mask(torch, window),
            is_causal=self._plain(window) and self.count > 1,
            **how,
        )

    def _plain(self, window: int | None) -> bool:
        """Whether each token sees exactly those before it, which needs no mask."""
        return self.count == 1 or (not self.text.kept and (window is None or window >= self.count))

    def _mask(self, torch: Any, window: int | None) -> Any:
        if self._plain(window):
            return None
        if window not in self._masks:
            end = self.text.kept + self.count
            behind = torch.arange(self.text.kept, end)[:, None] - torch.arange(end)[None]
            seen = behind >= 0
            self._masks[window] = seen if window is None else seen & (behind < window)
        return self._masks[window]


def _attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any = None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more: Any,
) -> tuple[Any, None]:
    """Attention as transformers calls it, text by text."""
    import torch

    extra = [name for name in ("softcap", "s_aux", "position_bias") if more.get(name) is not None]
    if attention_mask is not None or extra:
        raise NotPackable(f"its attention has {extra[0] if extra else 'a mask'} of its own")
    layer = module.layer_idx
    window = _step.windows.get(layer)
    shared = query.shape[1] != key.shape[1]
    found = [
        piece.attend(torch, layer, window, query, key, value, scale=scaling, enable_gqa=shared)
        for piece in _step.pieces
    ]
    return torch.cat(found, dim=2).transpose(1, 2).contiguous(), None


def _windows(transformers: Any, model: Any) -> dict[int, int]:
    """How far back each layer sees, of those that do not see all; from transformers' own cache."""
    if getattr(model.config, "_attn_implementation", None) != "sdpa":
        raise NotPackable("its attention is not torch's")
    config = model.config.get_text_config(decoder=True)
    if getattr(config, "attention_chunk_size", None):
        raise NotPackable("its attention is in chunks")
    for name in ("rope_parameters", "rope_scaling"):
        if kinds := _BY_LENGTH & set(_rope_types(getattr(config, name, None))):
            raise NotPackable(f"its positions are turned by the longest text ({kinds.pop()})")
    found = {}
    for index, layer in enumerate(transformers.DynamicCache(config=model.config).layers):
        if type(layer).__name__ not in _KNOWN:
            raise NotPackable(f"its layer {index} is no plain attention")
        if window := getattr(layer, "sliding_window", None):
            found[index] = int(window)
    return found


def _rope_types(given: Any) -> Iterator[str]:
    if isinstance(given, dict):
        if kind := given.get("rope_type", given.get("type")):
            yield str(kind)
        for value in given.values():
            yield from _rope_types(value)


def _prove(torch: Any, model: Any, alone: Decoder, packed: PackedDecoder) -> None:
    """Compares the logits of texts that join, wait within their prompt, and grow together."""
    size = int(model.get_input_embeddings().num_embeddings)
    random = torch.Generator().manual_seed(0)
    texts = torch.randint(size, (3, 12), generator=random).tolist()
    steps = (((0, 3), (1, 5)), ((0, 1), (1, 4), (2, 6)), ((2, 1), (0, 1), (1, 1)))

    def run(decoder: Decoder) -> list[Any]:
        states = [decoder.begin([]) for _ in texts]
        done, found = [0] * len(texts), []
        for step in steps:
            for index, count in step:
                end = done[index] + count
                for token in texts[index][done[index] : end]:
                    states[index].append(token)
                done[index] = end
            found += decoder.read([Part(states[index], count) for index, count in step])
        packed.token_bytes = getattr(states[0], "bytes", 0)
        return found

    expected = torch.stack(run(alone)).float()
    model.set_attn_implementation(_NAME)
    if model.config._attn_implementation != _NAME:
        raise NotPackable("its attention cannot be chosen")
    found = torch.stack(run(packed)).float()
    exact = next(model.parameters()).dtype == torch.float32
    spread = float(expected.max() - expected.min())
    apart = float((found - expected).abs().max())
    if not apart <= spread * (1e-3 if exact else 5e-2):
        raise NotPackable(f"logits differ by {apart:.2g} of {spread:.2g} from those of one text")
