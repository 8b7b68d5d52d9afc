"""The settings of ``kfp-kubernetes`` on a task, put into its Pod. Pure.

Upstream: ``extendPodSpecPatch`` in its driver, and the message ``KubernetesExecutorConfig``. A name
or a value that comes from a parameter which is null leaves its setting out, as upstream does.
"""

from __future__ import annotations

from typing import Final

from kubeling.kube.objects import Obj
from kubeling.pipelines.kubernetes_containers import init_containers
from kubeling.pipelines.kubernetes_scheduling import (
    affinity,
    given_name,
    node_selector,
    tolerations,
)
from kubeling.pipelines.kubernetes_volumes import add_volumes
from kubeling.pipelines.platform_values import SettingsError, Value

__all__ = [
    "apply_settings",
    "claim_names",
    "executor_settings",
    "pipeline_config",
    "seconds_to_keep",
    "settings_of",
    "workspace_of",
]

_PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
_SECURITY: Final = {"runAsUser": int, "runAsGroup": int, "runAsNonRoot": bool}


def settings_of(platform: Obj, executor_label: str) -> Obj:
    """What the platform spec says about an executor."""
    return executor_settings(platform).get(executor_label) or {}


def executor_settings(platform: Obj) -> dict[str, Obj]:
    """What the platform spec says about every executor, by label."""
    deployment = _kubernetes(platform).get("deploymentSpec") or {}
    found: dict[str, Obj] = deployment.get("executors") or {}
    return found


def pipeline_config(platform: Obj) -> Obj:
    """What the platform spec says about the whole run."""
    found: Obj = _kubernetes(platform).get("pipelineConfig") or {}
    return found


def workspace_of(platform: Obj) -> Obj | None:
    """The run's shared folder, if it asks for one."""
    found: Obj | None = pipeline_config(platform).get("workspace")
    return found


def seconds_to_keep(platform: Obj, state: str) -> int:
    """How long a Run of a pipeline is kept after its end in a state; 0 for ever."""
    config = pipeline_config(platform)
    own = "resourceTtlOnSuccess" if state == "SUCCEEDED" else "resourceTtlOnFailure"
    return int(config.get(own) or config.get("resourceTtlOnCompletion") or 0)


def claim_names(settings: Obj, value: Value) -> list[str]:
    """The names of the volume claims a task mounts."""
    return [given_name(mount, "pvcName", value) for mount in settings.get("pvcMount") or ()]


def apply_settings(pod: Obj, settings: Obj, value: Value) -> None:
    """Applies the settings to a pod with one container; raises :class:`SettingsError`."""
    spec, container = pod["spec"], pod["spec"]["containers"][0]
    _metadata(pod, settings)
    if selector := node_selector(settings, value):
        spec["nodeSelector"] = selector
    if tolerated := tolerations(settings, value):
        spec["tolerations"] = tolerated
    if near := affinity(settings, value):
        spec["affinity"] = near
    if names := [given_name(s, "secretName", value) for s in settings.get("imagePullSecret") or ()]:
        spec["imagePullSecrets"] = [{"name": name} for name in names if name]
    if deadline := int(settings.get("activeDeadlineSeconds") or 0):
        spec["activeDeadlineSeconds"] = deadline
    _environment(container, settings, value)
    add_volumes(spec, container, settings, value)
    _container(container, settings)
    if before := init_containers(settings, spec):
        spec["initContainers"] = before


def _kubernetes(platform: Obj) -> Obj:
    found: Obj = (platform.get("platforms") or {}).get("kubernetes") or {}
    return found


def _metadata(pod: Obj, settings: Obj) -> None:
    for part in ("labels", "annotations"):
        given = (settings.get("podMetadata") or {}).get(part) or {}
        pod["metadata"][part] = {**given, **(pod["metadata"].get(part) or {})}


def _container(container: Obj, settings: Obj) -> None:
    if policy := settings.get("imagePullPolicy"):
        if policy not in _PULL_POLICIES:
            allowed = ", ".join(_PULL_POLICIES)
            raise SettingsError(f'imagePullPolicy: Unsupported value: "{policy}": one of {allowed}')
        container["imagePullPolicy"] = policy
    if security := settings.get("securityContext"):
        unknown = sorted(security.keys() - _SECURITY.keys())
        if unknown:
            raise SettingsError(f"securityContext.{unknown[0]}: it cannot be set for a task")
        container["securityContext"] = {
            key: kind(security[key]) for key, kind in _SECURITY.items() if key in security
        }


def _environment(container: Obj, settings: Obj, value: Value) -> None:
    env = container.setdefault("env", [])
    for source, own, key in (
        ("secretAsEnv", "secret", "secretKeyRef"),
        ("configMapAsEnv", "configMap", "configMapKeyRef"),
    ):
        for entry in settings.get(source) or ():
            name = given_name(entry, f"{own}Name", value)
            for pair in (entry.get("keyToEnv") or ()) if name else ():
                reference: Obj = {"name": name, "key": pair[f"{own}Key"]}
                if entry.get("optional"):
                    reference["optional"] = True
                env.append({"name": pair["envVar"], "valueFrom": {key: reference}})
    for entry in settings.get("fieldPathAsEnv") or ():
        reference = {"fieldRef": {"fieldPath": entry["fieldPath"]}}
        env.append({"name": entry["name"], "valueFrom": reference})
