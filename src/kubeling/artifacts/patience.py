"""Waiting for a store that is away: it is asked again, less and less often, up to a limit.

The library that speaks to stores tries again by itself, for a second or two; a store that is being
restarted takes longer, and a step that has worked for hours is not to fail for it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from kubeling.artifacts.errors import ArtifactAway, ArtifactError

__all__ = ["PATIENCE", "VARIABLE", "patience_of", "patiently"]

PATIENCE: Final = 120.0
"""Seconds for which a store may be away."""
VARIABLE: Final = "KUBELING_STORE_PATIENCE"
"""The variable in which the containers beside a step are told otherwise."""

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 10.0

T = TypeVar("T")


def patience_of(env: Mapping[str, str]) -> float:
    """How long a container waits."""
    return float(env.get(VARIABLE) or PATIENCE)


def patiently(work: Callable[[], T], patience: float) -> T:
    """Does the work; begins again while its store is away, and says so on standard error.

    Raises :class:`ArtifactError` when that has lasted too long.
    """
    began, pause = time.monotonic(), _FIRST_PAUSE
    while True:
        try:
            return work()
        except ArtifactAway as error:
            waited = time.monotonic() - began
            if waited + pause > patience:
                raise ArtifactError(f"{error}; it was tried for {waited:.0f} s") from None
            print(f"{error}; again in {pause:g} s", file=sys.stderr, flush=True)
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
