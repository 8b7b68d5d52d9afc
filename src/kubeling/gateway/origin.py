"""Refuses what a page of another site sends in the name of whoever looks at it.

The platform listens on this machine and asks nobody to sign in, so a browser is the only thing that
stands between it and every page its user opens. Browsers say where a request comes from; programs
say nothing and are let through. Models may be called from pages of their users' own.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

__all__ = ["same_origin"]

_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_OPEN: Final = ("/serving/",)


@web.middleware
async def same_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers 403 to requests that change something and come from another site's page.

    A web socket is one of them, whatever its method: it leads to notebooks' kernels.
    """
    harmless = request.method in _SAFE and "Upgrade" not in request.headers
    if harmless or request.path.startswith(_OPEN) or _is_ours(request):
        return await handler(request)
    text = "This request comes from a page of another site, which may change nothing here."
    raise web.HTTPForbidden(text=text)


def _is_ours(request: web.Request) -> bool:
    origin = request.headers.get("Origin")
    if origin is None:
        return request.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none")
    # A proxy in front tells the address that the browser knows; a page cannot make one up.
    hosts = [request.host.lower(), request.headers.get("X-Forwarded-Host", "").lower()]
    theirs = urlsplit(origin).netloc.lower()
    return bool(theirs) and theirs in hosts
