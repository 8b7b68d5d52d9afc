"""Defaults of what connects pods."""

from __future__ import annotations

from typing import Final

from kubeling.apiserver.defaults.rules import Rule, Rules, default
from kubeling.kube.objects import Obj

__all__ = ["NETWORK_DEFAULTS"]

_TCP: Final = {"protocol": "TCP"}
_AFFINITY_SECONDS: Final = 3 * 60 * 60


def _service(spec: Obj) -> None:
    kind = spec.get("type")
    if kind != "ExternalName":
        default(
            spec,
            {
                "ipFamilies": ["IPv4"],
                "ipFamilyPolicy": "SingleStack",
                "internalTrafficPolicy": "Cluster",
            },
        )
    if kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and spec.get("externalIPs")):
        default(spec, {"externalTrafficPolicy": "Cluster"})
    if kind == "LoadBalancer":
        default(spec, {"allocateLoadBalancerNodePorts": True})
    if spec.get("sessionAffinity") == "ClientIP":
        timeout = {"clientIP": {"timeoutSeconds": _AFFINITY_SECONDS}}
        default(spec, {"sessionAffinityConfig": timeout})
    else:
        spec.pop("sessionAffinityConfig", None)


def _service_port(port: Obj) -> None:
    if port.get("targetPort") in (None, 0, "") and "port" in port:
        port["targetPort"] = port["port"]
    if port.get("nodePort") == 0:
        del port["nodePort"]


def _policy_types(spec: Obj) -> None:
    types = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    default(spec, {"policyTypes": types})


NETWORK_DEFAULTS: Final[Rules] = {
    ("v1", "Service"): (
        Rule("spec", {"sessionAffinity": "None", "type": "ClusterIP"}),
        Rule("spec", _service),
        Rule("spec.ports[]", _TCP),
        Rule("spec.ports[]", _service_port),
    ),
    ("v1", "Endpoints"): (Rule("subsets[].ports[]", _TCP),),
    ("discovery.k8s.io/v1", "EndpointSlice"): (Rule("ports[]", {"name": "", **_TCP}),),
    ("networking.k8s.io/v1", "NetworkPolicy"): (
        Rule("spec", _policy_types),
        Rule("spec.ingress[].ports[]", _TCP),
        Rule("spec.egress[].ports[]", _TCP),
    ),
    ("networking.k8s.io/v1", "IngressClass"): (Rule("spec.parameters", {"scope": "Cluster"}),),
}
