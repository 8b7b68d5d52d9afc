"""What an inference gateway without the metadata database answers about what that would keep.

Requests filed in such a process would be gone with it, so it takes none.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from kubeling.serving.gateway import proxying

__all__ = ["routes"]

_INSTEAD: Final = {
    "requests": "spec.predictor.logger.url may name a bucket, a claim or an HTTP address instead",
    "drift": "the condition DataDrift of the service says what monitoring found",
}


def routes() -> list[web.AbstractRouteDef]:
    """The pages that are kept in the metadata database."""
    pages = "|".join(_INSTEAD)
    return [web.route("*", f"/api/serving/{{namespace}}/{{name}}/{{page:{pages}}}", _unkept)]


async def _unkept(request: web.Request) -> web.Response:
    page = request.match_info["page"]
    text = f'no "{page}" here: this inference gateway has no metadata database; {_INSTEAD[page]}'
    return proxying.error(404, text)
