"""Ends that are not plain: in upstream's phases and words."""

from __future__ import annotations

import datetime as dt

import pytest
from tests.workflows.simulation import Ending, World, argv, report, world

from kubeling.kube.objects import Obj

LEAF = """
  - name: leaf
    container: {image: busybox, command: [leaf]}
  - name: say
    inputs: {parameters: [{name: text}]}
    outputs: {parameters: [{name: said, valueFrom: {path: /said}}]}
    container: {image: busybox, command: [say, "{{inputs.parameters.text}}"]}
"""


def main(body: str, more: str = "") -> str:
    return f"""
spec:
  entrypoint: main
  templates:
  - name: main
{body}
{LEAF}{more}"""


def messages(it: World) -> dict[str, tuple[str, str]]:
    return {n.display_name: (n.phase, n.message) for n in it.execution.nodes.values()}


class TestWhatCannotBegin:
    def test_a_step_that_cannot_begin_makes_its_group_an_error(self) -> None:
        it = world(main("    steps: [[{name: a, template: say}], [{name: b, template: leaf}]]"))
        it.run()
        why = "inputs.parameters.text was not supplied"
        said = f"step group deemed errored due to child wf[0].a error: {why}"
        assert messages(it) == {
            "wf": ("Failed", said), "[0]": ("Error", said), "a": ("Error", why),
        }  # fmt: skip
        assert (it.execution.phase, it.execution.message) == ("Failed", said)

    def test_a_task_that_cannot_begin_says_which_it_is(self) -> None:
        it = world(main("    dag: {tasks: [{name: a, template: say}]}")).run()
        why = "task 'wf.a' errored: inputs.parameters.text was not supplied"
        assert messages(it)["a"] == ("Error", why)
        assert it.execution.phase == "Error"

    def test_an_entrypoint_that_cannot_begin_ends_all_without_an_exit_handler(self) -> None:
        it = world("spec: {entrypoint: say, onExit: leaf, templates: [" + """
          {name: say, inputs: {parameters: [{name: x}]}, container: {image: b, command: [c]}},
          {name: leaf, container: {image: b, command: [c]}}]}""").run()  # fmt: skip
        assert it.execution.phase == "Error"
        assert it.execution.message == (
            "error in entry template execution: inputs.parameters.x was not supplied"
        )
        assert it.created == []

    def test_templates_call_each_other_up_to_a_hundred_deep(self) -> None:
        it = world(main("    steps: [[{name: again, template: main}]]")).run()
        deepest = max(it.execution.nodes.values(), key=lambda node: len(node.name))
        assert deepest.name == "wf" + "[0].again" * 99
        assert deepest.message.startswith("Maximum recursion depth exceeded. See https://")
        assert it.execution.phase == "Failed"


class TestFailFast:
    BODY = """
    failFast: true
    parallelism: 1
    steps: [[{name: a, template: say, withItems: [1, 2, 3],
              arguments: {parameters: [{name: text, value: "{{item}}"}]}}],
            [{name: b, template: leaf}]]
"""

    def test_after_the_first_failure_nothing_more_begins(self) -> None:
        it = world(main(self.BODY), lambda pod: Ending(1)).run()
        assert len(it.created) == 1
        said = ("Failed", "template has failed or errored children and failFast enabled")
        assert messages(it)["wf"] == messages(it)["[0]"] == said

    def test_without_failures_it_means_nothing(self) -> None:
        it = world(main(self.BODY), lambda pod: Ending(0, report(said="x"))).run()
        assert it.execution.phase == "Succeeded"
        assert len(it.created) == 4


class TestOutputsOfSkippedSteps:
    def body(self, value: str, default: str = "", producer: str = "") -> str:
        return main(
            f"""
    dag:
      tasks:
      - {{name: make, template: make, when: "1 == 2"}}
      - name: use
        template: use
        depends: make
        arguments: {{parameters: [{{name: text, value: "{value}"}}]}}
""",
            f"""
  - name: make
    outputs: {{parameters: [{{name: out, valueFrom: {{path: /out{producer}}}}}]}}
    container: {{image: busybox, command: [make]}}
  - name: use
    inputs: {{parameters: [{{name: text{default}}}]}}
    container: {{image: busybox, command: [use, "{{{{inputs.parameters.text}}}}"]}}
""",
        )

    OUT = "{{tasks.make.outputs.parameters.out}}"

    @pytest.mark.parametrize(
        ("value", "default", "producer", "expected"),
        [
            (OUT, ", value: mine", "", "mine"),
            (OUT, "", ", default: theirs", "theirs"),
            (OUT, ", value: mine", ", default: theirs", "theirs"),
            ("{{=tasks.make.outputs.parameters.out ?? 'none'}}", "", "", "none"),
            ("{{=tasks['make'].outputs.parameters.out == nil ? 'nil' : 'x'}}", "", "", "nil"),
        ],
    )
    def test_they_are_absent_unless_somebody_says_otherwise(
        self, value: str, default: str, producer: str, expected: str
    ) -> None:
        it = world(self.body(value, default, producer)).run()
        assert [argv(pod) for pod in it.pods.values()] == [["use", expected]]

    def test_nobody_having_said_anything_is_an_error(self) -> None:
        it = world(self.body(self.OUT)).run()
        assert messages(it)["use"][1] == (
            "task 'wf.use' errored: inputs.parameters.text: argument references an absent "
            "optional (skipped/omitted node output with no default)"
        )

    def test_part_of_a_text_cannot_be_absent(self) -> None:
        it = world(self.body(f"a-{self.OUT}", ", value: mine")).run()
        assert messages(it)["use"][1] == (
            f"task 'wf.use' errored: unable to substitute {self.OUT}: output is an absent optional "
            "(skipped/omitted node with no default)"
        )


class TestWhatOneThingSaysOfAnother:
    def test_an_input_artifact_may_be_placed_by_an_input_parameter(self) -> None:
        it = world("""
spec:
  entrypoint: x
  arguments: {parameters: [{name: text, value: hello}]}
  templates:
  - name: x
    inputs:
      parameters: [{name: text}]
      artifacts: [{name: file, path: /f, raw: {data: "{{inputs.parameters.text}}"}}]
    container: {image: busybox, command: [cat, /f]}
""").run()
        inputs = it.node("wf").inputs
        assert inputs is not None
        assert inputs.artifacts[0].raw == {"data": "hello"}

    def test_a_volume_may_be_named_by_an_earlier_task(self) -> None:
        mounts = "{name: use, container: {image: b, volumeMounts: [{name: v, mountPath: /v}]}}"
        it = world(
            main(
                """
    dag:
      tasks:
      - {name: make, template: say, arguments: {parameters: [{name: text, value: x}]}}
      - {name: use, template: use, depends: make}
""",
                f"  - {mounts}",
            ).replace(
                "entrypoint: main",
                "entrypoint: main\n  volumes: [{name: v, persistentVolumeClaim: "
                '{claimName: "{{tasks.make.outputs.parameters.said}}"}}]',
            ),
            lambda pod: Ending(0, report(said="mine")),
        ).run()
        volumes = [it.pods[name]["spec"].get("volumes") or [] for name in it.created]
        own = [[v["persistentVolumeClaim"] for v in vs if v["name"] == "v"] for vs in volumes]
        assert own == [[], [{"claimName": "mine"}]]


class TestRetries:
    def retried(self, strategy: str, *codes: int, wait: float = 0) -> World:
        """A template whose attempts end with these codes, each ``wait`` seconds later."""
        left = list(codes)

        def behave(pod: Obj) -> Ending:
            it.now += dt.timedelta(seconds=wait)
            return Ending(left.pop(0) if left else 0)

        it = world(
            f"""
spec:
  entrypoint: x
  templates:
  - name: x
    retryStrategy: {strategy}
    container: {{image: busybox, command: [try, "{{{{retries}}}}"]}}
""",
            behave,
        )
        return it.run()

    def test_backing_off_too_long_ends_it_before_waiting(self) -> None:
        strategy = "{limit: 9, backoff: {duration: 10s, factor: 2, maxDuration: 15s}}"
        it = self.retried(strategy, 1, 1, 1)
        assert it.execution.message == "Backoff would exceed max duration limit"
        assert len(it.created) == 2

    def test_the_longest_time_counts_from_the_first_attempt(self) -> None:
        strategy = "{limit: 9, backoff: {duration: 1s, maxDuration: 15s}}"
        it = self.retried(strategy, 1, 1, 1, wait=20)
        assert it.execution.message == "Max duration limit exceeded"

    def test_waiting_is_told_in_two_units(self) -> None:
        it = world("""
spec:
  entrypoint: x
  templates:
  - name: x
    retryStrategy: {limit: 9, backoff: {duration: 90s, factor: 50, cap: 2h}}
    container: {image: busybox, command: [try]}
""")
        it.advance()
        told = []
        for _ in range(2):
            it.end(it.running()[0], Ending(1))
            told.append(it.node("wf").message)
            assert it.execution.wake_at is not None
            it.now = it.execution.wake_at
            it.advance()
        assert told == ["Backoff for 1 minute 30 seconds", "Backoff for 1 hour 15 minutes"]

    def test_an_expression_is_about_the_attempt_that_failed(self) -> None:
        it = self.retried("{limit: 9, expression: 'asInt(retries) < 2'}", 1, 1, 1, 1)
        assert len(it.created) == 3
        assert it.execution.message == "retryStrategy.expression evaluated to false"

    def test_what_is_likely_to_pass_is_known_by_its_message(self) -> None:
        strategy = "{limit: 2, retryPolicy: OnTransientError}"
        it = self.retried(strategy, 1)
        assert it.execution.message == "main: Error (exit code 1)"
        it = world(
            "spec: {entrypoint: x, templates: [{name: x, retryStrategy: " + strategy
            + ", container: {image: b, command: [c]}}]}"
        )  # fmt: skip
        it.advance()
        it.end(it.running()[0], Ending(1, "dial tcp: i/o timeout"))
        assert len(it.created) == 2


RESULTS = ("Succeeded", "Failed", "Errored", "Skipped", "Omitted", "Daemoned")


class TestDepends:
    """``depends`` tells six results of a task apart (``docs/enhanced-depends-logic.md``)."""

    @pytest.mark.parametrize("result", RESULTS)
    def test_a_task_follows_a_result(self, result: str) -> None:
        assert self.followers(result) == [f"after-{result.lower()}"]

    def followers(self, result: str) -> list[str]:
        """The tasks that run, of one that waits for each result of ``a``."""
        more = {
            "Skipped": ', when: "false"',
            "Omitted": ", depends: first.Failed",
            "Daemoned": "",
        }.get(result, "")
        waiting = "\n".join(
            f"      - {{name: after-{each.lower()}, template: other, depends: a.{each}}}"
            for each in RESULTS
        )
        it = world(f"""
spec:
  entrypoint: main
  templates:
  - name: main
    dag:
      failFast: false
      tasks:
      - {{name: first, template: other}}
      - {{name: a, template: work{more}}}
{waiting}
  - name: work
    daemon: {str(result == "Daemoned").lower()}
    container: {{image: x, command: [work]}}
  - name: other
    container: {{image: x, command: [other]}}
""")
        it.advance()
        for pod in list(it.pods.values()):
            if argv(pod)[0] == "other":
                it.end(pod)
            elif result == "Errored":
                it.lose(pod)
            elif result == "Daemoned":
                ready = {"name": "main", "ready": True, "state": {"running": {}}}
                it.advance({**pod, "status": {"phase": "Running", "containerStatuses": [ready]}})
            else:
                it.end(pod, Ending(int(result == "Failed")))
        nodes = it.execution.nodes.values()
        return [n.display_name for n in nodes if n.display_name.startswith("after-")
                and n.phase not in ("Omitted", "Skipped")]  # fmt: skip
