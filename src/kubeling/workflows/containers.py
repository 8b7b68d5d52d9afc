"""The containers of a step's pod: the template's own, the sidecars and the init containers.

A command is wrapped only where something has to happen around it (see
:mod:`kubeling.workflows.wrapper`). Inputs and outputs are the affair of the container named
``main``, also in a container set, as upstream has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from kubeling.kube.durations import parse_duration
from kubeling.kube.objects import Obj, deep_copy
from kubeling.workflows.images import image_command
from kubeling.workflows.wrapper import Turn, WrapPlan, wrap

__all__ = [
    "MAIN",
    "PodError",
    "extra_containers",
    "main_containers",
    "set_names",
    "takes_turns",
    "with_environment",
    "wrap_containers",
]

MAIN: Final = "main"


class PodError(Exception):
    """No pod can be made of a template; the message says what to write."""


def set_names(template: Mapping[str, Any]) -> list[str]:
    """The names of a container set's containers; empty for other templates."""
    return [
        str(c.get("name")) for c in (template.get("containerSet") or {}).get("containers") or ()
    ]


def takes_turns(container_set: Mapping[str, Any]) -> bool:
    """Whether a set's containers wait for each other or try again."""
    attempts = int((container_set.get("retryStrategy") or {}).get("retries") or 1)
    waiting = any(c.get("dependencies") for c in container_set.get("containers") or ())
    return waiting or attempts > 1


def main_containers(raw: Obj) -> list[Obj]:
    """What the template itself runs, as it is written there."""
    container_set = raw.get("containerSet")
    if container_set is None:
        own = raw.get("script") or raw["container"]
        return [deep_copy({**{k: v for k, v in own.items() if k != "source"}, "name": MAIN})]
    shared = container_set.get("volumeMounts") or []
    found: list[Obj] = []
    for container in container_set["containers"]:
        own = deep_copy({k: v for k, v in container.items() if k != "dependencies"})
        if shared:
            own["volumeMounts"] = [*(own.get("volumeMounts") or ()), *deep_copy(shared)]
        found.append(own)
    return found


def wrap_containers(spec: Obj, raw: Obj, plan: WrapPlan) -> bool:
    """Puts around the commands what has to happen there; tells whether containers take turns."""
    container_set = raw.get("containerSet")
    by_name = {container["name"]: container for container in spec["containers"]}
    if container_set is None:
        _wrap(by_name[MAIN], plan)
        return False
    in_turns = takes_turns(container_set)
    for container in container_set["containers"]:
        around = plan if container["name"] == MAIN else WrapPlan()
        if in_turns:
            around = replace(around, turn=_turn(container, container_set))
        _wrap(by_name[container["name"]], around)
    return in_turns


def extra_containers(raw: Obj, kind: str, mains: list[Obj]) -> list[Obj]:
    """Sidecars or init containers; those that mirror see the volumes of the main container."""
    found: list[Obj] = []
    for extra in raw.get(kind) or ():
        own = deep_copy({k: v for k, v in extra.items() if k != "mirrorVolumeMounts"})
        if extra.get("mirrorVolumeMounts"):
            mounts = own.setdefault("volumeMounts", [])
            taken = {mount.get("mountPath") for mount in mounts}
            main = next((c for c in mains if c["name"] == MAIN), {})
            mirrored = deep_copy(main.get("volumeMounts") or [])
            mounts += [mount for mount in mirrored if mount.get("mountPath") not in taken]
        found.append(own)
    return found


def with_environment(container: Obj, variables: Mapping[str, str]) -> None:
    """Adds what upstream's executor tells every container; the container's own names win."""
    env = container.setdefault("env", [])
    taken = {entry.get("name") for entry in env}
    told = {"ARGO_CONTAINER_NAME": str(container["name"]), **variables}
    env += [{"name": key, "value": text} for key, text in told.items() if key not in taken]


def _turn(container: Obj, container_set: Obj) -> Turn:
    retry = container_set.get("retryStrategy") or {}
    return Turn(
        str(container["name"]),
        tuple(container.get("dependencies") or ()),
        int(retry.get("retries") or 1),
        parse_duration(retry.get("duration") or 0),
    )


def _wrap(container: Obj, plan: WrapPlan) -> None:
    if not plan:
        return
    command = container.pop("command", None)
    args = container.pop("args", None)
    if not command:
        known = image_command(container.get("image", ""))
        if known is None:
            raise PodError(
                f'image "{container.get("image")}": its ENTRYPOINT cannot be seen; write the '
                "command out in the template, because something has to happen around it here"
            )
        command, default_args = known
        args = args or default_args
    container["command"] = wrap([*command, *(args or ())], plan)
