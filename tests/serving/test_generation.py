"""Texts that grow together are those that grow alone, whoever joins, waits or goes away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.serving.server.errors import GenerationFailed
from kubeling.serving.server.generation.decoding import CausalDecoder, Decoder
from kubeling.serving.server.generation.engine import Engine
from kubeling.serving.server.generation.growing import Vocabulary
from kubeling.serving.server.generation.limits import Limits
from kubeling.serving.server.generation.packing import PackedDecoder, fastest_decoder
from kubeling.serving.server.generation.sampling import Chooser, Sampling
from kubeling.serving.server.generation.scheduling import Pace, fits, parts, to_give_up

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES = {
    "vocab_size": 101,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.5,
    "tie_word_embeddings": False,
}
MODELS: dict[str, dict[str, Any]] = {
    "Llama": SIZES,
    "Mistral": {**SIZES, "sliding_window": 8},
    "Gemma3Text": {**SIZES, "head_dim": 8, "sliding_window": 6},
    "GPT2": {
        "vocab_size": 101,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 2,
        "n_positions": 256,
        "initializer_range": 0.5,
        "tie_word_embeddings": False,
    },
}


def made(kind: str, **more: Any) -> Any:
    torch.manual_seed(2)
    config = getattr(transformers, f"{kind}Config")(**{**MODELS[kind], **more})
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def requests() -> list[tuple[list[int], Sampling]]:
    """Prompts of many lengths; the likeliest tokens, and some by chance."""
    random = torch.Generator().manual_seed(3)
    found = []
    for index, length in enumerate((1, 40, 3, 17, 90, 2, 30, 5)):
        prompt = torch.randint(101, (length,), generator=random).tolist()
        sampling = Sampling(
            10 + 3 * index,
            temperature=0.0 if index % 2 else 0.9,
            seed=index,
            top_p=0.9,
            logprobs=1 if index == 3 else None,
            presence_penalty=1.0 if index == 4 else 0.0,
        )
        found.append((prompt, sampling))
    return found


async def texts(decoder: Decoder, limits: Limits | None = None) -> tuple[list[list[int]], Engine]:
    """The tokens that requests are answered with, all of them asked at once."""
    engine = Engine(torch, decoder, Vocabulary(str, frozenset()), limits)

    async def one(prompt: list[int], sampling: Sampling) -> list[int]:
        return [piece.chosen.token async for piece in engine.grow([prompt], [sampling])]

    found = await asyncio.gather(*(one(*request) for request in requests()))
    engine.close()
    return found, engine


def packed(model: Any) -> Decoder:
    found = fastest_decoder(torch, transformers, model)
    assert isinstance(found, PackedDecoder)
    return found


@pytest.mark.parametrize("kind", MODELS)
async def test_together_they_are_the_texts_of_one_by_one(kind: str) -> None:
    alone, _ = await texts(CausalDecoder(torch, made(kind)))
    assert len({tuple(text[:10]) for text in alone}) == len(alone)
    for limits in (Limits(), Limits(growing=3, step=20)):
        assert (await texts(packed(made(kind)), limits))[0] == alone


async def test_where_the_memory_is_full_the_last_one_is_read_again() -> None:
    decoder = packed(made("Llama"))
    usual, _ = await texts(decoder)
    limits = Limits(memory=140 * decoder.token_bytes)
    found, engine = await texts(decoder, limits)
    assert found == usual
    assert engine.preemptions > 0
    assert engine.fullness == 0


async def test_steps_read_several_texts() -> None:
    model = made("Llama")
    decoder = packed(model)
    steps: list[int] = []
    model.lm_head.register_forward_hook(lambda _, __, found: steps.append(found.shape[1]))
    found, _ = await texts(decoder)
    assert sum(map(len, found)) > 3 * len(steps)


async def test_a_text_that_fails_fails_alone() -> None:
    model = made("Llama")
    decoder = packed(model)
    prompts = [[1, 2], [3, 99], [5, 6]]

    def refusing(_: Any, given: Any) -> None:
        if 99 in given[0]:
            raise RuntimeError("not that one")

    model.get_input_embeddings().register_forward_pre_hook(refusing)
    engine = Engine(torch, decoder, Vocabulary(str, frozenset()))
    sampling = Sampling(4, logit_bias={99: -100.0}, temperature=0)

    async def one(prompt: list[int]) -> int:
        return len([piece async for piece in engine.grow([prompt], [sampling])])

    found = await asyncio.gather(*map(one, prompts), return_exceptions=True)
    engine.close()
    assert [found[0], found[2]] == [4, 4]
    assert isinstance(found[1], GenerationFailed)


async def test_a_reader_that_does_not_read_takes_nobodys_turn() -> None:
    engine = Engine(torch, packed(made("Llama")), Vocabulary(str, frozenset()), Limits(growing=1))
    slow = engine.grow([[1, 2]], [Sampling(200, temperature=0)])
    async with asyncio.timeout(60):
        quick = [piece async for piece in engine.grow([[3, 4]], [Sampling(8, temperature=0)])]
        late = [piece async for piece in slow]
    engine.close()
    assert (len(quick), len(late)) == (8, 200)


async def test_a_panic_of_a_tokenizer_ends_its_text_only() -> None:
    class Panic(BaseException):
        """As Rust's are in Python."""

    def decode(tokens: Sequence[int]) -> str:
        if 99 in tokens:
            raise Panic
        return "x" * len(tokens)

    engine = Engine(torch, packed(made("Llama")), Vocabulary(decode, frozenset()))

    async def one(token: int) -> int:
        sampling = Sampling(4, logit_bias={token: 100.0}, temperature=0)
        return len([piece async for piece in engine.grow([[1, 2]], [sampling])])

    async with asyncio.timeout(60):
        found = await asyncio.gather(one(5), one(99), one(6), return_exceptions=True)
    engine.close()
    assert [found[0], found[2]] == [4, 4]
    assert isinstance(found[1], GenerationFailed)


def test_models_that_cannot_are_known(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bloom = transformers.BloomConfig(vocab_size=101, hidden_size=32, n_layer=1, n_head=2)
    model = transformers.AutoModelForCausalLM.from_config(bloom).eval()
    assert isinstance(fastest_decoder(torch, transformers, model), CausalDecoder)
    assert "its attention is not torch's" in caplog.text
    scaled = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    model = made("Llama", rope_parameters=scaled)
    assert isinstance(fastest_decoder(torch, transformers, model), CausalDecoder)
    assert "its positions are turned by the longest text (dynamic)" in caplog.text


@pytest.mark.parametrize("beyond", ["layer", "window"])
def test_a_model_that_mixes_texts_is_found_out(
    beyond: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    model = made("Mistral" if beyond == "window" else "Llama")
    if beyond == "layer":

        def mixing(_: Any, __: Any, found: Any) -> Any:
            return found + 0.1 * found.mean(1, keepdim=True)

        model.model.layers[0].mlp.register_forward_hook(mixing)
    else:
        name = "kubeling.serving.server.generation.packing._windows"
        monkeypatch.setattr(name, lambda *_: {})
    assert isinstance(fastest_decoder(torch, transformers, model), CausalDecoder)
    assert model.config._attn_implementation == "sdpa"
    assert "from those of one text" in caplog.text


def test_tokens_are_chosen_among_those_that_make_up_a_share() -> None:
    half = 1500
    logits = torch.tensor([1.0] * half + [0.0] * half)
    for share, least in ((0.5, 250), (1e-3, 2)):
        chooser = Chooser(torch, Sampling(1, seed=1, top_p=share), [])
        found = {chooser.choose(logits).token for _ in range(300)}
        assert max(found) < half
        assert len(found) >= least
    few = Chooser(torch, Sampling(1, seed=1, top_p=0.9), [])
    chances = torch.tensor([0.6, 0.25, 0.1, 0.05])
    assert {few.choose(chances.log()).token for _ in range(300)} == {0, 1, 2}


def test_what_was_made_before_and_what_is_asked_for_count() -> None:
    logits = torch.tensor([1.0, 0.9, 0.0, 0.0])

    def made(**asked: Any) -> list[int]:
        chooser = Chooser(torch, Sampling(1, temperature=0, **asked), [3])
        return [chooser.choose(logits).token for _ in range(5)]

    assert made() == [0, 0, 0, 0, 0]
    assert made(presence_penalty=0.2) == [0, 1, 0, 0, 0]
    assert made(frequency_penalty=0.2) == [0, 1, 0, 1, 0]
    assert made(logit_bias={2: 2.0, 3: 1.5}) == [2, 2, 2, 2, 2]
    assert made(logit_bias={3: 1.5}, repetition_penalty=2.0) == [3, 3, 3, 3, 3]


class Waiting(SimpleNamespace):
    """A text with tokens that are unread, and some that are kept."""

    unread: int
    kept: int
    stretch = 1 << 62


waiting = st.builds(Waiting, unread=st.integers(1, 300), kept=st.integers(0, 300))


@given(st.lists(waiting, max_size=12), st.integers(12, 200), st.integers(1, 10_000))
def test_a_step_has_a_token_for_all_that_grow_and_pieces_of_prompts(
    given: Sequence[Waiting], most: int, speed: int
) -> None:
    pace = Pace(most)
    pace.took(speed, 1.0)
    step = parts(given, pace, most)
    assert all(0 < count <= text.unread for text, count in step)
    assert len({id(text) for text, _ in step}) == len(step)
    read = {id(text) for text, _ in step}
    assert all(id(text) in read for text in given if text.unread == 1)
    assert sum(count for _, count in step) <= most + 1
    assert bool(step) == bool(given)


def test_prompts_share_what_the_pace_leaves() -> None:
    pace = Pace(512)
    pace.took(500, 1.0)
    long, short, growing = (
        Waiting(unread=9000, kept=0),
        Waiting(unread=9, kept=0),
        Waiting(unread=1, kept=50),
    )
    assert parts([long], pace, 512) == [(long, 500)]
    assert parts([long, short], pace, 512) == [(long, 250), (short, 9)]
    # Others wait for their next token, so they get a fifth of a second.
    assert parts([long, growing], pace, 512) == [(growing, 1), (long, 100)]


def test_the_last_text_gives_way() -> None:
    first, last = Waiting(unread=1, kept=90), Waiting(unread=5, kept=0)
    assert to_give_up([first, last], [(first, 1), (last, 5)], 95) is last
    assert to_give_up([first, last], [(first, 1), (last, 5)], 96) is None
    assert to_give_up([first], [(first, 1)], 10) is None
    assert fits([], last, 1)
    assert fits([first], last, 97)
    assert not fits([first], last, 96)
