"""Which traces are recorded, by OpenTelemetry's samplers.

Written out as they are asked at every request: the SDK's build an object to answer.
"""

from __future__ import annotations

import logging
from typing import Final

from kubeling.monitoring.tracing.spans import Sampler

__all__ = ["SAMPLERS", "USUAL_SAMPLER", "sampler_of"]

log = logging.getLogger(__name__)

USUAL_SAMPLER: Final = "parentbased_always_on"
_PARENT: Final = "parentbased_"
_LOW_BITS: Final = 1 << 64
SAMPLERS: Final = tuple(
    f"{of}{name}" for of in ("", _PARENT) for name in ("always_on", "always_off", "traceidratio")
)


def sampler_of(name: str, argument: str = "") -> Sampler:
    """The sampler of a name; one that is not known here is said, and is the usual one."""
    wanted = name.strip().lower() or USUAL_SAMPLER
    if wanted not in SAMPLERS:
        log.warning("OTEL_TRACES_SAMPLER: %s is none of %s", name, ", ".join(SAMPLERS))
        wanted = USUAL_SAMPLER
    root = wanted.removeprefix(_PARENT)
    bound = _bound(root, argument)

    def by_identifier(trace_id: str) -> bool:
        return int(trace_id[16:], 16) < bound

    if root == wanted:
        return lambda trace_id, _: by_identifier(trace_id)
    return lambda trace_id, parent: by_identifier(trace_id) if parent is None else parent


def _bound(root: str, argument: str) -> int:
    """Below which number the last 64 bits of a recorded trace's identifier are."""
    if root != "traceidratio":
        return _LOW_BITS if root == "always_on" else 0
    try:
        ratio = float(argument or "1")
        if not 0 <= ratio <= 1:
            raise ValueError
    except ValueError:
        log.warning("OTEL_TRACES_SAMPLER_ARG: %r is no share from 0 to 1; 1 is taken", argument)
        ratio = 1.0
    return round(ratio * _LOW_BITS)
