"""The claim of an experiment's suggestion: kept for its resumption, and shared by its trials.

Upstream's suggestion services keep their state in it (``FromVolume``); ours is in the API, so to
them it is only a claim that is there, as clients expect. Population based training keeps
checkpoints in it: every trial has a folder of its own where ``suggestion_trial_dir`` says, which
begins as a copy of its parent's.
"""

from __future__ import annotations

from typing import Any, Final

from kubeling.kube.objects import Obj, deep_copy, labels, name, namespace, new_object
from kubeling.kube.resources import PERSISTENT_VOLUME_CLAIMS
from kubeling.tuning.instrumentation import pod_templates

__all__ = ["PARENT_LABEL", "needs_claim", "suggestion_claim", "with_checkpoints"]

PARENT_LABEL: Final = "pbt.suggestion.katib.kubeflow.org/parent"
_SETTING: Final = "suggestion_trial_dir"
_VOLUME: Final = "suggestion-volume"
_COPY: Final = "copy-checkpoint"
_FROM, _TO = "/parent", "/child"


def needs_claim(experiment: Obj) -> bool:
    """Whether there is to be a claim."""
    return experiment["spec"].get("resumePolicy") == "FromVolume" or bool(_folder(experiment))


def suggestion_claim(experiment: Obj, suggestion: Obj) -> Obj:
    """The claim, with upstream's name and size; it goes with the suggestion."""
    mode = "ReadWriteMany" if _folder(experiment) else "ReadWriteOnce"
    return new_object(
        PERSISTENT_VOLUME_CLAIMS,
        _claim_name(experiment),
        namespace(experiment),
        labels=labels(experiment),
        owner=suggestion,
        spec={"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}},
    )


def with_checkpoints(run: Obj, experiment: Obj, trial: str, parent: str) -> Obj:
    """The object a trial runs, its folder of checkpoints mounted where the algorithm has such."""
    folder = _folder(experiment)
    if not folder:
        return run
    found: Obj = deep_copy(run)
    primary = experiment["spec"]["trialTemplate"].get("primaryContainerName")
    for template in pod_templates(found.get("spec")):
        spec = template["spec"]
        for container in spec["containers"]:
            if container.get("name", primary) == primary:
                mounts = container.get("volumeMounts") or []
                container["volumeMounts"] = [*mounts, _mount(experiment, trial, folder)]
        claim = {"name": _VOLUME, "persistentVolumeClaim": {"claimName": _claim_name(experiment)}}
        spec["volumes"] = [*(spec.get("volumes") or []), claim]
        if parent:
            copying = _copying(experiment, trial, parent)
            spec["initContainers"] = [copying, *(spec.get("initContainers") or [])]
    return found


def _copying(experiment: Obj, trial: str, parent: str) -> Obj:
    """Copies the parent's checkpoint, once: a retried trial goes on from its own."""
    script = f'[ -n "$(ls -A {_TO})" ] || cp -a {_FROM}/. {_TO}/'
    return {
        "name": _COPY,
        "image": "busybox:stable",
        "command": ["sh", "-c", script],
        "volumeMounts": [_mount(experiment, parent, _FROM), _mount(experiment, trial, _TO)],
    }


def _mount(experiment: Obj, trial: str, path: str) -> Obj:
    return {"name": _VOLUME, "mountPath": path, "subPath": f"{name(experiment)}/{trial}"}


def _claim_name(experiment: Obj) -> str:
    return f"{name(experiment)}-{experiment['spec']['algorithm']['algorithmName']}"


def _folder(experiment: Obj) -> str:
    settings: Any = (experiment["spec"].get("algorithm") or {}).get("algorithmSettings") or ()
    found = [entry.get("value") for entry in settings if entry.get("name") == _SETTING]
    return str(found[0] or "") if found else ""
