"""How workflows unfold, told by a world in which pods end as the test says."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, ClassVar

import pytest
from tests.workflows.simulation import ECHO, Ending, World, argv, echo, report, world

from kubeling.kube.objects import Obj
from kubeling.workflows.names import ABSENT
from kubeling.workflows.nodes import pod_name
from kubeling.workflows.scope import Scope

CONTAINER = "container: {image: busybox, command: [echo, done]}"


def commands(it: World) -> list[str]:
    return [" ".join(argv(it.pods[name])) for name in it.created]


class TestNames:
    def test_nodes_and_pods_are_named_as_upstream_names_them(self) -> None:
        it = world(f"""
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - {{name: one, template: leaf, withItems: [a, {{k: 1}}]}}
  - name: leaf
    retryStrategy: {{limit: 1}}
    {CONTAINER}
""").run()
        names = [node.name for node in it.execution.nodes.values()]
        assert names == [
            "wf", "wf[0]", "wf[0].one(0:a)", "wf[0].one(0:a)(0)", "wf[0].one(1:k:1)",
            "wf[0].one(1:k:1)(0)",
        ]  # fmt: skip
        assert it.created == [pod_name("wf", name, "leaf") for name in names if name[-3:] == "(0)"]

    def test_a_workflow_of_one_container_has_one_pod_of_its_name(self) -> None:
        it = world(f"spec: {{entrypoint: x, templates: [{{name: x, {CONTAINER}}}]}}").run()
        assert it.created == ["wf"]
        assert it.execution.phase == "Succeeded"
        assert it.execution.progress == "1/1"

    def test_the_hash_is_upstreams(self) -> None:
        # fnv32a("hello-world.a") as Go computes it.
        assert pod_name("hello-world", "hello-world.a", "t").startswith("hello-world-t-")


class TestSteps:
    def test_groups_run_one_after_another(self) -> None:
        it = world(f"""
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - {{name: a, template: leaf}}
      - {{name: b, template: leaf}}
    - - {{name: c, template: leaf}}
  - name: leaf
    {CONTAINER}
""")
        it.advance()
        assert len(it.created) == 2
        it.end(it.running()[0])
        assert len(it.created) == 2
        it.end(it.running()[0])
        assert len(it.created) == 3
        it.run()
        group = it.node("[1]")
        assert group.id in it.node("a").children
        assert group.id in it.node("b").children
        assert it.node("wf").outbound_nodes == [it.node("c").id]

    def test_a_failed_step_ends_the_workflow_after_its_group(self) -> None:
        it = world(
            f"""
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - {{name: bad, template: bad}}
      - {{name: good, template: good}}
    - - {{name: never, template: good}}
  - {{name: bad, container: {{image: x, command: ["false"]}}}}
  - name: good
    {CONTAINER}
""",
            lambda pod: Ending(int(argv(pod) == ["false"])),
        ).run()
        assert it.phases() == {
            "wf": "Failed", "[0]": "Failed", "bad": "Failed", "good": "Succeeded",
        }  # fmt: skip
        assert it.node("bad").message == "main: Error (exit code 1)"
        assert it.execution.message == f"child '{it.node('bad').id}' failed"

    def test_continue_on_lets_a_failure_pass(self) -> None:
        it = world(
            f"""
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - {{name: bad, template: bad, continueOn: {{failed: true}}}}
    - - {{name: after, template: good, when: "{{{{steps.bad.status}}}} == Failed"}}
  - {{name: bad, container: {{image: x, command: ["false"]}}}}
  - name: good
    {CONTAINER}
""",
            lambda pod: Ending(int(argv(pod) == ["false"])),
        ).run()
        assert it.execution.phase == "Succeeded"
        assert it.node("after").phase == "Succeeded"

    def test_skipped_steps_need_no_arguments(self) -> None:
        it = world(f"""
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - name: a
        template: echo
        when: "1 > 2"
        arguments: {{parameters: [{{name: text, value: x}}]}}
    - - name: b
        template: echo
        when: "{{{{steps.a.status}}}} == Succeeded"
        arguments: {{parameters: [{{name: text, value: "{{{{steps.a.outputs.result}}}}"}}]}}
{ECHO}""").run()
        assert it.created == []
        assert it.node("a").phase == "Skipped"
        assert it.node("a").message == "when '1 > 2' evaluated false"
        assert it.execution.phase == "Succeeded"

    def test_an_output_of_a_skipped_step_falls_back_to_the_inputs_default(self) -> None:
        it = world(f"""
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - name: a
        template: echo
        when: "false"
        arguments: {{parameters: [{{name: text, value: x}}]}}
    - - name: b
        template: other
        arguments: {{parameters: [{{name: text, value: "{{{{steps.a.outputs.result}}}}"}}]}}
  - name: other
    inputs: {{parameters: [{{name: text, default: fallback}}]}}
    container: {{image: x, command: [say, "{{{{inputs.parameters.text}}}}"]}}
{ECHO}""").run()
        assert commands(it) == ["say fallback"]

    def test_a_step_that_cannot_be_called_is_an_error_with_a_reason(self) -> None:
        it = world(f"""
spec:
  entrypoint: main
  templates:
  - name: main
    steps: [[{{name: a, template: echo}}]]
{ECHO}""").run()
        assert it.execution.phase == "Failed"
        assert it.node("a").phase == "Error"
        assert it.node("a").message == "inputs.parameters.text was not supplied"


class TestLoops:
    def loop(self, source: str) -> World:
        return world(
            f"""
spec:
  entrypoint: main
  arguments: {{parameters: [{{name: list, value: '["x", {{"n": 2}}]'}}]}}
  templates:
  - name: main
    steps:
    - - name: each
        template: echo
        {source}
        arguments: {{parameters: [{{name: text, value: "<{{{{item}}}}>"}}]}}
    - - name: all
        template: echo
        arguments: {{parameters: [{{name: text, value: "{{{{steps.each.outputs.result}}}}"}}]}}
{ECHO}""",
            echo,
        )

    @pytest.mark.parametrize(
        ("source", "said"),
        [
            ("withItems: [1, two, [3]]", ["<1>", "<two>", "<[3]>"]),
            ('withParam: "{{workflow.parameters.list}}"', ["<x>", '<{"n":2}>']),
            ("withSequence: {count: 3}", ["<0>", "<1>", "<2>"]),
            ("withSequence: {start: 3, end: 1}", ["<3>", "<2>", "<1>"]),
            ('withSequence: {count: "2", format: "%03X"}', ["<000>", "<001>"]),
        ],
    )
    def test_every_item_gets_a_pod_and_results_are_gathered(
        self, source: str, said: list[str]
    ) -> None:
        it = self.loop(source).run()
        assert commands(it)[:-1] == [f"echo {text}" for text in said]
        assert json.loads(argv(it.pods[it.created[-1]])[-1]) == said

    def test_no_items_is_no_work(self) -> None:
        it = world(f"""
spec:
  entrypoint: main
  templates:
  - name: main
    dag:
      tasks:
      - {{name: none, template: leaf, withParam: "[]"}}
      - {{name: after, template: leaf, dependencies: [none]}}
  - name: leaf
    {CONTAINER}
""").run()
        assert it.execution.phase == "Succeeded"
        assert len(it.created) == 1

    def test_something_that_is_no_list_is_an_error(self) -> None:
        it = self.loop("withParam: '{}'").run()
        assert it.node("each").message.startswith(
            "withParam value could not be parsed as a JSON list: {}: "
        )

    @pytest.mark.parametrize("place", ["workflow", "template"])
    def test_parallelism_is_kept(self, place: str) -> None:
        it = world(f"""
spec:
  entrypoint: main
  {"parallelism: 3" if place == "workflow" else ""}
  templates:
  - name: main
    {"parallelism: 3" if place == "template" else ""}
    steps: [[{{name: s, template: leaf, withSequence: {{count: 20}}}}]]
  - name: leaf
    {CONTAINER}
""").run()
        assert it.most == 3
        assert len(it.created) == 20


class TestDag:
    def dag(self, tasks: str, behave: Any = None, more: str = "") -> World:
        return world(
            f"""
spec:
  entrypoint: main
  templates:
  - name: main
    dag:
      {more}
      tasks:
{tasks}
  - {{name: bad, container: {{image: x, command: ["false"]}}}}
  - name: good
    {CONTAINER}
""",
            behave or (lambda pod: Ending(int(argv(pod) == ["false"]))),
        )

    def test_a_diamond(self) -> None:
        it = self.dag("""
      - {name: A, template: good}
      - {name: B, template: good, dependencies: [A]}
      - {name: C, template: good, dependencies: [A]}
      - {name: D, template: good, dependencies: [B, C]}
""").run()
        order = [n.display_name for n in it.execution.nodes.values()]
        assert order == ["wf", "A", "B", "C", "D"]
        assert it.node("B").children == it.node("C").children == [it.node("D").id]
        assert it.node("wf").children == [it.node("A").id]

    def test_depends_looks_at_results(self) -> None:
        it = self.dag("""
      - {name: A, template: bad}
      - {name: B, template: good, depends: A.Failed}
      - {name: C, template: good, depends: A.Succeeded}
      - {name: D, template: good, depends: "B && (C.Omitted || C.Skipped)"}
""").run()
        assert it.phases() == {
            "wf": "Succeeded", "A": "Failed", "B": "Succeeded", "C": "Omitted", "D": "Succeeded",
        }  # fmt: skip
        assert it.node("C").message == "omitted: depends condition not met"

    def test_a_failure_nobody_handles_fails_the_dag_and_starts_nothing_new(self) -> None:
        it = self.dag("""
      - {name: A, template: bad}
      - {name: B, template: good}
      - {name: C, template: good, dependencies: [B]}
""").run()
        assert it.phases() == {"wf": "Failed", "A": "Failed", "B": "Succeeded"}

    def test_without_fail_fast_the_rest_goes_on(self) -> None:
        it = self.dag(
            """
      - {name: A, template: bad}
      - {name: B, template: good}
      - {name: C, template: good, dependencies: [B]}
""",
            more="failFast: false",
        ).run()
        assert it.node("C").phase == "Succeeded"
        assert it.execution.phase == "Failed"

    def test_a_target_limits_the_tasks(self) -> None:
        it = self.dag(
            """
      - {name: A, template: good}
      - {name: B, template: good, dependencies: [A]}
      - {name: C, template: good}
""",
            more="target: B",
        ).run()
        assert set(it.phases()) == {"wf", "A", "B"}

    def test_loops_are_groups_that_others_can_wait_for(self) -> None:
        it = self.dag("""
      - {name: each, template: bad, withItems: [1, 2]}
      - {name: rescue, template: good, depends: each.AllFailed}
      - {name: party, template: good, depends: each.AnySucceeded || rescue}
""").run()
        assert it.node("each").type == "TaskGroup"
        assert it.node("each").phase == "Failed"
        assert it.execution.phase == "Succeeded"


def test_arguments_can_tell_which_step_they_are_for() -> None:
    it = world("""
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - name: hello
        template: tell
        arguments: {parameters: [{name: who, value: "{{steps.name}}"}]}
  - name: tell
    inputs: {parameters: [{name: who}]}
    container: {image: x, command: [echo, "{{inputs.parameters.who}}"]}
""").run()
    assert commands(it) == ["echo hello"]


def test_a_step_knows_how_long_the_workflow_has_run() -> None:
    it = world("""
spec:
  entrypoint: main
  templates:
  - name: main
    steps: [[{name: a, template: tell}], [{name: b, template: tell}]]
  - name: tell
    container: {image: x, command: [echo, "{{workflow.duration}}"]}
""")
    it.advance()
    it.now += dt.timedelta(seconds=90)
    it.end(next(iter(it.pods.values())))
    assert commands(it) == ["echo 0.000000", "echo 90.000000"]


class TestRetry:
    def flaky(self, strategy: str, codes: list[int]) -> World:
        return world(
            f"""
spec:
  entrypoint: x
  templates:
  - name: x
    retryStrategy: {strategy}
    container: {{image: x, command: [try, "{{{{retries}}}}", "{{{{lastRetry.exitCode}}}}"]}}
""",
            lambda pod: Ending(codes[int(argv(pod)[1])]),
        )

    def test_it_is_tried_again_until_it_works(self) -> None:
        it = self.flaky("{limit: 5}", [3, 4, 0]).run()
        assert commands(it) == ["try 0 0", "try 1 3", "try 2 4"]
        assert it.node("wf").phase == "Succeeded"
        assert it.node("wf").type == "Retry"

    def test_it_may_be_kept_off_the_nodes_where_it_failed(self) -> None:
        """Upstream forbids them, which on one node would be for ever; here others go before."""
        it = self.flaky("{limit: 5, affinity: {nodeAntiAffinity: {}}}", [3, 4, 0])
        it.advance()
        while running := it.running():
            running[0]["spec"]["nodeName"] = f"node-{len(it.pods)}"
            it.end(running[0])
        affinities = [pod["spec"].get("affinity") for pod in it.pods.values()]
        other = {
            "key": "kubernetes.io/hostname",
            "operator": "NotIn",
            "values": ["node-1", "node-2"],
        }
        preferred = [{"weight": 100, "preference": {"matchExpressions": [other]}}]
        assert affinities[0] is None
        assert affinities[2] == {
            "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}
        }

    def test_without_a_limit_it_is_tried_until_it_works(self) -> None:
        it = self.flaky("{}", [1, 1, 1, 1, 0]).run()
        assert (len(it.created), it.execution.phase) == (5, "Succeeded")

    def test_there_is_a_limit(self) -> None:
        it = self.flaky('{limit: "1"}', [1, 1, 1]).run()
        assert len(it.created) == 2
        assert it.execution.message == "No more retries left"

    def test_back_off_grows(self) -> None:
        it = self.flaky("{limit: 3, backoff: {duration: 10s, factor: 3, cap: 1m}}", [1, 1, 1, 0])
        it.advance()
        waits = []
        while not it.execution.finished:
            before = it.now
            it.end(it.running()[0])
            due = it.execution.wake_at
            if due is not None:
                waits.append((due - before).total_seconds())
                it.now = due
                it.advance()
        assert waits == [10, 30, 60]

    def test_an_expression_decides(self) -> None:
        it = self.flaky("{limit: 5, expression: 'asInt(lastRetry.exitCode) == 3'}", [3, 4, 0]).run()
        assert len(it.created) == 2
        assert it.execution.message == "retryStrategy.expression evaluated to false"

    def test_a_deleted_pod_is_an_error_and_tried_again_only_if_asked(self) -> None:
        for policy, tries in (("OnFailure", 1), ("Always", 2)):
            it = self.flaky(f"{{limit: 5, retryPolicy: {policy}}}", [0, 0])
            it.advance()
            it.lose(it.running()[0])
            assert len(it.created) == tries
            assert it.node("wf(0)").message == "pod deleted"


class TestEnds:
    HANDLED = """
spec:
  entrypoint: main
  onExit: bye
  templates:
  - {name: main, container: {image: x, command: ["false"]}}
  - name: bye
    container: {image: x, command: [bye, "{{workflow.status}}", "{{workflow.failures}}"]}
"""

    def test_the_exit_handler_knows_what_happened(self) -> None:
        it = world(self.HANDLED, lambda pod: Ending(int(argv(pod) == ["false"]))).run()
        said = argv(it.pods[it.created[1]])
        assert said[1] == "Failed"
        assert json.loads(json.loads(said[2]))[0]["message"] == "main: Error (exit code 1)"
        assert it.execution.phase == "Failed"
        assert it.node("wf.onExit").phase == "Succeeded"

    def test_a_failed_exit_handler_is_the_workflows_failure(self) -> None:
        it = world(self.HANDLED, lambda pod: Ending(int(argv(pod)[0] == "bye"))).run()
        assert it.node("wf").phase == "Succeeded"
        assert it.execution.phase == "Failed"

    def test_a_step_can_have_an_exit_handler_with_its_outputs(self) -> None:
        it = world(
            f"""
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - name: a
        template: echo
        arguments: {{parameters: [{{name: text, value: hi}}]}}
        hooks:
          exit:
            template: echo
            arguments: {{parameters: [{{name: text, value: "got {{{{steps.a.outputs.result}}}}"}}]}}
{ECHO}""",
            echo,
        ).run()
        assert commands(it) == ["echo hi", "echo got hi"]
        assert it.node("a.onExit").phase == "Succeeded"

    def test_a_deadline_stops_what_runs_but_not_the_exit_handler(self) -> None:
        it = world(self.HANDLED.replace("onExit", "activeDeadlineSeconds: 60\n  onExit"))
        it.advance()
        it.now += dt.timedelta(seconds=60)
        it.advance()
        assert it.stopped == ["wf"]
        it.run()
        assert it.execution.phase == "Failed"
        assert it.execution.message == "Max duration limit exceeded"
        assert it.node("wf.onExit").phase == "Succeeded"

    def test_shutdown_ends_everything(self) -> None:
        it = world(self.HANDLED)
        it.advance()
        it.execution.spec = {**it.execution.spec, "shutdown": "Terminate"}
        it.execution.forget_frames()
        it.advance()
        assert it.execution.phase == "Failed"
        assert it.execution.message == "Stopped with strategy 'Terminate'"
        assert it.stopped == ["wf"]

    def test_a_suspended_workflow_starts_nothing_until_it_is_resumed(self) -> None:
        it = world(self.HANDLED.replace("onExit", "suspend: true\n  onExit"))
        it.advance()
        assert it.created == []
        it.execution.spec = {**it.execution.spec, "suspend": False}
        it.execution.forget_frames()
        it.run()
        assert len(it.created) == 2

    def test_a_suspend_step_waits_its_time(self) -> None:
        it = world("spec: {entrypoint: w, templates: [{name: w, suspend: {duration: 1m30s}}]}")
        it.advance()
        assert it.node("wf").phase == "Running"
        it.run()
        assert (it.now - dt.datetime(2026, 1, 1, tzinfo=dt.UTC)).total_seconds() == 90


class TestOutputs:
    def test_what_a_step_does_not_write_is_named(self) -> None:
        it = world(
            f"""
spec:
  entrypoint: main
  templates:
  - name: main
    steps: [[{{name: a, template: echo, arguments: {{parameters: [{{name: text, value: x}}]}}}}]]
{ECHO}""",
            lambda pod: Ending(0, "missing parameter said\n"),
        ).run()
        assert it.node("a").phase == "Error"
        assert "wrote no file /said" in it.node("a").message

    def test_global_outputs_are_the_workflows(self) -> None:
        it = world(
            """
spec:
  entrypoint: main
  onExit: show
  templates:
  - name: main
    outputs: {parameters: [{name: p, valueFrom: {path: /p}, globalName: score}]}
    container: {image: x, command: [make]}
  - name: show
    container: {image: x, command: [show, "{{workflow.outputs.parameters.score}}"]}
""",
            lambda pod: Ending(0, report(p="0.9")),
        ).run()
        assert it.execution.outputs.parameters[0].value == "0.9"
        assert commands(it)[1] == "show 0.9"

    def test_the_output_of_the_branch_that_ran_is_chosen_by_expression(self) -> None:
        it = world(
            f"""
spec:
  entrypoint: main
  templates:
  - name: main
    dag:
      tasks:
      - name: a
        template: echo
        when: "false"
        arguments: {{parameters: [{{name: text, value: A}}]}}
      - {{name: b, template: echo, arguments: {{parameters: [{{name: text, value: B}}]}}}}
    outputs:
      parameters:
      - name: out
        valueFrom:
          expression: tasks.a.outputs.parameters.said ?? tasks.b.outputs.parameters.said
{ECHO}""",
            echo,
        ).run()
        outputs = it.node("wf").outputs
        assert outputs is not None
        assert outputs.parameters[0].value == "B"

    def test_only_results_somebody_reads_are_captured(self) -> None:
        it = world(
            f"""
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - {{name: read, template: leaf}}
      - {{name: unread, template: leaf}}
    - - {{name: use, template: leaf, when: "{{{{steps.read.outputs.result}}}} == x"}}
  - name: leaf
    {CONTAINER}
""",
            lambda pod: Ending(0, report("x")),
        ).run()
        wrapped = [
            it.pods[name]["spec"]["containers"][0]["command"][0] == "/bin/sh" for name in it.created
        ]
        assert wrapped == [True, False, False]


class TestTemplates:
    TEMPLATE: ClassVar[Obj] = {
        "templates": [
            {"name": "outer", "steps": [[{"name": "in", "template": "inner"}]]},
            {"name": "inner", "container": {"image": "x", "command": ["inner"]}},
        ]
    }

    def test_a_template_of_a_template_is_looked_up_in_its_own_home(self) -> None:
        it = world(
            """
spec:
  entrypoint: main
  templates:
  - name: main
    steps: [[{name: a, templateRef: {name: lib, template: outer}}]]
  - {name: inner, container: {image: x, command: [wrong]}}
""",
            objects={("namespaced", "lib"): self.TEMPLATE},
        ).run()
        assert commands(it) == ["inner"]
        assert set(it.execution.library.stored) == {"namespaced/lib/outer", "namespaced/lib/inner"}

    def test_a_reference_to_nothing_is_an_error_that_names_it(self) -> None:
        it = world("""
spec:
  entrypoint: main
  templates:
  - name: main
    steps: [[{name: a, templateRef: {name: lib, template: outer}}]]
""").run()
        assert it.node("a").message == 'workflowtemplates.argoproj.io "lib" not found'

    def test_parameters_come_from_config_maps(self) -> None:
        it = world(
            """
spec:
  entrypoint: main
  arguments:
    parameters: [{name: p, valueFrom: {configMapKeyRef: {name: cm, key: k}}}]
  templates:
  - {name: main, container: {image: x, command: [say, "{{workflow.parameters.p}}"]}}
""",
            objects={("configmap", "cm"): {"data": {"k": "from the map"}}},
        ).run()
        assert commands(it) == ["say from the map"]


def test_what_one_scope_adds_is_seen_by_expressions_inside_and_nowhere_else() -> None:
    outer = Scope(values={"tasks.a.id": "1", "workflow.parameters": "[]"})
    inner = outer.child({"tasks.b.id": "2", "workflow.parameters.x": "y"})
    text = "[tasks.a?.id, tasks.b?.id, workflow.parameters.x]"
    assert inner.evaluate(text) == ["1", "2", "y"]
    assert outer.evaluate("tasks.b?.id") is None
    outer.values["tasks.a.id"] = "3"
    outer.values.update({"tasks.c.outputs.parameters.p": ABSENT})
    outer.artifacts["tasks.c.outputs.artifacts.f"] = {"s3": {"key": "k"}}
    assert inner.evaluate("tasks.a.id + (tasks.c.outputs.parameters.p ?? '-')") == "3-"
    assert inner.evaluate("tasks.c.outputs.artifacts.f.s3.key") == "k"
    assert outer.evaluate("workflow.parameters") == "[]"
