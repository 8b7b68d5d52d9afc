"""Requests that are answered by somebody else than the registry: connections, bindings, evictions.

A command in a container, a forwarded port or a proxied request is a ``CONNECT`` that shows its
options; a binding, an eviction or a request for a token is a ``CREATE`` of what was sent. Nothing
can be changed about them, only refused.
"""

from __future__ import annotations

from typing import Final

from kubeling.apiserver.bodies import read_object
from kubeling.apiserver.requests import ApiRequest, Target
from kubeling.apiserver.served import Served
from kubeling.apiserver.webhooks.attributes import Attributes, Operation
from kubeling.apiserver.webhooks.dispatch import AdmissionWebhooks
from kubeling.kube.objects import Obj

__all__ = ["review_request"]

_CONNECTIONS: Final = {
    ("/pods", "exec"): "PodExecOptions",
    ("/pods", "attach"): "PodAttachOptions",
    ("/pods", "portforward"): "PodPortForwardOptions",
    ("/pods", "proxy"): "PodProxyOptions",
    ("/services", "proxy"): "ServiceProxyOptions",
    ("/nodes", "proxy"): "NodeProxyOptions",
}
_CREATIONS: Final = {
    ("/pods", "binding"): ("v1", "Binding"),
    ("/pods", "eviction"): ("policy/v1", "Eviction"),
    ("/serviceaccounts", "token"): ("authentication.k8s.io/v1", "TokenRequest"),
}
_SWITCHES: Final = ("stdin", "stdout", "stderr", "tty")


async def review_request(
    webhooks: AdmissionWebhooks, served: Served, target: Target, request: ApiRequest
) -> None:
    """Raises where a webhook refuses the request."""
    key = (served.storage, target.subresource)
    operation: Operation = "CONNECT" if key in _CONNECTIONS else "CREATE"
    if key not in _CONNECTIONS and key not in _CREATIONS:
        return
    hooks = webhooks.hooks(served, operation, target.subresource)
    if hooks is None:
        return
    if operation == "CONNECT":
        body = _connection(_CONNECTIONS[key], target, request)
    else:
        api_version, kind = _CREATIONS[key]
        body = {**(read_object(request) or {}), "apiVersion": api_version, "kind": kind}
    attributes = Attributes(
        served,
        operation,
        target.namespace,
        target.name,
        body,
        None,
        target.subresource,
        request.user,
    )
    await hooks.review(attributes)


def _connection(kind: str, target: Target, request: ApiRequest) -> Obj:
    shown: Obj = {"kind": kind, "apiVersion": "v1"}
    query = request.query
    if target.subresource == "proxy":
        return {**shown, "path": f"/{target.rest}"}
    if target.subresource == "portforward":
        return {**shown, "ports": [int(port) for port in query.all("ports") if port.isdigit()]}
    for switch in _SWITCHES:
        if query.get(switch, "").lower() in ("1", "true"):
            shown[switch] = True
    if container := query.get("container"):
        shown["container"] = container
    if command := query.all("command"):
        shown["command"] = command
    return shown
