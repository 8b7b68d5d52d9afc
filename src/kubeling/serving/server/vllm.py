"""``vllm serve`` as manifests call it, answered by this server on the CPU.

Upstream's LLM services run vLLM's images. Those for CPUs are names for this program here (the
engine's catalogue.yaml), so that their manifests run as they are. Of vLLM's flags it takes those
that mean something without a GPU; each of the others is named in the log. Without ``serve`` it is
vLLM's older program, ``vllm.entrypoints.openai.api_server``, which has the model in a flag.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import Final

from kubeling.serving.server.__main__ import main as serve

__all__ = ["arguments", "main"]

log = logging.getLogger(__name__)

_MODEL: Final = "/mnt/models"
_CONVERTED: Final = {"embed": "text_embedding", "classify": "sequence_classification"}
"""What a model is made into for pooling, and the task's name here."""
_SHARED: Final = (
    *("--max-num-seqs", "--max-num-batched-tokens", "--kv-cache-memory-bytes"),
    "--tool-call-parser",
)
"""What has the same name here."""


def arguments(given: Sequence[str]) -> list[str]:
    """The flags of this server for those of ``vllm serve``."""
    parser = argparse.ArgumentParser(prog="vllm", allow_abbrev=False)
    parser.add_argument("--model", default="")
    parser.add_argument("--revision")
    parser.add_argument("--runner", choices=("auto", "generate", "pooling", "draft"))
    parser.add_argument("--convert", choices=("auto", "none", *_CONVERTED))
    parser.add_argument("--served-model-name", nargs="+")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", default="8000")
    parser.add_argument("--max-model-len")
    for flag in _SHARED:
        parser.add_argument(flag)
    serving = list(given[:1]) == ["serve"]
    options, rest = parser.parse_known_args(given[1:] if serving else given)
    named = options.model or ("" if serving else _MODEL)
    model, others = (named, rest) if named else _model_of(rest)
    names = options.served_model_name or [model]
    for name in names[1:]:
        log.warning("the model is served as %s only, not as %s", names[0], name)
    found = [
        f"--model_name={names[0]}",
        f"--model_dir={model}" if model.startswith("/") else f"--model_id={model}",
        "--format=huggingface",
        f"--host={options.host}",
        f"--http_port={options.port}",
        "--enable_grpc=false",
    ]
    if options.max_model_len:
        found.append(f"--max_model_len={options.max_model_len}")
    if options.revision:
        found.append(f"--model_revision={options.revision}")
    if task := _CONVERTED.get(options.convert or ""):
        found.append(f"--task={task}")
    for flag in _SHARED:
        if value := getattr(options, flag[2:].replace("-", "_")):
            found.append(f"{flag}={value}")
    return [*found, *others]


def _model_of(rest: list[str]) -> tuple[str, list[str]]:
    """The model among what is no flag known here, and the others.

    Of a flag that is not known nobody can tell whether a word after it is its value. So the model
    is what comes before all of them, where vLLM's help has it, or else the last word.
    """
    words = [index for index, word in enumerate(rest) if not word.startswith("-")]
    if not words:
        return _MODEL, rest
    index = 0 if words[0] == 0 else words[-1]
    return rest[index], [*rest[:index], *rest[index + 1 :]]


def main(given: Sequence[str] | None = None) -> int:
    """Serves a model."""
    return serve(arguments(sys.argv[1:] if given is None else given))


if __name__ == "__main__":
    sys.exit(main())
