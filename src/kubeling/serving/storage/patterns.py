"""Which files of a model are wanted: ``STORAGE_ALLOW_PATTERNS`` and ``STORAGE_IGNORE_PATTERNS``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch

__all__ = ["Patterns"]


@dataclass(frozen=True, slots=True)
class Patterns:
    """Globs for paths below the model's folder."""

    allow: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    @classmethod
    def of(cls, env: Mapping[str, str]) -> Patterns:
        """What the environment says."""
        allow, ignore = (env.get(f"STORAGE_{kind}_PATTERNS", "") for kind in ("ALLOW", "IGNORE"))
        return cls(_listed(allow), _listed(ignore))

    def takes(self, path: str) -> bool:
        """Whether a file is wanted."""
        if any(fnmatch(path, pattern) for pattern in self.ignore):
            return False
        return not self.allow or any(fnmatch(path, pattern) for pattern in self.allow)


def _listed(text: str) -> tuple[str, ...]:
    """A JSON list as upstream's, or words between commas or spaces."""
    try:
        found = json.loads(text)
    except ValueError:
        found = text.replace(",", " ").split()
    listed = found if isinstance(found, list) else [found]
    return tuple(stripped for item in listed if (stripped := str(item).strip()))
