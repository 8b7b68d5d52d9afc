"""The pod of a container or script template.

Pure: everything a step needs is written into the pod (see :mod:`kubeling.workflows.wrapper`), so
any cluster can run it and nothing has to be remembered beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from msgspec import to_builtins

from kubeling.kube.objects import Obj, deep_copy, owner_reference
from kubeling.workflows.exchange import add_exchange
from kubeling.workflows.images import image_command
from kubeling.workflows.nodes import pod_name
from kubeling.workflows.places import (
    OWN,
    InvalidPlace,
    Repository,
    is_elsewhere,
    store_key,
    with_place,
)
from kubeling.workflows.resources import Artifact, Node, Template
from kubeling.workflows.wrapper import (
    STORE_PATH,
    InputFile,
    OutputArtifact,
    OutputParameter,
    StagedArtifact,
    WrapPlan,
    wrap,
)

__all__ = [
    "LABEL_COMPLETED",
    "LABEL_WORKFLOW",
    "MAIN",
    "NODE_ID",
    "PodError",
    "PodRequest",
    "Store",
    "build_pod",
    "pod_fields",
]

MAIN: Final = "main"
LABEL_WORKFLOW: Final = "workflows.argoproj.io/workflow"
LABEL_COMPLETED: Final = "workflows.argoproj.io/completed"
NODE_ID: Final = "workflows.argoproj.io/node-id"
NODE_NAME: Final = "workflows.argoproj.io/node-name"
_STORE_VOLUME: Final = "kubeling-artifacts"

_FROM_SPEC: Final = (
    "serviceAccountName", "automountServiceAccountToken", "nodeSelector", "affinity", "tolerations",
    "imagePullSecrets", "hostNetwork", "hostAliases", "dnsPolicy", "dnsConfig", "securityContext",
    "schedulerName",
)  # fmt: skip
_FROM_TEMPLATE: Final = (
    "serviceAccountName", "automountServiceAccountToken", "nodeSelector", "affinity", "tolerations",
    "hostAliases", "securityContext", "schedulerName", "priorityClassName", "priority",
)  # fmt: skip


class PodError(Exception):
    """No pod can be made of a template; the message says what to write."""


@dataclass(frozen=True, slots=True)
class Store:
    """The artifact store as pods see it: a folder of the node, empty where there is none."""

    folder: str

    def volume(self, namespace: str) -> Obj:
        """The volume with the namespace's artifacts."""
        if not self.folder:
            raise PodError(
                "this step hands over parameters, artifacts or its result, which needs an artifact "
                "store that is a folder; set the artifact root to a file:// address"
            )
        path = str(PurePosixPath(self.folder) / namespace)
        source = {"path": path, "type": "DirectoryOrCreate"}
        return {"name": _STORE_VOLUME, "hostPath": source}


@dataclass(frozen=True, slots=True)
class PodRequest:
    """What a pod is made of; ``raw`` is the template with its tags replaced."""

    workflow: Obj
    spec: Obj
    node: Node
    raw: Obj
    template: Template
    capture_result: bool
    deadline: int | None
    store: Store
    repository: Repository = OWN


def pod_fields(spec: Obj) -> Obj:
    """The part of a Workflow's spec that says something about its pods."""
    names = (*_FROM_SPEC, "podMetadata", "podPriorityClassName", "volumes")
    return {name: spec[name] for name in names if spec.get(name) is not None}


def build_pod(request: PodRequest) -> Obj:
    """The pod that runs the template; raises :class:`PodError`."""
    workflow, node, template = request.workflow, request.node, request.template
    metadata = workflow["metadata"]
    own_name = pod_name(metadata["name"], node.name, template.name)
    try:
        moved = _moved(request)
    except InvalidPlace as problem:
        raise PodError(str(problem)) from None
    plan = _plan(request, own_name, moved)
    container = _container(request, plan)
    spec: Obj = {"restartPolicy": "Never", "containers": [container]}
    _pass_on(spec, request)
    volumes = [*(request.spec.get("volumes") or ()), *(request.raw.get("volumes") or ())]
    if plan.needs_store:
        volumes.append(request.store.volume(metadata["namespace"]))
        mounts = container.setdefault("volumeMounts", [])
        mounts.append({"name": _STORE_VOLUME, "mountPath": STORE_PATH})
    if volumes:
        spec["volumes"] = volumes
    if moved.loaded or moved.kept:
        mounts = container.setdefault("volumeMounts", [])
        add_exchange(spec, mounts, moved.loaded, moved.kept)
    if request.deadline is not None:
        spec["activeDeadlineSeconds"] = request.deadline
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": own_name,
            "namespace": metadata["namespace"],
            "labels": {
                **_metadata(request, "labels"),
                LABEL_WORKFLOW: metadata["name"],
                LABEL_COMPLETED: "false",
            },
            "annotations": {
                **_metadata(request, "annotations"),
                NODE_NAME: node.name,
                NODE_ID: node.id,
                "kubectl.kubernetes.io/default-container": MAIN,
            },
            "ownerReferences": [owner_reference(workflow)],
        },
        "spec": spec,
    }


def _metadata(request: PodRequest, kind: str) -> dict[str, str]:
    found: dict[str, str] = dict((request.spec.get("podMetadata") or {}).get(kind) or {})
    found.update((request.raw.get("metadata") or {}).get(kind) or {})
    return found


def _pass_on(spec: Obj, request: PodRequest) -> None:
    for source, names in ((request.spec, _FROM_SPEC), (request.raw, _FROM_TEMPLATE)):
        for name in names:
            if source.get(name) not in (None, ""):
                spec[name] = source[name]
    priority_class = request.spec.get("podPriorityClassName")
    if priority_class and "priorityClassName" not in spec:
        spec["priorityClassName"] = priority_class
    for name in ("initContainers", "sidecars"):
        for extra in request.raw.get(name) or ():
            own = {k: v for k, v in extra.items() if k != "mirrorVolumeMounts"}
            place = "containers" if name == "sidecars" else "initContainers"
            spec.setdefault(place, []).append(own)


def _container(request: PodRequest, plan: WrapPlan) -> Obj:
    raw = request.raw.get("script") or request.raw["container"]
    container: Obj = deep_copy({k: v for k, v in raw.items() if k != "source"})
    container["name"] = MAIN
    if not plan:
        return container
    command = container.pop("command", None)
    args = container.pop("args", None)
    if not command:
        known = image_command(raw.get("image", ""))
        if known is None:
            raise PodError(
                f'image "{raw.get("image")}": its ENTRYPOINT cannot be seen; write the command out '
                "in the template, because this step's inputs or outputs need it"
            )
        command, default_args = known
        args = args or default_args
    container["command"] = wrap([*command, *(args or ())], plan)
    return container


@dataclass(slots=True)
class _Moved:
    """A step's artifacts by what has to be done with them."""

    staged: list[StagedArtifact] = field(default_factory=list)
    files: list[InputFile] = field(default_factory=list)
    stored: list[OutputArtifact] = field(default_factory=list)
    loaded: list[Artifact] = field(default_factory=list)
    kept: list[Artifact] = field(default_factory=list)


def _moved(request: PodRequest) -> _Moved:
    moved = _Moved()
    for artifact in request.node.inputs.artifacts if request.node.inputs else ():
        _sort_input(artifact, request.repository, moved)
    for artifact in request.template.outputs.artifacts if request.template.outputs else ():
        place = request.repository.located(to_builtins(artifact)) or {}
        if is_elsewhere(place):
            moved.kept.append(with_place(artifact, place))
            moved.stored.append(OutputArtifact(artifact.name, artifact.path))
        else:
            key = store_key(place) or ""
            moved.stored.append(OutputArtifact(artifact.name, artifact.path, key))
    return moved


def _sort_input(artifact: Artifact, repository: Repository, moved: _Moved) -> None:
    place = repository.located(to_builtins(artifact))
    optional = bool(artifact.optional)
    if place is None:
        return
    if artifact.raw is not None:
        text = str(artifact.raw.get("data", ""))
        moved.files.append(InputFile(artifact.path, text, artifact.mode))
    elif is_elsewhere(place):
        moved.loaded.append(with_place(artifact, place))
        name, path = artifact.name, artifact.path
        moved.staged.append(StagedArtifact(name, path, optional, artifact.mode, loaded=True))
    elif key := store_key(place):
        moved.staged.append(StagedArtifact(key, artifact.path, optional, artifact.mode))


def _plan(request: PodRequest, own_name: str, moved: _Moved) -> WrapPlan:
    workflow = request.workflow["metadata"]["name"]
    outputs = request.template.outputs
    spill = f"{workflow}/{own_name}/outputs"
    parameters = [
        OutputParameter(p.name, p.value_from.path, f"{spill}/{p.name}")
        for p in (outputs.parameters if outputs else ())
        if p.value_from is not None and p.value_from.path
    ]
    return WrapPlan(
        artifacts_in=tuple(moved.staged),
        files_in=tuple(moved.files),
        parameters=tuple(parameters),
        artifacts=tuple(moved.stored),
        result=f"{spill}/result" if request.capture_result else "",
        source=(request.raw.get("script") or {}).get("source"),
    )
