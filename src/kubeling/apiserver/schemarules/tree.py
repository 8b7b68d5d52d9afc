"""The rules of a whole schema, and the walk that applies them to an object.

Only the branches that hold a rule are kept, so an object is visited where there is something to
check and nowhere else. While walking, each value is paired with the one it replaces, as far as
Kubernetes thinks the two can be told to be the same: fields and map values by name, items of lists
of type ``map`` by their keys, other items never.

A value that did not change does not have to obey rules that came after it was written: then what
is found is a warning (ratcheting).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from kubeling.apiserver.cel.errors import CompileError
from kubeling.apiserver.cel.frames import REQUEST_LIMIT, Meter
from kubeling.apiserver.cel.types import ANY
from kubeling.apiserver.schemarules import RULES
from kubeling.apiserver.schemarules.rule import (
    OutOfBudget,
    Rule,
    compile_rule,
    rule_errors,
)
from kubeling.apiserver.schemarules.typed import Adapt, Typing, adapter
from kubeling.apiserver.served import Findings
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, mapping, mappings

__all__ = ["RuleTree", "definition_errors"]


class RuleTree:
    """The rules of one version of a definition, compiled when first asked."""

    def __init__(self, schema: Obj) -> None:
        self._schema = schema

    @cached_property
    def _root(self) -> _Branch | None:
        return _branch(self._schema, Typing(), root=True)

    def check(self, new: Obj, old: Obj | None) -> Findings:
        """Applies every rule to an object; ``old`` is what it replaces."""
        findings = Findings([], [])
        if self._root is None:
            return findings
        walk = _Walk(findings, Meter(REQUEST_LIMIT))
        try:
            walk.visit(self._root, "", new, old)
        except OutOfBudget as error:
            findings.errors.append(error.error)
        return findings


@dataclass(frozen=True, slots=True)
class _Branch:
    """A node that has rules, or something below it has."""

    rules: list[Rule]
    adapt: Adapt | None
    keys: tuple[str, ...]
    broken: list[str]
    """Why rules cannot be compiled, in a definition that was accepted before they were."""
    properties: Mapping[str, _Branch] = field(default_factory=dict)
    items: _Branch | None = None
    additional: _Branch | None = None


def _branch(node: Obj, typing: Typing, *, root: bool = False) -> _Branch | None:
    properties = {
        name: found
        for name, child in (node.get("properties") or {}).items()
        if (found := _branch(child, typing)) is not None
    }
    items = _child(node, "items", typing)
    additional = _child(node, "additionalProperties", typing)
    sources = node.get(RULES) or []
    if not (sources or properties or items or additional):
        return None
    rules: list[Rule] = []
    broken: list[str] = []
    seen_as = typing.of(node, root=root)
    for source in sources:
        try:
            rules.append(compile_rule(source, node, seen_as or ANY))
        except CompileError as error:
            broken.append(str(error))
    adapt = adapter(node) if rules else None
    return _Branch(rules, adapt, _keys(node), broken, properties, items, additional)


def _child(node: Obj, key: str, typing: Typing) -> _Branch | None:
    child = node.get(key)
    return _branch(child, typing) if isinstance(child, dict) else None


def _keys(node: Obj) -> tuple[str, ...]:
    """What tells the items of a list apart, where something does."""
    if node.get("x-kubernetes-list-type") != "map":
        return ()
    return tuple(node.get("x-kubernetes-list-map-keys") or ())


class _Walk:
    def __init__(self, findings: Findings, budget: Meter) -> None:
        self._findings = findings
        self._budget = budget

    def visit(self, branch: _Branch, path: str, value: Any, old: Any) -> None:
        """Checks a value and what is below it."""
        if value is None:
            return
        for text in branch.broken:
            what = f"rule compile error: {text}"
            self._findings.errors.append(FieldError(path, "Invalid value", what, "object"))
        if branch.rules:
            self._apply(branch, path, value, old)
        if isinstance(value, dict):
            self._visit_object(branch, path, value, old if isinstance(old, dict) else {})
        elif isinstance(value, list) and branch.items is not None:
            counterparts = _counterparts(branch.keys, value, old)
            for index, (item, before) in enumerate(zip(value, counterparts, strict=True)):
                self.visit(branch.items, f"{path}[{index}]", item, before)

    def _apply(self, branch: _Branch, path: str, value: Any, old: Any) -> None:
        adapt = branch.adapt
        seen, before = (value, old) if adapt is None else (adapt(value), adapt(old))
        unchanged = old is not None and value == old
        for rule in branch.rules:
            error = rule.check(path, seen, before, self._budget)
            if error is None:
                continue
            if unchanged and not rule.compares:
                self._findings.warnings.append(str(error))
            else:
                self._findings.errors.append(error)

    def _visit_object(self, branch: _Branch, path: str, value: Obj, old: Obj) -> None:
        for name, child in branch.properties.items():
            if name in value:
                self.visit(child, f"{path}.{name}" if path else name, value[name], old.get(name))
        if branch.additional is not None:
            for name, inner in value.items():
                self.visit(branch.additional, f"{path}[{name}]", inner, old.get(name))


def _counterparts(keys: tuple[str, ...], items: list[Any], old: Any) -> list[Any]:
    """The old item of each item, where keys tell which it is."""
    if not keys or not isinstance(old, list):
        return [None] * len(items)
    known = {_identity(keys, item): item for item in old}
    return [known.get(_identity(keys, item)) for item in items]


def _identity(keys: tuple[str, ...], item: Any) -> tuple[str, ...]:
    return tuple(repr(item.get(key)) for key in keys) if isinstance(item, dict) else (repr(item),)


# Definitions


def definition_errors(schema: Obj, path: str) -> Iterator[FieldError]:
    """What is wrong with the rules of a schema that someone wants to define."""
    yield from _node_errors(schema, Typing(), path, "", root=True)


def _node_errors(
    node: Obj, typing: Typing, path: str, uncorrelated: str, *, root: bool = False
) -> Iterator[FieldError]:
    """``uncorrelated`` is the path of the list above whose items cannot be told apart."""
    found = typing.of(node, root=root) if node.get(RULES) else None
    for index, source in enumerate(mappings(node.get(RULES))):
        where = f"{path}.{RULES}[{index}]"
        if found is None:
            text = "rules need a schema that states the type"
            yield FieldError(where, "Invalid value", text, source)
            continue
        errors = list(rule_errors(source, node, found, where))
        yield from errors
        if uncorrelated and not errors and compile_rule(source, node, found).compares:
            text = (
                "oldSelf cannot be used on the uncorrelatable portion of the schema within "
                f"{uncorrelated}"
            )
            yield FieldError(f"{where}.rule", "Invalid value", text, source.get("rule"))
    for name, child in mapping(node.get("properties")).items():
        if isinstance(child, dict):
            yield from _node_errors(child, typing, f"{path}.properties[{name}]", uncorrelated)
    for key in ("items", "additionalProperties"):
        child = node.get(key)
        if isinstance(child, dict):
            apart = uncorrelated or (path if key == "items" and not _keys(node) else "")
            yield from _node_errors(child, typing, f"{path}.{key}", apart)
