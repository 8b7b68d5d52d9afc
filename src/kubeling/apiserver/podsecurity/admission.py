"""Pod security admission: refuses, warns of and records pods that a namespace does not allow.

Pods are refused; of what makes pods, people are warned. Upstream: ``pod-security-admission``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final

from kubeling.apiserver.audit.annotations import annotate
from kubeling.apiserver.options import WriteOptions
from kubeling.apiserver.podsecurity.policy import PREFIX, Policy, Wanted, policy_of
from kubeling.apiserver.records import StoreKey
from kubeling.apiserver.served import Served
from kubeling.apiserver.storage import Store
from kubeling.kube.errors import Forbidden, Invalid
from kubeling.kube.objects import Obj, controller_of, labels

__all__ = ["PodSecurity"]

_NAMESPACES, _PODS = "/namespaces", "/pods"
_POD_SUBRESOURCES: Final = ("", "ephemeralcontainers", "resize")
_MOST_PODS: Final = 3000
_TEMPLATES: Final[dict[str, Callable[[Obj], Obj | None]]] = {
    "/podtemplates": lambda obj: obj.get("template"),
    "batch/cronjobs": lambda obj: obj["spec"]["jobTemplate"]["spec"].get("template"),
} | {
    storage: lambda obj: obj["spec"].get("template")
    for storage in (
        "/replicationcontrollers",
        "apps/daemonsets",
        "apps/deployments",
        "apps/replicasets",
        "apps/statefulsets",
        "batch/jobs",
    )
}


class PodSecurity:
    """Judges pods, and what makes pods, by the labels of their namespace."""

    storages: Final = (_NAMESPACES, _PODS, *_TEMPLATES)

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, served: Served, new: Obj, old: Obj | None, options: WriteOptions) -> None:
        if options.subresource not in (_POD_SUBRESOURCES if served.storage == _PODS else ("",)):
            return
        if served.storage == _NAMESPACES:
            self._check_namespace(new, old, options)
            return
        namespace = self._store.get(StoreKey(_NAMESPACES, "", new["metadata"]["namespace"]))
        policy = _policy(namespace.obj if namespace else {"metadata": {}})
        if policy.is_silent and not policy.errors:
            return
        if served.storage == _PODS:
            if old is None or _changed(new, old):
                self._check_pod(new, policy, options)
        elif template := _TEMPLATES[served.storage](new):
            _tell(policy, template.get("metadata") or {}, template.get("spec") or {}, options)

    def _check_pod(self, pod: Obj, policy: Policy, options: WriteOptions) -> None:
        metadata, spec = pod["metadata"], pod["spec"]
        annotate(f"{PREFIX}enforce-policy", str(policy.enforce))
        if violations := policy.enforce.violations(metadata, spec):
            why = f'violates PodSecurity "{policy.enforce}": {violations}'
            raise Forbidden.of("", "pods", metadata.get("name", ""), why)
        _tell(policy, metadata, spec, options)

    def _check_namespace(self, new: Obj, old: Obj | None, options: WriteOptions) -> None:
        policy, before = _policy(new), _policy(old or {"metadata": {}})
        name = new["metadata"]["name"]
        if policy.errors and policy.errors != before.errors:
            raise Invalid.of("", "Namespace", name, policy.errors)
        if old is None or policy.enforce == before.enforce or policy.enforce.level == "privileged":
            return
        if (
            policy.enforce.version == before.enforce.version
            and before.enforce.level == "restricted"
        ):
            return
        options.warnings += self._existing(name, policy.enforce)

    def _existing(self, namespace: str, wanted: Wanted) -> Iterator[str]:
        """What pods that are there already break of a new level."""
        pods = _one_of_each([record.glance() for record in self._store.list(_PODS, namespace)])
        found: dict[str, list[str]] = {}
        for pod in pods[:_MOST_PODS]:
            if reasons := wanted.reasons(pod["metadata"], pod["spec"]):
                found.setdefault(reasons, []).append(pod["metadata"]["name"])
        if len(pods) > _MOST_PODS:
            yield (
                f"new PodSecurity enforce level only checked against the first {_MOST_PODS} of "
                f"{len(pods)} existing pods"
            )
        if found:
            yield (
                f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce '
                f'level "{wanted}"'
            )
        yield from sorted(_who(min(names), len(names) - 1, why) for why, names in found.items())


def _policy(namespace: Obj) -> Policy:
    found = labels(namespace)
    return _parsed(tuple((key, found[key]) for key in sorted(found) if key.startswith(PREFIX)))


@lru_cache(maxsize=256)
def _parsed(found: tuple[tuple[str, str], ...]) -> Policy:
    return policy_of(dict(found))


def _tell(policy: Policy, metadata: Obj, spec: Obj, options: WriteOptions) -> None:
    if violations := policy.audit.violations(metadata, spec):
        text = f'would violate PodSecurity "{policy.audit}": {violations}'
        annotate(f"{PREFIX}audit-violations", text)
    if violations := policy.warn.violations(metadata, spec):
        options.warnings.append(f'would violate PodSecurity "{policy.warn}": {violations}')


def _changed(new: Obj, old: Obj) -> bool:
    """Whether an update of a pod can matter: images and containers are all that can change."""
    return _images(new["spec"]) != _images(old["spec"])


def _images(spec: Obj) -> list[tuple[str, str]]:
    return [
        (container.get("name", ""), container.get("image", ""))
        for field in ("initContainers", "containers", "ephemeralContainers")
        for container in spec.get(field) or ()
    ]


def _one_of_each(pods: list[Obj]) -> list[Obj]:
    """All pods, those first that stand for others of the same controller."""
    seen: set[str] = set()
    first: list[Obj] = []
    others: list[Obj] = []
    for pod in pods:
        owner = controller_of(pod)
        uid = owner["uid"] if owner else ""
        (others if uid and uid in seen else first).append(pod)
        seen.add(uid)
    return first + others


def _who(name: str, others: int, why: str) -> str:
    match others:
        case 0:
            return f"{name}: {why}"
        case 1:
            return f"{name} (and 1 other pod): {why}"
        case _:
            return f"{name} (and {others} other pods): {why}"
