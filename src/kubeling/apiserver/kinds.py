"""The built-in kinds that are written differently from the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from kubeling.apiserver.aggregation.registration import ApiServiceStrategy
from kubeling.apiserver.definitions import DefinitionStrategy
from kubeling.apiserver.policies.strategy import POLICY_STRATEGIES
from kubeling.apiserver.servicefields import ServiceStrategy
from kubeling.apiserver.strategy import GenerationStrategy, Strategy
from kubeling.apiserver.validation.podparts import ephemeral_containers, resized
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, deep_copy
from kubeling.kube.resources import CONFIG_MAPS, SERVICE_ACCOUNTS, Resource

__all__ = ["qos_class", "strategies"]


class JobStrategy(GenerationStrategy):
    """batch/v1 keeps a deleted Job's pods unless told otherwise, as upstream does."""

    default_propagation = "Orphan"

    def prepare_create(self, obj: Obj) -> None:
        """A Job finds its pods by its own uid, unless it says that it chooses them itself."""
        spec, metadata = obj["spec"], obj["metadata"]
        if spec.get("manualSelector"):
            return
        owned = {"batch.kubernetes.io/controller-uid": metadata["uid"]}
        named = {"batch.kubernetes.io/job-name": metadata["name"]}
        legacy = {"controller-uid": metadata["uid"], "job-name": metadata["name"]}
        labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
        labels.update({**owned, **named, **legacy})
        spec.setdefault("selector", {}).setdefault("matchLabels", {}).update(owned)


_GATED: Final = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
}


class PodStrategy(GenerationStrategy):
    """Pods wait for the node agent to stop their containers."""

    returns_deleted = True
    parts = frozenset({"ephemeralcontainers", "resize"})
    _DEFAULT_GRACE: Final = 30

    def prepare_create(self, obj: Obj) -> None:
        obj["status"] = {"phase": "Pending", "qosClass": qos_class(obj.get("spec") or {})}
        if (obj.get("spec") or {}).get("schedulingGates"):
            obj["status"]["conditions"] = [dict(_GATED)]

    def inherit(self, new: Obj, old: Obj) -> None:
        spec, before = new.get("spec"), old.get("spec") or {}
        if isinstance(spec, dict):
            for field in ("priority", "preemptionPolicy"):
                if spec.get(field) is None and field in before:
                    spec[field] = before[field]

    def validate(self, new: Obj, old: Obj | None) -> Iterable[FieldError]:
        if old is None and (new.get("spec") or {}).get("ephemeralContainers"):
            yield FieldError("spec.ephemeralContainers", "Forbidden", "cannot be set on create")

    def part(self, subresource: str, new: Obj, old: Obj) -> Obj | None:
        spec, wanted = dict(old["spec"]), new.get("spec") or {}
        match subresource:
            case "ephemeralcontainers":
                spec["ephemeralContainers"] = deep_copy(wanted.get("ephemeralContainers") or [])
            case "resize":
                for field in ("initContainers", "containers"):
                    if field in spec:
                        spec[field] = _with_resources(spec[field], wanted.get(field) or ())
            case _:
                return None
        return {**old, "spec": spec}

    def validate_part(self, subresource: str, new: Obj, old: Obj) -> Iterable[FieldError]:
        if subresource == "ephemeralcontainers":
            yield from ephemeral_containers(new, old)
            return
        yield from resized(new, old)
        before, after = qos_class(old["spec"]), qos_class(new["spec"])
        if before != after:
            message = "Pod QOS Class may not change as a result of resizing"
            yield FieldError("spec", "Invalid value", message, after)

    def grace_period(self, obj: Obj, requested: int | None) -> int:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
            return 0
        if requested is not None:
            return requested
        return int(spec.get("terminationGracePeriodSeconds", self._DEFAULT_GRACE))


class NamespaceStrategy(Strategy):
    """Namespaces hold until the namespace controller has emptied and finalized them."""

    returns_deleted = True

    def __init__(self, authority: str = "") -> None:
        self._authority = authority

    def prepare_create(self, obj: Obj) -> None:
        metadata = obj["metadata"]
        metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = metadata["name"]
        obj.setdefault("spec", {})["finalizers"] = ["kubernetes"]
        obj["status"] = {"phase": "Active"}

    def prepare_update(self, new: Obj, old: Obj) -> None:
        metadata = new["metadata"]
        metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = metadata["name"]
        new["spec"] = old.get("spec", {})

    def companions(self, obj: Obj) -> Iterable[tuple[Resource, Obj]]:
        namespace = obj["metadata"]["name"]
        yield (
            SERVICE_ACCOUNTS,
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "default", "namespace": namespace},
            },
        )
        yield (
            CONFIG_MAPS,
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "kube-root-ca.crt", "namespace": namespace},
                "data": {"ca.crt": self._authority},
            },
        )


class ClaimStrategy(Strategy):
    """Volume claims begin unbound, and stay while a pod uses them."""

    returns_deleted = True

    def prepare_create(self, obj: Obj) -> None:
        obj["status"] = {"phase": "Pending"}
        _protect(obj, "kubernetes.io/pvc-protection")


class VolumeStrategy(Strategy):
    """Volumes begin free, and stay while a claim has them."""

    returns_deleted = True

    def prepare_create(self, obj: Obj) -> None:
        obj["status"] = {"phase": "Pending"}
        _protect(obj, "kubernetes.io/pv-protection")


class AccountStrategy(Strategy):
    """Service accounts, whose deletion answers with the object."""

    returns_deleted = True


class BindingStrategy(Strategy):
    """A binding's role cannot be changed, or a right could be widened behind its back."""

    def validate(self, new: Obj, old: Obj | None) -> Iterable[FieldError]:
        if old is not None and new.get("roleRef") != old.get("roleRef"):
            message = "cannot change roleRef; delete the binding and create it again"
            yield FieldError("roleRef", "Invalid value", message, new.get("roleRef"))


class RequestStrategy(Strategy):
    """Certificate requests: what is asked for stays, what became of it is for subresources."""

    parts = frozenset({"approval"})

    def prepare_create(self, obj: Obj) -> None:
        obj["status"] = {}

    def prepare_update(self, new: Obj, old: Obj) -> None:
        new["spec"] = old["spec"]

    def part(self, subresource: str, new: Obj, old: Obj) -> Obj | None:
        status = new.get("status") or {}
        if isinstance(status, dict):
            conditions = status.get("conditions") or []
            status = {**(old.get("status") or {}), "conditions": deep_copy(conditions)}
        return {**old, "status": status}


def _with_resources(containers: list[Obj], wanted: Iterable[Obj]) -> list[Obj]:
    """The containers with what is wanted of each one's resources."""
    resources = {c.get("name"): deep_copy(c.get("resources") or {}) for c in wanted}
    return [
        {**c, "resources": resources[c["name"]]} if c["name"] in resources else c
        for c in containers
    ]


def _protect(obj: Obj, finalizer: str) -> None:
    """Upstream's ``StorageObjectInUseProtection``; whoever knows the users takes it off."""
    finalizers = obj["metadata"].get("finalizers") or []
    if finalizer not in finalizers:
        obj["metadata"]["finalizers"] = [*finalizers, finalizer]


def qos_class(spec: Mapping[str, object]) -> str:
    """``Guaranteed``, ``Burstable`` or ``BestEffort``, from requests and limits."""
    containers: list[Obj] = [*_list(spec, "containers"), *_list(spec, "initContainers")]
    named = [container.get("resources") or {} for container in containers]
    if not any(resources.get("requests") or resources.get("limits") for resources in named):
        return "BestEffort"
    for resources in named:
        limits = resources.get("limits") or {}
        requests = resources.get("requests") or limits
        if not {"cpu", "memory"} <= limits.keys():
            return "Burstable"
        if any(requests.get(key) != limits[key] for key in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"


def _list(spec: Mapping[str, object], field: str) -> list[Obj]:
    found = spec.get(field)
    return found if isinstance(found, list) else []


_GENERATION: Final = GenerationStrategy()

_STRATEGIES: Final[Mapping[str, Strategy]] = {
    "/persistentvolumeclaims": ClaimStrategy(),
    "/persistentvolumes": VolumeStrategy(),
    "/pods": PodStrategy(),
    "/replicationcontrollers": _GENERATION,
    "/serviceaccounts": AccountStrategy(),
    "/services": ServiceStrategy(),
    **POLICY_STRATEGIES,
    "apiregistration.k8s.io/apiservices": ApiServiceStrategy(),
    "apiextensions.k8s.io/customresourcedefinitions": DefinitionStrategy(),
    "apps/daemonsets": _GENERATION,
    "apps/deployments": _GENERATION,
    "apps/replicasets": _GENERATION,
    "apps/statefulsets": _GENERATION,
    "batch/cronjobs": _GENERATION,
    "batch/jobs": JobStrategy(),
    "certificates.k8s.io/certificatesigningrequests": RequestStrategy(),
    "flowcontrol.apiserver.k8s.io/flowschemas": _GENERATION,
    "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations": _GENERATION,
    "networking.k8s.io/ingresses": _GENERATION,
    "networking.k8s.io/networkpolicies": _GENERATION,
    "policy/poddisruptionbudgets": _GENERATION,
    "rbac.authorization.k8s.io/clusterrolebindings": BindingStrategy(),
    "rbac.authorization.k8s.io/rolebindings": BindingStrategy(),
}


def strategies(authority: str) -> Mapping[str, Strategy]:
    """The kinds that differ, by ``group/plural``; namespaces tell pods about the ``authority``."""
    return {**_STRATEGIES, "/namespaces": NamespaceStrategy(authority)}
