"""``hera`` against the Argo Server API, the way its users use it: synchronously and not."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hera.exceptions import AlreadyExists, BadRequest, NotFound
from hera.workflows import (
    DAG,
    AsyncWorkflowsService,
    ClusterWorkflowTemplate,
    Container,
    CronWorkflow,
    Parameter,
    Step,
    Steps,
    Suspend,
    Workflow,
    WorkflowsService,
    WorkflowTemplate,
)
from hera.workflows.models import (
    CreateSyncLimitRequest,
    CronWorkflowResumeRequest,
    CronWorkflowSuspendRequest,
    ResubmitArchivedWorkflowRequest,
    RetryArchivedWorkflowRequest,
    SubmitOpts,
    SuppliedValueFrom,
    ValueFrom,
    WorkflowResubmitRequest,
    WorkflowResumeRequest,
    WorkflowRetryRequest,
    WorkflowSetRequest,
    WorkflowStopRequest,
    WorkflowSubmitRequest,
    WorkflowSuspendRequest,
    WorkflowTerminateRequest,
)

HOST = f"http://{os.environ['ARGO_SERVER']}"


@pytest.fixture
def service() -> WorkflowsService:
    return WorkflowsService(host=HOST, namespace="default")


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:6]}"


def saying(kind: Any, service: Any, *words: str, **more: Any) -> Any:
    """A workflow, or something it can be made from, that prints its parameter and these words."""
    if kind is not ClusterWorkflowTemplate:
        more["namespace"] = "default"
    with kind(
        entrypoint="say",
        arguments=Parameter(name="text", value="hello"),
        workflows_service=service,
        **more,
    ) as made:
        Container(
            name="say",
            image="busybox",
            command=["sh", "-c", *words] if words else ["echo", "{{workflow.parameters.text}}"],
        )
    return made


def until(what: Callable[[], Any]) -> Any:
    """What is asked for, when it is there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it never came")


def ended(service: WorkflowsService, name: str, phase: str = "Succeeded") -> Any:
    def is_over() -> Any:
        workflow = service.get_workflow(name)
        over = workflow.status and workflow.status.phase in ("Succeeded", "Failed", "Error")
        return workflow if over else None

    workflow = until(is_over)
    assert workflow.status.phase == phase
    return workflow


def test_a_workflow_is_written_linted_run_and_read(service: WorkflowsService) -> None:
    workflow = saying(Workflow, service, generate_name="hera-", labels={"by": "hera"})
    assert workflow.lint().metadata.generate_name == "hera-"
    made = workflow.create(wait=True, poll_interval=1)
    name = made.metadata.name
    assert made.status.phase == "Succeeded"
    assert service.workflow_logs(name).content == "hello"
    assert service.pod_logs(name, name).content == "hello"
    listed = service.list_workflows(label_selector="by=hera", fields="items.metadata,items.spec")
    assert name in [found.metadata.name for found in listed.items]
    with pytest.raises(AlreadyExists):
        saying(Workflow, service, name=name).create()
    with pytest.raises(NotFound, match='"nobody" not found'):
        service.get_workflow("nobody")
    service.delete_workflow(name)
    archived = until(lambda: service.list_archived_workflows(name_prefix=name).items)[0]
    uid = archived.metadata.uid
    assert service.get_archived_workflow(uid).status.nodes[name].phase == "Succeeded"
    assert "by" in service.list_archived_workflow_label_keys().items
    values = service.list_archived_workflow_label_values(label_selector="by")
    assert "hera" in values.items
    request = ResubmitArchivedWorkflowRequest(namespace="default")
    ended(service, service.resubmit_archived_workflow(uid, request).metadata.name)
    with pytest.raises(BadRequest, match="restartSuccessful"):
        service.retry_archived_workflow(uid, RetryArchivedWorkflowRequest(namespace="default"))
    service.delete_archived_workflow(uid)


def test_a_failed_workflow_is_retried_and_resubmitted(service: WorkflowsService) -> None:
    with Workflow(
        name=unique("needy"), entrypoint="main", workflows_service=service, namespace="default"
    ) as workflow:
        first = Container(name="first", image="busybox", command=["true"])
        needs = Container(
            name="needs",
            image="busybox",
            command=["sh", "-c", "test {{workflow.parameters.go}} = yes"],
        )
        with DAG(name="main"):
            first() >> needs()
    workflow.arguments = [Parameter(name="go", value="no")]
    workflow.create()
    ended(service, workflow.name, "Failed")
    again = service.resubmit_workflow(
        workflow.name, WorkflowResubmitRequest(memoized=True, parameters=["go=yes"])
    )
    nodes = ended(service, again.metadata.name).status.nodes.values()
    assert [n.display_name for n in nodes if n.phase == "Skipped"] == ["first"]
    service.retry_workflow(workflow.name, WorkflowRetryRequest(parameters=["go=yes"]))
    until(lambda: service.get_workflow(workflow.name).status.phase == "Succeeded")


def test_a_workflow_waits_and_is_resumed_or_stopped(service: WorkflowsService) -> None:
    def asking() -> str:
        with Workflow(
            generate_name="asking-",
            entrypoint="main",
            workflows_service=service,
            namespace="default",
        ) as workflow:
            ask = Suspend(
                name="ask",
                outputs=[
                    Parameter(name="answer", value_from=ValueFrom(supplied=SuppliedValueFrom()))
                ],
            )
            with Steps(name="main"):
                Step(name="ask", template=ask)
        name: str = workflow.create().metadata.name
        until(lambda: len(nodes(name)) > 1)
        return name

    def nodes(name: str) -> Any:
        status = service.get_workflow(name).status
        return (status.nodes if status else None) or {}

    name = asking()
    assert service.suspend_workflow(name, WorkflowSuspendRequest()).spec.suspend
    answer = json.dumps({"answer": "yes"})
    service.set_workflow(
        name, WorkflowSetRequest(node_field_selector="displayName=ask", output_parameters=answer)
    )
    service.resume_workflow(name, WorkflowResumeRequest())
    found = ended(service, name)
    assert any(n.outputs and n.outputs.parameters for n in found.status.nodes.values())
    name = asking()
    service.stop_workflow(
        name, WorkflowStopRequest(node_field_selector="displayName=ask", message="no")
    )
    found = ended(service, name, "Failed")
    assert "no" in [node.message for node in found.status.nodes.values()]
    name = asking()
    service.terminate_workflow(name, WorkflowTerminateRequest())
    ended(service, name, "Failed")


@pytest.mark.parametrize("kind", [WorkflowTemplate, ClusterWorkflowTemplate])
def test_templates_are_kept_and_run(service: WorkflowsService, kind: Any) -> None:
    name = unique("template")
    template = saying(kind, service, name=name)
    assert template.lint().metadata.name == name
    assert template.create().metadata.name == name
    template.labels = {"changed": "yes"}
    assert template.update().metadata.labels == {"changed": "yes"}
    made = service.submit_workflow(
        WorkflowSubmitRequest(
            resource_kind=kind.__name__,
            resource_name=name,
            submit_options=SubmitOpts(parameters=["text=you"], labels="by=submit"),
        )
    )
    ended(service, made.metadata.name)
    assert service.workflow_logs(made.metadata.name).content == "you"
    if kind is WorkflowTemplate:
        assert name in [t.metadata.name for t in service.list_workflow_templates().items]
        service.delete_workflow_template(name)
    else:
        listed = service.list_cluster_workflow_templates().items
        assert name in [t.metadata.name for t in listed]
        service.delete_cluster_workflow_template(name)


def test_cron_workflows_are_kept_suspended_and_run(service: WorkflowsService) -> None:
    name = unique("cron")
    cron = saying(CronWorkflow, service, name=name, schedules=["0 0 1 1 *"])
    assert cron.lint().spec.schedules == ["0 0 1 1 *"]
    cron.create()
    assert service.suspend_cron_workflow(name, CronWorkflowSuspendRequest()).spec.suspend is True
    assert service.resume_cron_workflow(name, CronWorkflowResumeRequest()).spec.suspend is False
    assert name in [found.metadata.name for found in service.list_cron_workflows().items]
    made = service.submit_workflow(
        WorkflowSubmitRequest(resource_kind="CronWorkflow", resource_name=name)
    )
    ended(service, made.metadata.name)
    service.delete_cron_workflow(name)
    with pytest.raises(NotFound):
        service.get_cron_workflow(name)


def test_limits_and_information(service: WorkflowsService) -> None:
    key = unique("key")
    request = CreateSyncLimitRequest(cm_name="limits", key=key, limit=2)
    service.create_sync_limit(request)
    with pytest.raises(AlreadyExists):
        service.create_sync_limit(request)
    service.get_sync_limit(key, cm_name="limits")
    service.delete_sync_limit(key, cm_name="limits")
    with pytest.raises(NotFound):
        service.get_sync_limit(key, cm_name="limits")
    assert service.get_version().version.startswith("v4.")
    assert service.get_info().modals
    assert service.get_user_info().subject is None


async def test_the_asynchronous_service_does_the_same() -> None:
    async with AsyncWorkflowsService(host=HOST, namespace="default") as service:
        workflow = saying(Workflow, service, generate_name="async-")
        await workflow.async_lint()
        made = await workflow.async_create(wait=True, poll_interval=1)
        name = made.metadata.name
        assert made.status.phase == "Succeeded"
        assert (await service.workflow_logs(name)).content == "hello"
        listed = await service.list_workflows(name_filter="Prefix")
        assert name in [found.metadata.name for found in listed.items]
        archived = await service.list_archived_workflows(limit="1")
        assert len(archived.items) <= 1
        with pytest.raises(NotFound):
            await service.get_workflow("nobody")
        await service.delete_workflow(name)
