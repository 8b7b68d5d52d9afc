"""Short hashes that name what was made from a template.

They need not equal upstream's: nothing but the controller that made a name reads it.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

__all__ = ["template_digest"]

_SAFE: Final = "bcdfghjklmnpqrstvwxz2456789"
_LENGTH: Final = 10


def template_digest(value: Any, collisions: int = 0) -> str:
    """Ten safe characters for a JSON value; another ten after each collision."""
    text = msgspec.json.encode(value, order="deterministic") + str(collisions or "").encode()
    number = int.from_bytes(hashlib.sha256(text).digest()[:8])
    letters = []
    for _ in range(_LENGTH):
        number, rest = divmod(number, len(_SAFE))
        letters.append(_SAFE[rest])
    return "".join(letters)
