"""Defaults of pods, and of the templates that pods are made from."""

from __future__ import annotations

from typing import Any, Final

from kubeling.apiserver.defaults.rules import Rule, Rules, default, items, part
from kubeling.kube.objects import Obj

__all__ = ["POD_DEFAULTS", "TEMPLATE"]

_CONTAINER_LISTS: Final = ("initContainers", "containers", "ephemeralContainers")
_HTTP: Final = {"path": "/", "scheme": "HTTP"}
_FILE_MODE: Final = {"defaultMode": 0o644}


def _accounts(spec: Obj) -> None:
    """``serviceAccount`` is the old name of ``serviceAccountName`` and follows it."""
    name = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if name:
        spec["serviceAccountName"] = spec["serviceAccount"] = name


def _pull_policy(container: Obj) -> None:
    image = container.get("image")
    name, _, digest = str(image or "").rpartition("/")[2].partition("@")
    tag = name.partition(":")[2]
    latest = tag == "latest" or not (tag or digest)
    default(container, {"imagePullPolicy": "Always" if latest else "IfNotPresent"})


def _volume_source(volume: Obj) -> None:
    if not volume.keys() - {"name"}:
        volume["emptyDir"] = {}


def _requests(container: Obj) -> None:
    """Whoever limits a resource and requests none of it requests the limit."""
    limits = part(part(container, "resources"), "limits")
    if limits:
        default(container["resources"], {"requests": {}})
        default(part(container["resources"], "requests"), limits)


def _host_ports(spec: Obj) -> None:
    if spec.get("hostNetwork") is not True:
        return
    for field in _CONTAINER_LISTS[:2]:
        for container in items(spec, field):
            for port in items(container, "ports"):
                number: Any = port.get("containerPort")
                if number and not port.get("hostPort"):
                    port["hostPort"] = number


_PROBES: Final = tuple(
    rule
    for probe in ("livenessProbe", "readinessProbe", "startupProbe")
    for rule in (
        Rule(
            probe,
            {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1,
             "failureThreshold": 3},
        ),
        Rule(f"{probe}.httpGet", _HTTP),
        Rule(f"{probe}.grpc", {"service": ""}),
    )
)  # fmt: skip
_CONTAINER: Final = (
    Rule("", _pull_policy),
    Rule(
        "",
        {
            "resources": {},
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
        },
    ),
    Rule("ports[]", {"protocol": "TCP"}),
    Rule("env[].valueFrom.fieldRef", {"apiVersion": "v1"}),
    Rule("lifecycle.postStart.httpGet", _HTTP),
    Rule("lifecycle.preStop.httpGet", _HTTP),
    *_PROBES,
)
_VOLUME: Final = (
    Rule("", _volume_source),
    *(Rule(source, _FILE_MODE) for source in ("configMap", "secret", "downwardAPI", "projected")),
    Rule("downwardAPI.items[].fieldRef", {"apiVersion": "v1"}),
    Rule("projected.sources[].downwardAPI.items[].fieldRef", {"apiVersion": "v1"}),
    Rule("projected.sources[].serviceAccountToken", {"expirationSeconds": 3600}),
    Rule("hostPath", {"type": ""}),
    Rule("iscsi", {"iscsiInterface": "default"}),
    Rule("ephemeral.volumeClaimTemplate.spec", {"volumeMode": "Filesystem"}),
)
_POD_SPEC: Final = (
    Rule(
        "",
        {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "securityContext": {},
            "schedulerName": "default-scheduler",
        },
    ),
    Rule("", _accounts),
    *(Rule(f"{field}[]", _CONTAINER) for field in _CONTAINER_LISTS),
    Rule("volumes[]", _VOLUME),
)
TEMPLATE: Final = (Rule("", {"metadata": {}, "spec": {}}), Rule("spec", _POD_SPEC))
"""Of a pod template. It has fewer than a pod: what is settled when the pod is made stays open."""

POD_DEFAULTS: Final[Rules] = {
    ("v1", "Pod"): (
        Rule("spec", _POD_SPEC),
        Rule(
            "spec",
            {"enableServiceLinks": True, "preemptionPolicy": "PreemptLowerPriority", "priority": 0},
        ),
        Rule("spec", _host_ports),
        Rule("spec.containers[]", _requests),
        Rule("spec.initContainers[]", _requests),
    ),
    ("v1", "PodTemplate"): (Rule("template", TEMPLATE),),
}
