"""The Pod of an attempt at a container task. Pure.

Its name follows from run, task and attempt, so creating it again after a crash finds the one that
is there. The artifact store is mounted at its own path: an address is a path, inside and outside.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

import msgspec

from kubeling.kube.objects import Obj, owner_reference
from kubeling.pipelines.bindings import platform_value
from kubeling.pipelines.bootstrap import PACKAGES_ANNOTATION, declared_packages
from kubeling.pipelines.execution import Execution
from kubeling.pipelines.executor_io import attempt_folder, executor_input
from kubeling.pipelines.ir import ContainerSpec, Resources
from kubeling.pipelines.kubernetes import apply_settings, settings_of, workspace_of
from kubeling.pipelines.nodes import TaskNode, task_id
from kubeling.pipelines.placeholders import PlaceholderScope, resolve
from kubeling.pipelines.placeholders import resolve_arguments as arguments

__all__ = ["ATTEMPT", "EPOCH", "MAIN", "RUN_ID", "TASK_PATH", "PodRequest", "build_pod", "pod_name"]

MAIN: Final = "main"
RUN_ID: Final = "pipeline/runid"
TASK_PATH: Final = "pipelines.kubeflow.org/task-path"
ATTEMPT: Final = "pipelines.kubeflow.org/attempt"
EPOCH: Final = "pipelines.kubeflow.org/epoch"
_MAX_NAME: Final = 63


@dataclass(frozen=True, slots=True)
class PodRequest:
    """What a pod is made of."""

    run: Obj
    execution: Execution
    node: TaskNode
    platform: Obj
    volume_folder: str


def pod_name(run_name: str, run_id: str, node: TaskNode) -> str:
    """The name of the pod of the node's present attempt."""
    identity = "\0".join([run_id, node.path, str(node.epoch), str(node.attempt)])
    suffix = hashlib.sha256(identity.encode()).hexdigest()[:10]
    words = re.sub(r"[^a-z0-9]+", "-", f"{run_name}-{node.name}".lower()).strip("-")
    return f"{words[: _MAX_NAME - 11].rstrip('-')}-{suffix}"


def build_pod(request: PodRequest) -> Obj:
    """The pod; raises :class:`PlaceholderError` for references to what is not there."""
    execution, node, run = request.execution, request.node, request.run
    component = execution.component_of(node)
    container_spec = execution.spec.executor_of(component).container
    assert container_spec is not None
    folder = attempt_folder(execution.facts.folder, node)
    scope = PlaceholderScope(
        executor_input(component, node.inputs, folder), execution.facts.job(node)
    )
    container, annotations = _container(container_spec, scope)
    volume = {"name": "artifacts", "hostPath": {"path": request.volume_folder, "type": "Directory"}}
    container["volumeMounts"] = [{"name": "artifacts", "mountPath": request.volume_folder}]
    spec: Obj = {"restartPolicy": "Never", "containers": [container], "volumes": [volume]}
    if account := run["spec"].get("serviceAccount"):
        spec["serviceAccountName"] = account
    facts = execution.facts
    pod: Obj = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(facts.name, facts.run_id, node),
            "namespace": facts.namespace,
            "labels": {
                RUN_ID: facts.run_id,
                "pipelines.kubeflow.org/task-id": task_id(facts.run_id, node.path),
                "pipelines.kubeflow.org/v2_component": "true",
            },
            "annotations": {
                TASK_PATH: node.path,
                ATTEMPT: str(node.attempt),
                EPOCH: str(node.epoch),
                **annotations,
            },
            "ownerReferences": [owner_reference(run)],
        },
        "spec": spec,
    }
    _add_workspace(spec, request)
    settings = settings_of(request.platform, component.executor_label)
    around = execution.around(node)
    apply_settings(pod, settings, lambda source: platform_value(source, around))
    return pod


def _container(spec: ContainerSpec, scope: PlaceholderScope) -> tuple[Obj, dict[str, str]]:
    command = arguments(spec.command, scope)
    annotations = {}
    if (found := declared_packages(command)) is not None:
        packages, command = found
        declared = msgspec.json.encode({MAIN: packages}).decode()
        annotations[PACKAGES_ANNOTATION] = declared
    container: Obj = {
        "name": MAIN,
        "image": resolve(spec.image, scope),
        "env": [{"name": v.name, "value": resolve(v.value, scope)} for v in spec.env],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if command:
        container["command"] = command
    if args := arguments(spec.args, scope):
        container["args"] = args
    if spec.resources is not None and (resources := _resources(spec.resources, scope)):
        container["resources"] = resources
    return container, annotations


def _resources(wanted: Resources, scope: PlaceholderScope) -> Obj:
    limits = {
        "cpu": _quantity(wanted.resource_cpu_limit, wanted.cpu_limit, "", scope),
        "memory": _quantity(wanted.resource_memory_limit, wanted.memory_limit, "G", scope),
    }
    requests = {
        "cpu": _quantity(wanted.resource_cpu_request, wanted.cpu_request, "", scope),
        "memory": _quantity(wanted.resource_memory_request, wanted.memory_request, "G", scope),
    }
    if (extra := wanted.accelerator) is not None:
        kind = resolve(extra.resource_type or extra.type, scope)
        limits[kind] = resolve(extra.resource_count, scope) or str(extra.count)
    found = {
        "limits": {k: v for k, v in limits.items() if k and v not in ("", "0")},
        "requests": {k: v for k, v in requests.items() if v},
    }
    return {side: amounts for side, amounts in found.items() if amounts}


def _quantity(text: str, legacy: float, unit: str, scope: PlaceholderScope) -> str:
    if text:
        return resolve(text, scope)
    return f"{legacy:g}{unit}" if legacy else ""


def _add_workspace(spec: Obj, request: PodRequest) -> None:
    if workspace_of(request.platform) is None:
        return
    path = f"{request.execution.facts.folder}/.workspace"
    volume = {"name": "workspace", "hostPath": {"path": path, "type": "DirectoryOrCreate"}}
    spec["volumes"].append(volume)
    mount = {"name": "workspace", "mountPath": "/kfp-workspace"}
    spec["containers"][0]["volumeMounts"].append(mount)
