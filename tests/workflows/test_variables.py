"""Every variable of Argo's manual (``docs/variables.md``), where it stands and what it says.

``when`` and ``stopStrategy`` have theirs in test_cron, metrics in test_metrics, and what a request
gives in test_errands.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.workflows.simulation import Ending, World, argv, report, world

from kubeling.kube.objects import Obj

WORKFLOW = """
metadata:
  labels: {team: blue}
  annotations: {why: "because", workflows.argoproj.io/scheduled-time: "2026-01-01T00:00:00Z"}
spec:
  entrypoint: main
  priority: 7
  serviceAccountName: robot
  onExit: bye
  arguments: {parameters: [{name: rows, value: "10"}]}
  templates:
  - name: main
    MAIN
  - name: work
    inputs:
      parameters: [{name: text, default: none}]
      artifacts: [{name: given, path: /in/given, raw: {data: x}, optional: true}]
    outputs:
      parameters: [{name: said, valueFrom: {path: /out/said}}, {name: all, globalName: everywhere,
                    valueFrom: {path: /out/all}}]
      artifacts: [{name: made, path: /out/made, globalName: shared}]
    container:
      image: busybox
      command: [echo]
      args: ["TEXT"]
  - name: tell
    inputs: {parameters: [{name: text}]}
    container: {image: busybox, command: [tell, "{{inputs.parameters.text}}"]}
  - name: bye
    container: {image: busybox, command: [bye, "{{workflow.status}} {{workflow.failures}}"]}
"""
STEPS = "steps: [[{name: a, template: work}], [{name: b, template: tell, arguments: ARGUMENTS}]]"
TASKS = (
    "dag: {tasks: [{name: a, template: work}, "
    "{name: b, template: tell, depends: a, arguments: ARGUMENTS}]}"
)


HANDED_ON = STEPS.replace("template: tell", "template: work")
MADE = 'artifacts: [{name: given, from: "{{steps.a.outputs.artifacts.made}}"}]'


def flow(main: str, text: str = "x", arguments: str = "") -> str:
    """The workflow with this entrypoint, this text to echo, and these arguments for ``b``."""
    main = main.replace("ARGUMENTS", "{" + arguments + "}")
    return WORKFLOW.replace("MAIN", main).replace("TEXT", text)


def told(text: str) -> str:
    """Arguments with which ``b`` tells a text."""
    return "parameters: [{name: text, value: '" + text + "'}]"


def behave(pod: Obj) -> Ending:
    """A step that says 42 and leaves what it declares."""
    return Ending(0, report("42", said="hi", all="to all") + "artifact made\n")


def said_by(it: World, command: str) -> str:
    """The argument of the first pod that runs a command."""
    return next(words[1] for pod in it.pods.values() if (words := argv(pod))[0] == command)


def in_a_template(variable: str) -> str:
    """What a tag says in a template that runs as the first step."""
    tag = "{{" + variable + "}}"
    it = world(flow("steps: [[{name: a, template: work}]]", tag), behave).run()
    assert it.execution.phase == "Succeeded", it.execution.message
    return said_by(it, "echo")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("inputs.parameters.text", "none"),
        ("inputs.parameters", '[{"name":"text","value":"none"}]'),
        ("inputs.artifacts.given.path", "/in/given"),
        ("outputs.artifacts.made.path", "/out/made"),
        ("outputs.parameters.said.path", "/out/said"),
        ("node.name", "wf[0].a"),
        ("pod.name", "wf-work-3986212215"),
        ("workflow.name", "wf"),
        ("workflow.namespace", "ns"),
        ("workflow.uid", "u1"),
        ("workflow.mainEntrypoint", "main"),
        ("workflow.serviceAccountName", "robot"),
        ("workflow.priority", "7"),
        ("workflow.parameters.rows", "10"),
        ("workflow.parameters", '[{"name":"rows","value":"10"}]'),
        ("workflow.parameters.json", '[{"name":"rows","value":"10"}]'),
        ("workflow.labels.team", "blue"),
        ("workflow.labels.json", '{"team":"blue"}'),
        ("workflow.annotations.why", "because"),
        ("=jsonpath(workflow.annotations.json, '$.why')", "because"),
        ("workflow.creationTimestamp", "2026-01-01T00:00:00Z"),
        ("workflow.creationTimestamp.RFC3339", "2026-01-01T00:00:00Z"),
        ("workflow.creationTimestamp.Y", "2026"),
        ("workflow.creationTimestamp.s", "1767225600"),
        ("workflow.scheduledTime", "2026-01-01T00:00:00Z"),
        ("workflow.duration", "0.000000"),
        ("workflow.status", "Running"),
    ],
)
def test_a_template_knows(variable: str, value: str) -> None:
    assert in_a_template(variable) == value


@pytest.mark.parametrize(("prefix", "main"), [("steps", STEPS), ("tasks", TASKS)])
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("a.id", ""),
        ("a.status", "Succeeded"),
        ("a.exitCode", "0"),
        ("a.startedAt", "2026-01-01T00:00:00Z"),
        ("a.finishedAt", "2026-01-01T00:00:00Z"),
        ("a.hostNodeName", "node-1"),
        ("a.ip", "10.0.0.1"),
        ("a.outputs.result", "42"),
        ("a.outputs.parameters.said", "hi"),
        ("name", "b"),
    ],
)
def test_a_call_knows_what_came_before(prefix: str, main: str, variable: str, value: str) -> None:
    tag = "{{" + f"{prefix}.{variable}" + "}}"
    it = world(flow(main, arguments=told(tag)), behave)
    it.advance()
    [pod] = it.pods.values()
    pod["status"] = {"phase": "Running", "podIP": "10.0.0.1"}
    pod["spec"]["nodeName"] = "node-1"
    it.advance(pod)
    it.run()
    assert it.execution.phase == "Succeeded", it.execution.message
    wanted = it.node("a").id if variable == "a.id" else value
    assert said_by(it, "tell") == wanted


def test_a_call_is_given_artifacts_of_what_came_before() -> None:
    it = world(flow(HANDED_ON, arguments=MADE), behave).run()
    made, given = it.node("a").outputs, it.node("b").inputs
    assert made is not None
    assert given is not None
    assert given.artifacts[0].s3 == made.artifacts[0].s3 == {"key": "wf/wf-work-3986212215/made"}


@pytest.mark.parametrize(
    ("repository", "place"),
    [
        ("gcs: {bucket: b}", {"key": "wf/wf-work-3986212215/made.tgz"}),
        ("azure: {endpoint: e, container: c}", {"blob": "wf/wf-work-3986212215/made.tgz"}),
    ],
)
def test_artifacts_are_handed_on_wherever_they_lie(repository: str, place: Obj) -> None:
    text = (
        flow(HANDED_ON, arguments=MADE)
        + "\n  artifactRepositoryRef: {configMap: places, key: one}\n"
    )
    places = {"metadata": {"name": "places", "namespace": "ns"}, "data": {"one": repository}}
    it = world(text, behave, objects={("configmap", "places"): places}).run()
    given = it.node("b").inputs
    assert given is not None
    kind = repository.partition(":")[0]
    assert getattr(given.artifacts[0], kind) == place


def test_a_loop_gives_lists() -> None:
    before = "{{steps.a.outputs.%s}}"
    tags = " ".join(
        before.replace("%s", part) for part in ("result", "parameters", "parameters.said")
    )
    main = STEPS.replace("template: work", "template: work, withItems: [1, 2]")
    it = world(flow(main, arguments=told(tags)), behave).run()
    both = [{"said": "hi", "all": "to all"}] * 2
    parameters = json.dumps(both, separators=(",", ":"))
    assert said_by(it, "tell") == f'[42,42] {parameters} ["hi","hi"]'


@pytest.mark.parametrize(
    ("items", "tag", "values"),
    [
        ("[a, 2]", "item", ["a", "2"]),
        ("[{x: 1}, {x: b}]", "item.x", ["1", "b"]),
        ("[{x: 1}]", "item", ['{"x":1}']),
    ],
)
def test_a_call_of_a_loop_knows_its_item(items: str, tag: str, values: list[str]) -> None:
    main = f"steps: [[{{name: b, template: tell, withItems: {items}, arguments: ARGUMENTS}}]]"
    it = world(flow(main, arguments=told("{{" + tag + "}}")), behave).run()
    assert [argv(pod)[1] for pod in it.pods.values() if argv(pod)[0] == "tell"] == values


def test_global_outputs_are_known_everywhere() -> None:
    tag = "{{workflow.outputs.parameters.everywhere}}"
    it = world(flow(STEPS, arguments=told(tag)), behave).run()
    assert said_by(it, "tell") == "to all"
    [shared] = it.execution.outputs.artifacts
    assert shared.name == "shared"


def test_a_retried_step_knows_which_attempt_it_is_and_how_the_last_went() -> None:
    tags = "{{retries}} {{lastRetry.exitCode}} {{lastRetry.status}} {{lastRetry.message}}"
    text = flow("steps: [[{name: a, template: work}]]", tags).replace(
        "  - name: work\n", "  - name: work\n    retryStrategy: {limit: 3}\n"
    )

    def failing(pod: Obj) -> Ending:
        return Ending(3) if argv(pod)[-1].startswith("0") else behave(pod)

    it = world(text, failing).run()
    assert [argv(pod)[1] for pod in it.pods.values() if argv(pod)[0] == "echo"] == [
        "0 0  ",
        "1 3 Failed main: Error (exit code 3)",
    ]


def test_the_exit_handler_knows_how_it_went() -> None:
    def failing(pod: Obj) -> Ending:
        return Ending(3) if argv(pod)[0] == "echo" else Ending()

    it = world(flow("steps: [[{name: a, template: work}]]"), failing).run()
    status, _, text = said_by(it, "bye").partition(" ")
    assert status == "Failed"
    failures: list[dict[str, Any]] = json.loads(json.loads(text))
    [step] = [failure for failure in failures if failure["displayName"] == "a"]
    assert step.keys() == {
        "displayName", "message", "templateName", "phase", "podName", "finishedAt",
    }  # fmt: skip
