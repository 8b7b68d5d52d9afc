"""A step's artifacts in object stores: loaded before it, stored after it. Pure.

Only a step that has such artifacts gets the containers (:mod:`kubeling.artifacts.movers`). The
folder they share with it is mounted where the SDK looks for artifacts of a store.
"""

from __future__ import annotations

import posixpath
import shlex
from typing import Final

from kubeling.artifacts.movers import EXCHANGE_PATH, EXCHANGE_VOLUME, HAND_OVER, TRAP, WAIT, mover
from kubeling.artifacts.patience import PATIENCE, VARIABLE
from kubeling.artifacts.plan import Transfer
from kubeling.kube.objects import Obj
from kubeling.pipelines.launcher import MOUNTED, Launcher, LauncherError, is_stored
from kubeling.pipelines.workspace import IN_WORKSPACE

__all__ = ["add_exchange"]

_FAIL: Final = """fail() { echo "$1" >&2; exit 1; }"""


def add_exchange(pod_spec: Obj, told: Obj, launcher: Launcher) -> None:
    """Adds what it takes to a pod; ``told`` is the step's ExecutorInput.

    Raises :class:`LauncherError`.
    """
    loaded, kept = (_stored(told, side) for side in ("inputs", "outputs"))
    if not loaded and not kept:
        return
    container: Obj = pod_spec["containers"][0]
    movers = []
    shared = {"name": EXCHANGE_VOLUME, "mountPath": EXCHANGE_PATH}
    for action, uris in (("load", loaded), ("keep", kept)):
        env: list[Obj] = []
        own = container.get("env") or []
        transfers = [
            Transfer(name=_path(uri), location=launcher.location(uri, env, own), packing="none")
            for uri in uris
        ]
        if launcher.patience != PATIENCE:
            env.append({"name": VARIABLE, "value": f"{launcher.patience:g}"})
        if transfers:
            movers.append(mover(action, transfers, env, [shared]))
    if kept:
        container["command"] = _handing_over(container, kept)
        container.pop("args", None)
    folders = sorted({_path(uri).partition("/")[0] for uri in [*loaded, *kept]})
    pod_spec["volumes"] = [
        *(pod_spec.get("volumes") or ()),
        {"name": EXCHANGE_VOLUME, "emptyDir": {}},
    ]
    container["volumeMounts"] = [
        *(container.get("volumeMounts") or ()),
        shared,
        *({**shared, "mountPath": f"/{folder}", "subPath": folder} for folder in folders),
    ]
    pod_spec["initContainers"] = [*(pod_spec.get("initContainers") or ()), *movers]


def _stored(told: Obj, side: str) -> list[str]:
    """The addresses of a step's artifacts in stores, each once."""
    entries = (told.get(side) or {}).get("artifacts") or {}
    return list(
        dict.fromkeys(
            artifact["uri"]
            for entry in entries.values()
            for artifact in entry["artifacts"]
            if is_stored(artifact["uri"]) and not (artifact.get("metadata") or {}).get(IN_WORKSPACE)
        )
    )


def _path(uri: str) -> str:
    """Where an artifact is in the shared folder."""
    scheme, _, rest = uri.partition("://")
    return f"{MOUNTED[scheme]}/{rest}"


def _handing_over(container: Obj, kept: list[str]) -> list[str]:
    """The command, and after it the handing over of what it has made."""
    command = [*(container.get("command") or ()), *(container.get("args") or ())]
    if not container.get("command"):
        raise LauncherError(
            "outputs in an object store are handed over after the command; write the image's own "
            "command out in the component"
        )
    folders = " ".join(sorted({shlex.quote(posixpath.dirname(_path(uri))) for uri in kept}))
    lines = [_FAIL, HAND_OVER.strip(), f'(cd "$x" && mkdir -p {folders}) || exit 1']
    lines += [TRAP.strip(), '"$@" &', WAIT.strip()]
    lines.append("[ $code = 0 ] || exit $code")
    for uri in kept:
        path = shlex.quote(_path(uri))
        lines.append(f'[ ! -e "$x/"{path} ] || echo {path} >>"$x/.offered"')
    text = "\n".join([*lines, "hand_over"])
    # The kubelet expands $(NAME) and makes $$ of what is escaped.
    return ["/bin/sh", "-c", text.replace("$(", "$$("), "sh", *command]
