"""The built-in model server without a model: those it serves are loaded as they are asked for."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kubeling.serving.requestlog.flags import add_log_flags, log_settings
from kubeling.serving.server.batch_flags import add_batch_flags, batch_limits
from kubeling.serving.server.formats import FORMATS, create_model
from kubeling.serving.server.repository import FolderRepository, ModelRepository
from kubeling.serving.server.run import ServerSettings, run

__all__ = ["main"]

_GRPC_PORT: Final = 8081


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM or SIGINT."""
    options, _ = _parser().parse_known_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = ServerSettings(
        port=options.http_port,
        grpc_port=options.grpc_port or _GRPC_PORT,
        grpc_required=options.grpc_port is not None,
        log=log_settings(options),
        batches=batch_limits(options),
    )

    async def empty() -> ModelRepository:
        return FolderRepository(
            "", options.model_dir, lambda name, place: create_model(options.format, name, place)
        )

    try:
        run(empty, settings)
    except OSError as error:
        print(f"cannot listen: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="multi-model-server", description=__doc__)
    parser.add_argument("--model_dir", type=Path, default=Path("/mnt/models"))
    parser.add_argument("--format", choices=FORMATS, default="sklearn")
    parser.add_argument("--http_port", type=int, default=8080)
    parser.add_argument("--grpc_port", type=int, help=f"default {_GRPC_PORT}, if it can be had")
    add_log_flags(parser)
    add_batch_flags(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
