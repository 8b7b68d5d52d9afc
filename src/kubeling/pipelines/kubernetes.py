"""The settings of ``kfp-kubernetes`` on a task, put into its Pod. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from kubeling.kube.objects import Obj

__all__ = ["apply_settings", "claim_names", "settings_of", "workspace_of"]

Value = Callable[[Mapping[str, Any]], Any]
"""Resolves a parameter source (constant, component input or task output)."""

_INTEGERS: Final = ("runAsUser", "runAsGroup")


def settings_of(platform: Obj, executor_label: str) -> Obj:
    """What the platform spec says about an executor."""
    executors = (_kubernetes(platform).get("deploymentSpec") or {}).get("executors") or {}
    found: Obj = executors.get(executor_label) or {}
    return found


def workspace_of(platform: Obj) -> Obj | None:
    """The run's shared folder, if it asks for one."""
    found: Obj | None = (_kubernetes(platform).get("pipelineConfig") or {}).get("workspace")
    return found


def claim_names(settings: Obj, value: Value) -> list[str]:
    """The names of the volume claims a task mounts."""
    return [_name(mount, "pvcName", value) for mount in settings.get("pvcMount") or ()]


def apply_settings(pod: Obj, settings: Obj, value: Value) -> None:
    """Applies the settings to a pod with one container."""
    spec, container = pod["spec"], pod["spec"]["containers"][0]
    _metadata(pod, settings)
    _scheduling(spec, settings, value)
    _environment(container, settings, value)
    for number, (volume, mount) in enumerate(_volumes(settings, value)):
        volume.setdefault("name", f"kfp-{number}")
        spec.setdefault("volumes", []).append(volume)
        container.setdefault("volumeMounts", []).append({"name": volume["name"], **mount})
    if policy := settings.get("imagePullPolicy"):
        container["imagePullPolicy"] = policy
    if security := settings.get("securityContext"):
        container["securityContext"] = {
            key: int(item) if key in _INTEGERS else item for key, item in security.items()
        }


def _kubernetes(platform: Obj) -> Obj:
    found: Obj = (platform.get("platforms") or {}).get("kubernetes") or {}
    return found


def _metadata(pod: Obj, settings: Obj) -> None:
    for part in ("labels", "annotations"):
        given = (settings.get("podMetadata") or {}).get(part) or {}
        pod["metadata"][part] = {**given, **(pod["metadata"].get(part) or {})}


def _scheduling(spec: Obj, settings: Obj, value: Value) -> None:
    if labels := (settings.get("nodeSelector") or {}).get("labels"):
        spec["nodeSelector"] = labels
    if tolerations := settings.get("tolerations"):
        spec["tolerations"] = [
            {k: int(v) if k == "tolerationSeconds" else v for k, v in entry.items()}
            for entry in tolerations
            if "tolerationJson" not in entry
        ]
    if secrets := settings.get("imagePullSecret"):
        spec["imagePullSecrets"] = [{"name": _name(s, "secretName", value)} for s in secrets]
    if deadline := int(settings.get("activeDeadlineSeconds") or 0):
        spec["activeDeadlineSeconds"] = deadline


def _environment(container: Obj, settings: Obj, value: Value) -> None:
    env = container.setdefault("env", [])
    for source, own, key in (
        ("secretAsEnv", "secret", "secretKeyRef"),
        ("configMapAsEnv", "configMap", "configMapKeyRef"),
    ):
        for entry in settings.get(source) or ():
            name = _name(entry, f"{own}Name", value)
            for pair in (entry.get("keyToEnv") or ()) if name else ():
                reference: Obj = {"name": name, "key": pair[f"{own}Key"]}
                if entry.get("optional"):
                    reference["optional"] = True
                env.append({"name": pair["envVar"], "valueFrom": {key: reference}})
    for entry in settings.get("fieldPathAsEnv") or ():
        reference = {"fieldRef": {"fieldPath": entry["fieldPath"]}}
        env.append({"name": entry["name"], "valueFrom": reference})


def _volumes(settings: Obj, value: Value) -> list[tuple[Obj, Obj]]:
    found: list[tuple[Obj, Obj]] = []
    for entry in settings.get("secretAsVolume") or ():
        if name := _name(entry, "secretName", value):
            secret = {"secretName": name, "optional": bool(entry.get("optional"))}
            found.append(({"secret": secret}, _mount(entry)))
    for entry in settings.get("configMapAsVolume") or ():
        if name := _name(entry, "configMapName", value):
            source = {"name": name, "optional": bool(entry.get("optional"))}
            found.append(({"configMap": source}, _mount(entry)))
    for entry in settings.get("pvcMount") or ():
        claim = {"claimName": _name(entry, "pvcName", value)}
        found.append(({"persistentVolumeClaim": claim}, _mount(entry)))
    for entry in settings.get("emptyDirMounts") or ():
        folder = {key: entry[key] for key in ("medium", "sizeLimit") if entry.get(key)}
        found.append(({"name": entry["volumeName"], "emptyDir": folder}, _mount(entry)))
    for entry in settings.get("genericEphemeralVolume") or ():
        template = {"spec": _claim_spec(entry)}
        volume = {
            "name": entry["volumeName"],
            "ephemeral": {"volumeClaimTemplate": template},
        }
        found.append((volume, _mount(entry)))
    return found


def _claim_spec(entry: Obj) -> Obj:
    spec: Obj = {
        "accessModes": entry.get("accessModes") or ["ReadWriteOnce"],
        "resources": {"requests": {"storage": entry.get("size", "1Gi")}},
    }
    if name := entry.get("storageClassName"):
        spec["storageClassName"] = name
    return spec


def _mount(entry: Obj) -> Obj:
    mount: Obj = {"mountPath": entry["mountPath"]}
    if sub_path := entry.get("subPath"):
        mount["subPath"] = sub_path
    return mount


def _name(entry: Obj, field: str, value: Value) -> str:
    """A name given as a parameter source, or in one of the older forms."""
    if source := entry.get(f"{field}Parameter"):
        return str(value(source) or "")
    for older in ("taskOutputParameter", "componentInputParameter"):
        if entry.get(older):
            return str(value({older: entry[older]}) or "")
    return str(entry.get(field) or entry.get("constant") or "")
