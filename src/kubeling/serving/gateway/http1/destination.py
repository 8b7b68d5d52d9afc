"""Where a request goes."""

from __future__ import annotations

from kubeling.kube.objects import Key
from kubeling.serving.names import ComponentName

__all__ = ["Destination"]


class Destination:
    """The service that a request is for, and the path within it."""

    __slots__ = ("component", "key", "target")

    def __init__(self, key: Key, component: ComponentName | None, target: str) -> None:
        self.key = key
        self.component = component
        self.target = target
