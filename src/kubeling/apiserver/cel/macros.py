"""The macros: calls that bind variables, so that they cannot be functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kubeling.apiserver.cel.syntax import Binding, Comprehension, Ident, Loop, Node, Select

__all__ = ["MacroError", "expand", "expand_has"]


class MacroError(Exception):
    """A macro with arguments it cannot have."""

    def __init__(self, at: int, what: str) -> None:
        super().__init__(what)
        self.at = at


_LOOPS: Final[dict[str, Loop]] = {
    "all": "all",
    "exists": "exists",
    "exists_one": "exists_one",
    "existsOne": "exists_one",
    "filter": "filter",
    "map": "map",
    "transformList": "transformList",
    "transformMap": "transformMap",
}
_COUNTS: Final[dict[str, tuple[int, ...]]] = {
    "all": (2, 3),
    "exists": (2, 3),
    "exists_one": (2, 3),
    "existsOne": (3,),
    "filter": (2,),
    "map": (2, 3),
    "transformList": (3, 4),
    "transformMap": (3, 4),
}
_TWO_VARIABLES: Final = {"all": 3, "exists": 3, "exists_one": 3, "existsOne": 3}


def expand_has(at: int, arguments: Sequence[Node]) -> Node:
    """``has(a.b)``; raises :class:`MacroError`."""
    match arguments:
        case [Select(operand=operand, field=field, test=False, optional=False)]:
            return Select(at, operand, field, test=True)
    raise MacroError(at, "invalid argument to has() macro")


def expand(at: int, operand: Node, name: str, arguments: Sequence[Node]) -> Node | None:
    """The node of a member call that is a macro; raises :class:`MacroError`."""
    if name in ("optMap", "optFlatMap") and len(arguments) == 2:
        variable, body = arguments
        return Binding(at, operand, _variable(variable, name), body, flat=name == "optFlatMap")
    if len(arguments) not in _COUNTS.get(name, ()):
        return None
    wide = name.startswith("transform") or len(arguments) == _TWO_VARIABLES.get(name)
    count = 2 if wide else 1
    variables = tuple(_variable(argument, name) for argument in arguments[:count])
    if len(set(variables)) < count:
        raise MacroError(arguments[1].at, f"duplicate variable name: {variables[0]}")
    *where, body = arguments[count:]
    return Comprehension(at, _LOOPS[name], operand, variables, body, where[0] if where else None)


def _variable(node: Node, macro: str) -> str:
    if isinstance(node, Ident):
        return node.name
    raise MacroError(node.at, f"argument must be a simple name: {macro}()")
