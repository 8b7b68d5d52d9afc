"""Transformers models that make text: OpenAI's pages, the generate extension, and predictions.

Source: kserve's python/huggingfaceserver (generative_model.py), which has OpenAI's pages only, one
request at a time, without ``n``, likelihoods and usage in streams.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final

import numpy as np

from kubeling.serving.server.errors import InvalidInput, ModelLoadError
from kubeling.serving.server.formats import library, threads
from kubeling.serving.server.generation.decoding import Decoder, Seq2SeqDecoder
from kubeling.serving.server.generation.engine import Engine
from kubeling.serving.server.generation.generator import Generator, context_length
from kubeling.serving.server.generation.growing import Vocabulary
from kubeling.serving.server.generation.guides import Guides
from kubeling.serving.server.generation.limits import Limits
from kubeling.serving.server.generation.openai_chats import create_chat_completion
from kubeling.serving.server.generation.openai_completions import create_completion
from kubeling.serving.server.generation.own_calls import style_of
from kubeling.serving.server.generation.packing import fastest_decoder
from kubeling.serving.server.generation.sampling import Sampling
from kubeling.serving.server.generation.texts import Grown, Texts, grown
from kubeling.serving.server.infer_types import InferOutput, InferRequest, InferResponse
from kubeling.serving.server.model import Headers
from kubeling.serving.server.openai.answers import ChatCompletion, Completion
from kubeling.serving.server.openai.models import OpenAIGenerativeModel
from kubeling.serving.server.openai.requests import ChatCompletionRequest, CompletionRequest
from kubeling.serving.server.processors import processors
from kubeling.serving.server.rows import rows_of
from kubeling.serving.server.tabular import first_line

__all__ = ["GenerativeModel"]

log = logging.getLogger(__name__)

_TOKENS: Final = 64
_SMALL: Final = 50_000_000
"""Parameters of a model below which one thread is as fast as several, and on a busy machine faster
by far (measured with two layers of 32: 3 ms a token against 40)."""


class GenerativeModel(OpenAIGenerativeModel):
    """``NTHREAD`` bounds the threads of a step; a large model uses all processors by default."""

    platform = "huggingface"

    def __init__(self, name: str, config: Path, task: str, kind: str) -> None:
        super().__init__(name)
        self.ready = False
        self.task = task
        self.limits = Limits()
        self.max_length: int | None = None
        self.tool_calls: str | None = None
        """A limit below that of the model for prompt and text together."""
        self._config, self._kind = config, kind

    def load(self) -> bool:
        transformers = library("transformers")
        torch = library("torch")
        folder = str(self._config.parent)
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            model = getattr(transformers, self._kind).from_pretrained(folder).eval()
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            raise ModelLoadError(f"{type(error).__name__}: {first_line(error)}") from error
        # The first call settles how texts are padded and cut, which later ones must not change.
        tokenizer("")
        decoder: Decoder
        if self.task == "text_generation":
            decoder = fastest_decoder(torch, transformers, model)
        else:
            decoder = Seq2SeqDecoder(torch, model)

        def decode(tokens: Any) -> str:
            return str(tokenizer.decode(tokens, skip_special_tokens=True))

        vocabulary = Vocabulary(decode, _ends(model, tokenizer))
        engine = Engine(torch, decoder, vocabulary, self.limits, _threads(model.num_parameters()))
        length = context_length(model.config, tokenizer, self.max_length)
        if length > engine.memory:
            log.warning(
                "texts have %d tokens at most, not %d: that is what --kv_cache_memory_bytes holds",
                engine.memory,
                length,
            )
            length = engine.memory
        size = int(model.get_input_embeddings().num_embeddings)
        guides = Guides(torch, tokenizer, size, vocabulary.ends)
        calls = style_of(self.tool_calls, tokenizer.chat_template)
        self.generator = Generator(
            tokenizer, engine, length, size, decoder.continues, guides, calls
        )
        return True

    def stop(self) -> None:
        super().stop()
        if (found := getattr(self, "generator", None)) is not None:
            found.engine.close()

    def get_input_types(self) -> list[dict[str, Any]]:
        return [{"name": "input-0", "datatype": "BYTES", "shape": [-1]}]

    def get_output_types(self) -> list[dict[str, Any]]:
        return [{"name": "output-0", "datatype": "BYTES", "shape": [-1]}]

    def get_parameters(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "max_length": self.generator.context,
            "batches": self.generator.engine.together,
        }

    async def create_completion(
        self,
        request: CompletionRequest,
        raw_request: Any = None,
        context: dict[str, Any] | None = None,
    ) -> AsyncGenerator[str, None] | Completion:
        return await create_completion(self.generator, request)

    async def create_chat_completion(
        self,
        request: ChatCompletionRequest,
        raw_request: Any = None,
        context: dict[str, Any] | None = None,
    ) -> AsyncGenerator[str, None] | ChatCompletion:
        return await create_chat_completion(self.generator, request)

    async def predict(
        self,
        payload: Any,
        headers: Headers | None = None,
        response_headers: Headers | None = None,
    ) -> Any:
        """What each text goes on with, the likeliest token every time."""
        if isinstance(payload, InferRequest):
            given = [t for tensor in payload.inputs for t in tensor.as_numpy().ravel().tolist()]
            found = [one.text for one in await self._go_on(given)]
            outputs = [InferOutput.of("output-0", np.asarray(found, dtype=object))]
            return InferResponse(payload.id, self.name, outputs)
        return {"predictions": [one.text for one in await self._go_on(rows_of(payload))]}

    async def _go_on(self, rows: list[Any]) -> list[Grown]:
        try:
            texts = [row.decode() if isinstance(row, bytes) else row for row in rows]
        except UnicodeDecodeError:
            raise InvalidInput("the model takes text, but these bytes are no UTF-8") from None
        if not texts or not all(isinstance(text, str) for text in texts):
            raise InvalidInput("the model takes texts, one a row")
        generator = self.generator
        prompts = [await generator.tokens(text) for text in texts]
        samplings = [
            Sampling(min(_TOKENS, generator.room(prompt, None)), temperature=0.0)
            for prompt in prompts
        ]
        return await grown(generator, Texts(prompts, 1, generator.grow(prompts, samplings)))


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens after which there is nothing to come."""
    found = getattr(model.generation_config, "eos_token_id", None)
    if found is None:
        found = tokenizer.eos_token_id
    several = found if isinstance(found, list) else [found]
    return frozenset(int(token) for token in several if token is not None)


def _threads(parameters: int) -> int:
    """How many threads a step uses; those of a small model would mostly wait for each other."""
    if "NTHREAD" in os.environ:
        return threads()
    if parameters < _SMALL:
        return 1
    return processors()
