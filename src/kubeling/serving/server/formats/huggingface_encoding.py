"""Embeddings, rerank and vLLM's classes, by transformers models that encode texts.

Source: kserve's encoder_model.py, which has embeddings only; upstream's vLLM backend ranks as well:
by a classifier of pairs with one class, or by the cosine of two vectors.
"""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from kubeling.serving.server.errors import InvalidInput, NotSupported
from kubeling.serving.server.openai.answers import (
    Classification,
    ClassificationData,
    Embedding,
    EmbeddingResponseData,
    Rerank,
    RerankDocument,
    RerankResult,
    UsageInfo,
)
from kubeling.serving.server.openai.requests import (
    ClassificationRequest,
    EmbeddingRequest,
    RerankRequest,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Encoder", "create_classification", "create_embedding", "create_rerank"]


class Encoder(Protocol):
    """What is needed of a model; these may take long, and are called in threads."""

    name: str
    task: str

    def encode(self, texts: list[str]) -> tuple[NDArray[Any], int]:
        """Vectors of length 1, and how many tokens were read."""

    def relevance(self, query: str, texts: list[str]) -> tuple[NDArray[Any], int]:
        """How relevant texts are, and how many tokens were read; by a classifier of pairs."""

    def classes(self, texts: list[str]) -> tuple[NDArray[Any], list[str], int]:
        """How likely each class is for a text, what the classes are called, and tokens read."""


async def create_embedding(model: Encoder, request: EmbeddingRequest) -> Embedding:
    """Answers a request; raises :class:`~..errors.ServingError`."""
    if model.task != "text_embedding":
        raise InvalidInput(f"Model {model.name} does not support Embeddings API")
    texts = _texts(request)
    if request.encoding_format not in ("float", "base64", None):
        raise InvalidInput("encoding_format: takes float or base64")
    vectors, tokens = await asyncio.to_thread(model.encode, texts)
    if request.dimensions is not None and request.dimensions != vectors.shape[1]:
        raise InvalidInput(f"dimensions: the model's vectors have {vectors.shape[1]}, no other")
    in_base64 = request.encoding_format == "base64"
    return Embedding(
        model=request.model,
        data=[
            EmbeddingResponseData(index=i, embedding=_base64(v) if in_base64 else v.tolist())
            for i, v in enumerate(vectors)
        ],
        usage=UsageInfo(prompt_tokens=tokens, total_tokens=tokens),
    )


async def create_rerank(model: Encoder, request: RerankRequest) -> Rerank:
    """Answers a request; raises :class:`~..errors.ServingError`."""
    if not request.documents:
        raise InvalidInput("documents: there is none")
    if model.task == "text_embedding":
        texts = [request.query, *request.documents]
        vectors, tokens = await asyncio.to_thread(model.encode, texts)
        scores = vectors[1:] @ vectors[0]
    elif model.task == "sequence_classification":
        scores, tokens = await asyncio.to_thread(model.relevance, request.query, request.documents)
    else:
        raise NotSupported(f"Model {model.name} does not support Rerank API")
    best = np.argsort(-scores, kind="stable")[: request.top_n or None]
    return Rerank(
        model=request.model,
        results=[
            RerankResult(
                index=int(i),
                document=RerankDocument(text=request.documents[i]),
                relevance_score=float(scores[i]),
            )
            for i in best
        ],
        usage=UsageInfo(prompt_tokens=tokens, total_tokens=tokens),
    )


async def create_classification(model: Encoder, request: ClassificationRequest) -> Classification:
    """Answers a request of vLLM's ``/classify``; raises :class:`~..errors.ServingError`."""
    if model.task != "sequence_classification":
        raise InvalidInput(f"Model {model.name} does not support Classification API")
    texts = _texts(request)
    chances, labels, tokens = await asyncio.to_thread(model.classes, texts)
    return Classification(
        model=request.model,
        data=[
            ClassificationData(
                index=index, label=labels[row.argmax()], probs=row.tolist(), num_classes=len(row)
            )
            for index, row in enumerate(chances)
        ],
        usage=UsageInfo(prompt_tokens=tokens, total_tokens=tokens),
    )


def _texts(request: EmbeddingRequest | ClassificationRequest) -> list[str]:
    """The texts; numbers of tokens are other ones to every model, so they are refused."""
    texts = [request.input] if isinstance(request.input, str) else request.input
    if not texts:
        raise InvalidInput("'input' is a required property")
    if not all(isinstance(text, str) for text in texts):
        raise NotSupported("'input' as token lists is not supported; send texts")
    return texts


def _base64(vector: NDArray[Any]) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
