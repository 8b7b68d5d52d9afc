"""``pods/binding``."""

from __future__ import annotations

from kubeling.apiserver.bodies import read_object
from kubeling.apiserver.decoding import typed
from kubeling.apiserver.options import WriteOptions
from kubeling.apiserver.registry import Registry
from kubeling.apiserver.requests import Answer, ApiRequest, ObjectAnswer, Target
from kubeling.apiserver.served import Served
from kubeling.kube.errors import BadRequest, Conflict
from kubeling.kube.objects import Obj, set_condition, uid

__all__ = ["PodHandlers"]


class PodHandlers:
    """What can be posted to a pod besides the pod itself."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def bind(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        """Assigns a pod to a node."""
        body = typed(read_object(request) or {}, "io.k8s.api.core.v1.Binding")
        metadata, node = body.get("metadata") or {}, (body.get("target") or {}).get("name")
        if metadata.get("name") not in (None, "", target.name):
            raise BadRequest("name in URL does not match name in Binding object")
        if not node:
            raise BadRequest("target.name: Required value: name the node")
        now = self._registry.clock.now()

        def transform(pod: Obj) -> Obj:
            if metadata.get("uid") not in (None, "", uid(pod)):
                why = (
                    f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object "
                    f"meta: {uid(pod)}"
                )
                raise Conflict.of("", "pods/binding", target.name, why)
            if pod["spec"].get("nodeName"):
                why = f'pod {target.name} is already assigned to node "{pod["spec"]["nodeName"]}"'
                raise Conflict.of("", "pods/binding", target.name, why)
            pod["spec"]["nodeName"] = node
            set_condition(pod.setdefault("status", {}), "PodScheduled", True, now=now)
            return pod

        options = WriteOptions.parse(request.query, request.user, target.subresource)
        await self._registry.update(served, target.namespace, target.name, transform, options)
        return ObjectAnswer(_success(), 201)


def _success() -> Obj:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
