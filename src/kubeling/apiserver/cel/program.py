"""Expressions, ready to run: the face of this package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubeling.apiserver.cel.checker import MessageTypes, check
from kubeling.apiserver.cel.compiler import Compiler
from kubeling.apiserver.cel.errors import EvalError, ResultError
from kubeling.apiserver.cel.frames import Closure, Meter
from kubeling.apiserver.cel.parser import parse
from kubeling.apiserver.cel.standard import standard_library
from kubeling.apiserver.cel.types import ANY, Type

__all__ = ["Program", "compile_expression"]


class Program:
    """A compiled expression; it may be run any number of times.

    ``result`` is its type and ``uses`` the variables that occur in it.
    """

    def __init__(
        self, source: str, closure: Closure, variables: list[str], size: int, result: Type
    ) -> None:
        self.source = source
        self.result = result
        self.uses: frozenset[str] = frozenset()
        self._closure = closure
        self._variables = variables
        self._spare = [None] * (size - len(variables) - 1)

    def evaluate(self, values: Mapping[str, Any], meter: Meter | None = None) -> Any:
        """The value for these variables; those left out are null.

        Raises :class:`EvalError` where there is no value, and :class:`CostExceeded`.
        """
        frame = [meter or Meter(), *(values.get(name) for name in self._variables), *self._spare]
        try:
            return self._closure(frame)
        except (TypeError, AttributeError):
            # A dynamic list, or an object that is not as its schema says, held another type.
            raise EvalError("no such overload") from None


def compile_expression(
    source: str,
    variables: Mapping[str, Type],
    *,
    result: Type | None = None,
    what: str = "cel expression",
    messages: MessageTypes = lambda name: None,
) -> Program:
    """Compiles an expression over these variables.

    Raises :class:`CompileError` where it cannot be right or does not give ``result``; then
    ``what`` is how the message calls it.
    """
    root = parse(source)
    checked = check(source, root, variables, standard_library(), messages)
    found = checked.types[root]
    if result is not None and found not in (result, ANY):
        raise ResultError(f"{what} must evaluate to a {result}")
    names = list(variables)
    compiler = Compiler(checked, {name: index for index, name in enumerate(names, start=1)})
    closure = compiler.compile(root)
    program = Program(source, closure, names, compiler.frame_size, found)
    program.uses = frozenset(checked.variables.values()) & variables.keys()
    return program
