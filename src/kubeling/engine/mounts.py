"""A container's ``volumeMounts`` as paths on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kubeling.engine.envvars import expand, unknown_references
from kubeling.engine.rootfs import VolumeMount
from kubeling.engine.volumes import Place, VolumeError

__all__ = ["resolve_mounts"]

_PRIVATE: Final = (None, "", "None", "HostToContainer")


def resolve_mounts(
    container: Mapping[str, Any], places: Mapping[str, Place], env: Mapping[str, str]
) -> list[VolumeMount]:
    """All mounts of a container; ``subPathExpr`` is expanded with ``env``."""
    if container.get("volumeDevices"):
        raise VolumeError("volumeDevices: this node has no block volumes; use volumeMounts")
    return [_mount(container, mount, places, env) for mount in container.get("volumeMounts") or ()]


def _mount(
    container: Mapping[str, Any],
    mount: Mapping[str, Any],
    places: Mapping[str, Place],
    env: Mapping[str, str],
) -> VolumeMount:
    where = f'volumeMount "{mount["name"]}" of container "{container["name"]}"'
    if (place := places.get(mount["name"])) is None:
        raise VolumeError(f'volumeMounts: there is no volume "{mount["name"]}" in this pod')
    if mount.get("mountPropagation") not in _PRIVATE:
        raise VolumeError(f"{where}: mountPropagation Bidirectional is not available on this node")
    if mount.get("recursiveReadOnly") == "Enabled":
        raise VolumeError(f"{where}: recursiveReadOnly is not available on this node")
    source = place.path
    if below := _sub_path(mount, env, where):
        source = _below(place.path, below, where)
    return VolumeMount(source, mount["mountPath"], place.read_only or bool(mount.get("readOnly")))


def _sub_path(mount: Mapping[str, Any], env: Mapping[str, str], where: str) -> str:
    expression = mount.get("subPathExpr") or ""
    if missing := unknown_references(expression, env):
        text = f'failed to expand subPath for {where}: missing value for "{missing[0]}"'
        raise VolumeError(text)
    return str(mount.get("subPath") or "") or expand(expression, env)


def _below(volume: Path, sub_path: str, where: str) -> Path:
    """A path inside a volume, made with the volume's own mode where it is missing.

    Links in the volume must not lead out of it: who can write there is not who owns the machine.
    """
    if ".." in Path(sub_path).parts or Path(sub_path).is_absolute():
        raise VolumeError(f'subPath "{sub_path}" must be relative and stay inside the volume')
    whole = volume.resolve()
    path = whole
    for part in Path(sub_path).parts:
        path = (path / part).resolve()
        if not path.is_relative_to(whole):
            raise VolumeError(
                f'failed to prepare subPath for {where}: "{sub_path}" leads out of the volume'
            )
        if not path.exists():
            path.mkdir()
            path.chmod(os.stat(whole).st_mode & 0o7777)
    return path
