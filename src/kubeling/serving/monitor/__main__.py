"""The monitoring transformer's command."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from aiohttp import web

from kubeling.serving.drift.profile import Profile
from kubeling.serving.monitor.app import Monitor, create_app
from kubeling.serving.monitor.window import MonitorWindow
from kubeling.serving.server.requestlog import open_log
from kubeling.serving.server.run import stopped

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
    async with open_log(options.request_log, "all", lambda: None) as request_log:
        monitor = Monitor(predictor, MonitorWindow(reference, options.window), request_log)
        runner = web.AppRunner(create_app(monitor), access_log=None, handle_signals=False)
        await runner.setup()
        try:
            await web.TCPSite(runner, options.host, options.http_port).start()
            await stopped()
        finally:
            await runner.cleanup()


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
    parser.add_argument("--request_log", default=os.environ.get("REQUEST_LOG", ""))
    return parser


if __name__ == "__main__":
    sys.exit(main())
