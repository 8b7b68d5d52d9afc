"""Why a request came to no answer of a pod."""

from __future__ import annotations

__all__ = ["Undelivered", "Unreached"]


class Unreached(Exception):
    """Another pod may be asked; says why this one did not answer, and whether it is ``gone``.

    A pod that ``broke_off``, by its address, had the request, and may have died of it.
    """

    def __init__(self, message: str, *, gone: bool = True, broke_off: str = "") -> None:
        super().__init__(message)
        self.gone = gone
        self.broke_off = broke_off


class Undelivered(Exception):
    """No pod was asked; ``status`` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
