"""Which nodes of a Workflow a ``nodeFieldSelector`` means.

The grammar is that of apimachinery ``fields.ParseSelector`` (``key=value``, ``==``, ``!=``, commas,
backslashes before ``,``, ``=`` and ``\\``), the fields are those of upstream's
``util.SelectorMatchesNode``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from kubeling.kube.objects import Obj
from kubeling.workflows.operations.errors import OperationRefused
from kubeling.workflows.variables import parameter_text

__all__ = ["NodeSelector", "parse_node_selector", "template_of"]

_TERM: Final = re.compile(r"((?:\\.|[^=!\\])+?)(!=|==|=)((?:\\.|[^=\\])*)", re.DOTALL)
_COMMA: Final = re.compile(r"((?:\\.|[^,\\])*)(?:,|$)", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\([\\,=])")


@dataclass(frozen=True, slots=True)
class NodeSelector:
    """Terms that all have to hold: field, whether equal or not, value."""

    terms: tuple[tuple[str, bool, str], ...]

    def matches(self, node: Obj) -> bool:
        """Whether the node, as its status has it, is meant."""
        fields = _fields(node)
        return all((fields.get(key, "") == value) is equal for key, equal, value in self.terms)


def parse_node_selector(text: str) -> NodeSelector:
    """Reads a selector; an empty one means every node."""
    terms = []
    for part in filter(None, (found[1] for found in _COMMA.finditer(text))):
        found = _TERM.fullmatch(part)
        if found is None:
            raise OperationRefused(
                f'invalid nodeFieldSelector "{text}": "{part}" should be FIELD=VALUE, as in '
                "displayName=approve"
            )
        key, operator, value = found.groups()
        terms.append((_plain(key), operator != "!=", _plain(value)))
    return NodeSelector(tuple(terms))


def template_of(node: Obj) -> str:
    """The name of the template a node runs, wherever that template is."""
    reference = node.get("templateRef") or {}
    return str(reference.get("template") or node.get("templateName") or "")


def _plain(text: str) -> str:
    return _ESCAPE.sub(r"\1", text)


def _fields(node: Obj) -> dict[str, str]:
    fields = {key: str(node.get(key) or "") for key in ("displayName", "phase", "name", "id")}
    fields["templateName"] = template_of(node)
    for key, value in (node.get("templateRef") or {}).items():
        if key in ("name", "template"):
            fields[f"templateRef.{key}"] = str(value)
    for parameter in (node.get("inputs") or {}).get("parameters") or ():
        value = parameter_text(parameter.get("value"))
        fields[f"inputs.parameters.{parameter['name']}.value"] = value
    return fields
