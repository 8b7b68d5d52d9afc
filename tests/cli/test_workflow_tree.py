"""How the steps of a workflow are drawn."""

from __future__ import annotations

import datetime as dt

from tests.workflows.simulation import START, Ending, argv, world

from kubeling.cli.workflow.display import shown, status_of
from kubeling.cli.workflow.times import long_duration, moment, short_duration
from kubeling.cli.workflow.tree import TreeOptions, table, tree_lines
from kubeling.kube.objects import Obj, format_time
from kubeling.workflows.operations.node_selectors import parse_node_selector

STEPS = """
spec:
  entrypoint: main
  onExit: say
  arguments: {parameters: [{name: text, value: hi}]}
  templates:
  - name: main
    steps:
    - - {name: a, template: say}
    - - {name: b, template: say, withItems: [x, y]}
      - {name: c, template: dag}
    - - {name: d, template: flaky}
    - - {name: ask, template: ask}
  - name: dag
    dag:
      tasks:
      - {name: x, template: say}
      - {name: y, template: flaky, dependencies: [x]}
      - {name: z, template: say, depends: x.Failed}
  - {name: ask, suspend: {}}
  - {name: say, container: {image: busybox, command: [echo, say]}}
  - name: flaky
    retryStrategy: {limit: 2}
    container: {image: busybox, command: [echo, "{{retries}} {{node.name}}"]}
"""


def drawn(options: TreeOptions | None = None, **status: object) -> list[str]:
    """The first two columns of the tree while the workflow waits for somebody."""
    rows = tree_lines(waiting(), options or TreeOptions(plain=False), START)
    return [row[0] for row in rows if row]


def waiting() -> Obj:
    it = world(STEPS, lambda pod: Ending(int(argv(pod)[-1] == "0 wf[2].d(0)")))
    it.advance()
    while it.running():
        it.end(it.running()[0])
    it.workflow["status"] = {**it.status(), "progress": "1/2"}
    return it.workflow


def test_step_groups_are_where_steps_branch_off() -> None:
    assert [line.replace("\x1b", "") for line in map(_plain, drawn())] == [
        "STEP",
        " ● wf",
        " ├───✔ a",
        " ├─┬─✔ b(0:x)",
        " │ ├─✔ b(1:y)",
        " │ └─✔ c",
        " │   ├─✔ x",
        " │   └─✔ y(0)",
        " ├───✔ d",
        " │   ├─✖ d(0)",
        " │   └─✔ d(1)",
        " └───ǁ ask",
    ]


def test_seven_bits_are_enough() -> None:
    lines = [_plain(line) for line in drawn(TreeOptions(plain=True))]
    assert " |-+-Succeeded b(0:x)" in lines
    assert " | `-Succeeded c" in lines
    assert lines[-1] == " `---Running ask"


def test_a_selector_leaves_the_steps_it_matches() -> None:
    lines = drawn(TreeOptions(selector=parse_node_selector("phase=Failed")))
    assert [_plain(line).split()[-1] for line in lines] == ["STEP", "d(0)"]


def test_the_exit_handler_has_a_tree_of_its_own() -> None:
    it = world(STEPS.replace("suspend: {}", "suspend: {duration: 1s}")).run()
    it.workflow["status"] = it.status()
    rows = tree_lines(it.workflow, TreeOptions("wide"), START)
    assert [] in rows
    assert _plain(rows[-1][0]) == " ✔ wf.onExit"
    assert len(rows[0]) == len(rows[1]) == 8


def test_columns_stand_below_one_another_whatever_their_colour() -> None:
    text = table([["A", "B"], ["\x1b[31mred\x1b[0m", "x"], [], ["long one", "y"]])
    assert _plain(text).splitlines() == ["A         B", "red       x", "", "long one  y"]


def test_get_says_what_is_known() -> None:
    workflow = waiting()
    workflow["metadata"]["creationTimestamp"] = format_time(START)
    text = shown(workflow, TreeOptions(), START + dt.timedelta(seconds=72))
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line[:20])
    assert lines["Status"].strip() == "Running (Suspended)"
    assert lines["Duration"].strip() == "1 minute 12 seconds"
    assert lines["Progress"].strip() == "1/2"
    assert lines["  text"].strip() == "hi"
    assert lines["Created"].strip() == "Thu Jan 01 00:00:00 +0000 (1 minute ago)"


def test_what_was_stopped_is_called_so() -> None:
    workflow: Obj = {"spec": {"shutdown": "Stop"}, "status": {"phase": "Failed"}}
    assert status_of(workflow) == "Failed (Terminated)"
    assert status_of({"spec": {}}) == "Pending"


def test_durations_are_short() -> None:
    start, after = format_time(START), START + dt.timedelta(hours=3, minutes=5)
    assert short_duration(start, None, after) == "3h"
    assert short_duration(None, None, after) == "0s"
    assert long_duration(start, None, after) == "3 hours 5 minutes"
    assert long_duration(start, start, after) == "0 seconds"
    assert moment(start, START).endswith("(now)")


def _plain(text: str) -> str:
    import click

    return click.unstyle(text)
