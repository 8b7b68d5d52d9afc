"""The flags by which a server is told what to record."""

from __future__ import annotations

import argparse
from typing import cast

import msgspec

from kubeling.serving.requestlog.record import LogSettings, Mode

__all__ = ["add_log_flags", "log_settings"]


def add_log_flags(parser: argparse.ArgumentParser, request_log: str = "") -> None:
    """Adds them, with what the place is if none is given."""
    parser.add_argument(
        "--request_log",
        default=request_log,
        help="folder; URL that takes CloudEvents; bucket; metadata:// for the platform's database",
    )
    parser.add_argument("--log_mode", choices=("all", "request", "response"), default="all")
    parser.add_argument("--logger", type=_settings, help="a service's logger and more, as JSON")


def log_settings(options: argparse.Namespace) -> LogSettings:
    """What they say."""
    if options.logger is not None:
        return cast(LogSettings, options.logger)
    return LogSettings(options.request_log, cast(Mode, options.log_mode))


def _settings(text: str) -> LogSettings:
    try:
        return msgspec.json.decode(text, type=LogSettings)
    except msgspec.MsgspecError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
