"""The model server's command: ``python -m kubeling.serving.server --model_name … --format …``."""

from __future__ import annotations

import argparse
import atexit
import logging
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from kubeling.serving.requestlog.flags import add_log_flags, log_settings
from kubeling.serving.requestlog.opening import folder_of
from kubeling.serving.server.batch_flags import add_batch_flags, batch_limits
from kubeling.serving.server.conversion.keeping import Keeping, usual_folder
from kubeling.serving.server.errors import ModelLoadError
from kubeling.serving.server.flags import WITHOUT_EFFECT, say_what_has_no_effect
from kubeling.serving.server.formats import FORMATS, create_model
from kubeling.serving.server.formats.huggingface_options import add_hub_flags, hub_options
from kubeling.serving.server.model import Model
from kubeling.serving.server.repository import FolderRepository
from kubeling.serving.server.run import ServerSettings, folder, run
from kubeling.serving.server.tabular import TabularModel
from kubeling.serving.server.workers import Crew, end_with_the_first

__all__ = ["main"]

_GRPC_PORT: Final = 8081
_SAID_IN_FULL: Final = (ModuleNotFoundError, OSError)
"""Causes whose traceback tells nobody more than the error's own words."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves a model; of one that cannot be loaded the last line says why, and exit code 1."""
    options, ignored = _parser().parse_known_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for argument in ignored:
        logging.warning("%s is not known here, and has no effect", argument)
    say_what_has_no_effect(vars(options))
    settings = ServerSettings(
        options.host,
        options.http_port,
        (options.grpc_port or _GRPC_PORT) if options.enable_grpc else None,
        options.grpc_port is not None,
        log_settings(options),
        options.timeout_keep_alive,
        options.grpc_max_receive_message_length,
        options.grpc_max_send_message_length,
        batch_limits(options),
        options.model_dir if options.monitor else None,
        _crew(options, arguments),
        options.enable_docs_url,
    )
    if settings.crew is not None and settings.crew.index:
        # gRPC's port is the first one's.
        settings = replace(settings, grpc_port=None)
        end_with_the_first()
    try:
        if options.model_id:
            options.model_dir = _fetched(options, settings.crew)
        repository = FolderRepository(
            options.model_name,
            options.model_dir,
            lambda name, place: _create(options, name, place),
        )
        run(lambda: folder(repository), settings)
    except ModelLoadError as error:
        if error.__cause__ is not None and not isinstance(error.__cause__, _SAID_IN_FULL):
            traceback.print_exception(error.__cause__)
        print(f"cannot load model {options.model_name}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"cannot listen: {error}", file=sys.stderr)
        return 1
    return 0


def _crew(options: argparse.Namespace, arguments: Sequence[str] | None) -> Crew | None:
    """The processes that this one belongs to, if it is not alone."""
    if options.workers == 1:
        return None
    log = log_settings(options)
    if options.monitor or folder_of(log) is not None:
        logging.warning(
            "--workers=%d has no effect: requests are recorded in one folder, or sampled for the "
            "platform, by one process; set minReplicas for more",
            options.workers,
        )
        return None
    if options.worker:
        index, _, place = options.worker.partition(":")
        return Crew(Path(place), options.workers, int(index))
    given = sys.argv[1:] if arguments is None else arguments
    command = [sys.executable, "-m", "kubeling.serving.server", *given]
    return Crew(_passing_folder("workers-"), options.workers, 0, command)


def _fetched(options: argparse.Namespace, crew: Crew | None) -> Path:
    """A model of the Hub; the first of several processes fetches it for all of them."""
    from kubeling.serving.server.formats.huggingface_source import fetched

    place = crew.model if crew is not None else _passing_folder("hub-")
    if crew is not None and crew.index and place.is_dir():
        return place
    return fetched(options.model_id, options.model_revision, place)


def _passing_folder(prefix: str) -> Path:
    """A new folder that goes when this process ends."""
    place = tempfile.mkdtemp(prefix=prefix)
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return Path(place)


def _create(options: argparse.Namespace, name: str, place: Path) -> Model:
    more = {"options": hub_options(options)} if options.format == "huggingface" else {}
    model = create_model(options.format, name, place, **more)
    model.enable_latency_logging = options.enable_latency_logging
    if isinstance(model, TabularModel):
        model.converting = options.convert_to_onnx
        model.keeping = Keeping(options.onnx_folder) if options.onnx_folder.name else None
    if model.speaks_openai:
        _limit(options, model)
    return model


def _limit(options: argparse.Namespace, model: Model) -> None:
    """The limits of a model that makes text."""
    from kubeling.serving.server.generation.limits import Limited, Limits

    if isinstance(model, Limited):
        model.limits = Limits(
            options.max_num_seqs,
            options.max_num_waiting,
            options.max_num_batched_tokens,
            options.kv_cache_memory_bytes,
        )
        model.max_length = options.max_length
        model.tool_calls = options.tool_call_parser


def _boolean(text: str) -> bool:
    if text.lower() in ("1", "true", "t", "yes", "y", "on"):
        return True
    if text.lower() in ("0", "false", "f", "no", "n", "off"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)


def _kept_bytes() -> int:
    """What vLLM's variable for CPUs says, in GiB; 0 and nonsense mean the usual 4, as there."""
    try:
        found = float(os.environ.get("VLLM_CPU_KVCACHE_SPACE", ""))
    except ValueError:
        found = 0
    return int((found if found > 0 else 4) * (1 << 30))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="model-server", description=__doc__)
    parser.add_argument("--model_name", default="model", help="name in the URLs")
    parser.add_argument("--model_dir", type=Path, default=Path("/mnt/models"))
    parser.add_argument("--format", choices=FORMATS, default="sklearn")
    parser.add_argument(
        "--convert_to_onnx",
        type=lambda text: _boolean(text or "true"),
        default=True,
        help="true or false: answer with ONNX Runtime once that is proved equal",
    )
    parser.add_argument(
        "--onnx_folder",
        type=Path,
        default=usual_folder(),
        help="where models proved equal in ONNX are kept for the next start; empty: nowhere",
    )
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--http_port", type=int, default=8080)
    parser.add_argument("--grpc_port", type=int, help=f"default {_GRPC_PORT}, if it can be had")
    parser.add_argument(
        "--workers",
        type=_positive,
        default=1,
        help="processes that answer REST at the port; gRPC is answered by the first",
    )
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    parser.add_argument("--enable_grpc", type=_boolean, default=True, help="true or false")
    add_hub_flags(parser)
    add_log_flags(parser)
    add_batch_flags(parser)
    parser.add_argument(
        "--timeout-keep-alive",
        dest="timeout_keep_alive",
        type=float,
        default=65.0,
        help="seconds a connection is kept without requests",
    )
    parser.add_argument(
        "--max_length",
        "--max_model_len",
        "--max-model-len",
        type=_positive,
        help="tokens of a prompt and its text together; default: what the model knows",
    )
    parser.add_argument(
        "--max_num_seqs",
        "--max-num-seqs",
        type=_positive,
        default=16,
        help="texts that are made at once",
    )
    parser.add_argument(
        "--max_num_batched_tokens",
        "--max-num-batched-tokens",
        type=_positive,
        default=512,
        help="tokens that a step of a model reads at most, those of long prompts in pieces",
    )
    parser.add_argument(
        "--kv_cache_memory_bytes",
        "--kv-cache-memory-bytes",
        type=_positive,
        default=_kept_bytes(),
        help="bytes for what a model keeps of texts (VLLM_CPU_KVCACHE_SPACE: GiB)",
    )
    parser.add_argument(
        "--max_num_waiting",
        type=_positive,
        default=64,
        help="texts that may wait; more are answered with 429",
    )
    parser.add_argument(
        "--tool_call_parser",
        "--tool-call-parser",
        help="how a model writes calls of tools: hermes or llama3_json; default: by its template",
    )
    parser.add_argument(
        "--enable_auto_tool_choice",
        "--enable-auto-tool-choice",
        action="store_true",
        help="no effect: calls are read where it is known how they are written",
    )
    for way in ("receive", "send"):
        parser.add_argument(
            f"--grpc_max_{way}_message_length", type=int, help="bytes; default: no limit"
        )
    parser.add_argument(
        "--monitor", type=_boolean, default=False, help="true or false: sample requests for drift"
    )
    parser.add_argument("--enable_latency_logging", type=_boolean, default=False)
    parser.add_argument(
        "--enable_docs_url",
        "--enable-docs-url",
        type=_boolean,
        default=False,
        help="true or false: a page about the API at /docs",
    )
    for name, (_, why) in WITHOUT_EFFECT.items():
        parser.add_argument(f"--{name}", f"--{name.replace('_', '-')}", help=f"no effect: {why}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
