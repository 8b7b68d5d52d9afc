"""Command lines that are longer than a kernel takes.

Linux refuses a single argument above 128 KiB, and a Python component is given all its inputs as
one. Where they are larger, they go into a file beside the attempt's other files, and the
component's program reads them from there; other programs are told to take a file instead. Pure.
"""

from __future__ import annotations

from typing import Final

import msgspec

from kubeling.kube.objects import Obj
from kubeling.pipelines.placeholders import PlaceholderError

__all__ = ["LIMIT", "take_large_arguments"]

LIMIT: Final = 128 << 10
"""Bytes of an argument, and the one that ends it (``MAX_ARG_STRLEN``)."""

_RUN: Final = "-m kfp.dsl.executor_main"
_READ: Final = (
    "-c 'import json, runpy, sys; sys.argv += json.load(open(sys.argv.pop(1))); "
    'runpy.run_module("kfp.dsl.executor_main", run_name="__main__", alter_sys=True)\' \'%s\''
)


def take_large_arguments(pod: Obj, path: str) -> bytes | None:
    """Takes them from a pod; what belongs into the file at ``path``, ``None`` if all fit.

    Raises :class:`PlaceholderError`.
    """
    container = pod["spec"]["containers"][0]
    command, args = container.get("command") or [], container.get("args") or []
    largest = max((len(text.encode()) for text in (*command, *args)), default=0)
    if largest < LIMIT:
        return None
    places = [number for number, text in enumerate(command) if _RUN in text]
    if not places or max((len(text.encode()) for text in command), default=0) >= LIMIT:
        raise PlaceholderError(
            f"an argument has {largest} bytes, and Linux takes {LIMIT - 1}: hand large values on "
            "as artifacts"
        )
    container["command"] = [
        text.replace(_RUN, _READ % path) if number in places else text
        for number, text in enumerate(command)
    ]
    del container["args"]
    return msgspec.json.encode(args)
