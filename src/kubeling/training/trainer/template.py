"""A runtime's JobSet template with what a TrainJob says merged in.

The order is upstream's: the runtime, then ``runtimePatches`` in their order, then ``spec.trainer``
and ``spec.initializer``. Nothing here knows a framework.
"""

from __future__ import annotations

from typing import Final

from kubeling.kube.objects import Obj, deep_copy
from kubeling.training.trainer.merging import merge, replace_by_name

__all__ = [
    "ANCESTOR_STEP",
    "INITIALIZERS",
    "LAUNCHER",
    "NODE",
    "TRAINER",
    "containers",
    "equip",
    "group",
    "merged",
    "pod_spec",
    "step",
    "trainer_group",
]

ANCESTOR_STEP: Final = "trainer.kubeflow.org/trainjob-ancestor-step"
NODE: Final = "node"
LAUNCHER: Final = "launcher"
TRAINER: Final = "trainer"
INITIALIZERS: Final = {"dataset-initializer": "dataset", "model-initializer": "model"}


def merged(train_job: Obj, runtime_spec: Obj) -> Obj:
    """The template, whose groups may be changed further."""
    spec = train_job["spec"]
    template: Obj = deep_copy(runtime_spec.get("template") or {})
    for patch in spec.get("runtimePatches") or ():
        wanted = (patch.get("trainingRuntimeSpec") or {}).get("template") or {}
        template = merge(template, deep_copy(wanted))
    for found in (template.get("spec") or {}).get("replicatedJobs") or ():
        if step(found) == TRAINER:
            _train(found, spec.get("trainer") or {})
        elif step(found) in INITIALIZERS:
            _initialize(found, (spec.get("initializer") or {}).get(INITIALIZERS[step(found)]) or {})
    return template


def group(template: Obj, name: str) -> Obj | None:
    """The group of Jobs of that name."""
    groups = (template.get("spec") or {}).get("replicatedJobs") or ()
    return next((found for found in groups if found.get("name") == name), None)


def trainer_group(template: Obj) -> Obj | None:
    """The group that trains, or launches those that do."""
    groups = (template.get("spec") or {}).get("replicatedJobs") or ()
    return next((found for found in groups if step(found) == TRAINER), None)


def step(group: Obj) -> str:
    """Which part of a TrainJob a group of Jobs carries out, from its label."""
    metadata = (group.get("template") or {}).get("metadata") or {}
    labelled = str((metadata.get("labels") or {}).get(ANCESTOR_STEP, ""))
    return labelled if labelled == TRAINER or labelled in INITIALIZERS else ""


def pod_spec(group: Obj) -> Obj:
    """The pods' spec, which may be changed."""
    job: Obj = group["template"].setdefault("spec", {})
    found: Obj = job.setdefault("template", {}).setdefault("spec", {})
    return found


def containers(group: Obj, name: str = "") -> list[Obj]:
    """The main containers, or the one of that name."""
    return [c for c in pod_spec(group).get("containers") or () if not name or c["name"] == name]


def _train(group: Obj, trainer: Obj) -> None:
    """Image, command and arguments replace; variables and resources are merged key by key."""
    group["replicas"] = 1
    for container in containers(group, NODE):
        for field in ("image", "command", "args"):
            if trainer.get(field):
                container[field] = trainer[field]
    equip(group, trainer)


def equip(group: Obj, trainer: Obj) -> None:
    """Gives training containers the variables and resources of ``spec.trainer``."""
    for container in containers(group, NODE):
        if trainer.get("resourcesPerNode"):
            own = container.get("resources") or {}
            container["resources"] = merge(own, trainer["resourcesPerNode"])
        if trainer.get("env"):
            container["env"] = replace_by_name(container.get("env") or [], trainer["env"])


def _initialize(group: Obj, wanted: Obj) -> None:
    """Tells an initializer what to fetch, and with which credentials."""
    group["replicas"] = 1
    for container in containers(group, step(group)):
        variables = container.get("env") or []
        if wanted.get("storageUri"):
            source = {"name": "STORAGE_URI", "value": wanted["storageUri"]}
            variables = replace_by_name(variables, [source])
        variables = replace_by_name(variables, wanted.get("env") or [])
        if variables:
            container["env"] = variables
        if wanted.get("secretRef"):
            container.setdefault("envFrom", []).append({"secretRef": wanted["secretRef"]})
