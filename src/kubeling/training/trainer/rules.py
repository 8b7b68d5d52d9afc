"""What a TrainJob may say, given its runtime.

Checked when the TrainJob is written, where the runtime can be read then, and again by the
controller before anything is created.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.kube.quantities import parse_quantity
from kubeling.training.trainer import torchtune
from kubeling.training.trainer.environment import framework_of, reserved_names
from kubeling.training.trainer.render import nodes_of
from kubeling.training.trainer.template import (
    INITIALIZERS,
    LAUNCHER,
    NODE,
    containers,
    group,
    merged,
    pod_spec,
)

__all__ = ["violations"]

_OWN_VARIABLES: Final = (NODE, *INITIALIZERS)
"""Containers whose variables are said elsewhere in the TrainJob."""
_INITIALIZER_VOLUME: Final = "initializer"


def violations(train_job: Obj, runtime_spec: Obj) -> Iterator[FieldError]:
    """What is wrong with a TrainJob on its runtime."""
    policy: Obj = runtime_spec.get("mlPolicy") or {}
    template: Obj = runtime_spec.get("template") or {}
    yield from _unsupported(train_job, policy)
    if wrong := list(_quantities(train_job["spec"].get("trainer") or {})):
        yield from wrong
        return
    yield from _variables(train_job, policy)
    yield from _initializers(train_job, template)
    yield from _patches(train_job, template)
    yield from _launching(train_job, policy, template)
    yield from _injection(train_job, policy, template)
    trainer = train_job["spec"].get("trainer") or {}
    if framework_of(policy) == "torch" and trainer.get("command") == torchtune.ENTRYPOINT:
        nodes = nodes_of(train_job, policy, merged(train_job, runtime_spec))
        name = train_job["spec"]["runtimeRef"]["name"]
        yield from torchtune.violations(name, trainer, nodes)


def _unsupported(train_job: Obj, policy: Obj) -> Iterator[FieldError]:
    if framework_of(policy) == "flux":
        message = (
            "its mlPolicy.flux is not supported: the nodes would have to be machines of one Flux "
            "instance; use a runtime with mlPolicy torch, jax, xgboost, mpi or none"
        )
        name = train_job["spec"]["runtimeRef"]["name"]
        yield FieldError("spec.runtimeRef.name", "Invalid value", message, name)


def _quantities(trainer: Obj) -> Iterator[FieldError]:
    """What is asked for can be counted; a cluster's API does not look into the field."""
    for kind, asked in (trainer.get("resourcesPerNode") or {}).items():
        for key, value in asked.items() if kind in ("limits", "requests") else ():
            try:
                parse_quantity(value)
            except ValueError as error:
                path = f"spec.trainer.resourcesPerNode.{kind}[{key}]"
                yield FieldError(path, "Invalid value", str(error), value)


def _variables(train_job: Obj, policy: Obj) -> Iterator[FieldError]:
    framework = framework_of(policy)
    reserved = reserved_names(framework)
    for index, entry in enumerate((train_job["spec"].get("trainer") or {}).get("env") or ()):
        if entry.get("name") in reserved:
            message = f"{entry['name']} is reserved for the {framework} runtime; use another name"
            yield FieldError(f"spec.trainer.env[{index}].name", "Forbidden", message)


def _initializers(train_job: Obj, template: Obj) -> Iterator[FieldError]:
    name = train_job["spec"]["runtimeRef"]["name"]
    for step, wanted in INITIALIZERS.items():
        if not (train_job["spec"].get("initializer") or {}).get(wanted):
            continue
        found = group(template, step)
        if found is None:
            message = f"must have {step} job when trainJob is configured with input {wanted}Config"
        elif not containers(found, step):
            message = f"must have container with name - {step} in the {step} job"
        elif not _mounts_initializer(containers(found, step)[0]):
            message = (
                f"must have volumeMount with name - {_INITIALIZER_VOLUME} in container {step} of "
                f"the {step} job"
            )
        else:
            continue
        yield FieldError("spec.runtimeRef.name", "Invalid value", message, name)


def _mounts_initializer(container: Obj) -> bool:
    mounts = container.get("volumeMounts") or ()
    return any(mount.get("name") == _INITIALIZER_VOLUME for mount in mounts)


def _patches(train_job: Obj, template: Obj) -> Iterator[FieldError]:
    """Patches change what the runtime has, and add nothing to it."""
    for index, patch in enumerate(train_job["spec"].get("runtimePatches") or ()):
        path = f"spec.runtimePatches[{index}].trainingRuntimeSpec.template.spec.replicatedJobs"
        wanted = (patch.get("trainingRuntimeSpec") or {}).get("template") or {}
        for place, changed in enumerate((wanted.get("spec") or {}).get("replicatedJobs") or ()):
            where = f"{path}[{place}]"
            found = group(template, changed["name"])
            if found is None:
                message = "must not have replicated job that doesn't exist in the runtime"
                yield FieldError(f"{where}.name", "Invalid value", message, changed["name"])
                continue
            pod = ((changed.get("template") or {}).get("spec") or {}).get("template") or {}
            yield from _patched_pod(pod.get("spec") or {}, found, where)


def _patched_pod(patch: Obj, found: Obj, where: str) -> Iterator[FieldError]:
    path = f"{where}.template.spec.template.spec"
    pod = pod_spec(found)
    everything = ("initContainers", "containers")
    known = {c["name"] for kind in everything for c in pod.get(kind) or ()}
    for kind in everything:
        for index, container in enumerate(patch.get(kind) or ()):
            at = f"{path}.{kind}[{index}]"
            if container["name"] not in known:
                message = f"must not have {kind[:-1]} that doesn't exist in the runtime job"
                yield FieldError(f"{at}.name", "Invalid value", message, container["name"])
            elif container.get("env") and container["name"] in _OWN_VARIABLES:
                message = (
                    f"must not have envs for the {', '.join(_OWN_VARIABLES)} containers; set them "
                    "in spec.trainer or spec.initializer"
                )
                yield FieldError(f"{at}.env", "Forbidden", message)


def _launching(train_job: Obj, policy: Obj, template: Obj) -> Iterator[FieldError]:
    nodes = (train_job["spec"].get("trainer") or {}).get("numNodes") or 1
    if nodes == 1 or not (policy.get("mpi") or {}).get("runLauncherAsNode"):
        return
    if group(template, LAUNCHER) is None or group(template, NODE) is None:
        message = "must be 1, because the runtime does not have both a launcher and a node"
        yield FieldError("spec.trainer.numNodes", "Invalid value", message, nodes)


def _injection(train_job: Obj, policy: Obj, template: Obj) -> Iterator[FieldError]:
    injection = (policy.get("torch") or {}).get("envInjection") or {}
    name = train_job["spec"]["runtimeRef"]["name"]
    for target in injection.get("targets") or ():
        found = group(template, target["jobName"])
        pod = pod_spec(found) if found else {}
        known = {c["name"] for k in ("initContainers", "containers") for c in pod.get(k) or ()}
        for container in target["containerNames"]:
            if container not in known:
                message = (
                    f"envInjection target {target['jobName']}/{container} not found in the "
                    "runtime's template"
                )
                yield FieldError("spec.runtimeRef.name", "Invalid value", message, name)
