"""What a user is told at once when a workflow is written wrongly."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubeling.kube import yaml
from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.objects import Obj, deep_copy
from kubeling.workflows.admission import admissions
from kubeling.workflows.resources import (
    CRON_WORKFLOWS,
    WORKFLOW_TEMPLATES,
    WORKFLOWS,
)

EXAMPLES = Path(__file__).parents[2] / "examples" / "workflows"
RESOURCES = {r.kind: r for r in (WORKFLOWS, WORKFLOW_TEMPLATES, CRON_WORKFLOWS)}


def problems(obj: Obj) -> list[str]:
    """What admission says about an object, as the user reads it."""
    obj.setdefault("metadata", {}).setdefault("name", "wf")
    resource = RESOURCES[obj.setdefault("kind", "Workflow")]
    rules = admissions()[resource]
    request = AdmissionRequest(resource, "CREATE")
    assert rules.default is not None
    assert rules.validate is not None
    rules.default(obj, request)
    return [str(error) for error in rules.validate(obj, None, request)]


def spec_problems(text: str, kind: str = "Workflow") -> list[str]:
    return problems({"kind": kind, "spec": yaml.load(text)})


GOOD = """
entrypoint: main
arguments: {parameters: [{name: p, value: 1}]}
templates:
- name: main
  steps:
  - - {name: a, template: make}
  - - name: b
      template: use
      arguments: {parameters: [{name: x, value: "{{steps.a.outputs.parameters.y}}"}]}
- name: make
  outputs: {parameters: [{name: y, valueFrom: {path: /y}}]}
  container: {image: python, command: [make, "{{workflow.parameters.p}}"]}
- name: use
  inputs: {parameters: [{name: x}]}
  container: {image: python, command: [use, "{{inputs.parameters.x}}"]}
"""


def test_plugins_of_the_executor_are_refused() -> None:
    [problem] = spec_problems(GOOD + "executorPlugins: [{name: helper}]\n")
    assert problem.startswith("spec.executorPlugins: Forbidden: executor plugins are not supported")


def test_a_good_workflow_has_no_problems() -> None:
    assert spec_problems(GOOD) == []


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_accepted(path: Path) -> None:
    for document in yaml.load_all(path.read_text()):
        assert problems(document) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "entrypoint: main",
            "entrypoint: mian",
            'spec.entrypoint: Not found: "mian": no template of this name in spec.templates '
            "(there are: main, make, use)",
        ),
        (
            "entrypoint: main",
            "parallelism: 1",
            "spec.entrypoint: Required value: name the template to begin with "
            "(there are: main, make, use)",
        ),
        (
            "template: make",
            "template: maek",
            'spec.templates[0].steps[0][0].template: Not found: "maek": no template of this name',
        ),
        (
            "{name: a, template: make}",
            "{name: a}",
            "spec.templates[0].steps[0][0].template: Required value: name the template to run",
        ),
        (
            "name: b",
            "name: a",
            'spec.templates[0].steps[1][0].name: Duplicate value: "a"',
        ),
        (
            "- name: use\n",
            "- name: make\n",
            'spec.templates[2].name: Duplicate value: "make"',
        ),
        (
            'container: {image: python, command: [make, "{{workflow.parameters.p}}"]}',
            "metadata: {}",
            "spec.templates[1]: Required value: say what it runs: one of container, script",
        ),
        (
            "steps.a.outputs.parameters.y",
            "steps.a.outputs.parameters.z",
            "spec.templates[0].steps[1][0].arguments.parameters[0].value: Invalid value: failed "
            'to resolve {{steps.a.outputs.parameters.z}}: "z" is not an output parameter of the '
            "template (there are: y)",
        ),
        (
            "steps.a.outputs.parameters.y",
            "steps.c.outputs.parameters.y",
            '"c" is not a step of an earlier group',
        ),
        (
            "{{inputs.parameters.x}}",
            "{{inputs.parameters.X}}",
            "spec.templates[2].container.command[1]: Invalid value: failed to resolve "
            '{{inputs.parameters.X}}: "X" is not an input parameter (there are: x)',
        ),
        (
            "{{workflow.parameters.p}}",
            "{{workflow.parameters.q}}",
            'declare "q" in spec.arguments.parameters',
        ),
        ("{{workflow.parameters.p}}", "{{item}}", "only steps with withItems"),
        ("{{workflow.parameters.p}}", "{{=asInt(}}", "failed to resolve {{=asInt(}}"),
        (
            '      arguments: {parameters: [{name: x, value: "{{steps.a.outputs.parameters.y}}"}]}',
            "      when: a ==",
            'spec.templates[0].steps[1][0].when: Invalid value: "a ==": ends where a value',
        ),
        (
            '      arguments: {parameters: [{name: x, value: "{{steps.a.outputs.parameters.y}}"}]}',
            "      continueOn: {failed: true}",
            "spec.templates[0].steps[1][0].arguments.parameters: Required value: the template "
            'needs the input parameter "x"',
        ),
        (
            "{name: p, value: 1}",
            "{name: p}",
            "spec.arguments.parameters[0].value: Required value: give the parameter a value",
        ),
        (
            "valueFrom: {path: /y}",
            "valueFrom: {}",
            "spec.templates[1].outputs.parameters[0].valueFrom.path: Required value",
        ),
        (
            '{image: python, command: [make, "{{workflow.parameters.p}}"]}',
            "{image: acme/tool}",
            "spec.templates[1].container.command: Required value: this step's program, inputs or "
            "outputs are handed over around its command",
        ),
        (
            "{image: python, command: [use, ",
            "{command: [use, ",
            "spec.templates[2].container.image: Required value: name the image to run",
        ),
        (
            "- name: use\n",
            "- name: use\n  retryStrategy: {limit: many, backoff: {duration: 3 moons}}\n",
            'spec.templates[2].retryStrategy.limit: Invalid value: "many": must be a whole number',
        ),
        (
            "- name: use\n",
            "- name: use\n  plugin: {hello: {}}\n",
            "spec.templates[2].plugin: Forbidden: executor plugins are not supported",
        ),
        (
            "- name: use\n",
            "- name: use\n  podSpecPatch: '[1]'\n",
            'spec.templates[2].podSpecPatch: Invalid value: "[1]": podSpecPatch must be an object',
        ),
    ],
)
def test_mistakes_are_named_with_their_place(old: str, new: str, message: str) -> None:
    assert old in GOOD
    found = spec_problems(GOOD.replace(old, new))
    assert any(message in problem for problem in found), found


DAG = """
entrypoint: main
templates:
- name: main
  dag:
    tasks:
    - {name: A, template: leaf}
    - {name: B, template: leaf, dependencies: [A]}
    - {name: C, template: leaf, depends: A.Succeeded && B}
- {name: leaf, container: {image: python, command: [run]}}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "{name: A, template: leaf}",
            "{name: A, template: leaf, dependencies: [C]}",
            "spec.templates[0].dag.tasks: Invalid value: tasks wait for each other: A -> C -> A",
        ),
        (
            "dependencies: [A]",
            "dependencies: [Z]",
            'spec.templates[0].dag.tasks[1].dependencies: Not found: "Z": is not a task',
        ),
        (
            "A.Succeeded && B",
            "A.Done && B",
            'spec.templates[0].dag.tasks[2].depends: Invalid value: "A.Done && B": "Done" is not '
            "a result",
        ),
        ("A.Succeeded && B", "A, dependencies: [B]", "depends: Forbidden: dependencies are given"),
        (
            "dependencies: [A]",
            'when: "{{tasks.C.outputs.result}} == x"',
            '"C" is not a task this one depends on',
        ),
        (
            "dependencies: [A]",
            "withItems: [1], withParam: x",
            "tasks[1].withParam: Forbidden: withItems is given already",
        ),
        (
            "dependencies: [A]",
            "withSequence: {count: 1, end: 2}",
            "tasks[1].withSequence: Invalid value: give either count or end",
        ),
    ],
)
def test_mistakes_in_dags_are_named(old: str, new: str, message: str) -> None:
    assert spec_problems(DAG) == []
    found = spec_problems(DAG.replace(old, new))
    assert any(message in problem for problem in found), found


def test_text_for_other_template_languages_is_left_alone() -> None:
    assert spec_problems(DAG.replace("[run]", '[run, "{{ jinja.value }}"]')) == []


def test_a_workflow_of_a_template_needs_no_entrypoint() -> None:
    assert spec_problems("workflowTemplateRef: {name: lib}") == []
    assert spec_problems("workflowTemplateRef: {}") == [
        "spec.workflowTemplateRef.name: Required value: name the WorkflowTemplate"
    ]


def test_an_empty_spec_says_what_to_begin_with() -> None:
    assert spec_problems("{}") == [
        "spec.templates: Required value: give at least one template",
        "spec.entrypoint: Required value: name the template to begin with (there are: none)",
    ]


def test_templates_may_use_parameters_their_workflow_brings() -> None:
    text = GOOD.replace("workflow.parameters.p", "workflow.parameters.theirs")
    assert spec_problems(text, "WorkflowTemplate") == []


def test_containers_need_no_name() -> None:
    obj: Obj = {"metadata": {"name": "x"}, "spec": yaml.load(DAG)}
    assert problems(obj) == []
    assert obj["spec"]["templates"][1]["container"]["name"] == "main"


def test_a_schedule_has_five_fields() -> None:
    spec = {"schedules": ["0 6 * *"], "timezone": "Mars/Base", "workflowSpec": yaml.load(DAG)}
    found = problems({"kind": "CronWorkflow", "spec": spec})
    assert found[1].startswith('spec.schedules[0]: Invalid value: "0 6 * *": cron schedule is')
    assert "expected exactly 5 fields" in found[1]
    assert found[0] == 'spec.timezone: Invalid value: "Mars/Base": is not a known time zone'


def test_an_update_that_leaves_the_spec_alone_is_always_allowed() -> None:
    bad = {"metadata": {"name": "x"}, "spec": {"templates": []}}
    rules = admissions()[WORKFLOWS]
    assert rules.validate is not None
    request = AdmissionRequest(WORKFLOWS, "UPDATE")
    assert rules.validate(deep_copy(bad), bad, request) == []


@pytest.mark.parametrize(
    ("containers", "message"),
    [
        ("[]", "containers: Required value: must have at least one container"),
        ("[{name: a, image: busybox, dependencies: [b]}]", "[0].dependencies: Not found"),
        ("[{name: a, image: busybox}, {name: a, image: busybox}]", "[1].name: Duplicate value"),
        (
            "[{name: a, image: busybox, dependencies: [b]}, {name: b, image: acme/b}]",
            "containers[1].command: Required value",
        ),
        (
            "[{name: a, image: busybox, dependencies: [b]},"
            " {name: b, image: busybox, dependencies: [a]}]",
            "containers: Invalid value: containers wait for each other: ",
        ),
    ],
)
def test_mistakes_in_a_container_set_are_named(containers: str, message: str) -> None:
    found = spec_problems(
        f"{{entrypoint: a, templates: [{{name: a, containerSet: {{containers: {containers}}}}}]}}"
    )
    assert any(message in problem for problem in found), found


def test_a_container_set_hands_over_through_main() -> None:
    found = spec_problems("""
entrypoint: a
templates:
- name: a
  outputs: {parameters: [{name: y, valueFrom: {path: /y}}]}
  containerSet: {containers: [{name: a, image: busybox}]}
""")
    assert found == [
        "spec.templates[0].containerSet.containers: Required value: inputs and outputs are those "
        'of a container named "main"'
    ]


def test_a_parameter_has_one_of_the_values_it_may_have() -> None:
    spec = yaml.load(DAG)
    spec["arguments"] = {
        "parameters": [
            {"name": "a", "value": 2, "enum": ["1", "2"]},
            {"name": "b", "value": "3", "enum": ["1", "2"]},
            {"name": "c", "enum": ["1"]},
            {"name": "d", "value": "1", "enum": []},
        ]
    }
    found = problems({"metadata": {"name": "x"}, "spec": spec})
    assert [problem.partition(":")[0] for problem in found] == [
        "spec.arguments.parameters[1].value",
        "spec.arguments.parameters[2].value",
        "spec.arguments.parameters[2].value",
        "spec.arguments.parameters[3].enum",
    ]
