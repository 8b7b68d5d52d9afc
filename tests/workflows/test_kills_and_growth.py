"""A Workflow that is killed ends as if it had not been, and a large one costs no more a step."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.workflows.simulation import ECHO, Ending, World, argv, echo, parse, world

from kubeling.kube.objects import Obj

CONTAINER = "container: {image: busybox, command: [echo, done]}"

BIG = f"""
spec:
  entrypoint: main
  onExit: bye
  parallelism: 2
  templates:
  - name: main
    steps:
    - - name: gen
        template: echo
        arguments: {{parameters: [{{name: text, value: "[1, 2, 3]"}}]}}
    - - name: fan
        template: dag
        withParam: "{{{{steps.gen.outputs.result}}}}"
        arguments: {{parameters: [{{name: n, value: "{{{{item}}}}"}}]}}
        hooks: {{noted: {{template: bye, expression: steps.fan.status == "Succeeded"}}}}
      - {{name: skipped, template: bye, when: "1 == 2"}}
    - - name: gather
        template: echo
        arguments:
          parameters: [{{name: text, value: "{{{{steps.fan.outputs.parameters.out}}}}"}}]
  - name: dag
    inputs: {{parameters: [{{name: n}}]}}
    dag:
      tasks:
      - {{name: flaky, template: flaky}}
      - name: after
        template: kept
        depends: flaky
        arguments: {{parameters: [{{name: text, value: "{{{{inputs.parameters.n}}}}"}}]}}
    outputs:
      parameters: [{{name: out, valueFrom: {{parameter: "{{{{tasks.after.outputs.result}}}}"}}}}]
  - name: flaky
    synchronization: {{mutexes: [{{name: door}}]}}
    retryStrategy: {{limit: 2, backoff: {{duration: 5s}}}}
    container: {{image: x, command: [flaky, "{{{{retries}}}}"]}}
  - name: bye
    container: {{image: x, command: [bye, "{{{{workflow.status}}}}"]}}
  - name: kept
    inputs: {{parameters: [{{name: text}}]}}
    memoize:
      key: "{{{{=sprig.sha1sum(inputs.parameters.text)}}}}"
      cache: {{configMap: {{name: kept}}}}
    container: {{image: x, command: [echo, "{{{{inputs.parameters.text}}}}"]}}
{ECHO}"""


def sometimes(pod: Obj) -> Ending:
    command = argv(pod)
    if command[0] == "flaky":
        return Ending(0 if command[1] == "1" else 7)
    return echo(pod)


def shape(it: World) -> dict[str, Any]:
    return {
        node.name: (node.type, node.phase, node.message, sorted(node.children), node.progress)
        for node in it.execution.nodes.values()
    }


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32))
@example(810604741)
def test_killed_at_any_moment_it_ends_the_same_and_no_pod_is_made_twice(seed: int) -> None:
    """What was written last may be older than what the pods have come to since."""
    chance = random.Random(seed)
    straight = world(BIG, sometimes).run()
    it = World(parse(BIG), sometimes)
    it.advance()
    for _ in range(500):
        if it.execution.finished:
            break
        if chance.random() < 0.3:
            it.written = it.status()
        if chance.random() < 0.3:
            it.restart(it.written)
            it.advance()
        elif it.running():
            it.end(chance.choice(it.running()))
        elif (due := it.execution.wake_at) is not None:
            it.now = max(it.now, due)
            it.advance()
    assert it.execution.phase == "Succeeded"
    assert shape(it) == shape(straight)
    assert sorted(it.created) == sorted(straight.created)
    assert it.most <= 2


def test_thousands_of_steps_cost_the_same_each() -> None:
    text = f"""
spec:
  entrypoint: main
  parallelism: 10
  templates:
  - name: main
    steps: [[{{name: s, template: leaf, withSequence: {{count: COUNT}}}}]]
  - name: leaf
    {CONTAINER}
"""
    touched = {}
    for count in (50, 1000):
        it = world(text.replace("COUNT", str(count)))
        it.advance()
        changes = 0
        while not it.execution.finished:
            it.execution.changed.clear()
            it.end(it.running()[0])
            changes += len(it.execution.changed)
        touched[count] = changes / count
    assert touched[1000] == pytest.approx(touched[50], rel=0.2)
