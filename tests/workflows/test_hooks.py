"""Lifecycle hooks: what runs when something about a workflow or a step becomes true."""

from __future__ import annotations

from typing import Any

import pytest
from tests.workflows.simulation import Ending, World, argv, parse, report, world

from kubeling.kube.objects import Obj
from kubeling.workflows.admission import spec_errors

LEAVES = """
  - name: leaf
    container: {image: busybox, command: [leaf]}
  - name: say
    inputs: {parameters: [{name: text, value: default}]}
    container: {image: busybox, command: [say, "{{inputs.parameters.text}}"]}
"""
STEP = f"""
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - name: one
        template: leaf
        hooks:
          running: {{template: say, expression: 'steps.one.status == "Running"'}}
          failed:
            template: say
            expression: steps["one"].status == "Failed"
            arguments: {{parameters: [{{name: text, value: "{{{{steps.one.exitCode}}}}"}}]}}
          exit: {{template: say, expression: 'steps.one.status == "Succeeded"'}}
    - - {{name: two, template: leaf}}
{LEAVES}"""
WHOLE = f"""
spec:
  entrypoint: leaf
  hooks:
    running: {{template: say, expression: workflow.status == "Running"}}
    failed: {{template: say, expression: workflow.status == "Failed"}}
  onExit: say
  templates:
{LEAVES}"""


def fails(pod: Obj) -> Ending:
    return Ending(3 if argv(pod) == ["leaf"] else 0)


def hooked(it: World) -> dict[str, Any]:
    return {
        node.name: node.phase
        for node in it.execution.nodes.values()
        if node.node_flag is not None and node.node_flag.hooked
    }


def test_a_hook_runs_when_its_expression_comes_true_and_the_step_waits_for_it() -> None:
    it = world(STEP)
    it.advance()
    leaf = it.running()[0]
    it.end(leaf)
    # The pod ended before anybody saw it run; the hook for running starts all the same.
    assert hooked(it) == {"wf[0].one.hooks.running": "Pending"}
    assert it.node("[0]").phase == "Running"
    it.run()
    assert hooked(it) == {
        "wf[0].one.hooks.running": "Succeeded",
        "wf[0].one.onExit": "Succeeded",
    }
    one = it.node("one")
    assert set(one.children) >= {it.node("one.hooks.running").id, it.node("one.onExit").id}
    assert it.node("one.hooks.running").boundary_id == "wf"


def test_a_hook_sees_what_its_step_left_behind() -> None:
    it = world(STEP, fails).run()
    assert hooked(it) == {
        "wf[0].one.hooks.running": "Succeeded",
        "wf[0].one.hooks.failed": "Succeeded",
    }
    assert ["say", "3"] in [argv(pod) for pod in it.pods.values()]
    assert it.execution.phase == "Failed"


def test_a_failed_hook_changes_nothing_for_its_step() -> None:
    it = world(STEP, lambda pod: Ending(int(argv(pod)[0] == "say"))).run()
    assert "Failed" in hooked(it).values()
    assert it.execution.phase == "Succeeded"


def test_hooks_of_the_workflow_follow_its_status() -> None:
    it = world(WHOLE).run()
    assert hooked(it) == {"wf.hooks.running": "Succeeded", "wf.onExit": "Succeeded"}
    it = world(WHOLE, fails).run()
    assert hooked(it).keys() == {"wf.hooks.running", "wf.hooks.failed", "wf.onExit"}
    assert it.execution.phase == "Failed"


def test_tasks_have_hooks_too() -> None:
    it = world(f"""
spec:
  entrypoint: main
  templates:
  - name: main
    dag:
      tasks:
      - name: a
        template: say
        withItems: [x, y]
        hooks: {{done: {{template: say, expression: tasks.a.status == "Succeeded"}}}}
        arguments: {{parameters: [{{name: text, value: "{{{{item}}}}"}}]}}
      - {{name: b, template: leaf, depends: a}}
{LEAVES}""").run()
    assert hooked(it) == {
        "wf.a(0:x).hooks.done": "Succeeded",
        "wf.a(1:y).hooks.done": "Succeeded",
    }


@pytest.mark.parametrize("ended", [0, 1, 2, 3])
def test_after_a_crash_a_hook_goes_on(ended: int) -> None:
    it = World(parse(STEP), lambda pod: Ending(0, report("out")))
    it.advance()
    for _ in range(ended):
        it.end(it.running()[0])
    written = it.status()
    it.restart(written)
    it.run()
    assert it.execution.phase == "Succeeded"
    assert len(set(it.created)) == len(it.created) == 4


def test_a_hook_has_to_say_when() -> None:
    spec = parse(STEP)["spec"]
    del spec["templates"][0]["steps"][0][0]["hooks"]["running"]["expression"]
    spec["hooks"] = {"odd": {"template": "say", "expression": "1 +"}}
    found = {error.path for error in spec_errors(spec, "spec", is_template=False)}
    assert found == {
        "spec.templates[0].steps[0][0].hooks.running.expression",
        "spec.hooks.odd.expression",
    }
