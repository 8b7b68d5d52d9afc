"""What all services of the API have."""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

from kubeling.component import Context
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource
from kubeling.workflows.api.access import Access
from kubeling.workflows.api.errors import InvalidArgument
from kubeling.workflows.archive import Archive
from kubeling.workflows.offload import Offload
from kubeling.workflows.operations.operator import WorkflowOperator

__all__ = ["Service", "in_namespace"]

_LABEL_CREATOR: Final = "workflows.argoproj.io/creator"
_NOT_IN_LABELS: Final = re.compile(r"[^-_.a-z0-9A-Z]")


class Service:
    """One group of endpoints; each takes a request and returns what to answer with."""

    def __init__(self, context: Context) -> None:
        self.client = context.client
        self.clock = context.clock
        self.informers = context.informers
        self.access = Access(context.client)
        self.archive = Archive(context)
        self.offload = Offload(context)
        self.operator = WorkflowOperator(context.client, context.clock, self.offload)

    async def allow(
        self, request: web.Request, verb: str, resource: Resource, namespace: str, name: str = ""
    ) -> None:
        """Raises unless the caller may."""
        await self.access.check(request, verb, resource, namespace, name)

    async def signed(self, request: web.Request, obj: Obj) -> Obj:
        """The object with the label of who made it, where that is known."""
        caller = await self.access.caller(request)
        if caller is not None and caller.name:
            label = _NOT_IN_LABELS.sub("-", caller.name)[-63:].strip("-_.")
            obj["metadata"].setdefault("labels", {})[_LABEL_CREATOR] = label
        return obj


def in_namespace(obj: Obj, namespace: str) -> Obj:
    """The object in the namespace of the request, which it may repeat but not contradict."""
    own = obj["metadata"].setdefault("namespace", namespace)
    if own != namespace:
        raise InvalidArgument(
            f"the namespace of the object ({own}) does not match that of the request ({namespace})"
        )
    return obj
