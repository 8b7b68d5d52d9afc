"""What a loader or keeper is told: artifacts by name, with their places."""

from __future__ import annotations

from typing import Literal

import msgspec

from kubeling.artifacts.locations import Location

__all__ = ["Packing", "Transfer"]

Packing = Literal["tar", "zip", "none", "auto"]
"""``auto`` is for loading only: what looks like an archive is one."""


class Transfer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One artifact: its path in the shared folder (``name``), and where it lies.

    ``level`` is gzip's; ``optional`` is for inputs that may be missing.
    """

    name: str
    location: Location
    packing: Packing = "auto"
    level: int | None = None
    optional: bool = False
