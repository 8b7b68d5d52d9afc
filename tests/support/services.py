"""Services and what is behind them, as tests write them."""

from __future__ import annotations

from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import ENDPOINT_SLICES, SERVICES

HERE = "127.0.0.1"


def service(title: str = "web", **spec: object) -> Obj:
    return new_object(SERVICES, title, "default", spec=spec)


def endpoint_slice(title: str, *endpoints: Obj, port: int = 80, name: str = "") -> Obj:
    return new_object(
        ENDPOINT_SLICES,
        title,
        "default",
        labels={"kubernetes.io/service-name": title},
        addressType="IPv4",
        endpoints=list(endpoints),
        ports=[{"name": name, "port": port, "protocol": "TCP"}],
    )


def endpoint(address: str = HERE, *, ready: bool = True, pod: str = "", host: str = "") -> Obj:
    found: Obj = {"addresses": [address], "conditions": {"ready": ready}}
    if pod:
        found["targetRef"] = {"kind": "Pod", "name": pod, "namespace": "default"}
    if host:
        found["hostname"] = host
    return found
