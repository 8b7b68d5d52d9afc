"""What lies on web servers, as files that steps can open.

The SDK takes an address of the web for a path. What is to be there is fetched before a task's pod
is made, once for all runs of a namespace, and a step is told the path of the copy. Pure.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

__all__ = ["as_steps_see", "is_on_the_web"]

_WEB: Final = frozenset({"http", "https"})


def is_on_the_web(uri: str) -> bool:
    """Whether an artifact is at an address of a web server."""
    return urlsplit(uri).scheme in _WEB


def as_steps_see(uri: str, volume_folder: str) -> str:
    """The address that a step is told, which is the path of the copy."""
    parts = urlsplit(uri)
    if parts.scheme not in _WEB:
        return uri
    query = f"?{parts.query}" if parts.query else ""
    return f"{volume_folder}/.web/{parts.scheme}/{parts.netloc}{parts.path}{query}"
