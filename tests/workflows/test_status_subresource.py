"""A Workflow's status is written on its own; who tries it beside the rest is told."""

from __future__ import annotations

from typing import Any

from tests.support.apiserver import RunningServer, running_server

from kubeling.apiserver.requests import ApiRequest, ObjectAnswer
from kubeling.apiserver.user import ADMIN
from kubeling.kube.transport import MERGE_PATCH
from kubeling.workflows.component import COMPONENT
from kubeling.workflows.resources import WORKFLOWS

PATH = "/apis/argoproj.io/v1alpha1/namespaces/default/workflows/w"
WORKFLOW = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Workflow",
    "metadata": {"name": "w"},
    "spec": {"entrypoint": "wait", "templates": [{"name": "wait", "suspend": {}}]},
}
PHASE = {"status": {"phase": "Running"}}


async def patch(running: RunningServer, change: dict[str, Any], subresource: str = "") -> list[str]:
    """Patches the Workflow and returns the warnings."""
    path = f"{PATH}/{subresource}".rstrip("/")
    request = ApiRequest("PATCH", path, ADMIN, value=change, content_type=MERGE_PATCH)
    answer = await running.server.handle(request)
    assert isinstance(answer, ObjectAnswer)
    return answer.warnings


async def test_a_status_that_is_passed_over_is_warned_of() -> None:
    async with running_server(COMPONENT) as running:
        await running.client.create(WORKFLOWS, WORKFLOW, "default")
        [warning] = await patch(running, {**PHASE, "spec": {"suspend": True}})
        assert "add --subresource=status" in warning
        found = await running.client.get(WORKFLOWS, "w", "default")
        assert (found["spec"]["suspend"], found.get("status")) == (True, None)
        assert await patch(running, PHASE, "status") == []
        found = await running.client.get(WORKFLOWS, "w", "default")
        assert found["status"] == PHASE["status"]
        assert await patch(running, {**PHASE, "spec": {"suspend": False}}) == []
