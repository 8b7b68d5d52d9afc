"""The Pod of an attempt at a container task. Pure.

Its name follows from run, task and attempt, so creating it again after a crash finds the one that
is there. The artifact store is mounted at its own path: an address is a path, inside and outside.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final

import msgspec

from kubeling.kube.objects import Obj, owner_reference
from kubeling.pipelines.bindings import platform_value
from kubeling.pipelines.bootstrap import PACKAGES_ANNOTATION, declared_packages
from kubeling.pipelines.custom_paths import with_custom_paths
from kubeling.pipelines.exchange import add_exchange
from kubeling.pipelines.execution import Execution
from kubeling.pipelines.executor_io import attempt_folder, executor_input
from kubeling.pipelines.ir import ComponentSpec
from kubeling.pipelines.ir_executors import ContainerSpec, Resources
from kubeling.pipelines.kubernetes import apply_settings, settings_of, workspace_of
from kubeling.pipelines.launcher import Launcher
from kubeling.pipelines.model_images import add_model_images
from kubeling.pipelines.nodes import Inputs, TaskNode, task_id
from kubeling.pipelines.placeholders import PlaceholderScope, resolve
from kubeling.pipelines.placeholders import resolve_arguments as arguments
from kubeling.pipelines.task_config import take_task_config
from kubeling.pipelines.workspace import WORKSPACE, workspace_folder

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
    launcher: Launcher = field(default_factory=Launcher)


def pod_name(run_name: str, run_id: str, node: TaskNode) -> str:
    """The name of the pod of the node's present attempt."""
    identity = "\0".join([run_id, node.path, str(node.epoch), str(node.attempt)])
    suffix = hashlib.sha256(identity.encode()).hexdigest()[:10]
    words = re.sub(r"[^a-z0-9]+", "-", f"{run_name}-{node.name}".lower()).strip("-")
    return f"{words[: _MAX_NAME - 11].rstrip('-')}-{suffix}"


def build_pod(request: PodRequest) -> Obj:
    """The pod; raises :class:`PlaceholderError` or :class:`SettingsError`."""
    execution, node = request.execution, request.node
    component = execution.component_of(node)
    container_spec = execution.spec.executor_of(component).container
    assert container_spec is not None
    scope = _scope(request, component, node.inputs)
    container: Obj = {
        "name": MAIN,
        "image": resolve(container_spec.image, scope),
        "env": [{"name": v.name, "value": resolve(v.value, scope)} for v in container_spec.env],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if container_spec.resources is not None:
        container |= _resources(container_spec.resources, scope)
    pod: Obj = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(request),
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    around = execution.around(node)
    settings = settings_of(request.platform, component.executor_label)
    apply_settings(pod, settings, lambda source: platform_value(source, around))
    if told := take_task_config(component, pod["spec"]):
        inputs = Inputs({**node.inputs.parameters, **told}, node.inputs.artifacts)
        scope = _scope(request, component, inputs)
    _add_command(pod, container_spec, scope)
    _add_store(pod["spec"], request)
    add_model_images(pod["spec"], node.inputs)
    add_exchange(pod["spec"], scope.executor_input, request.launcher)
    return pod


def _scope(request: PodRequest, component: ComponentSpec, inputs: Inputs) -> PlaceholderScope:
    facts, node = request.execution.facts, request.node
    folder = attempt_folder(facts.folder, node)
    artifacts = attempt_folder(facts.store_root or facts.folder, node)
    told = executor_input(component, inputs, folder, artifacts, request.volume_folder)
    return PlaceholderScope(told, facts.job(node))


def _metadata(request: PodRequest) -> Obj:
    facts, node = request.execution.facts, request.node
    return {
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
        },
        "ownerReferences": [owner_reference(request.run)],
    }


def _add_command(pod: Obj, spec: ContainerSpec, scope: PlaceholderScope) -> None:
    container = pod["spec"]["containers"][0]
    command = arguments(spec.command, scope)
    outputs = scope.executor_input["outputs"]
    if outputs["artifacts"]:
        command = with_custom_paths(command, outputs["outputFile"])
    if (found := declared_packages(command)) is not None:
        packages, command = found
        declared = msgspec.json.encode({MAIN: packages}).decode()
        pod["metadata"]["annotations"][PACKAGES_ANNOTATION] = declared
    if command:
        container["command"] = command
    if args := arguments(spec.args, scope):
        container["args"] = args


def _add_store(spec: Obj, request: PodRequest) -> None:
    """The part of the artifact store that steps see, and the run's workspace."""
    volumes = {}
    if workspace_of(request.platform) is not None:
        folder = workspace_folder(request.execution.facts.folder)
        volumes["workspace"] = (folder, WORKSPACE, "DirectoryOrCreate")
    volumes["artifacts"] = (request.volume_folder, request.volume_folder, "Directory")
    if account := request.run["spec"].get("serviceAccount"):
        spec["serviceAccountName"] = account
    container = spec["containers"][0]
    for name, (path, mount_path, kind) in volumes.items():
        volume = {"name": name, "hostPath": {"path": path, "type": kind}}
        spec["volumes"] = [volume, *(spec.get("volumes") or ())]
        mount = {"name": name, "mountPath": mount_path}
        container["volumeMounts"] = [mount, *(container.get("volumeMounts") or ())]


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
    resources = {side: amounts for side, amounts in found.items() if amounts}
    return {"resources": resources} if resources else {}


def _quantity(text: str, legacy: float, unit: str, scope: PlaceholderScope) -> str:
    if text:
        return resolve(text, scope)
    return f"{legacy:g}{unit}" if legacy else ""
