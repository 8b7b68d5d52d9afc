"""Cross-origin requests: what FastAPI's ``CORSMiddleware`` does, by its options.

Upstream's samples add that class to the server's ``app``. This server has no ASGI for it to run in,
so it is asked for its options only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from kubeling.serving.server.http import (
    Handler,
    Request,
    Response,
    StreamedResponse,
    error_response,
)

__all__ = ["App", "Cors"]

_SAFE = ("Accept", "Accept-Language", "Content-Language", "Content-Type")


@dataclass(frozen=True, slots=True)
class Cors:
    """The options of Starlette's middleware, with its defaults."""

    allow_origins: Sequence[str] = ()
    allow_methods: Sequence[str] = ("GET",)
    allow_headers: Sequence[str] = ()
    allow_credentials: bool = False
    expose_headers: Sequence[str] = ()
    max_age: int = 600

    def around(self, handler: Handler) -> Handler:
        """A handler that answers browsers' questions too."""

        async def answer(request: Request) -> Response | StreamedResponse:
            origin = request.headers.get("origin")
            if origin is None or not self._allows(origin):
                return await handler(request)
            if request.method == "OPTIONS":
                return Response(b"OK", 200, "text/plain", self._preflight(request, origin))
            try:
                found = await handler(request)
            except Exception as error:
                # A page may read a refusal, too.
                found = error_response(error)
            return replace(found, headers={**found.headers, **self._headers(origin)})

        return answer

    def _allows(self, origin: str) -> bool:
        return "*" in self.allow_origins or origin in self.allow_origins

    def _headers(self, origin: str) -> dict[str, str]:
        anyone = "*" in self.allow_origins and not self.allow_credentials
        found = {"access-control-allow-origin": "*" if anyone else origin, "vary": "Origin"}
        if self.allow_credentials:
            found["access-control-allow-credentials"] = "true"
        if self.expose_headers:
            found["access-control-expose-headers"] = ", ".join(self.expose_headers)
        return found

    def _preflight(self, request: Request, origin: str) -> dict[str, str]:
        methods = self.allow_methods
        if "*" in methods:
            methods = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
        headers = ", ".join(sorted({*_SAFE, *self.allow_headers}))
        if "*" in self.allow_headers:
            headers = request.headers.get("access-control-request-headers", headers)
        return {
            **self._headers(origin),
            "access-control-allow-methods": ", ".join(methods),
            "access-control-allow-headers": headers,
            "access-control-max-age": str(self.max_age),
        }


class App:
    """What ``kserve.model_server.app`` is used for in models."""

    def __init__(self) -> None:
        self.cors: Cors | None = None

    def add_middleware(self, middleware: type, **options: Any) -> None:
        """Takes Starlette's ``CORSMiddleware``; raises :class:`TypeError` for others."""
        if middleware.__name__ != "CORSMiddleware":
            raise TypeError(
                f"{middleware.__name__} needs an ASGI server, which this one is not; "
                "only CORSMiddleware is known, by its options"
            )
        self.cors = Cors(**options)
