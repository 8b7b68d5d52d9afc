"""The reference names the tests that hold its promises: they exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "reference").glob("*.md"))


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
