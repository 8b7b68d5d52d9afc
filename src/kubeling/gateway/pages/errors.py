"""What a page says when it cannot be shown: one sentence, and the way on.

Programs that ask the same gateway get Kubernetes' own Status; a person gets a page.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from kubeling.gateway.pages.missing import Way, section_at, ways_on
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import Refused
from kubeling.kube.errors import ApiError

__all__ = ["explained", "lost"]

log = logging.getLogger(__name__)

Page = Callable[[web.Request], Awaitable[web.StreamResponse]]


def explained(views: Views, page: Page) -> Page:
    """The page, or a page that says why it is not there."""

    async def handler(request: web.Request) -> web.StreamResponse:
        try:
            return await page(request)
        except web.HTTPNotFound as error:
            said = error.text or "There is no such page."
            ways = await ways_on(views, request)
            return _say(views, request, 404, "Not found", said, ways)
        except web.HTTPBadRequest as error:
            return _say(views, request, 400, "That cannot be done", error.text or "")
        except web.HTTPException:
            raise  # redirections, among others: answers, no mistakes
        except ApiError as error:
            return _say(views, request, error.status_code, "The API refused", str(error))
        except ConnectionError as error:
            if isinstance(error, Refused) and error.status == 404:
                return _say(views, request, 404, "Not found", f"{error}.")
            if isinstance(error, Refused) and error.status < 500:
                return _say(views, request, error.status, "That cannot be done", str(error))
            log.warning("%s: %s", request.path, error)
            reason = f"A part of the platform that this page asks did not answer: {error}"
            return _say(views, request, 503, "Not available now", reason)
        except Exception:
            log.exception("%s %s", request.method, request.path)
            reason = (
                "This page cannot be shown, by a mistake of the dashboard's. The platform's log "
                "says more; kubectl and the SDKs are not concerned."
            )
            return _say(views, request, 500, "Something went wrong", reason)

    return handler


def lost(views: Views) -> Middleware:
    """Answers a browser with a page where no route leads; programs get the bare answer."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        nowhere = request.match_info.http_exception
        if nowhere is None or not _wants_a_page(request):
            return await handler(request)
        reason = f"There is no page at {request.path}."
        return _say(views, request, nowhere.status, "Not found", reason)

    return middleware


def _wants_a_page(request: web.Request) -> bool:
    return request.method == "GET" and "text/html" in request.headers.get("Accept", "")


def _say(
    views: Views,
    request: web.Request,
    status: int,
    title: str,
    reason: str,
    ways: Sequence[Way] = (),
) -> web.Response:
    section = section_at(request.path)
    return views.page(
        request,
        "error.html",
        section or "",
        title,
        status=status,
        code=status,
        reason=reason,
        ways=ways,
        around=section,
    )
