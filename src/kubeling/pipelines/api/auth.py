"""Whether who asks may do something: upstream's AuthService, for its web pages."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from kubeling.kube.objects import Obj
from kubeling.pipelines.api.access import Access
from kubeling.pipelines.api.errors import InvalidArgumentError
from kubeling.pipelines.api.wire import query_of

__all__ = ["authorize"]

_GROUPS: Final = {"viewers": "kubeflow.org"}
_RESOURCES: Final = ("viewers",)
_VERBS: Final = ("create", "get", "delete")


async def authorize(access: Access, request: web.Request) -> Obj:
    """Answers nothing if it is allowed; an error says why not."""
    namespace = query_of(request, "namespace").lower()
    resource, verb = query_of(request, "resources").lower(), query_of(request, "verb").lower()
    if not namespace:
        raise InvalidArgumentError("namespace: Required value: where something is to be done")
    if resource not in _RESOURCES:
        raise InvalidArgumentError(f"resources: one of {_shown(_RESOURCES)} is expected")
    if verb not in _VERBS:
        raise InvalidArgumentError(f"verb: one of {_shown(_VERBS)} is expected")
    await access.require(request, verb, resource, namespace, group=_GROUPS[resource])
    return {}


def _shown(names: tuple[str, ...]) -> str:
    return ", ".join(name.upper() for name in names)
