"""What workflows are made of, in the dashboard: what it asks for, and what has run of it."""

from __future__ import annotations

from pathlib import Path

from tests.support.dashboard import dashboard, reloaded

from kubeling.gateway.kinds import CRON_WORKFLOWS, WORKFLOW_TEMPLATES, WORKFLOWS
from kubeling.kube.objects import Obj, new_object
from kubeling.workflows.component import COMPONENT as WORKFLOW_ROOM

PAGE = "/objects/argoproj.io/v1alpha1"
SPEC: Obj = {
    "entrypoint": "greet",
    "arguments": {
        "parameters": [
            {"name": "who", "value": "world", "enum": ["world", "moon"], "description": "To whom"},
            {"name": "how"},
        ]
    },
    "templates": [
        {
            "name": "greet",
            "inputs": {"parameters": [{"name": "who"}]},
            "container": {"image": "busybox"},
        }
    ],
}
REFERENCE: Obj = {"workflowTemplateRef": {"name": "greetings"}}
GIVEN: Obj = {"parameters": [{"name": "who", "value": "moon"}, {"name": "how", "value": "loudly"}]}


async def test_a_template_says_what_it_asks_for_and_what_ran_of_it(tmp_path: Path) -> None:
    async with dashboard(tmp_path, WORKFLOW_ROOM) as (client, context):
        template = new_object(WORKFLOW_TEMPLATES, "greetings", "default", spec=SPEC)
        await context.client.create(WORKFLOW_TEMPLATES, template)
        page = await reloaded(client, f"{PAGE}/WorkflowTemplate/default/greetings", says="To whom")
        assert "/pipelines/new?template=greetings&amp;namespace=default" in page
        assert "world, moon" in page
        assert "must be given" in page
        assert "None yet." in page

        for name, spec in (("mine", REFERENCE), ("other", SPEC)):
            made = new_object(WORKFLOWS, name, "default", spec={**spec, "arguments": GIVEN})
            await context.client.create(WORKFLOWS, made)
        page = await reloaded(client, f"{PAGE}/WorkflowTemplate/default/greetings", says="mine")
        assert "/Workflow/default/other" not in page


async def test_a_cron_workflow_leads_to_the_template_that_it_runs(tmp_path: Path) -> None:
    async with dashboard(tmp_path, WORKFLOW_ROOM) as (client, context):
        template = new_object(WORKFLOW_TEMPLATES, "greetings", "default", spec=SPEC)
        await context.client.create(WORKFLOW_TEMPLATES, template)
        spec = {"schedules": ["0 3 * * *"], "workflowSpec": {**REFERENCE, "arguments": GIVEN}}
        cron = new_object(CRON_WORKFLOWS, "nightly", "default", spec=spec)
        await context.client.create(CRON_WORKFLOWS, cron)
        page = await reloaded(client, f"{PAGE}/CronWorkflow/default/nightly", says="0 3 * * *")
        assert f'href="{PAGE}/WorkflowTemplate/default/greetings"' in page
        assert "Run now" in page
