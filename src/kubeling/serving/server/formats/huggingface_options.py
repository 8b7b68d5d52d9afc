"""What upstream's Hugging Face server is told by its flags (python/huggingfaceserver, __main__.py).

Every server parses them, so nothing is imported for them.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Answers", "HubOptions", "add_hub_flags", "hub_options"]

log = logging.getLogger(__name__)

Answers = Literal["labels", "probabilities", "logits"]

TASKS: Final = (
    "sequence_classification",
    "token_classification",
    "fill_mask",
    "text_generation",
    "text2text_generation",
    "text_embedding",
)
_WITHOUT_EFFECT: Final = {
    "backend": "transformers on the CPU is the only one",
    "dtype": "weights are used as they are stored",
    "tensor_input_names": "a model is given all that its tokenizer makes",
    "max_log_len": "prompts are not logged",
}


@dataclass(frozen=True, slots=True)
class HubOptions:
    """How a model is used; ``task`` stands before the one that its architecture tells."""

    task: str = ""
    answers: Answers = "labels"
    special_tokens: bool = True


def add_hub_flags(parser: argparse.ArgumentParser) -> None:
    """Adds them."""
    parser.add_argument("--model_id", default="", help="a repository of the Hugging Face Hub")
    parser.add_argument("--model_revision", default="", help="its branch, tag or commit")
    parser.add_argument(
        "--tokenizer_revision",
        "--tokenizer-revision",
        default="",
        help="only that of the model is taken",
    )
    parser.add_argument("--task", choices=TASKS, default="", help="default: by the architecture")
    answers = parser.add_mutually_exclusive_group()
    answers.add_argument(
        "--return_probabilities", action="store_true", help="of all classes, not the likeliest"
    )
    answers.add_argument(
        "--return_raw_logits", action="store_true", help="of all classes, as the model has them"
    )
    parser.add_argument(
        "--disable_special_tokens", action="store_true", help="texts are read without any"
    )
    for name, why in _WITHOUT_EFFECT.items():
        parser.add_argument(f"--{name}", f"--{name.replace('_', '-')}", help=f"no effect: {why}")


def hub_options(options: argparse.Namespace) -> HubOptions:
    """What they say."""
    answers: Answers = "labels"
    if options.return_probabilities:
        answers = "probabilities"
    elif options.return_raw_logits:
        answers = "logits"
    for name, why in _WITHOUT_EFFECT.items():
        if getattr(options, name) not in (None, "auto", "huggingface"):
            log.warning("--%s=%s has no effect: %s", name, getattr(options, name), why)
    if options.tokenizer_revision not in ("", options.model_revision):
        log.warning(
            "--tokenizer_revision=%s has no effect: the tokenizer is of the model's revision",
            options.tokenizer_revision,
        )
    return HubOptions(options.task, answers, not options.disable_special_tokens)
