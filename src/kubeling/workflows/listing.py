"""Which Workflows a list is about, and in which order.

Upstream: ``server/utils/list_options.go``. The same options select live Workflows here and
archived ones in the database, so that one list can go on where the other ends.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from kubeling.kube.objects import Obj, labels, parse_time
from kubeling.kube.selectors import LabelSelector, parse
from kubeling.workflows.operations.errors import OperationRefused

__all__ = ["NAME_FILTERS", "WorkflowFilter", "newest_first", "workflow_filter"]

NameFilter = Literal["", "Exact", "Contains", "Prefix", "NotEquals"]
NAME_FILTERS: Final[tuple[NameFilter, ...]] = ("", "Exact", "Contains", "Prefix", "NotEquals")
_NAMES: Final[dict[NameFilter, Callable[[str, str], bool]]] = {
    "": str.__eq__,
    "Exact": str.__eq__,
    "Contains": str.__contains__,
    "Prefix": str.startswith,
    "NotEquals": str.__ne__,
}


@dataclass(frozen=True, slots=True)
class WorkflowFilter:
    """What Workflows have to be like; unset fields ask nothing."""

    namespace: str = ""
    other_namespaces: bool = False
    name: str = ""
    name_filter: NameFilter = ""
    name_prefix: str = ""
    started_after: dt.datetime | None = None
    started_before: dt.datetime | None = None
    created_after: dt.datetime | None = None
    finished_before: dt.datetime | None = None
    labels: LabelSelector | None = None
    count_rest: bool = False

    def matches(self, workflow: Obj) -> bool:
        """Whether a live Workflow is meant."""
        metadata, status = workflow["metadata"], workflow.get("status") or {}
        if self.namespace and (
            (metadata.get("namespace") == self.namespace) is self.other_namespaces
        ):
            return False
        if self.name and not _NAMES[self.name_filter](metadata["name"], self.name):
            return False
        if not metadata["name"].startswith(self.name_prefix):
            return False
        if self.labels is not None and not self.labels.matches(labels(workflow)):
            return False
        return (
            _within(status.get("startedAt"), self.started_after, self.started_before)
            and _within(metadata.get("creationTimestamp"), self.created_after, None)
            and _within(status.get("finishedAt"), None, self.finished_before)
        )


def workflow_filter(
    *,
    namespace: str = "",
    name_prefix: str = "",
    name_filter: str = "",
    created_after: str = "",
    finished_before: str = "",
    label_selector: str = "",
    field_selector: str = "",
) -> WorkflowFilter:
    """The filter a list request asks for."""
    if name_filter not in NAME_FILTERS:
        raise OperationRefused(
            f'nameFilter "{name_filter}" is not one of {", ".join(filter(None, NAME_FILTERS))}'
        )
    found = WorkflowFilter(
        namespace=namespace,
        name_prefix=name_prefix,
        name_filter=name_filter,
        created_after=_time("createdAfter", created_after),
        finished_before=_time("finishedBefore", finished_before),
        labels=parse(label_selector) if label_selector else None,
    )
    for term in filter(None, field_selector.split(",")):
        found = _with_term(found, term)
    return found


def newest_first(workflow: Obj) -> tuple[bool, str]:
    """Sorts by the time of the start; what has not started comes first (with ``reverse``)."""
    started = (workflow.get("status") or {}).get("startedAt") or ""
    return not started, str(started)


def _with_term(found: WorkflowFilter, term: str) -> WorkflowFilter:
    for prefix, apply in _TERMS:
        if term.startswith(prefix):
            return apply(found, term.removeprefix(prefix))
    raise OperationRefused(f"unsupported requirement {term}")


def _in_namespace(found: WorkflowFilter, value: str) -> WorkflowFilter:
    if found.namespace not in ("", value):
        raise OperationRefused(
            f"'namespace' query param (\"{found.namespace}\") and fieldselector "
            f"'metadata.namespace' (\"{value}\") are both specified and contradict each other"
        )
    return replace(found, namespace=value)


_TERMS: Final[tuple[tuple[str, Callable[[WorkflowFilter, str], WorkflowFilter]], ...]] = (
    ("metadata.namespace!=", lambda f, v: replace(f, namespace=v, other_namespaces=True)),
    ("metadata.namespace==", _in_namespace),
    ("metadata.namespace=", _in_namespace),
    ("metadata.name!=", lambda f, v: replace(f, name=v, name_filter="NotEquals")),
    ("metadata.name==", lambda f, v: replace(f, name=v)),
    ("metadata.name=", lambda f, v: replace(f, name=v)),
    ("spec.startedAt>", lambda f, v: replace(f, started_after=_time("spec.startedAt", v))),
    ("spec.startedAt<", lambda f, v: replace(f, started_before=_time("spec.startedAt", v))),
    ("ext.showRemainingItemCount=", lambda f, v: replace(f, count_rest=v.lower() == "true")),
)


def _time(what: str, text: str) -> dt.datetime | None:
    try:
        return parse_time(text) if text else None
    except ValueError:
        raise OperationRefused(f'{what}: "{text}" is not a time as 2006-01-02T15:04:05Z') from None


def _within(text: str | None, after: dt.datetime | None, before: dt.datetime | None) -> bool:
    if after is None and before is None:
        return True
    if not text:
        return False
    moment = parse_time(text)
    return (after is None or moment >= after) and (before is None or moment <= before)
