"""Transformers models from a folder, on the CPU: texts in, what the model's task gives out.

Source: kserve's python/huggingfaceserver (encoder_model.py, task.py): the task follows from the
architecture that ``config.json`` names. The answers are upstream's: a label's number, the word in
the mask's place, an embedding. What makes text is in :mod:`.huggingface_generation`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from kubeling.serving.server.errors import InvalidInput, ModelLoadError, NotSupported
from kubeling.serving.server.formats import library, threads
from kubeling.serving.server.formats.huggingface_answers import (
    as_tensor,
    of_masks,
    of_rows,
    of_tokens,
)
from kubeling.serving.server.formats.huggingface_encoding import (
    create_classification,
    create_embedding,
    create_rerank,
)
from kubeling.serving.server.formats.huggingface_options import HubOptions
from kubeling.serving.server.generation.generator import context_length
from kubeling.serving.server.infer_types import InferRequest
from kubeling.serving.server.model import Model
from kubeling.serving.server.openai.answers import Classification, Embedding, Rerank
from kubeling.serving.server.openai.models import OpenAIEncoderModel
from kubeling.serving.server.openai.requests import (
    ClassificationRequest,
    EmbeddingRequest,
    RerankRequest,
)
from kubeling.serving.server.tabular import TabularModel, first_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["create"]

_TASKS: Final = {
    "ForSequenceClassification": ("sequence_classification", "AutoModelForSequenceClassification"),
    "ForTokenClassification": ("token_classification", "AutoModelForTokenClassification"),
    "ForMaskedLM": ("fill_mask", "AutoModelForMaskedLM"),
    "ForCausalLM": ("text_generation", "AutoModelForCausalLM"),
    "LMHeadModel": ("text_generation", "AutoModelForCausalLM"),
    "ForConditionalGeneration": ("text2text_generation", "AutoModelForSeq2SeqLM"),
    "Model": ("text_embedding", "AutoModel"),
}
"""Upstream's name of the task, and the class for it, by how the architecture's name ends."""

_GENERATING: Final = ("text_generation", "text2text_generation")


_CLASSES: Final = dict(_TASKS.values())


def create(name: str, directory: Path, options: HubOptions | None = None) -> Model:
    """The model of a folder."""
    options = options or HubOptions()
    found = sorted(directory.rglob("config.json"))
    if len(found) != 1:
        raise ModelLoadError(
            "a model of format huggingface is a folder with one config.json, as "
            f"save_pretrained() makes it, but {directory} holds {len(found)}; "
            "check storageUri"
        )
    task, kind = (options.task, _CLASSES[options.task]) if options.task else _task(found[0])
    if task in _GENERATING:
        from kubeling.serving.server.formats.huggingface_generation import GenerativeModel

        return GenerativeModel(name, found[0], task, kind)
    return HuggingFaceModel(name, found[0], task, kind, options)


class HuggingFaceModel(TabularModel, OpenAIEncoderModel):
    """``PREDICT_PROBA=true`` answers a classifier's probabilities instead of the label's number."""

    format_name = "huggingface"
    platform = "huggingface"

    def __init__(self, name: str, config: Path, task: str, kind: str, options: HubOptions) -> None:
        TabularModel.__init__(self, name, config.parent)
        self.task = task
        self._options = options
        self._config, self._kind = config, kind
        # A fast tokenizer refuses to be used by two threads while one of them sets its padding.
        self._lock = threading.Lock()

    def load(self) -> bool:
        self.load_file(self._config)
        return True

    def load_file(self, file: Path) -> None:
        transformers = library("transformers")
        torch = self._torch = library("torch")
        torch.set_num_threads(threads())
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(str(file.parent))
            model = getattr(transformers, self._kind).from_pretrained(str(file.parent))
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            raise ModelLoadError(f"{type(error).__name__}: {first_line(error)}") from error
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        self._tokenizer, self._model = tokenizer, model.eval()
        self._length = context_length(model.config, tokenizer)
        self._probabilities = os.environ.get("PREDICT_PROBA", "").lower() == "true"

    def get_input_types(self) -> list[dict[str, Any]]:
        return [{"name": "input-0", "datatype": "BYTES", "shape": [-1]}]

    def get_parameters(self) -> dict[str, Any]:
        return {"task": self.task}

    def typed(self, rows: Array) -> Array:
        # Texts of different lengths have types of their own, which could not be batched.
        return rows.astype(object)

    def _shaped(self, rows: Array) -> Array:
        # Upstream's clients send one text without a shape.
        return super()._shaped(rows.reshape(1) if rows.ndim == 0 else rows)

    def _formed(self, payload: Any, found: Array) -> Any:
        if isinstance(payload, InferRequest) and found.dtype == object:
            found = as_tensor(found)
        return super()._formed(payload, found)

    def predict_rows(self, rows: Array) -> Array:
        texts = rows.ravel().tolist()
        if len(texts) != len(rows) or not all(isinstance(text, str) for text in texts):
            raise InvalidInput("the model takes texts, one a row")
        tokens = self._tokens(texts)
        with self._torch.inference_mode():
            found: Array = self._tasks()[self.task](tokens)
        return found

    def encode(self, texts: list[str]) -> tuple[Array, int]:
        """Vectors of length 1, and how many tokens were read."""
        tokens = self._tokens(texts)
        with self._torch.inference_mode():
            return self._embedded(tokens), int(tokens["attention_mask"].sum())

    def relevance(self, query: str, texts: list[str]) -> tuple[Array, int]:
        """How relevant texts are to a query, by a classifier of pairs that has one class."""
        if self._model.config.num_labels != 1:
            raise NotSupported(f"model {self.name} has several classes, so it ranks nothing")
        tokens = self._tokens([query] * len(texts), texts)
        with self._torch.inference_mode():
            scores = self._model(**tokens).logits[:, 0].sigmoid()
        return np.asarray(scores), int(tokens["attention_mask"].sum())

    def classes(self, texts: list[str]) -> tuple[Array, list[str], int]:
        """How likely each class is for a text, what the classes are called, and tokens read."""
        tokens = self._tokens(texts)
        with self._torch.inference_mode():
            chances = np.asarray(self._model(**tokens).logits.softmax(-1))
        named = self._model.config.id2label
        labels = [str(named.get(n, n)) for n in range(chances.shape[1])]
        return chances, labels, int(tokens["attention_mask"].sum())

    async def create_embedding(
        self,
        request: EmbeddingRequest,
        raw_request: Any = None,
        context: dict[str, Any] | None = None,
    ) -> Embedding:
        return await create_embedding(self, request)

    async def create_rerank(
        self, request: RerankRequest, raw_request: Any = None, context: dict[str, Any] | None = None
    ) -> Rerank:
        return await create_rerank(self, request)

    async def create_classification(
        self,
        request: ClassificationRequest,
        raw_request: Any = None,
        context: dict[str, Any] | None = None,
    ) -> Classification:
        return await create_classification(self, request)

    def _tokens(self, *texts: list[str]) -> Any:
        with self._lock:
            found = self._tokenizer(
                *texts,
                padding=True,
                truncation=True,
                add_special_tokens=self._options.special_tokens,
                max_length=self._length,
                return_tensors="pt",
            )
        if not found["attention_mask"].any(dim=1).all():
            raise InvalidInput("a text is empty, which has no tokens here")
        return found

    def _tasks(self) -> dict[str, Callable[[Any], Array]]:
        return {
            "sequence_classification": self._classified,
            "token_classification": self._labelled,
            "fill_mask": self._filled,
            "text_embedding": self._embedded,
        }

    def _classified(self, tokens: Any) -> Array:
        logits = self._model(**tokens).logits
        if self._probabilities:
            return np.asarray(logits.softmax(-1))
        return of_rows(logits, self._options.answers)

    def _labelled(self, tokens: Any) -> Array:
        logits = self._model(**tokens).logits
        return of_tokens(logits, tokens["attention_mask"], self._options.answers)

    def _filled(self, tokens: Any) -> Array:
        masked = tokens["input_ids"] == self._tokenizer.mask_token_id
        if not masked.any(dim=1).all():
            raise InvalidInput(f"every text needs a {self._tokenizer.mask_token}")
        logits = self._model(**tokens).logits
        if self._options.answers != "labels":
            return of_masks(logits, masked, self._options.answers)
        best = logits.argmax(-1)
        words = [self._tokenizer.decode(row[mask]) for row, mask in zip(best, masked, strict=True)]
        return np.asarray(words, dtype=object)

    def _embedded(self, tokens: Any) -> Array:
        """The mean of the tokens' vectors, of length 1."""
        states = self._model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1)
        mean = (states * mask).sum(1) / mask.sum(1)
        return np.asarray(self._torch.nn.functional.normalize(mean, dim=-1))


def _task(file: Path) -> tuple[str, str]:
    try:
        names = msgspec.json.decode(file.read_bytes())["architectures"]
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise ModelLoadError("config.json names no architectures") from error
    for name in names:
        for ending, found in _TASKS.items():
            if name.endswith(ending):
                return found
    tasks = ", ".join(dict.fromkeys(task for task, _ in _TASKS.values()))
    raise ModelLoadError(
        f"the architecture {', '.join(names)} is for none of the tasks served: {tasks}"
    )
