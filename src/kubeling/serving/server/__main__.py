"""The model server's command: ``python -m kubeling.serving.server --model_name … --format …``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from kubeling.serving.server.errors import ModelLoadError
from kubeling.serving.server.formats import FORMATS, create_model
from kubeling.serving.server.repository import FolderRepository
from kubeling.serving.server.run import ServerSettings, folder, run

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves a model; one that cannot be loaded ends in one line and exit code 1."""
    options, ignored = _parser().parse_known_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    if ignored:
        logging.warning("not supported, ignored: %s", " ".join(ignored))
    settings = ServerSettings(
        options.host,
        options.http_port,
        options.request_log,
        options.log_mode,
        options.timeout_keep_alive,
    )
    repository = FolderRepository(
        options.model_name,
        options.model_dir,
        lambda name, place: create_model(options.format, name, place),
    )
    try:
        run(lambda: folder(repository), settings)
    except ModelLoadError as error:
        print(f"cannot load model {options.model_name}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"cannot listen on port {options.http_port}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="model-server", description=__doc__)
    parser.add_argument("--model_name", default="model", help="name in the URLs")
    parser.add_argument("--model_dir", type=Path, default=Path("/mnt/models"))
    parser.add_argument("--format", choices=FORMATS, default="sklearn")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--http_port", type=int, default=8080)
    parser.add_argument("--request_log", default="", help="folder, or URL that takes CloudEvents")
    parser.add_argument("--log_mode", choices=("all", "request", "response"), default="all")
    parser.add_argument(
        "--timeout-keep-alive",
        dest="timeout_keep_alive",
        type=float,
        default=65.0,
        help="seconds a connection is kept without requests",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
