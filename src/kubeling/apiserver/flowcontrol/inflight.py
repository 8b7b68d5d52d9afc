"""How many requests may be under way at once (apiserver ``filters/maxinflight``).

One above the bound is told to come again, rather than that all become slow. Watches, logs and
connections are not counted, because they stay; administrators and probes are always let in, because
somebody has to see what is going on.
"""

from __future__ import annotations

from typing import Final

from kubeling.apiserver.api import Handle, request_attributes
from kubeling.apiserver.rbac import Attributes
from kubeling.apiserver.requests import Answer, ApiRequest
from kubeling.kube.errors import TooManyRequests

__all__ = ["InFlightLimit"]

_READING: Final = frozenset({"get", "list", "watch"})
_LASTING: Final = frozenset({"attach", "exec", "log", "portforward", "proxy"})
_PROBES: Final = ("/healthz", "/livez", "/readyz")
_MASTERS: Final = "system:masters"


class InFlightLimit:
    """Bounds reading and writing requests apart; 0 is no bound."""

    def __init__(self, reading: int, writing: int) -> None:
        self._most = {True: reading, False: writing}
        self._under_way = {True: 0, False: 0}

    def around(self, handle: Handle) -> Handle:
        """The handler that lets no more than so many requests into ``handle``."""

        async def limited(request: ApiRequest) -> Answer:
            wanted = request_attributes(request)
            reads = wanted.verb in _READING
            if not self._most[reads] or _lasts(wanted):
                return await handle(request)
            if self._under_way[reads] >= self._most[reads] and not _is_exempt(request):
                raise TooManyRequests(
                    "Too many requests, please try again later.", details={"retryAfterSeconds": 1}
                )
            self._under_way[reads] += 1
            try:
                return await handle(request)
            finally:
                self._under_way[reads] -= 1

        return limited


def _lasts(wanted: Attributes) -> bool:
    return wanted.verb == "watch" or wanted.subresource in _LASTING


def _is_exempt(request: ApiRequest) -> bool:
    return _MASTERS in request.user.groups or request.path.startswith(_PROBES)
