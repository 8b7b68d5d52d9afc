"""The agent's command."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from aiohttp import web

from kubeling.serving.agent.app import Agent, Duties, create_app
from kubeling.serving.requestlog.flags import add_log_flags, log_settings
from kubeling.serving.requestlog.opening import folder_of, open_log
from kubeling.serving.requestlog.record import Counts
from kubeling.serving.server.batch_flags import add_batch_flags, batch_limits
from kubeling.serving.server.run import stopped
from kubeling.serving.server.tracing import opened

__all__ = ["main", "served"]

_MODEL: Final = Path("/mnt/models")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until SIGTERM or SIGINT."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(_run(options))
    return 0


async def _run(options: argparse.Namespace) -> None:
    settings, counts = log_settings(options), Counts()
    async with open_log(settings, counts) as log:
        duties = Duties(log, counts, folder_of(settings))
        if options.monitor:
            from kubeling.serving.drift.profile import PROFILE_FILE
            from kubeling.serving.server.sampling import Sampler

            duties.sampler = Sampler(_MODEL / PROFILE_FILE)
        if limits := batch_limits(options):
            from kubeling.serving.server.merging import Merger

            duties.merger = Merger(limits)
        agent = Agent(options.target, duties)
        async with opened() as agent.tracer:
            await served(create_app(agent), options.host, options.port)


async def served(app: web.Application, host: str, port: int) -> None:
    """Serves until SIGTERM or SIGINT."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        await stopped()
    finally:
        await runner.cleanup()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="request-agent", description=__doc__)
    parser.add_argument("--target", required=True, help="base URL of the container")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=9081)
    parser.add_argument(
        "--monitor", type=lambda text: text == "true", default=False, help="sample for drift"
    )
    add_log_flags(parser)
    add_batch_flags(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
