"""The downward API: a pod's own fields and resources, for variables and volumes. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING
from typing import Any, Final

from kubeling.engine.podspec import all_containers, spec
from kubeling.kube.objects import Obj, annotations, labels
from kubeling.kube.quantities import Quantity, parse_quantity

__all__ = ["FieldError", "PodFacts", "field_value", "resource_value"]

_ESCAPES: Final = {n: f"\\x{n:02x}" for n in (*range(0x20), 0x7F)} | str.maketrans(
    {"\\": r"\\", '"': r"\"", "\n": r"\n", "\t": r"\t", "\r": r"\r", "\a": r"\a", "\b": r"\b",
     "\f": r"\f", "\v": r"\v"}
)  # fmt: skip
"""As Go quotes strings."""
_ENTRY: Final = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class FieldError(Exception):
    """A reference to a field or resource that does not exist."""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What is known about a pod only once it has a node."""

    pod: Obj
    pod_ip: str
    host_ip: str
    node_name: str
    allocatable: Mapping[str, Quantity]


def field_value(facts: PodFacts, path: str) -> str:
    """The value of a ``fieldRef.fieldPath``."""
    metadata = facts.pod["metadata"]
    if match := _ENTRY.fullmatch(path):
        entries = labels(facts.pod) if match[1] == "labels" else annotations(facts.pod)
        return entries.get(match[2], "")
    match path:
        case "metadata.name" | "metadata.namespace" | "metadata.uid":
            return str(metadata.get(path.removeprefix("metadata."), ""))
        case "metadata.labels":
            return _lines(labels(facts.pod))
        case "metadata.annotations":
            return _lines(annotations(facts.pod))
        case "spec.nodeName":
            return facts.node_name
        case "spec.serviceAccountName":
            return spec(facts.pod).get("serviceAccountName") or "default"
        case "status.podIP" | "status.podIPs":
            return facts.pod_ip
        case "status.hostIP" | "status.hostIPs":
            return facts.host_ip
    raise FieldError(f'fieldPath "{path}" is not one that pods offer')


def resource_value(facts: PodFacts, reference: Mapping[str, Any], container: str) -> str:
    """The value of a ``resourceFieldRef``, in units of its divisor, rounded up."""
    wanted = reference.get("containerName") or container
    resource = str(reference.get("resource", ""))
    kind, _, name = resource.partition(".")
    found = next((c for c in all_containers(facts.pod) if c["name"] == wanted), None)
    if found is None or kind not in ("limits", "requests") or not name:
        raise FieldError(f'resource "{resource}" of container "{wanted}" does not exist')
    stated = ((found.get("resources") or {}).get(kind) or {}).get(name)
    value = parse_quantity(stated) if stated is not None else _default(facts, kind, name)
    divisor = parse_quantity(reference.get("divisor") or 1) or Quantity(1)
    return str(int((value / divisor).to_integral_value(ROUND_CEILING)))


def _default(facts: PodFacts, kind: str, name: str) -> Quantity:
    """Without a limit a container may use all that the node has."""
    return facts.allocatable.get(name, Quantity(0)) if kind == "limits" else Quantity(0)


def _lines(entries: Mapping[str, str]) -> str:
    return "\n".join(
        f'{key}="{value.translate(_ESCAPES)}"' for key, value in sorted(entries.items())
    )
