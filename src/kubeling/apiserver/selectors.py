"""Field selectors: which fields each kind can be selected by, and the predicate they make.

The predicate looks at objects as they are stored, whatever version asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from kubeling.apiserver.jsonpath import compile_path
from kubeling.apiserver.served import Served
from kubeling.kube.errors import BadRequest
from kubeling.kube.objects import Obj

__all__ = ["field_selector", "selected_name"]

Predicate = Callable[[Obj], bool]

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


def field_selector(text: str, served: Served) -> Predicate:
    """The predicate of a selector such as ``metadata.name=a,status.phase!=Failed``.

    A backslash takes the meaning from a comma, an equals sign or a backslash in a value.
    """
    terms = [_term(part[0], served) for part in _PART.finditer(text) if part[0].strip()]
    return lambda obj: all(term(obj) for term in terms)


def selected_name(text: str) -> str:
    """The one name that a field selector allows, if it does: there is an index for that."""
    for part in _PART.finditer(text):
        match = _TERM.fullmatch(part[0].strip())
        if match and match["op"] != "!=" and match["field"].strip() == "metadata.name":
            return _ESCAPED.sub(r"\1", match["value"])
    return ""


def _term(text: str, served: Served) -> Predicate:
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
    find, same = _finder(field), match["op"] != "!="
    return lambda obj: (_shown(find(obj), field) == wanted) == same


def _supported(served: Served) -> frozenset[str]:
    return _ALWAYS.union(_SUPPORTED.get(served.storage, ()), served.selectable_fields)


def _finder(field: str) -> Callable[[Obj], Any]:
    if field == "source":
        return _source
    return compile_path("." + _SPELLED_OTHERWISE.get(field, field).replace("regarding.", _ABOUT))


def _source(event: Obj) -> Any:
    return (event.get("source") or {}).get("component") or event.get("reportingComponent")


def _shown(value: Any, field: str) -> str:
    if value is None:
        return "false" if field in _FALSE_UNLESS_SET else ""
    return str(value).lower() if isinstance(value, bool) else str(value)
