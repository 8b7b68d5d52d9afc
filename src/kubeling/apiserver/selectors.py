"""Field selectors: which fields each kind can be selected by, and the predicate they make."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from kubeling.apiserver.jsonpath import compile_path
from kubeling.apiserver.served import Served
from kubeling.kube.errors import BadRequest
from kubeling.kube.objects import Obj

__all__ = ["field_selector"]

Predicate = Callable[[Obj], bool]

_TERM: Final = re.compile(r"^(?P<field>[^=!]+)(?P<op>==|=|!=)(?P<value>.*)$", re.DOTALL)
_ALWAYS: Final = frozenset({"metadata.name", "metadata.namespace"})
_EVENT: Final = frozenset(
    {f"involvedObject.{name}" for name in
     ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")}
) | {"reason", "reportingComponent", "source", "type"}  # fmt: skip
_SUPPORTED: Final[Mapping[str, frozenset[str]]] = {
    "/events": _EVENT,
    "/namespaces": frozenset({"status.phase"}),
    "/nodes": frozenset({"spec.unschedulable"}),
    "/pods": frozenset(
        {"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
         "spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName"}
    ),
    "/secrets": frozenset({"type"}),
    "apps/replicasets": frozenset({"status.replicas"}),
    "batch/jobs": frozenset({"status.successful"}),
    "certificates.k8s.io/certificatesigningrequests": frozenset({"spec.signerName"}),
}  # fmt: skip
_SPELLED_OTHERWISE: Final = {
    "source": "source.component",
    "status.successful": "status.succeeded",
}


def field_selector(text: str, served: Served) -> Predicate:
    """The predicate of a selector such as ``metadata.name=a,status.phase!=Failed``."""
    terms = [_term(part, served) for part in text.split(",") if part.strip()]
    return lambda obj: all(term(obj) for term in terms)


def _term(text: str, served: Served) -> Predicate:
    match = _TERM.match(text.strip())
    if match is None:
        raise BadRequest(
            f"invalid selector: '{text}'; can't understand '{text}': write field=value"
        )
    field, wanted = match["field"].strip(), match["value"]
    if not _supports(served, field):
        raise BadRequest(
            f'field label not supported: "{field}"; {served.resource.plural} can be selected by '
            + ", ".join(sorted(_ALWAYS | _SUPPORTED.get(served.storage, frozenset())))
        )
    find, same = compile_path(f".{_SPELLED_OTHERWISE.get(field, field)}"), match["op"] != "!="
    return lambda obj: (_shown(find(obj), field) == wanted) == same


def _supports(served: Served, field: str) -> bool:
    if field in _ALWAYS or field in _SUPPORTED.get(served.storage, frozenset()):
        return True
    return f".{field}" in served.selectable_fields


def _shown(value: Any, field: str) -> str:
    if value is None:
        return "false" if field in ("spec.unschedulable", "spec.hostNetwork") else ""
    return str(value).lower() if isinstance(value, bool) else str(value)
