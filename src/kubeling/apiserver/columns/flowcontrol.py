"""The columns of flow schemas and priority levels."""

from __future__ import annotations

from typing import Any, Final

from kubeling.apiserver.columns.column import AGE, Columns, computed, get, text
from kubeling.kube.objects import Obj

__all__ = ["FLOW_CONTROL_COLUMNS"]

_GROUP: Final = "flowcontrol.apiserver.k8s.io"
_QUEUING: Final = ("spec", "limited", "limitResponse", "queuing")


def _missing_level(schema: Obj) -> str:
    for condition in get(schema, "status", "conditions", default=[]):
        if condition.get("type") == "Dangling":
            return str(condition.get("status"))
    return "?"


def _precedence(schema: Obj) -> Any:
    return get(schema, "spec", "matchingPrecedence")


FLOW_CONTROL_COLUMNS: Final[Columns] = {
    (_GROUP, "FlowSchema"): (
        text("PriorityLevel", "spec", "priorityLevelConfiguration", "name"),
        computed("MatchingPrecedence", _precedence),
        text("DistinguisherMethod", "spec", "distinguisherMethod", "type"),
        AGE,
        computed("MissingPL", _missing_level),
    ),
    (_GROUP, "PriorityLevelConfiguration"): (
        text("Type", "spec", "type"),
        text("NominalConcurrencyShares", "spec", "limited", "nominalConcurrencyShares"),
        text("Queues", *_QUEUING, "queues"),
        text("HandSize", *_QUEUING, "handSize"),
        text("QueueLengthLimit", *_QUEUING, "queueLengthLimit"),
        AGE,
    ),
}
