"""An InferenceGraph as steps that can be drawn: a node is a group around what it asks. Pure.

A node that several steps lead to is drawn in each of its places, as it is run in each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from kubeling.gateway.steps.model import Step
from kubeling.kube.objects import Obj

__all__ = ["details_of", "first_service", "service_at", "steps_of"]

_ROOT: Final = "root"
_DEEPEST: Final = 12

StateOf = Callable[[str], str]
"""The state of the service of a name."""


def steps_of(graph: Obj, state_of: StateOf) -> list[Step]:
    """The groups and steps, from the root inwards."""
    nodes = graph["spec"].get("nodes") or {}
    return [step for step, _ in _walk(nodes, _ROOT, "", (), state_of)]


def details_of(graph: Obj) -> dict[str, str]:
    """What there is to say of each step: when it is asked, and what it is given."""
    nodes = graph["spec"].get("nodes") or {}
    found = _walk(nodes, _ROOT, "", (), lambda _: "")
    return {step.id: _detail(entry) for step, entry in found if entry is not None}


def service_at(graph: Obj, key: str) -> str:
    """The service that a step asks, by the step's id; empty if it asks none of this namespace."""
    nodes = graph["spec"].get("nodes") or {}
    for step, entry in _walk(nodes, _ROOT, "", (), lambda _: ""):
        if step.id == key and entry is not None:
            return str(entry.get("serviceName") or "")
    return ""


def first_service(graph: Obj) -> str:
    """Through the first step of each node, as far as they lead; empty where an address is asked."""
    nodes, node, seen = graph["spec"].get("nodes") or {}, _ROOT, set[str]()
    while node not in seen and (steps := (nodes.get(node) or {}).get("steps")):
        seen.add(node)
        if steps[0].get("serviceName"):
            return str(steps[0]["serviceName"])
        node = str(steps[0].get("nodeName") or "")
    return ""


def _walk(
    nodes: Mapping[str, Any],
    node: str,
    parent: str,
    above: tuple[str, ...],
    state_of: StateOf,
    led_to: Step | None = None,
) -> Iterator[tuple[Step, Obj | None]]:
    """A node's group, and the steps in it; those proper with their entries.

    ``led_to`` is the group's place among its siblings, if a step leads to it.
    """
    router = nodes.get(node) or {}
    kind = str(router.get("routerType", ""))
    place = led_to or Step(node, node, "ready", "dag", parent)
    yield replace(place, label=f"{place.label} · {kind}"), None
    before = ""
    for number, entry in enumerate(router.get("steps") or ()):
        after = (before,) if before and kind == "Sequence" else ()
        inner, key = entry.get("nodeName"), f"{place.id}/{number}"
        if inner and inner not in above and len(above) < _DEEPEST:
            said = _detail(entry)
            title = f"{_label(entry)} ({said})" if said else _label(entry)
            group = Step(key, title, "ready", "dag", place.id, after)
            yield from _walk(nodes, inner, place.id, (*above, node), state_of, group)
        else:
            service = str(entry.get("serviceName") or "")
            state = state_of(service) if service else "waiting"
            yield Step(key, _label(entry), state, "step", place.id, after), entry
        before = key


def _label(entry: Mapping[str, Any]) -> str:
    target = next((entry[k] for k in ("serviceName", "nodeName", "serviceUrl") if entry.get(k)), "")
    title = entry.get("name")
    return f"{title}: {target}" if title and title != target else str(target)


def _detail(entry: Mapping[str, Any]) -> str:
    said = []
    if entry.get("weight") is not None:
        said.append(f"{entry['weight']}%")
    if entry.get("condition"):
        said.append(f"if {entry['condition']}")
    if entry.get("data"):
        said.append(f"given {str(entry['data']).removeprefix('$')}")
    if entry.get("dependency"):
        said.append(str(entry["dependency"]).lower())
    return ", ".join(said)
