"""``kubeling workflow`` and its siblings, as users of Argo's command line use them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.platform import Platform

from kubeling.kube import yaml

pytestmark = pytest.mark.e2e

WORKFLOW = """
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: talk-}
spec:
  entrypoint: main
  arguments: {parameters: [{name: text, value: hello}, {name: good, value: "no"}]}
  templates:
  - name: main
    steps:
    - - {name: say, template: say}
    - - {name: check, template: check}
  - name: say
    container: {image: busybox, command: [echo, "{{workflow.parameters.text}}"]}
  - name: check
    container: {image: busybox, command: [test, "{{workflow.parameters.good}}", "=", "yes"]}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "workflow.yaml"
    path.write_text(WORKFLOW)
    return str(path)


def test_a_workflow_is_submitted_watched_and_retried(solo: Platform, file: str) -> None:
    def workflow(*words: str, code: int = 0) -> str:
        done = solo.kubeling("workflow", *words, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    assert "no linting errors" in workflow("lint", file)
    assert "no linting errors" in workflow("lint", "--offline", file)
    parameters = Path(file).with_name("parameters.yaml")
    parameters.write_text("text: from a file\n")
    name = workflow(
        *("submit", file, "-f", str(parameters), "-l", "by=cli", "--wait", "-o", "name"), code=1
    ).strip()
    tree = workflow("get", name)
    assert "├───✔ say" in tree
    assert "└───✖ check" in tree
    assert workflow("logs", name, "--grep", "file", "--no-color").endswith(": from a file\n")
    assert workflow("list", "-l", "by=cli", "--status", "Failed", "-o", "name") == f"{name}\n"
    assert workflow("list", "--running", "-l", "by=cli") == "No workflows found\n"
    again = workflow("resubmit", name, "--memoized", "-p", "good=yes", "--wait", "-o", "name")
    assert "original pod" in workflow("get", again.strip())
    workflow("retry", name, "-p", "good=yes", "--watch")
    assert json.loads(workflow("get", name, "-o", "json"))["status"]["phase"] == "Succeeded"
    workflow("stop", name, code=1)
    assert "(dry-run)" in workflow("delete", "-l", "by=cli", "--dry-run")
    workflow("delete", "-l", "by=cli")
    assert workflow("list", "-l", "by=cli") == "No workflows found\n"
    listed = solo.kubeling("archive", "list", "-l", "by=cli", "-o", "name").stdout.split()
    assert set(listed) == {name, again.strip()}
    assert "├───✔ say" in solo.kubeling("archive", "get", name).stdout
    solo.kubeling("archive", "resubmit", name, "--wait")
    solo.kubeling("archive", "delete", name)


def test_templates_and_cron_workflows_are_kept_and_run(solo: Platform, file: str) -> None:
    document = yaml.load(WORKFLOW)
    spec = document["spec"]
    spec["arguments"]["parameters"][1]["value"] = "yes"
    kept = Path(file).with_name("kept.yaml")
    for command, kind, inner in (
        ("template", "WorkflowTemplate", spec),
        ("cluster-template", "ClusterWorkflowTemplate", spec),
        ("cron", "CronWorkflow", {"schedules": ["0 0 1 1 *"], "workflowSpec": spec}),
    ):
        obj = {**document, "kind": kind, "metadata": {"name": "cli-talk"}, "spec": inner}
        kept.write_text(yaml.dump(obj))
        assert "no linting errors" in solo.kubeling(command, "lint", str(kept)).stdout
        assert "cli-talk" in solo.kubeling(command, "create", str(kept)).stdout
        assert "cli-talk" in solo.kubeling(command, "update", str(kept)).stdout
        assert "cli-talk" in solo.kubeling(command, "list").stdout
        solo.kubeling("workflow", "submit", "--from", f"{kind}/cli-talk", "--wait")
        if command == "cron":
            solo.kubeling(command, "suspend", "cli-talk")
            assert "true" in solo.kubeling(command, "list").stdout
            solo.kubeling(command, "resume", "cli-talk")
        assert "cli-talk" in solo.kubeling(command, "get", "cli-talk").stdout
        solo.kubeling(command, "delete", "cli-talk")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["submit"], "nothing to submit"),
        (["submit", "FILE", "--from", "cronwf/x"], "cannot combine --from with file arguments"),
        (["submit", "FILE", "--wait", "--watch"], "--wait cannot be combined with --watch"),
        (["submit", "FILE", "--dry-run"], "--dry-run should have an output option"),
        (["submit", "--from", "x"], "is malformed"),
        (["submit", "--from", "pod/x"], "is not supported for submitting"),
        (["submit", "FILE", "-p", "text"], "NAME=VALUE"),
        (["stop"], "requires either selector or workflow"),
        (["delete"], "requires either selector or workflow"),
        (["list", "--completed", "--running"], "cannot be used together"),
        (["get", "nobody"], "not found"),
        (["set", "nobody", "-p", "x"], "should be NAME=VALUE"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    solo: Platform, file: str, words: list[str], said: str
) -> None:
    given = [file if word == "FILE" else word for word in words]
    done = solo.kubeling("workflow", *given, check=False)
    assert done.returncode == 1
    assert said in done.stderr
