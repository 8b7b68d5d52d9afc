"""What a trial's object is given so that its pods can be found and its metrics read.

Upstream rewrites pods in a webhook; here everything is stated in the object the trial creates, in
whatever pod templates it holds: labels on the pods, the trial's name in the primary container's
environment, and where the log does not hold the metrics a sidecar that collects them. Pods whose
templates are elsewhere get theirs at admission (:mod:`.injection`). StdOut needs none, because the
log is there to be read; an annotation tells under which other container name clients look for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from kubeling.kube.objects import Obj, deep_copy, name
from kubeling.tuning.collectors import COLLECTOR, collector_kind
from kubeling.tuning.injection import ANNOTATION, attach, primary_container, request_for
from kubeling.tuning.sidecars import Sidecar, sidecar_of

__all__ = ["TRIAL_LABEL", "instrumented", "pod_templates"]

TRIAL_LABEL: Final = "katib.kubeflow.org/trial"
LOG_ALIAS: Final = "kubeling.io/log-container-alias"
_MANAGER: Final = "katib.kubeling.io/trial"
_QUOTED: Final = re.compile(r'\A(--?[\w.-]+=)"([^"$`\\]*)"\Z')
"""An option whose value stands in quotes, with nothing in them that a shell would do more about."""


@dataclass(frozen=True, slots=True)
class Addition:
    """What the pods of one trial are given."""

    labels: dict[str, str]
    annotations: dict[str, str]
    variable: Obj
    container: str
    sidecar: Sidecar | None
    wanted: dict[str, str]
    """The labels of the pods that count."""

    def asking(self) -> Addition:
        """The same for pods that are not made from a template here: an annotation asks for it."""
        if self.sidecar is None:
            return self
        asked = request_for(self.sidecar, self.container, self.wanted)
        return replace(self, annotations={**self.annotations, ANNOTATION: asked})


def instrumented(trial: Obj) -> Obj:
    """The object a trial runs, with what its pods need; the trial's own is not changed."""
    run: Obj = deep_copy(trial["spec"]["runSpec"])
    addition = _addition(trial)
    _label_object(run, addition)
    if str(run.get("apiVersion", "")).startswith("trainer.kubeflow.org/"):
        _patch_train_job(run, addition)
        return run
    if str(run.get("apiVersion", "")).startswith("argoproj.io/"):
        _add_to_workflow(run, addition)
    for template in pod_templates(run.get("spec")):
        _add_to_template(template, addition)
    return run


def _addition(trial: Obj) -> Addition:
    container = str(trial["spec"]["primaryContainerName"])
    alias = collector_kind(trial) == "StdOut"
    return Addition(
        labels={**(trial["metadata"].get("labels") or {}), TRIAL_LABEL: name(trial)},
        annotations={LOG_ALIAS: f"{COLLECTOR}={container}"} if alias else {},
        variable={"name": "KATIB_TRIAL_NAME", "value": name(trial)},
        container=container,
        sidecar=sidecar_of(trial),
        wanted=dict(trial["spec"].get("primaryPodLabels") or {}),
    )


def _label_object(run: Obj, addition: Addition) -> None:
    metadata = run["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), **addition.labels}


def pod_templates(value: Any) -> Iterator[Obj]:
    """Every pod template in an object, however deep."""
    if isinstance(value, list):
        for child in value:
            yield from pod_templates(child)
    elif isinstance(value, dict):
        spec = value.get("spec")
        if isinstance(spec, dict) and isinstance(spec.get("containers"), list):
            yield value
            return
        for child in value.values():
            yield from pod_templates(child)


def _add_to_template(template: Obj, addition: Addition) -> None:
    _add_to_metadata(template.setdefault("metadata", {}), addition)
    spec = template["spec"]
    for container in spec["containers"]:
        # A failed trial is then told with the end of its log.
        container.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    primary = primary_container(spec["containers"], addition.container)
    if primary is None:
        return
    primary["env"] = [*(primary.get("env") or []), addition.variable]
    _take_quotes_off(primary)
    if addition.sidecar is not None:
        attach(spec, addition.container, addition.sidecar)


def _take_quotes_off(container: Obj) -> None:
    """Makes ``--space={…}`` of ``--space="{…}"``.

    Upstream has a shell run a trial's command, so that what templates put into quotes, as those of
    its architecture searches do, reaches the program without.
    """
    for part in ("command", "args"):
        if words := container.get(part):
            container[part] = [
                _QUOTED.sub(r"\1\2", word) if isinstance(word, str) else word for word in words
            ]


def _add_to_metadata(metadata: Obj, addition: Addition) -> None:
    metadata["labels"] = {**(metadata.get("labels") or {}), **addition.labels}
    if addition.annotations:
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **addition.annotations}


def _add_to_workflow(run: Obj, addition: Addition) -> None:
    """A Workflow says once what all its pods have; its containers stand in templates of its own."""
    spec = run.setdefault("spec", {})
    _add_to_metadata(spec.setdefault("podMetadata", {}), addition.asking())
    for template in spec.get("templates") or ():
        for kind in ("container", "script"):
            if isinstance(container := template.get(kind), dict):
                container["env"] = [*(container.get("env") or []), addition.variable]


def _patch_train_job(run: Obj, addition: Addition) -> None:
    """A TrainJob has no pod template of its own: the runtime's is patched."""
    spec = run.setdefault("spec", {})
    trainer = spec.setdefault("trainer", {})
    trainer["env"] = [*(trainer.get("env") or []), addition.variable]
    metadata: Obj = {}
    _add_to_metadata(metadata, addition.asking())
    pod: Obj = {"metadata": metadata}
    replicated = {"name": "node", "template": {"spec": {"template": pod}}}
    patch = {
        "manager": _MANAGER,
        "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [replicated]}}},
    }
    spec["runtimePatches"] = [*(spec.get("runtimePatches") or []), patch]
