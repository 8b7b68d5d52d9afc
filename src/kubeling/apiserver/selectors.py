"""Field selectors: which fields each kind can be selected by, and the terms they make.

Terms look at objects as they are stored, whatever version asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubeling.apiserver.served import Served
from kubeling.kube.errors import BadRequest
from kubeling.kube.jsonpath import compile_path
from kubeling.kube.objects import Obj

__all__ = ["FieldTerm", "field_selector", "name_term"]

_PART: Final = re.compile(r"(?:\\.|[^\\,])+", re.DOTALL)
_TERM: Final = re.compile(r"(?P<field>[^=!]+)(?P<op>==|=|!=)(?P<value>.*)", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\([\\,=])")
_ALWAYS: Final = frozenset({"metadata.name", "metadata.namespace"})
_EVENT: Final = frozenset(
    {f"{about}.{name}" for about in ("involvedObject", "regarding") for name in
     ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")}
) | {"reason", "reportingComponent", "reportingController", "source", "type"}  # fmt: skip
_SUPPORTED: Final[Mapping[str, frozenset[str]]] = {
    "/events": _EVENT,
    "/namespaces": frozenset({"status.phase"}),
    "/nodes": frozenset({"spec.unschedulable"}),
    "/pods": frozenset(
        {"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
         "spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName"}
    ),
    "/secrets": frozenset({"type"}),
    "/replicationcontrollers": frozenset({"status.replicas"}),
    "apps/replicasets": frozenset({"status.replicas"}),
    "batch/jobs": frozenset({"status.successful"}),
    "certificates.k8s.io/certificatesigningrequests": frozenset({"spec.signerName"}),
}  # fmt: skip
_SPELLED_OTHERWISE: Final = {
    "reportingController": "reportingComponent",
    "status.successful": "status.succeeded",
}
_ABOUT: Final = "involvedObject."
_FALSE_UNLESS_SET: Final = ("spec.unschedulable", "spec.hostNetwork")


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """A field that is (or is not) to have a value, looked at as the object is stored."""

    field: str
    wanted: str
    same: bool
    find: Callable[[Obj], Any]

    def shown(self, obj: Obj) -> str:
        """The field's value as selectors spell it."""
        value = self.find(obj)
        if value is None:
            return "false" if self.field in _FALSE_UNLESS_SET else ""
        return str(value).lower() if isinstance(value, bool) else str(value)

    def matches(self, obj: Obj) -> bool:
        return (self.shown(obj) == self.wanted) == self.same


def field_selector(text: str, served: Served) -> tuple[FieldTerm, ...]:
    """The terms of a selector such as ``metadata.name=a,status.phase!=Failed``; all must hold.

    A backslash takes the meaning from a comma, an equals sign or a backslash in a value.
    """
    return tuple(_term(part[0], served) for part in _PART.finditer(text) if part[0].strip())


def name_term(name: str) -> FieldTerm:
    """That the object has a name."""
    return FieldTerm("metadata.name", name, True, _finder("metadata.name"))


def _term(text: str, served: Served) -> FieldTerm:
    match = _TERM.fullmatch(text.strip())
    if match is None:
        raise BadRequest(
            f"invalid selector: '{text}'; can't understand '{text}': write field=value"
        )
    field, wanted = match["field"].strip(), _ESCAPED.sub(r"\1", match["value"])
    supported = _supported(served)
    if field not in supported:
        raise BadRequest(
            f'field label not supported: "{field}"; {served.resource.plural} can be selected by '
            + ", ".join(sorted(supported))
        )
    return FieldTerm(field, wanted, match["op"] != "!=", _finder(field))


def _supported(served: Served) -> frozenset[str]:
    return _ALWAYS.union(_SUPPORTED.get(served.storage, ()), served.selectable_fields)


def _finder(field: str) -> Callable[[Obj], Any]:
    if field == "source":
        return _source
    return compile_path("." + _SPELLED_OTHERWISE.get(field, field).replace("regarding.", _ABOUT))


def _source(event: Obj) -> Any:
    return (event.get("source") or {}).get("component") or event.get("reportingComponent")
