"""The one handler of all requests: find the resource, ask authorisation, carry out the verb.

Both ends use it, the in-process transport and the HTTPS server, so what one refuses the other
refuses in the same words.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final

from kubeling.apiserver.aggregation.delegate import Delegates
from kubeling.apiserver.catalog import Catalog
from kubeling.apiserver.options import truthy
from kubeling.apiserver.rbac import Attributes, Authorizer, forbidden
from kubeling.apiserver.representation import (
    PLAIN,
    Representation,
    changes_form,
    negotiate,
    represent,
    represent_changes,
)
from kubeling.apiserver.requests import (
    Answer,
    ApiRequest,
    ObjectAnswer,
    StoredAnswer,
    Target,
    WatchAnswer,
    parse_path,
)
from kubeling.apiserver.served import SUBRESOURCE_VERBS, Served
from kubeling.apiserver.user import User
from kubeling.apiserver.verbs import Verbs
from kubeling.kube.clock import Clock
from kubeling.kube.errors import MethodNotAllowed, NotFound

__all__ = ["Api", "Handle", "PlainHandler", "Review", "SubresourceHandler", "request_attributes"]

Handle = Callable[[ApiRequest], Awaitable[Answer]]
"""Answers any request, or raises an :class:`~kubeling.kube.errors.ApiError`."""

SubresourceHandler = Callable[[Served, Target, ApiRequest], Awaitable[Answer]]
"""Answers a request about a subresource (or a review) that is not an object of its own."""

Review = Callable[[Served, Target, ApiRequest], Awaitable[None]]
"""Raises where such a request is not admitted."""

PlainHandler = Callable[[ApiRequest], Answer]
"""Answers a request that is not about resources: discovery, versions, health."""

_VERBS: Final = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_KNOWN: Final = frozenset({*_VERBS.values(), "list", "watch", "deletecollection"})
_NAMESPACES: Final = ("", "namespaces")
_ACTING: Final = frozenset({"exec", "attach", "portforward"})
"""Subresources that do more than read, although a websocket can only be asked for with GET."""


class Api:
    """Everything the server answers.

    ``handlers`` are keyed by ``(group/plural, subresource)``; an empty subresource is a kind that
    is only ever asked (reviews). ``review`` is asked before any of them.
    """

    def __init__(
        self,
        catalog: Catalog,
        verbs: Verbs,
        authorizer: Authorizer,
        plain: PlainHandler,
        handlers: Mapping[tuple[str, str], SubresourceHandler],
        review: Review,
        clock: Clock,
        delegates: Delegates,
    ) -> None:
        self._review = review
        self._clock = clock
        self._catalog = catalog
        self._verbs = verbs
        self._authorizer = authorizer
        self._plain = plain
        self._handlers = handlers
        self._delegates = delegates

    async def handle(self, request: ApiRequest) -> Answer:
        """Answers one request; refusals are raised as :class:`~kubeling.kube.errors.ApiError`."""
        target, wanted = parse_path(request.path), request_attributes(request)
        delegate = self._delegates.find(target.group, target.version) if target else None
        if target is not None and delegate is not None:
            self._require(request.user, wanted)
            return await delegate.handle(target, request)
        if target is None or not target.is_resource:
            self._require(request.user, wanted)
            return self._plain(request)
        served = self._catalog.find(target.group, target.version, target.plural)
        if served is None or not _fits(served, target):
            raise _unknown()
        verb = wanted.verb
        if verb not in _KNOWN:
            raise MethodNotAllowed(f"the method {request.method} is not supported")
        self._require(request.user, wanted)
        if verb == "get" and target.subresource in _ACTING:
            self._require(request.user, replace(wanted, verb="create"))
        handler = self._handlers.get((served.storage, target.subresource))
        if not _supports(served, target, verb):
            raise MethodNotAllowed(
                f"the server does not allow this method on the requested resource: {verb} "
                f"{target.plural}"
            )
        if handler is not None:
            await self._review(served, target, request)
            return await handler(served, target, request)
        representation = negotiate(request.accept)
        answer = await self._verbs.handle(verb, served, target, request)
        return self._represented(answer, served, representation, request)

    def _represented(
        self, answer: Answer, served: Served, wanted: Representation, request: ApiRequest
    ) -> Answer:
        if isinstance(answer, StoredAnswer):
            if wanted is PLAIN and not served.deprecation:
                return answer
            answer = ObjectAnswer(answer.stored.obj)
        if isinstance(answer, ObjectAnswer):
            if served.deprecation:
                answer.warnings = [served.deprecation, *answer.warnings]
            answer.yaml = wanted.media == "application/yaml"
            if wanted.kind and answer.obj.get("kind") not in ("Status", "Scale"):
                now = self._clock.now()
                answer.obj = represent(answer.obj, served, wanted, request.query, now)
        elif isinstance(answer, WatchAnswer) and wanted.kind:
            changes = represent_changes(
                answer.changes, served, wanted, request.query, self._clock.now
            )
            return WatchAnswer(changes, changes_form(wanted, answer.form))
        return answer

    def _require(self, user: User, wanted: Attributes) -> None:
        if not self._authorizer.allows(user, wanted):
            raise forbidden(user, wanted)


def _supports(served: Served, target: Target, verb: str) -> bool:
    if target.subresource:
        return verb in SUBRESOURCE_VERBS[target.subresource]
    if verb not in served.verbs:
        return False
    if verb == "deletecollection" and served.resource.namespaced and not target.namespace:
        return False
    if verb == "create" and served.resource.namespaced and not target.namespace:
        return False
    if verb in ("create", "list", "deletecollection"):
        return not target.name
    return bool(target.name) or verb == "watch"


def _unknown() -> NotFound:
    return NotFound("the server could not find the requested resource")


def _fits(served: Served, target: Target) -> bool:
    if target.namespace and not served.resource.namespaced:
        return False
    if target.name and served.resource.namespaced and not target.namespace:
        return False
    return not target.subresource or target.subresource in served.subresources


def request_attributes(request: ApiRequest) -> Attributes:
    """What a request wants to do; a method nobody knows is its own verb."""
    target = parse_path(request.path)
    if target is None or not target.is_resource:
        return Attributes(request.method.lower(), path=request.path)
    return Attributes(
        _verb(request, target),
        target.group,
        target.plural,
        target.subresource,
        # A namespace is within itself.
        target.namespace or (target.name if (target.group, target.plural) == _NAMESPACES else ""),
        target.name,
        version=target.version,
    )


def _verb(request: ApiRequest, target: Target) -> str:
    verb = _VERBS.get(request.method, request.method.lower())
    if verb == "get" and not target.subresource:
        if target.watch or truthy(request.query, "watch"):
            return "watch"
        if not target.name:
            return "list"
    if verb == "delete" and not target.name:
        return "deletecollection"
    return verb
