"""Suspending, resuming, stopping, and setting what a Workflow waits for."""

from __future__ import annotations

import pytest
from tests.workflows.simulation import START, World, argv, world

from kubeling.workflows.operations.errors import OperationRefused
from kubeling.workflows.operations.interventions import (
    NodeChange,
    change_nodes,
    is_suspended,
    resume,
    shut_down,
    suspend,
)

ASKING = """
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - {name: ask, template: ask}
      - {name: other, template: ask}
    - - name: say
        template: say
        arguments: {parameters: [{name: n, value: "{{steps.ask.outputs.parameters.answer}}"}]}
  - name: ask
    suspend: {}
    outputs:
      parameters:
      - {name: answer, globalName: said, valueFrom: {supplied: {}}}
  - name: say
    inputs: {parameters: [{name: n}]}
    container: {image: busybox, command: [echo, "{{inputs.parameters.n}}"]}
"""


def waiting(text: str = ASKING) -> World:
    it = world(text)
    it.advance()
    it.workflow["status"] = it.status()
    return it


def go_on(it: World) -> World:
    it.restart(it.workflow["status"])
    return it.run()


def test_a_suspended_node_takes_what_is_set_and_goes_on() -> None:
    it = waiting()
    assert is_suspended(it.workflow)
    change = NodeChange("Succeeded", "by hand", {"answer": "yes"})
    change_nodes(it.workflow, "displayName=ask", change, START)
    change_nodes(it.workflow, "displayName!=ask", NodeChange("Succeeded"), START)
    assert not is_suspended(it.workflow)
    go_on(it)
    assert [argv(pod)[-1] for pod in it.pods.values()] == ["yes"]
    assert it.node("ask").message == "by hand"
    assert it.execution.outputs.parameters[0].value == "yes"


def test_resume_needs_what_has_no_default() -> None:
    it = waiting()
    with pytest.raises(OperationRefused, match="'answer' has not been set"):
        resume(it.workflow, START)
    it = waiting(ASKING.replace("{supplied: {}}", "{supplied: {}, default: maybe}"))
    resume(it.workflow, START)
    go_on(it)
    assert [argv(pod)[-1] for pod in it.pods.values()] == ["maybe"]


def test_after_its_time_a_suspended_node_takes_its_default() -> None:
    timed = ASKING.replace("suspend: {}", "suspend: {duration: 1m}")
    it = world(timed.replace("{supplied: {}}", "{supplied: {}, default: late}")).run()
    assert [argv(pod)[-1] for pod in it.pods.values()] == ["late"]
    it = world(timed).run()
    assert it.node("ask").phase == "Error"
    assert "does not have a default value" in it.node("ask").message


def test_a_stopped_node_fails_with_the_message() -> None:
    it = waiting()
    change_nodes(it.workflow, "displayName=ask", NodeChange("Failed", "no"), START)
    change_nodes(it.workflow, "name=wf[0].other", NodeChange("Succeeded"), START)
    go_on(it)
    assert it.execution.phase == "Failed"
    assert it.node("ask").message == "no"


@pytest.mark.parametrize(
    ("selector", "change", "said"),
    [
        ("", NodeChange("Failed"), "use a node field selector"),
        ("displayName=nobody", NodeChange("Failed"), "no suspend nodes matching"),
        ("displayName=ask", NodeChange("Running"), "invalid phase"),
        ("displayName", NodeChange("Failed"), "should be FIELD=VALUE"),
        ("displayName=ask", NodeChange(output_parameters={"x": "1"}), "not expecting output"),
    ],
)
def test_what_cannot_be_set_is_refused(selector: str, change: NodeChange, said: str) -> None:
    with pytest.raises(OperationRefused, match=said):
        change_nodes(waiting().workflow, selector, change, START)


def test_a_finished_workflow_is_neither_suspended_nor_stopped() -> None:
    it = world("spec: {entrypoint: w, templates: [{name: w, suspend: {duration: 1s}}]}").run()
    it.workflow["status"] = it.status()
    with pytest.raises(OperationRefused, match="cannot suspend completed"):
        suspend(it.workflow)
    with pytest.raises(OperationRefused, match="cannot shutdown a completed workflow"):
        shut_down(it.workflow, "Stop")
