"""The pod of a container, script or containerSet template.

Pure: everything a step needs is written into the pod (see :mod:`kubeling.workflows.wrapper`), so
any cluster can run it and nothing has to be remembered beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kubeling.kube.objects import Obj, deep_copy, owner_reference
from kubeling.workflows.containers import (
    MAIN,
    PodError,
    extra_containers,
    main_containers,
    set_names,
    with_environment,
    wrap_containers,
)
from kubeling.workflows.exchange import add_exchange
from kubeling.workflows.handover import Store, handover, moved_artifacts
from kubeling.workflows.nodes import pod_name
from kubeling.workflows.places import OWN, InvalidPlace, Repository
from kubeling.workflows.podpatch import InvalidPatch, parse_patch, patched, without_executor
from kubeling.workflows.resources import Node, Template
from kubeling.workflows.wrapper import STORE_PATH, TURNS_PATH, WrapPlan

__all__ = [
    "LABEL_COMPLETED",
    "LABEL_ON_EXIT",
    "LABEL_WORKFLOW",
    "MAINS",
    "NODE_ID",
    "PodRequest",
    "build_pod",
    "pod_fields",
]

LABEL_WORKFLOW: Final = "workflows.argoproj.io/workflow"
LABEL_COMPLETED: Final = "workflows.argoproj.io/completed"
LABEL_ON_EXIT: Final = "workflows.argoproj.io/on-exit"
NODE_ID: Final = "workflows.argoproj.io/node-id"
NODE_NAME: Final = "workflows.argoproj.io/node-name"
MAINS: Final = "kubeling.io/main-containers"
"""The containers whose end is the step's; without this annotation, ``main``."""

_TURNS_VOLUME: Final = "var-run-argo"

# Where the template says nothing, its steps or dag template does, then the Workflow.
_SCHEDULING: Final = ("nodeSelector", "affinity", "tolerations")
_FROM_SPEC: Final = (
    "serviceAccountName", "automountServiceAccountToken", "imagePullSecrets", "hostNetwork",
    "dnsPolicy", "dnsConfig", "securityContext", "schedulerName", "resourceClaims",
)  # fmt: skip
_FROM_TEMPLATE: Final = (
    "serviceAccountName", "automountServiceAccountToken", "securityContext", "schedulerName",
    "priorityClassName", "priority", "resourceClaims",
)  # fmt: skip
_UNDER_OTHER_NAMES: Final = (
    "podMetadata", "podPriorityClassName", "podResources", "podSpecPatch", "hostAliases", "volumes",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PodRequest:
    """What a pod is made of; ``raw`` is the template with its tags replaced.

    ``around`` is the steps or dag template it is called from, ``on_exit`` says that an exit handler
    called it, ``avoided`` are nodes that it had better not run on.
    """

    workflow: Obj
    spec: Obj
    node: Node
    raw: Obj
    template: Template
    capture_result: bool
    deadline: int | None
    store: Store
    repository: Repository = OWN
    ends_at: str = ""
    around: Mapping[str, Any] = field(default_factory=dict)
    on_exit: bool = False
    avoided: Sequence[str] = ()


def pod_fields(spec: Obj) -> Obj:
    """The part of a Workflow's spec that says something about its pods."""
    names = (*_SCHEDULING, *_FROM_SPEC, *_UNDER_OTHER_NAMES)
    return {name: spec[name] for name in names if spec.get(name) is not None}


def build_pod(request: PodRequest) -> Obj:
    """The pod that runs the template; raises :class:`PodError`."""
    workflow, node = request.workflow, request.node
    metadata = workflow["metadata"]
    own_name = pod_name(metadata["name"], node.name, request.template.name)
    sets = set_names(request.raw)
    annotations = {
        **_metadata(request, "annotations"),
        NODE_NAME: node.name,
        NODE_ID: node.id,
        "kubectl.kubernetes.io/default-container": sets[-1] if sets and MAIN not in sets else MAIN,
    }
    if sets:
        annotations[MAINS] = ",".join(sets)
    labels = {
        **_metadata(request, "labels"),
        LABEL_WORKFLOW: metadata["name"],
        LABEL_COMPLETED: "false",
    }
    if request.on_exit:
        labels[LABEL_ON_EXIT] = "true"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": own_name,
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner_reference(workflow)],
        },
        "spec": _spec(request, own_name),
    }


def _spec(request: PodRequest, own_name: str) -> Obj:
    moved = moved_artifacts(request.node, request.template, request.repository)
    plan = handover(
        request.raw,
        request.template,
        moved,
        own_name,
        request.workflow["metadata"]["name"],
        capture_result=request.capture_result,
    )
    spec: Obj = {"restartPolicy": "Never", "containers": main_containers(request.raw)}
    for place, kind in (("initContainers", "initContainers"), ("containers", "sidecars")):
        found = extra_containers(request.raw, kind, spec["containers"])
        if found:
            spec.setdefault(place, []).extend(found)
    _pass_on(spec, request)
    volumes = _volumes(spec, request)
    if volumes:
        spec["volumes"] = volumes
    if request.deadline is not None:
        spec["activeDeadlineSeconds"] = request.deadline
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        with_environment(container, _variables(request, plan))
    # The patch sees what the template says, not what is put around it below.
    for text in (request.spec.get("podSpecPatch"), request.raw.get("podSpecPatch")):
        if text:
            spec = _patched(spec, text)
    in_turns = wrap_containers(spec, request.raw, plan)
    if plan.needs_store:
        volume = request.store.volume(request.workflow["metadata"]["namespace"])
        _mount(spec, volume, [MAIN], STORE_PATH)
    if moved.loaded or moved.kept:
        [main] = [container for container in spec["containers"] if container["name"] == MAIN]
        try:
            add_exchange(spec, main.setdefault("volumeMounts", []), moved.loaded, moved.kept)
        except InvalidPlace as problem:
            raise PodError(str(problem)) from None
    if in_turns:
        turns = {"name": _TURNS_VOLUME, "emptyDir": {}}
        _mount(spec, turns, set_names(request.raw), TURNS_PATH)
    return spec


def _patched(spec: Obj, text: str) -> Obj:
    try:
        return without_executor(patched(spec, parse_patch(text)))
    except InvalidPatch as problem:
        raise PodError(str(problem)) from None


def _mount(spec: Obj, volume: Obj, containers: list[str], path: str) -> None:
    spec.setdefault("volumes", []).append(volume)
    for container in spec["containers"]:
        if container["name"] in containers:
            mounts = container.setdefault("volumeMounts", [])
            mounts.append({"name": volume["name"], "mountPath": path})


def _volumes(spec: Obj, request: PodRequest) -> list[Obj]:
    """Of the volumes there are, those that a container mounts."""
    known: dict[str, Obj] = {}
    for source in (request.spec, request.raw):
        known.update({volume["name"]: volume for volume in source.get("volumes") or ()})
    wanted: dict[str, Obj] = {}
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        for mount in container.get("volumeMounts") or ():
            name = mount.get("name", "")
            if name not in known:
                raise PodError(f"volume '{name}' not found in workflow spec")
            wanted[name] = known[name]
    return list(wanted.values())


def _variables(request: PodRequest, plan: WrapPlan) -> dict[str, str]:
    """What upstream's executor tells every container."""
    progress = {"ARGO_PROGRESS_FILE": f"{STORE_PATH}/{plan.progress}"} if plan.progress else {}
    return {
        **progress,
        "ARGO_NODE_ID": request.node.id,
        "ARGO_INCLUDE_SCRIPT_OUTPUT": str(request.capture_result).lower(),
        "ARGO_DEADLINE": request.ends_at or "0001-01-01T00:00:00Z",
        "ARGO_WORKFLOW_NAME": request.workflow["metadata"]["name"],
    }


def _metadata(request: PodRequest, kind: str) -> dict[str, str]:
    found: dict[str, str] = dict((request.spec.get("podMetadata") or {}).get(kind) or {})
    found.update((request.raw.get("metadata") or {}).get(kind) or {})
    return found


def _avoid(spec: Obj, nodes: Sequence[str]) -> None:
    """Keeps a retried step off the nodes where it has failed, as far as there are others.

    Upstream forbids them (``AddHostnamesToAffinity``); on one node the step would wait for ever.
    """
    if nodes:
        other = {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": list(nodes)}
        term = {"weight": 100, "preference": {"matchExpressions": [other]}}
        around = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
        preferred = "preferredDuringSchedulingIgnoredDuringExecution"
        around[preferred] = [*(around.get(preferred) or ()), term]


def _pass_on(spec: Obj, request: PodRequest) -> None:
    for source, names in (
        (request.spec, (*_SCHEDULING, *_FROM_SPEC)),
        (request.around, _SCHEDULING),
        (request.raw, (*_SCHEDULING, *_FROM_TEMPLATE)),
    ):
        for name in names:
            if source.get(name) not in (None, "", [], {}):
                spec[name] = deep_copy(source[name])
    _avoid(spec, request.avoided)
    priority_class = request.spec.get("podPriorityClassName")
    if priority_class and "priorityClassName" not in spec:
        spec["priorityClassName"] = priority_class
    resources = request.raw.get("podResources") or request.spec.get("podResources")
    if resources:
        spec["resources"] = deep_copy(resources)
    aliases = [*(request.spec.get("hostAliases") or ()), *(request.raw.get("hostAliases") or ())]
    if aliases:
        spec["hostAliases"] = aliases
