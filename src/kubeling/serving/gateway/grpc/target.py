"""The service that a call is for."""

from __future__ import annotations

from dataclasses import dataclass

from kubeling.kube.objects import Key
from kubeling.serving.names import ComponentName

__all__ = ["CallTarget"]


@dataclass(frozen=True, slots=True)
class CallTarget:
    """A service, the component that was named if one was, and the method's path."""

    key: Key
    component: ComponentName | None
    path: str
