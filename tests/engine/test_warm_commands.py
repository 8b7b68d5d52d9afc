"""Which commands may be forked from an interpreter that is kept warm, read without running them."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.engine.preloading import modules_named
from kubeling.engine.pythoncommand import python_command, settings_of
from kubeling.engine.shellcommand import warm_command
from kubeling.pipelines.bootstrap import declared_packages

INSTALL = """
if ! [ -x "$(command -v pip)" ]; then
    python3 -m ensurepip || python3 -m ensurepip --user || apt-get install python3-pip
fi

PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install --quiet 'kfp==2.17.0' && "$0" "$@"
"""
EPHEMERAL = """program_path=$(mktemp -d)

printf "%s" "$0" > "$program_path/ephemeral_component.py"
_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main                         \
--component_module_path                         \
"$program_path/ephemeral_component.py"                         "$@"
"""
SOURCE = (
    "\nimport kfp\nfrom kfp.dsl import *\n\ndef add(a, b):\n    import json\n    return a + b\n"
)
READY = {"PATH": os.defpath, "KUBELING_PACKAGES_READY": "true"}

dash = pytest.mark.skipif(
    os.path.basename(os.path.realpath("/bin/sh")) != "dash", reason="/bin/sh is not dash"
)


def component(ephemeral: str = EPHEMERAL) -> list[str]:
    """As the pipelines' controller has it executed."""
    wrapped = ["sh", "-c", INSTALL, "sh", "-ec", ephemeral, SOURCE]
    declared = declared_packages(wrapped)
    assert declared is not None
    return [*declared[1], "--function_to_execute", "add"]


@pytest.mark.parametrize(
    ("argv", "kind", "target"),
    [
        (["python", "a.py", "-c"], "file", "a.py"),
        (["/usr/bin/python3.11", "-m", "a.b", "-u"], "module", "a.b"),
        (["python3", "-u", "-c", "print(1)", "x"], "command", "print(1)"),
    ],
)
def test_an_interpreters_commands_are_read(argv: list[str], kind: str, target: str) -> None:
    command = python_command(argv)
    assert command is not None
    assert (command.warm["kind"], command.warm["argv"][command.warm["place"]]) == (kind, target)


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["python"],
        ["python", "-"],
        ["python", "-m"],
        ["python", "-c"],
        ["python", ""],
        ["python", "-i", "a.py"],
        ["python", "-ua.py"],
        ["python", "-mjson.tool"],
        ["python", "-O", "a.py"],
        ["python2", "a.py"],
        ["pythonic", "a.py"],
        ["sh", "-c", "python a.py"],
    ],
)
def test_others_are_executed(argv: list[str]) -> None:
    assert warm_command(argv, READY) is None


@given(st.lists(st.sampled_from(["-u", "-c", "-m", "-I", "-X", "a.py", "1", "", "-"]), max_size=5))
def test_what_stands_behind_the_program_is_never_read(words: list[str]) -> None:
    command = python_command(["python", *words])
    if command is None:
        return
    place = command.warm["place"]
    before = command.warm["argv"][1:place]
    assert all(word in ("-u", "-c", "-m") for word in before)
    assert not command.warm["argv"][place].startswith("-") or "-c" in before or "-m" in before


def test_an_interpreter_is_for_commands_with_the_same_settings() -> None:
    assert settings_of({"A": "1", "TZ": "UTC", "PYTHONHASHSEED": "0"}) == (
        ("PYTHONHASHSEED", "0"),
        ("TZ", "UTC"),
    )
    assert settings_of({"LD_PRELOAD": "x"}) is None
    assert settings_of({"PYTHONPATH": "x"}) is None


@dash
def test_a_component_of_the_sdk_is_what_the_shells_around_it_start() -> None:
    command = warm_command(component(), READY)
    assert command is not None
    warm = command.warm
    assert warm["argv"][:3] == ["python3", "-m", "kfp.dsl.executor_main"]
    assert warm["argv"][5:] == ["--function_to_execute", "add"]
    assert warm["env"] == {"_KFP_RUNTIME": "true"}
    assert component()[warm["file"]["text"]] == SOURCE


@dash
@pytest.mark.parametrize(
    "changed",
    [
        EPHEMERAL.replace("mktemp -d", "mktemp"),
        EPHEMERAL + "echo done\n",
        EPHEMERAL.replace('"$@"', "$@"),
        EPHEMERAL.replace("kfp.dsl.executor_main", "other"),
        "set -x\n" + EPHEMERAL,
        EPHEMERAL.replace("python3", "debugpy"),
    ],
)
def test_a_component_that_is_only_similar_is_left_to_the_shell(changed: str) -> None:
    assert warm_command(component(changed), READY) is None


@dash
def test_a_component_whose_packages_are_missing_is_left_to_the_shell() -> None:
    assert warm_command(component(), {"PATH": os.defpath}) is None


def test_another_shell_is_left_alone(tmp_path: Path) -> None:
    shell = tmp_path / "sh"
    shell.write_text("#!/bin/true\n")
    shell.chmod(0o755)
    assert warm_command(component(), {**READY, "PATH": str(tmp_path)}) is None


def test_a_template_imports_what_the_program_names() -> None:
    assert modules_named(SOURCE) == ["kfp", "kfp.dsl", "json"]
    assert modules_named("from . import a\nfrom .b import c\nimport d.e as f\n") == ["d.e"]
    assert modules_named("def f(:") == []


@pytest.mark.parametrize(
    "line",
    [
        "os.environ['A'] = '1'",
        "environ.setdefault('A', '1')",
        "os.environ |= {'A': '1'}",
        "os.putenv('A', '1')",
        "os.unsetenv('A')",
        "del os.environ['A']",
        "os.environ.pop('A', None)",
        "dotenv.load_dotenv()",
    ],
)
def test_what_is_imported_below_variables_that_are_set_is_not_there_before(line: str) -> None:
    assert modules_named(f"import os, json\n{line}\nimport numpy\n") == ["os", "json"]
    reading = f"import numpy\nprint(os.environ['A'])\nimport pandas\n{line}"
    assert modules_named(reading) == ["numpy", "pandas"]
