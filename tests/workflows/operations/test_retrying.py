"""What runs again when a Workflow is retried, and what is kept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.workflows.simulation import Ending, World, argv, world

from kubeling.kube.objects import Obj
from kubeling.workflows.operations.errors import OperationRefused
from kubeling.workflows.operations.retrying import retried

DAG = """
spec:
  entrypoint: main
  arguments: {parameters: [{name: text, value: "1"}]}
  templates:
  - name: main
    dag:
      tasks:
      - {name: a, template: say}
      - {name: b, template: say, dependencies: [a]}
      - {name: c, template: say, dependencies: [a]}
      - {name: d, template: say, dependencies: [b, c]}
  - name: say
    container: {image: busybox, command: [echo, "{{tasks.name}} {{workflow.parameters.text}}"]}
"""
STEPS = """
spec:
  entrypoint: main
  onExit: bye
  templates:
  - name: main
    steps:
    - - {name: first, template: say}
    - - {name: inner, template: inner}
    - - {name: last, template: say}
  - name: inner
    steps:
    - - name: each
        template: say
        withItems: [1, 2, 3]
        arguments: {parameters: [{name: n, value: "{{item}}"}]}
  - name: say
    inputs: {parameters: [{name: n, value: "0"}]}
    container: {image: busybox, command: [echo, "{{node.name}}"]}
  - name: bye
    container: {image: busybox, command: [echo, bye]}
"""


def ran(it: World) -> list[str]:
    """The last words of the commands of the pods there are."""
    return sorted(argv(pod)[-1] for pod in it.pods.values())


def failing(*words: str) -> World:
    """A world in which pods whose command contains one of these fail."""
    found = world("spec: {}")
    found.behave = lambda pod: Ending(int(any(word in argv(pod)[-1] for word in words)))
    return found


def ended(text: str, *words: str) -> World:
    it = world(text, failing(*words).behave)
    it.run()
    it.workflow["status"] = it.status()
    return it


def again(it: World, **how: object) -> World:
    """Retries; only pods that are created from then on count."""
    options = {"restart_successful": False, "node_field_selector": "", "parameters": [], **how}
    plan = retried(it.workflow, now=it.now, **options)  # type: ignore[arg-type]
    for pod in plan.pods:
        it.pods.pop(pod)
    it.workflow = plan.workflow
    kept = dict(it.pods)
    it.restart(plan.workflow["status"])
    it.created.clear()
    it.behave = lambda pod: Ending()
    it.run()
    assert kept.keys() & set(it.created) == set()
    it.pods = {name: it.pods[name] for name in it.created}
    return it


def test_failed_tasks_and_what_was_left_out_for_them_run_again() -> None:
    it = again(ended(DAG, "b "))
    assert ran(it) == ["b 1", "d 1"]
    assert it.execution.phase == "Succeeded"
    assert it.phases() == dict.fromkeys(["wf", "a", "b", "c", "d"], "Succeeded")


def test_what_is_around_a_failed_step_goes_on_and_the_exit_handler_runs_again() -> None:
    it = again(ended(STEPS, "each(1:2)"))
    assert ran(it) == ["bye", "wf[1].inner[0].each(1:2)", "wf[2].last"]
    assert it.execution.phase == "Succeeded"
    assert set(it.phases().values()) == {"Succeeded"}


def test_attempts_begin_anew() -> None:
    text = DAG.replace("  - name: say\n", "  - name: say\n    retryStrategy: {limit: 1}\n")
    it = again(ended(text, "b "))
    assert ran(it) == ["b 1", "d 1"]
    assert it.execution.phase == "Succeeded"


def test_an_attempt_that_was_made_good_by_the_next_is_kept() -> None:
    text = DAG.replace("  - name: say\n", "  - name: say\n    retryStrategy: {limit: 1}\n")
    it = world(text)
    tries: list[str] = []

    def behave(pod: Obj) -> Ending:
        words = argv(pod)[-1]
        tries.append(words)
        return Ending(int(words.startswith("d") or (words == "b 1" and tries.count(words) == 1)))

    it.behave = behave
    it.run()
    it.workflow["status"] = it.status()
    assert ran(again(it)) == ["d 1"]


def test_successful_steps_run_again_where_a_selector_says_so() -> None:
    it = ended(DAG)
    with pytest.raises(OperationRefused, match="restartSuccessful and nodeFieldSelector"):
        again(it)
    it = again(it, restart_successful=True, node_field_selector="displayName=c")
    assert ran(it) == ["c 1", "d 1"]


def test_parameters_can_be_changed() -> None:
    it = again(ended(DAG, "b "), parameters=["text=2"])
    assert ran(it) == ["b 2", "d 2"]


def test_loops_around_a_failure_are_made_anew_with_other_parameters() -> None:
    it = again(ended(STEPS, "each(1:2)"), parameters=["x=2"])
    assert len([words for words in ran(it) if "each" in words]) == 3


def test_a_stopped_workflow_is_no_longer_stopped() -> None:
    it = ended(DAG, "b ")
    it.workflow["spec"]["shutdown"] = "Terminate"
    assert again(it).execution.phase == "Succeeded"


def test_a_workflow_under_way_is_not_retried() -> None:
    it = world(DAG)
    it.advance()
    it.workflow["status"] = it.status()
    with pytest.raises(OperationRefused, match="Cannot retry a workflow in phase Running"):
        again(it)


@settings(deadline=None, max_examples=40)
@given(st.sets(st.sampled_from(["a", "b", "c", "d"])), st.sets(st.integers(1, 3)))
def test_whatever_failed_a_retry_ends_as_a_run_without_failures(
    tasks: set[str], items: set[int]
) -> None:
    for text, words in (
        (DAG, [f"{task} " for task in tasks]),
        (STEPS, [f":{item})" for item in items]),
    ):
        it = ended(text, *words)
        if not words:
            continue
        failed = [n.name for n in it.execution.nodes.values() if n.phase == "Failed"]
        again(it)
        assert failed
        assert it.execution.phase == "Succeeded"
        assert it.phases() == world(text).run().phases()
