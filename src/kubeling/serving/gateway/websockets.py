"""WebSockets through the inference gateway.

They count as one request of their revision, however long they last, so that a service with clients
on them neither rests nor loses its pod's place. The service's timeout does not end them: it is
meant for an answer, and there is none to wait for.
"""

from __future__ import annotations

import time

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from kubeling.proxying.websockets import connected, joined
from kubeling.serving.gateway import proxying
from kubeling.serving.gateway.delivery import Place

__all__ = ["passed_through"]


async def passed_through(
    request: web.Request,
    session: aiohttp.ClientSession,
    url: URL,
    place: Place,
    headers: CIMultiDict[str],
) -> web.StreamResponse:
    """Joins the client with a pod, or says why the pod would not.

    The pod's status is counted as soon as there is one. Raises what aiohttp does for a pod that
    cannot be reached at all.
    """
    started, revision = time.perf_counter(), place.revision
    headers.pop("Host", None)
    try:
        pod = await connected(session, request, url, headers)
    except aiohttp.WSServerHandshakeError as refused:
        place.record.add(refused.status, time.perf_counter() - started)
        return proxying.error(refused.status, f"{revision} takes no WebSocket here", revision)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        raise
    except (aiohttp.ClientError, TimeoutError) as broken:
        place.record.add(502, time.perf_counter() - started)
        said = str(broken) or type(broken).__name__
        return proxying.error(502, f"{revision} broke off: {said}", revision)
    place.record.add(101, time.perf_counter() - started)
    return await joined(request, pod, headers={proxying.REVISION_HEADER: revision})
