"""What well-known images run when a template gives no command.

An image's ENTRYPOINT is only known to whoever pulls it. A step whose inputs or outputs pass through
a wrapper needs its command before that, so for other images the template has to state it.
"""

from __future__ import annotations

from typing import Final

__all__ = ["image_command"]

_KNOWN: Final[dict[str, tuple[list[str], list[str]]]] = {
    "alpine": ([], ["/bin/sh"]),
    "bash": ([], ["bash"]),
    "busybox": ([], ["sh"]),
    "debian": ([], ["bash"]),
    "node": ([], ["node"]),
    "python": ([], ["python3"]),
    "ubuntu": ([], ["/bin/bash"]),
    "argoproj/argosay": (["sh", "-c", 'PATH="$PATH:/"; exec argosay "$@"', "sh"], []),
}


def image_command(image: str) -> tuple[list[str], list[str]] | None:
    """ENTRYPOINT and CMD of an image, or ``None`` where they are not known."""
    bare = image.partition("@")[0]
    folder, _, last = bare.rpartition("/")
    name = f"{folder}/{last.partition(':')[0]}".lstrip("/")
    for prefix in ("docker.io/library/", "docker.io/", "library/"):
        name = name.removeprefix(prefix)
    return _KNOWN.get(name)
