"""What a submitter may change in a Workflow, and what Workflows are made from."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.workflows.simulation import START

from kubeling.kube.objects import Obj
from kubeling.workflows.operations.errors import OperationRefused
from kubeling.workflows.operations.node_selectors import parse_node_selector
from kubeling.workflows.operations.submission import (
    SubmitOptions,
    apply_submit_options,
    from_cron_workflow,
    from_template,
    source_kind,
)
from kubeling.workflows.resources import CLUSTER_WORKFLOW_TEMPLATES, WORKFLOW_TEMPLATES


def workflow() -> Obj:
    return {
        "metadata": {"generateName": "wf-", "labels": {"a": "1"}},
        "spec": {"entrypoint": "x", "arguments": {"parameters": [{"name": "p", "value": "1"}]}},
    }


def test_options_override_what_the_workflow_says() -> None:
    it = workflow()
    options = SubmitOptions(
        name="mine",
        generate_name="m-",
        entry_point="y",
        parameters=["p=a=b", "q=2"],
        labels="a=2,b=3",
        annotations="c=4",
        service_account="sa",
        priority=5,
        pod_priority_class_name="high",
    )
    apply_submit_options(it, options)
    assert it == {
        "metadata": {
            "name": "mine",
            "generateName": "m-",
            "labels": {"a": "2", "b": "3"},
            "annotations": {"c": "4"},
        },
        "spec": {
            "entrypoint": "y",
            "serviceAccountName": "sa",
            "priority": 5,
            "podPriorityClassName": "high",
            "arguments": {
                "parameters": [{"name": "p", "value": "a=b"}, {"name": "q", "value": "2"}]
            },
        },
    }


@pytest.mark.parametrize(
    "options",
    [
        SubmitOptions(parameters=["p"]),
        SubmitOptions(labels="a"),
        SubmitOptions(artifacts=["nothing=key"]),
    ],
)
def test_malformed_options_are_refused(options: SubmitOptions) -> None:
    with pytest.raises(OperationRefused):
        apply_submit_options(workflow(), options)


def test_a_template_is_run_by_reference() -> None:
    template: Obj = {
        "metadata": {"name": "t"},
        "spec": {"arguments": {"artifacts": [{"name": "in", "s3": {"key": "old"}}]}},
    }
    made = from_template(template, WORKFLOW_TEMPLATES, ["in=new"])
    apply_submit_options(made, SubmitOptions(artifacts=["in=new"]))
    assert made["metadata"]["generateName"] == "t-"
    assert made["spec"] == {
        "workflowTemplateRef": {"name": "t"},
        "arguments": {"artifacts": [{"name": "in", "s3": {"key": "new"}}]},
    }
    assert template["spec"]["arguments"]["artifacts"][0]["s3"]["key"] == "old"
    cluster = from_template(template, CLUSTER_WORKFLOW_TEMPLATES)
    assert cluster["spec"]["workflowTemplateRef"] == {"name": "t", "clusterScope": True}


def test_a_cron_workflow_is_run_now_and_owns_what_runs() -> None:
    cron: Obj = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "CronWorkflow",
        "metadata": {"name": "c", "uid": "u"},
        "spec": {"workflowSpec": {"entrypoint": "x"}, "workflowMetadata": {"labels": {"l": "1"}}},
    }
    made = from_cron_workflow(cron, START)
    metadata = made["metadata"]
    assert metadata["labels"] == {"l": "1", "workflows.argoproj.io/cron-workflow": "c"}
    assert metadata["annotations"] == {
        "workflows.argoproj.io/scheduled-time": "2026-01-01T00:00:00Z"
    }
    assert metadata["ownerReferences"][0]["uid"] == "u"


@pytest.mark.parametrize("kind", ["wftmpl", "WorkflowTemplate", "cwft", "cronwf", "cronworkflows"])
def test_sources_go_by_all_their_names(kind: str) -> None:
    assert source_kind(kind)


def test_other_kinds_cannot_be_submitted() -> None:
    with pytest.raises(OperationRefused, match="'pod' is not supported"):
        source_kind("pod")


VALUES = st.text(st.sampled_from("ab,=\\.-"), max_size=5)


@settings(deadline=None)
@given(VALUES, VALUES)
def test_selectors_match_whatever_value_they_quote(value: str, other: str) -> None:
    quoted = "".join(f"\\{c}" if c in ",=\\" else c for c in value)
    equal = parse_node_selector(f"displayName={quoted}")
    unequal = parse_node_selector(f"displayName!={quoted},phase==Running")
    for shown in (value, other):
        node = {"displayName": shown, "phase": "Running"}
        assert equal.matches(node) is (shown == value)
        assert unequal.matches(node) is (shown != value)


def test_selectors_see_templates_and_inputs() -> None:
    node = {
        "templateRef": {"name": "t", "template": "x"},
        "inputs": {"parameters": [{"name": "n", "value": 3}]},
    }
    text = "templateName=x,templateRef.name=t,inputs.parameters.n.value=3"
    assert parse_node_selector(text).matches(node)
