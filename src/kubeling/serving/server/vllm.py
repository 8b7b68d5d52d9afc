"""``vllm serve`` as manifests call it, answered by this server on the CPU.

Upstream's LLM services run vLLM's images. Those for CPUs are names for this program here (the
engine's catalogue.yaml), so that their manifests run as they are. Of vLLM's flags it takes those
that mean something without a GPU; each of the others is named in the log.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from kubeling.serving.server.__main__ import main as serve

__all__ = ["arguments", "main"]


def arguments(given: Sequence[str]) -> list[str]:
    """The flags of this server for those of ``vllm serve``."""
    parser = argparse.ArgumentParser(prog="vllm", allow_abbrev=False)
    parser.add_argument("command", choices=("serve",))
    parser.add_argument("model", nargs="?", default="/mnt/models")
    parser.add_argument("--served-model-name", nargs="+")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", default="8000")
    parser.add_argument("--max-model-len")
    parser.add_argument("--max-num-seqs")
    options, others = parser.parse_known_args(given)
    names = options.served_model_name or [options.model]
    found = [
        f"--model_name={names[0]}",
        f"--model_dir={options.model}",
        "--format=huggingface",
        f"--host={options.host}",
        f"--http_port={options.port}",
        "--enable_grpc=false",
    ]
    if options.max_model_len:
        found.append(f"--max_model_len={options.max_model_len}")
    if options.max_num_seqs:
        found.append(f"--max_num_seqs={options.max_num_seqs}")
    return [*found, *others]


def main(given: Sequence[str] | None = None) -> int:
    """Serves a model."""
    return serve(arguments(sys.argv[1:] if given is None else given))


if __name__ == "__main__":
    sys.exit(main())
