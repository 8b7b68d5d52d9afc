"""A Workflow as it is submitted: what it is made from, and what the submitter changes in it.

Upstream: ``util.ApplySubmitOpts``, ``common.NewWorkflowFromWorkflowTemplate`` and
``common.ConvertCronWorkflowToWorkflow``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from kubeling.kube.objects import Obj, deep_copy, format_time, owner_reference
from kubeling.kube.resources import Resource
from kubeling.workflows.cron import LABEL_CRON
from kubeling.workflows.operations.errors import OperationRefused
from kubeling.workflows.resources import (
    CLUSTER_WORKFLOW_TEMPLATES,
    CRON_WORKFLOWS,
    WORKFLOW_TEMPLATES,
    WORKFLOWS,
)

__all__ = [
    "SubmitOptions",
    "apply_submit_options",
    "from_cron_workflow",
    "from_template",
    "override_parameters",
    "source_kind",
]

_SCHEDULED: Final = "workflows.argoproj.io/scheduled-time"
_LABEL_TEMPLATE: Final = "workflows.argoproj.io/workflow-template"
_LABEL_CLUSTER_TEMPLATE: Final = "workflows.argoproj.io/cluster-workflow-template"
_SOURCES: Final = (WORKFLOW_TEMPLATES, CLUSTER_WORKFLOW_TEMPLATES, CRON_WORKFLOWS)
_LOCATIONS: Final = ("s3", "gcs", "azure", "oss", "hdfs", "artifactory")


class SubmitOptions(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """What a submitter may say (upstream's ``SubmitOpts``)."""

    name: str = ""
    generate_name: str = ""
    entry_point: str = ""
    parameters: list[str] | None = None
    artifacts: list[str] | None = None
    service_account: str = ""
    labels: str = ""
    annotations: str = ""
    dry_run: bool = False
    server_dry_run: bool = False
    owner_reference: dict[str, Any] | None = None
    pod_priority_class_name: str = ""
    priority: int | None = None


def source_kind(kind: str) -> Resource:
    """The kind a Workflow can be made from, by any of its names."""
    wanted = kind.lower()
    for resource in _SOURCES:
        known = (resource.kind.lower(), resource.plural, *resource.short_names)
        if wanted in known:
            return resource
    raise OperationRefused(
        f"Resource kind '{kind}' is not supported for submitting: name one of "
        "workflowtemplate, clusterworkflowtemplate and cronworkflow"
    )


def from_template(template: Obj, resource: Resource, artifacts: Iterable[str] = ()) -> Obj:
    """A Workflow that runs a WorkflowTemplate or ClusterWorkflowTemplate.

    ``artifacts`` are the overrides that will be applied: what they change has to be the Workflow's.
    """
    name = template["metadata"]["name"]
    cluster = resource is CLUSTER_WORKFLOW_TEMPLATES
    reference: Obj = {"name": name}
    if cluster:
        reference["clusterScope"] = True
    label = _LABEL_CLUSTER_TEMPLATE if cluster else _LABEL_TEMPLATE
    spec: Obj = {"workflowTemplateRef": reference}
    wanted = {text.partition("=")[0] for text in artifacts}
    known = (template["spec"].get("arguments") or {}).get("artifacts") or ()
    if wanted:
        spec["arguments"] = {"artifacts": [deep_copy(a) for a in known if a["name"] in wanted]}
    return _workflow(f"{name}-", {label: name}, {}, spec)


def from_cron_workflow(cron: Obj, now: dt.datetime) -> Obj:
    """The Workflow a CronWorkflow would start now."""
    name = cron["metadata"]["name"]
    spec = cron["spec"]
    metadata = spec.get("workflowMetadata") or {}
    workflow = _workflow(
        f"{name}-",
        {**(metadata.get("labels") or {}), LABEL_CRON: name},
        {**(metadata.get("annotations") or {}), _SCHEDULED: format_time(now)},
        deep_copy(spec["workflowSpec"]),
    )
    workflow["metadata"]["ownerReferences"] = [owner_reference(cron)]
    return workflow


def apply_submit_options(workflow: Obj, options: SubmitOptions) -> None:
    """Changes a Workflow as its submitter asks."""
    spec, metadata = workflow["spec"], workflow["metadata"]
    given = {
        "entrypoint": options.entry_point,
        "serviceAccountName": options.service_account,
        "podPriorityClassName": options.pod_priority_class_name,
    }
    spec.update({key: value for key, value in given.items() if value})
    if options.priority is not None:
        spec["priority"] = options.priority
    for key, text in (("labels", options.labels), ("annotations", options.annotations)):
        if text:
            metadata[key] = {**(metadata.get(key) or {}), **_pairs(text, key)}
    override_parameters(spec, options.parameters or ())
    _override_artifacts(spec, options.artifacts or ())
    if options.generate_name:
        metadata["generateName"] = options.generate_name
    if options.name:
        metadata["name"] = options.name
    if options.owner_reference is not None:
        metadata.setdefault("ownerReferences", []).append(options.owner_reference)


def override_parameters(spec: Obj, parameters: Iterable[str]) -> None:
    """Sets arguments from ``NAME=VALUE``; those that were not there are added."""
    given = dict(_pair(text, "parameter", "NAME=VALUE") for text in parameters)
    if not given:
        return
    arguments = spec["arguments"] = dict(spec.get("arguments") or {})
    kept = [p for p in arguments.get("parameters") or () if p["name"] not in given]
    made = [{"name": name, "value": value} for name, value in given.items()]
    arguments["parameters"] = [*made, *kept]


def _override_artifacts(spec: Obj, artifacts: Iterable[str]) -> None:
    given = dict(_pair(text, "artifact", "NAME=KEY") for text in artifacts)
    for artifact in (spec.get("arguments") or {}).get("artifacts") or ():
        key = given.pop(artifact["name"], None)
        if key is not None:
            _location(artifact)["key"] = key
    if given:
        names = ", ".join(sorted(given))
        raise OperationRefused(f"artifact override(s) matched no artifact: {names}")


def _location(artifact: Obj) -> Obj:
    for kind in _LOCATIONS:
        if artifact.get(kind) is not None:
            found: Obj = artifact[kind]
            return found
    added: Obj = artifact.setdefault("s3", {})
    return added


def _workflow(
    prefix: str, labels: Mapping[str, str], annotations: Mapping[str, str], spec: Obj
) -> Obj:
    metadata: Obj = {"generateName": prefix, "labels": dict(labels)}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {
        "apiVersion": WORKFLOWS.api_version,
        "kind": WORKFLOWS.kind,
        "metadata": metadata,
        "spec": spec,
    }


def _pairs(text: str, what: str) -> dict[str, str]:
    return dict(_pair(part, what, "NAME1=VALUE1,NAME2=VALUE2") for part in text.split(","))


def _pair(text: str, what: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise OperationRefused(f"expected {what} of the form: {form}. Received: {text}")
    return name, value
