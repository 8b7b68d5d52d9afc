"""The monitoring transformer's command."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from kubeling.serving.agent.__main__ import served
from kubeling.serving.drift.profile import Profile
from kubeling.serving.monitor.app import Monitor, create_app
from kubeling.serving.monitor.window import MonitorWindow
from kubeling.serving.requestlog.flags import add_log_flags, log_settings
from kubeling.serving.requestlog.opening import open_log
from kubeling.serving.requestlog.record import Counts
from kubeling.serving.server.batch_flags import add_batch_flags, batch_limits

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until SIGTERM or SIGINT."""
    options, _ = _parser().parse_known_args(arguments)
    try:
        reference = _reference(options.reference)
    except (OSError, msgspec.MsgspecError) as error:
        print(f"cannot read the reference profile {options.reference}: {error}", file=sys.stderr)
        return 1
    if not options.predictor_host:
        print("--predictor_host is missing: which predictor is to be monitored?", file=sys.stderr)
        return 2
    asyncio.run(_run(options, reference))
    return 0


async def _run(options: argparse.Namespace, reference: Profile | None) -> None:
    host = options.predictor_host
    predictor = host if "://" in host else f"http://{host}"
    counts = Counts()
    async with open_log(log_settings(options), counts) as request_log:
        window = MonitorWindow(reference, options.window)
        monitor = Monitor(predictor, window, request_log, counts)
        if limits := batch_limits(options):
            from kubeling.serving.server.merging import Merger

            monitor.duties.merger = Merger(limits)
        await served(create_app(monitor), options.host, options.http_port)


def _reference(path: str) -> Profile | None:
    return msgspec.json.decode(Path(path).read_bytes(), type=Profile) if path else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="model-monitor", description=__doc__)
    parser.add_argument("--predictor_host", default="", help="host[:port] of the predictor")
    parser.add_argument("--model_name", default="model")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--http_port", type=int, default=8080)
    parser.add_argument("--reference", default=os.environ.get("REFERENCE_PROFILE", ""))
    parser.add_argument("--window", type=int, default=5000, help="rows to compare")
    add_batch_flags(parser)
    add_log_flags(parser, os.environ.get("REQUEST_LOG", ""))
    return parser


if __name__ == "__main__":
    sys.exit(main())
