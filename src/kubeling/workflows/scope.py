"""What names mean at one place of a Workflow.

A scope is a flat table from the names tags use (``steps.train.outputs.result``) to texts, with the
enclosing scope behind it. Expressions see the same table as nested values.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from kubeling.kube.objects import Obj
from kubeling.workflows.expressions import ExpressionError, exprlang, tags
from kubeling.workflows.expressions.tags import Tag
from kubeling.workflows.names import ABSENT, Names, Tree, merged

__all__ = ["ABSENT", "AbsentOutput", "Scope", "Unresolved"]

_ROOTS: Final[dict[str, Any]] = {"inputs": {}, "steps": {}, "tasks": {}, "workflow": {}}


class Unresolved(Exception):
    """A tag has no value here; the message names it and says why."""


class AbsentOutput(Unresolved):
    """A tag names the output of a node that was skipped or omitted."""


class Scope:
    """Texts by tag name, and artifacts by tag name."""

    def __init__(self, parent: Scope | None = None, values: Mapping[str, Any] | None = None):
        self._parent = parent
        self._tree = Tree()
        self.values = Names(self._tree, values)
        self.artifacts = Names(self._tree)

    def child(self, values: Mapping[str, Any] | None = None) -> Scope:
        """A scope inside this one."""
        return Scope(self, values)

    def lookup(self, name: str) -> Any:
        """The value of a name, or ``None``."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values.data:
                return scope.values.data[name]
            scope = scope._parent
        return None

    def artifact(self, name: str) -> Obj | None:
        """The artifact of a name, or ``None``."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.artifacts.data:
                found: Obj = scope.artifacts.data[name]
                return found
            scope = scope._parent
        return None

    def environment(self) -> dict[str, Any]:
        """The names as nested values, as expressions read them; not to be changed."""
        outer = _ROOTS if self._parent is None else self._parent.environment()
        return merged(outer, self._tree.nested())

    def render(self, value: Any, keep: Collection[str] = ()) -> Any:
        """A JSON value with its tags replaced.

        Tags whose first word is in ``keep`` stay, for a scope further in; raises
        :class:`Unresolved` for others that have no value.
        """
        environment: dict[str, Any] | None = None

        def resolve(tag: Tag) -> str | None:
            nonlocal environment
            if not tag.expression:
                return self._simple(tag, keep)
            if environment is None:
                environment = self.environment()
            return _computed(tag, environment, keep)

        return tags.substitute(value, resolve)

    def evaluate(self, expression: str) -> Any:
        """The value of a bare expression; raises :class:`Unresolved`."""
        try:
            return exprlang.evaluate(expression, self.environment())
        except ExpressionError as error:
            raise Unresolved(f'"{expression}" {error}') from None

    def decide(self, expression: str) -> bool:
        """The truth of a bare expression; raises :class:`Unresolved`."""
        value = self.evaluate(expression)
        if not isinstance(value, bool):
            raise Unresolved(f"\"{expression}\" unable to cast expression result '{value}' to bool")
        return value

    def _simple(self, tag: Tag, keep: Collection[str]) -> str | None:
        value = self.lookup(tag.body)
        if value is None:
            root = tag.body.partition(".")[0]
            if root in keep or root in ("outputs", "cronworkflow"):
                return None
            raise Unresolved(f"failed to resolve {{{{{tag.body}}}}}")
        if value is ABSENT:
            raise AbsentOutput(
                f"unable to substitute {{{{{tag.body}}}}}: output is an absent optional "
                "(skipped/omitted node with no default)"
            )
        return exprlang.text_of(value)


def _computed(tag: Tag, environment: Mapping[str, Any], keep: Collection[str]) -> str | None:
    try:
        program = exprlang.compile_expression(tag.body)
        if any(name in keep for name in program.names):
            return None
        return exprlang.text_of(program(environment))
    except ExpressionError as error:
        raise Unresolved(f"failed to resolve {tag.text}: {error}") from None
