"""Flags of upstream's servers that change nothing here, and why.

Source: kserve's python/kserve/kserve/model_server.py. They are taken, as manifests carry them, and
each that is given is named in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

__all__ = ["WITHOUT_EFFECT", "say_what_has_no_effect"]

WITHOUT_EFFECT: Final[Mapping[str, tuple[Any, str]]] = {
    "max_threads": (4, "gRPC runs on the event loop"),
    "max_asyncio_workers": (None, "what is slow has a thread of its own"),
    "access_log_format": (None, "there is no access log; see spec.predictor.logger"),
    "event_loop": ("auto", "it is uvloop where there is one"),
}
"""The usual value of each, and what is so instead."""


def say_what_has_no_effect(
    given: Mapping[str, Any], warn: Callable[..., None] = logging.warning
) -> None:
    """A line for each that has another value than the usual one."""
    for name, (usual, why) in WITHOUT_EFFECT.items():
        value = given.get(name, usual)
        if str(value) not in (str(usual), str(usual).lower(), "None"):
            warn("--%s=%s has no effect: %s", name, value, why)
