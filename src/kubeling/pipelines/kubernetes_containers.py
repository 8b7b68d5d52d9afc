"""Containers before and beside a task's own. Pure."""

from __future__ import annotations

from typing import Final

from kubeling.kube.objects import Obj
from kubeling.pipelines.platform_values import SettingsError

__all__ = ["init_containers"]

_AS_THEY_ARE: Final = ("name", "image", "command", "args", "env", "resources", "restartPolicy")


def init_containers(settings: Obj, spec: Obj) -> list[Obj]:
    """Init containers, and with ``restartPolicy: Always`` sidecars; their volumes are the pod's."""
    volumes = {volume["name"] for volume in spec.get("volumes") or ()}
    found = []
    for given in settings.get("initContainers") or ():
        where = f'initContainers "{given.get("name", "")}"'
        policy = given.get("restartPolicy")
        if policy not in (None, "Always"):
            raise SettingsError(f'{where}: restartPolicy: Unsupported value: "{policy}": "Always"')
        container: Obj = {key: given[key] for key in _AS_THEY_ARE if given.get(key)}
        for mount in given.get("volumeMounts") or ():
            name = mount.get("volumeName", "")
            if name not in volumes:
                raise SettingsError(f'{where}: volumeMounts: Not found: the pod has no "{name}"')
            container.setdefault("volumeMounts", []).append(
                {"name": name, "mountPath": mount["mountPath"]}
            )
        found.append(container)
    return found
