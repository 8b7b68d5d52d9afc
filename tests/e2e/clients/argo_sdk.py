"""Argo's own Python SDK (``argo-workflows``), generated from its API, as its manual uses it."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from typing import Any

import argo_workflows
import pytest
from argo_workflows.api import (
    archived_workflow_service_api,
    cron_workflow_service_api,
    info_service_api,
    workflow_service_api,
    workflow_template_service_api,
)
from argo_workflows.exceptions import NotFoundException
from argo_workflows.models import (
    IoArgoprojWorkflowV1alpha1Workflow,
    IoArgoprojWorkflowV1alpha1WorkflowCreateRequest,
    IoArgoprojWorkflowV1alpha1WorkflowStopRequest,
    IoArgoprojWorkflowV1alpha1WorkflowSubmitRequest,
    IoArgoprojWorkflowV1alpha1WorkflowTemplateCreateRequest,
)

FINAL = ("Succeeded", "Failed", "Error")


@pytest.fixture
def client() -> Iterator[argo_workflows.ApiClient]:
    configuration = argo_workflows.Configuration(host=f"http://{os.environ['ARGO_SERVER']}")
    with argo_workflows.ApiClient(configuration) as opened:
        yield opened


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:6]}"


def saying(name: str, *command: str) -> dict[str, Any]:
    container = {"image": "busybox", "command": list(command)}
    return {
        "metadata": {"name": name},
        "spec": {"entrypoint": "say", "templates": [{"name": "say", "container": container}]},
    }


def ended(api: workflow_service_api.WorkflowServiceApi, name: str) -> Any:
    for _ in range(600):
        found = api.get_workflow("default", name, _check_return_type=False).to_dict()
        if (found.get("status") or {}).get("phase") in FINAL:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{name} did not end")


def test_a_workflow_is_made_watched_and_deleted(client: argo_workflows.ApiClient) -> None:
    api = workflow_service_api.WorkflowServiceApi(api_client=client)
    name = unique("sdk")
    request = IoArgoprojWorkflowV1alpha1WorkflowCreateRequest(
        workflow=saying(name, "echo", "hello"), _check_type=False
    )
    made = api.create_workflow("default", request, _check_return_type=False)
    assert made["metadata"]["name"] == name
    done = ended(api, name)
    assert done["status"]["phase"] == "Succeeded"
    listed = api.list_workflows("default", fields="items.metadata.name", _check_return_type=False)
    assert name in [item["metadata"]["name"] for item in listed["items"]]
    log = api.workflow_logs("default", name, log_options_container="main", _check_return_type=False)
    assert log["result"]["content"] == "hello"
    api.delete_workflow("default", name, _check_return_type=False)
    with pytest.raises(NotFoundException):
        api.get_workflow("default", unique("never"), _check_return_type=False)


def test_a_template_is_submitted_and_stopped(client: argo_workflows.ApiClient) -> None:
    templates = workflow_template_service_api.WorkflowTemplateServiceApi(api_client=client)
    api = workflow_service_api.WorkflowServiceApi(api_client=client)
    name = unique("sdk")
    request = IoArgoprojWorkflowV1alpha1WorkflowTemplateCreateRequest(
        template=saying(name, "sleep", "600"), _check_type=False
    )
    templates.create_workflow_template("default", request, _check_return_type=False)
    submit = IoArgoprojWorkflowV1alpha1WorkflowSubmitRequest(
        namespace="default", resource_kind="WorkflowTemplate", resource_name=name
    )
    made = api.submit_workflow("default", submit, _check_return_type=False)
    own = made["metadata"]["name"]
    stop = IoArgoprojWorkflowV1alpha1WorkflowStopRequest(name=own, namespace="default")
    api.stop_workflow("default", own, stop, _check_return_type=False)
    assert ended(api, own)["status"]["phase"] == "Failed"
    templates.delete_workflow_template("default", name, _check_return_type=False)


def test_what_there_is_can_be_listed(client: argo_workflows.ApiClient) -> None:
    assert info_service_api.InfoServiceApi(api_client=client).get_version()["version"]
    archive = archived_workflow_service_api.ArchivedWorkflowServiceApi(api_client=client)
    archive.list_archived_workflows(list_options_limit="5", _check_return_type=False)
    crons = cron_workflow_service_api.CronWorkflowServiceApi(api_client=client)
    crons.list_cron_workflows("default", _check_return_type=False)


def test_an_answer_is_one_of_the_sdks_own_objects(client: argo_workflows.ApiClient) -> None:
    api = workflow_service_api.WorkflowServiceApi(api_client=client)
    name = unique("typed")
    request = IoArgoprojWorkflowV1alpha1WorkflowCreateRequest(
        workflow=saying(name, "true"), _check_type=False
    )
    api.create_workflow("default", request, _check_return_type=False)
    ended(api, name)
    assert isinstance(api.get_workflow("default", name), IoArgoprojWorkflowV1alpha1Workflow)
