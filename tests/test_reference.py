"""What the documents promise: tests they name exist, and kubectl reads the examples as we do."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "reference").glob("*.md"))
EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))
SWITCHES = {"y", "n", "yes", "no", "on", "off"}
"""What YAML 1.1, which kubectl reads, takes for true and false and YAML 1.2 for text."""


def named(page: Path) -> list[tuple[str, list[str]]]:
    """The tests a page names: a file, and the names down to the test."""
    found = re.findall(r"`(tests/[\w/]+\.py)((?:::\w+)+)`", page.read_text())
    return [(file, names.strip(":").split("::")) for file, names in found]


@cache
def parsed(file: str) -> list[ast.stmt]:
    path = ROOT / file
    return ast.parse(path.read_text()).body if path.exists() else []


def exists(file: str, names: list[str]) -> bool:
    body = parsed(file)
    for name in names:
        kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        found = [node for node in body if isinstance(node, kinds) and node.name == name]
        if not found:
            return False
        body = found[0].body
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_is_named_exists(page: Path) -> None:
    tests = named(page)
    assert page.name != "kubernetes-api.md" or len(tests) > 60
    assert [f"{file}::{'::'.join(names)}" for file, names in tests if not exists(file, names)] == []
    assert "::{" not in page.read_text()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_kubectl_reads_an_example_as_we_do(example: Path) -> None:
    tokens = yaml.scan(example.read_text())
    plain = [t.value for t in tokens if isinstance(t, yaml.ScalarToken) and t.plain]
    assert not [word for word in plain if word.lower() in SWITCHES]
