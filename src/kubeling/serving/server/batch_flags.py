"""The flags by which a server is told to merge requests: a component's ``batcher``."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

__all__ = ["BatchLimits", "add_batch_flags", "batch_limits"]


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How many instances, how long the first may wait, how long an answer may take (seconds)."""

    size: int = 32
    latency: float = 5.0
    timeout: float = 600.0


def add_batch_flags(parser: argparse.ArgumentParser) -> None:
    """Adds them; without the first, nothing waits for a batch."""
    parser.add_argument("--max_batch_size", type=int, help="instances that are predicted at once")
    parser.add_argument(
        "--max_latency", type=float, default=5000, help="milliseconds that a request may wait"
    )
    parser.add_argument(
        "--batch_timeout", type=float, default=600, help="seconds that a batch may take"
    )


def batch_limits(options: argparse.Namespace) -> BatchLimits | None:
    """What they say."""
    if not options.max_batch_size:
        return None
    return BatchLimits(options.max_batch_size, options.max_latency / 1000, options.batch_timeout)
