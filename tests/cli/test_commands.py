"""What people read: help, tables, manifests and errors."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from kubeling.cli.errors import CliError
from kubeling.cli.get import render_table
from kubeling.cli.main import cli
from kubeling.cli.manifests import read_manifests
from kubeling.cli.wait import meets


def test_help_lists_every_command_with_one_line_each() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).output
    platform = "up down status reset doctor config env controllers demo"
    resources = "apply get describe logs delete wait why run"
    for command in f"{platform} {resources}".split():
        assert f"\n  {command} " in shown


@pytest.mark.parametrize(
    "command", ["up", "down", "config", "apply", "get", "wait", "why", "demo", "run"]
)
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(cli, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from kubeling.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'aiohttp', 'sqlalchemy', 'msgspec', 'rich', 'cryptography', 'yaml'}\n"
        "sys.exit(1 if heavy & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_an_error_is_one_line_and_a_hint_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kubeling", "get", "pods", "--data-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == f"error: no platform is running from {tmp_path}"
    assert "kubeling up" in lines[1]
    assert len(lines) == 2


def test_a_misspelt_command_is_answered_with_the_one_that_was_meant() -> None:
    assert "Did you mean 'run'?" in CliRunner().invoke(cli, ["runn"]).output
    assert "Did you mean 'submit'?" in CliRunner().invoke(cli, ["workflow", "submitt"]).output
    assert "Did you mean" not in CliRunner().invoke(cli, ["xyzzy"]).output


@pytest.mark.parametrize("timeout", ["20", "20s", "1m30s"])
def test_a_timeout_may_have_kubectls_units(tmp_path: Path, timeout: str) -> None:
    words = ["wait", "pod/a", "--for", "delete", "--data-dir", str(tmp_path)]
    result = CliRunner().invoke(cli, [*words, f"--timeout={timeout}"])
    assert isinstance(result.exception, CliError)
    assert "no platform is running" in result.exception.message


def test_a_timeout_that_is_none_is_answered_with_an_example() -> None:
    result = CliRunner().invoke(cli, ["wait", "pod/a", "--for", "delete", "--timeout=soon"])
    assert result.exit_code == 2
    assert 'write for example "30s"' in result.output


class TestManifests:
    def read(self, tmp_path: Path, text: str) -> list[dict[str, object]]:
        file = tmp_path / "m.yaml"
        file.write_text(text)
        return read_manifests((str(file),))

    def test_documents_and_lists_are_opened(self, tmp_path: Path) -> None:
        text = (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n"
            "kind: List\napiVersion: v1\nitems:\n"
            "- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}}\n"
        )
        assert [o["metadata"]["name"] for o in self.read(tmp_path, text)] == ["a", "b"]  # type: ignore[index]

    def test_what_is_missing_is_named_with_its_place(self, tmp_path: Path) -> None:
        with pytest.raises(CliError, match="document 1: apiVersion and metadata not set"):
            self.read(tmp_path, "kind: Pod\n")

    def test_stages_are_recognised(self, tmp_path: Path) -> None:
        with pytest.raises(CliError, match="file of stages") as raised:
            self.read(tmp_path, "stages: [a, b]\n")
        assert "kubeling run" in raised.value.hint

    def test_broken_yaml_names_the_line(self, tmp_path: Path) -> None:
        with pytest.raises(CliError, match="line 2"):
            self.read(tmp_path, "a: 1\n b: [")


def test_a_table_is_aligned_and_hides_wide_columns() -> None:
    table = {
        "columnDefinitions": [
            {"name": "Name"},
            {"name": "Age"},
            {"name": "Node", "priority": 1},
        ],
        "rows": [
            {"cells": ["web", "5m", "n1"], "object": {"metadata": {"namespace": "a"}}},
            {"cells": ["database", None, "n1"], "object": {"metadata": {"namespace": "b"}}},
        ],
    }
    assert render_table(table).splitlines() == ["NAME       AGE", "web        5m", "database"]
    assert render_table(table, wide=True, namespaces=True).splitlines()[1].split() == [
        "a", "web", "5m", "n1",
    ]  # fmt: skip


def test_conditions_phases_and_absence_can_be_waited_for() -> None:
    pod = {
        "metadata": {"name": "p"},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }
    assert meets(pod, "condition=Ready")
    assert not meets(pod, "condition=Ready=False")
    assert meets(pod, "phase=Running")
    assert meets(None, "delete")
    with pytest.raises(CliError, match="cannot wait for"):
        meets(pod, "sunrise")
