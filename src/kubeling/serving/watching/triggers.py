"""What is started when requests drift: one run for each episode.

The annotation ``serving.kubeling.io/retrain`` names it as ``KIND/NAME``: templates, crons and
pipelines start a run; of a Workflow or a Run, one like it is started. The run's name follows from
the episode's beginning, so an episode gets one, however often the controller is killed.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from kubeling.kube.objects import Obj, deep_copy, name, namespace, uid
from kubeling.kube.resources import Resource

__all__ = ["KINDS", "SOURCES", "is_trigger", "run_name", "run_of"]

_ARGO: Final = "argoproj.io"
_PIPELINES: Final = "pipelines.kubeflow.org"
WORKFLOWS: Final = Resource(_ARGO, "v1alpha1", "Workflow", "workflows")
RUNS: Final = Resource(_PIPELINES, "v2beta1", "Run", "runs")
SOURCES: Final = {
    resource.kind: resource
    for resource in (
        WORKFLOWS,
        Resource(_ARGO, "v1alpha1", "WorkflowTemplate", "workflowtemplates"),
        Resource(_ARGO, "v1alpha1", "ClusterWorkflowTemplate", "clusterworkflowtemplates", False),
        Resource(_ARGO, "v1alpha1", "CronWorkflow", "cronworkflows"),
        RUNS,
        Resource(_PIPELINES, "v2beta1", "RecurringRun", "recurringruns"),
    )
}
"""Kinds that are read before a run is made from them."""

KINDS: Final = (*SOURCES, "ScheduledWorkflow", "Pipeline")
_INFERENCE_SERVICE: Final = "serving.kubeling.io/inferenceservice"


def is_trigger(text: str) -> bool:
    """Whether it names something that can be started."""
    kind, slash, title = text.partition("/")
    return bool(slash and title) and kind in KINDS and "/" not in title


def run_name(isvc: Obj, episode: str) -> str:
    """The name of the run of an episode, which is named by its beginning."""
    digest = hashlib.sha256(f"{uid(isvc)} {episode}".encode()).hexdigest()[:8]
    return f"{name(isvc)[:40]}-retrain-{digest}"


def run_of(isvc: Obj, title: str, kind: str, source: Obj | str) -> tuple[Resource, Obj]:
    """The run to create; ``source`` is what was named, or a pipeline's id."""
    if kind in (WORKFLOWS.kind, "WorkflowTemplate", "ClusterWorkflowTemplate", "CronWorkflow"):
        assert not isinstance(source, str)
        return WORKFLOWS, _object(isvc, WORKFLOWS, title, _workflow_spec(kind, source))
    return RUNS, _object(isvc, RUNS, title, _run_spec(isvc, kind, source))


def _workflow_spec(kind: str, source: Obj) -> Obj:
    if kind == "CronWorkflow":
        found: Obj = deep_copy(source["spec"]["workflowSpec"])
        return found
    if kind == "Workflow":
        # What ran it then (its deadline has passed, it may be suspended) is not part of the work.
        left = ("shutdown", "suspend")
        return {key: deep_copy(v) for key, v in source["spec"].items() if key not in left}
    reference: dict[str, Any] = {"name": name(source)}
    if kind == "ClusterWorkflowTemplate":
        reference["clusterScope"] = True
    return {"workflowTemplateRef": reference}


def _run_spec(isvc: Obj, kind: str, source: Obj | str) -> Obj:
    spec: Obj
    if isinstance(source, str):
        spec = {"pipelineVersionReference": {"pipelineID": source}}
    elif kind == "Run":
        spec = deep_copy(source["spec"])
        for key in ("terminate", "retries", "scheduledAt", "recurringRunID"):
            spec.pop(key, None)
    else:
        spec = deep_copy(source["spec"]["run"])
    spec["displayName"] = f"retraining of {name(isvc)}"
    spec.setdefault("description", f"started because requests of {name(isvc)} drifted")
    return spec


def _object(isvc: Obj, resource: Resource, title: str, spec: Obj) -> Obj:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "name": title,
            "namespace": namespace(isvc),
            "labels": {_INFERENCE_SERVICE: name(isvc)},
        },
        "spec": spec,
    }
