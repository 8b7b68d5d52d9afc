"""``kubeling workflow`` and its siblings, as users of Argo's command line use them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.platform import Platform

from kubeling.cli.main import main
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


class Shell:
    """The command, in this process: starting one for each would take most of the time."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.errors = ""

    def __call__(self, *words: str, code: int = 0) -> str:
        """What a command prints; its exit code has to be the expected one."""
        with pytest.raises(SystemExit) as ended:
            main(words)
        printed = self._capsys.readouterr()
        self.errors = printed.err
        assert ended.value.code == code, printed.out + printed.err
        return printed.out


@pytest.fixture
def kubeling(
    solo: Platform, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Shell:
    """The command of a user whose platform runs."""
    monkeypatch.setenv("KUBELING_DATA_DIR", str(solo.data_dir))
    return Shell(capsys)


def test_a_workflow_is_submitted_watched_and_retried(kubeling: Shell, file: str) -> None:
    def workflow(*words: str, code: int = 0) -> str:
        return kubeling("workflow", *words, code=code)

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
    listed = kubeling("archive", "list", "-l", "by=cli", "-o", "name").split()
    assert set(listed) == {name, again.strip()}
    assert "├───✔ say" in kubeling("archive", "get", name)
    kubeling("archive", "resubmit", name, "--wait")
    kubeling("archive", "delete", name)


def test_templates_and_cron_workflows_are_kept_and_run(kubeling: Shell, file: str) -> None:
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
        assert "no linting errors" in kubeling(command, "lint", str(kept))
        assert "cli-talk" in kubeling(command, "create", str(kept))
        assert "cli-talk" in kubeling(command, "update", str(kept))
        assert "cli-talk" in kubeling(command, "list")
        kubeling("workflow", "submit", "--from", f"{kind}/cli-talk", "--wait")
        if command == "cron":
            kubeling(command, "suspend", "cli-talk")
            assert "true" in kubeling(command, "list")
            kubeling(command, "resume", "cli-talk")
        assert "cli-talk" in kubeling(command, "get", "cli-talk")
        kubeling(command, "delete", "cli-talk")


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
    kubeling: Shell, file: str, words: list[str], said: str
) -> None:
    kubeling("workflow", *(file if word == "FILE" else word for word in words), code=1)
    assert said in kubeling.errors
