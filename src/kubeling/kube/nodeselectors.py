"""Whether a node is one that a NodeSelector asks for: in a pod's affinity, or in a volume's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubeling.kube.objects import Obj, labels, name

__all__ = ["selects_node"]


def selects_node(selector: Mapping[str, Any], node: Obj) -> bool:
    """Whether one of the ``nodeSelectorTerms`` holds of the node."""
    fields = {"metadata.name": name(node)}
    return any(
        all(_holds(e, labels(node)) for e in term.get("matchExpressions") or ())
        and all(_holds(e, fields) for e in term.get("matchFields") or ())
        for term in selector.get("nodeSelectorTerms") or ()
        # A term that asks for nothing matches no node.
        if term.get("matchExpressions") or term.get("matchFields")
    )


def _holds(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement["key"])
    values = requirement.get("values") or []
    match requirement["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            try:
                found, bound = int(value or ""), int(values[0])
            except ValueError:
                return False
            return found > bound if requirement["operator"] == "Gt" else found < bound
    return False
