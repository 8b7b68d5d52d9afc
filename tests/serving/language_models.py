"""Tiny language models with random weights, and their tokenizers, made on the spot."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.serving.model_server import serving

from kubeling.serving.server.formats import create_model
from kubeling.serving.server.model import Model

__all__ = ["CHAT_TEMPLATE", "END", "asking", "encoder", "gpt2", "loaded", "t5"]

END = 96
"""The token that ends a text."""
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def _tokenizer(folder: Path, template: str | None = CHAT_TEMPLATE) -> Any:
    """Characters are the only tokens, besides one that ends a text."""
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    # The byte-level alphabet has letters of its own for the space and the end of a line.
    alphabet = [*map(chr, range(33, 127)), "\u0120", "\u010a"]
    vocabulary = {character: index for index, character in enumerate([*alphabet, "<end>"])}
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<end>", bos_token="<end>", pad_token="<end>"
    )
    if template is not None:
        made.chat_template = template
    made.save_pretrained(folder)
    return made


def gpt2(folder: Path, *, template: str | None = CHAT_TEMPLATE, context: int = 256) -> Any:
    """A decoder of two layers; the random weights make varied texts, the same every time."""
    tokenizer = _tokenizer(folder, template)
    import torch
    import transformers

    torch.manual_seed(1)
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=context,
        n_embd=32,
        n_layer=2,
        n_head=2,
        bos_token_id=END,
        eos_token_id=END,
        initializer_range=0.5,
        tie_word_embeddings=False,
    )
    made = transformers.GPT2LMHeadModel(config)
    # Another token is likelier, so that texts do not end by chance.
    made.lm_head.weight.data[END] = 0
    made.save_pretrained(folder)
    return made


def t5(folder: Path) -> Any:
    """An encoder and a decoder."""
    tokenizer = _tokenizer(folder)
    import torch
    import transformers

    torch.manual_seed(1)
    config = transformers.T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=16,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=END,
        eos_token_id=END,
        pad_token_id=END,
        initializer_factor=3.0,
    )
    made = transformers.T5ForConditionalGeneration(config)
    made.save_pretrained(folder)
    return made


def encoder(folder: Path, kind: str = "BertModel", **more: Any) -> Any:
    """An encoder: of vectors, or of classes."""
    tokenizer = _tokenizer(folder)
    import torch
    import transformers

    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        pad_token_id=END,
        **more,
    )
    made = getattr(transformers, kind)(config)
    made.save_pretrained(folder)
    return made


def loaded(folder: Path, name: str = "tiny") -> Any:
    """The model of a folder as the server loads it."""
    model = create_model("huggingface", name, folder)
    model.ready = bool(model.load())
    return model


@contextlib.asynccontextmanager
async def asking(*models: Model, prefix: str = "/openai") -> AsyncIterator[Any]:
    """OpenAI's own client of a server that has the models."""
    openai = pytest.importorskip("openai")
    async with serving(*models) as client:
        assert client._base_url is not None
        url = f"{client._base_url}".rstrip("/") + f"{prefix}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as found:
            yield found
    for model in models:
        model.stop()
