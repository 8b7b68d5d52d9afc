"""What is refused in an InferenceGraph, by upstream's webhook and where it would run for ever."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from kubeling.kube.admission import AdmissionRequest
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, deletion_requested, mapping, mappings
from kubeling.serving.graph.conditions import ConditionError, check, doubt
from kubeling.serving.graph.resources import ROOT
from kubeling.serving.name_rules import validate_name

__all__ = ["validate_graph", "warnings_of"]

_TARGETS: Final = ("nodeName", "serviceName", "serviceUrl")


def validate_graph(obj: Obj, old: Obj | None, _: AdmissionRequest) -> Iterator[FieldError]:
    """Names what is wrong with a graph; one that is being deleted may go as it is."""
    if old is not None and deletion_requested(obj):
        return
    yield from validate_name(obj)
    nodes = mapping(mapping(obj.get("spec")).get("nodes"))
    if ROOT not in nodes:
        yield FieldError(f"spec.nodes.{ROOT}", "Required value", "a graph begins at this node")
    for title, node in nodes.items():
        yield from _validate_node(f"spec.nodes.{title}", mapping(node), nodes)
    if cycle := _cycle(nodes):
        yield FieldError(
            "spec.nodes", "Invalid value", "a request would never leave this circle", cycle
        )


def warnings_of(graph: Obj, _: AdmissionRequest) -> list[str]:
    """What kubectl is told at apply: conditions that hardly mean what they say."""
    return [
        f"spec.nodes.{title}.steps[{index}].condition: {said}"
        for title, node in mapping(mapping(graph.get("spec")).get("nodes")).items()
        for index, step in enumerate(mappings(mapping(node).get("steps")))
        if (said := doubt(str(step.get("condition") or "")))
    ]


def _validate_node(path: str, node: Obj, nodes: Mapping[str, object]) -> Iterator[FieldError]:
    steps = mappings(node.get("steps"))
    if not steps:
        yield FieldError(f"{path}.steps", "Required value", "name at least one service or node")
    taken: set[str] = set()
    for index, step in enumerate(steps):
        where = f"{path}.steps[{index}]"
        title = step.get("name")
        if title and title in taken:
            yield FieldError(f"{where}.name", "Duplicate value", "is another step's", title)
        taken.add(str(title))
        yield from _validate_target(where, step, nodes)
        yield from _validate_condition(where, step, str(node.get("routerType")))
    if node.get("routerType") == "Splitter":
        yield from _validate_weights(f"{path}.steps", steps)


def _validate_target(path: str, step: Obj, nodes: Mapping[str, object]) -> Iterator[FieldError]:
    named = [target for target in _TARGETS if step.get(target)]
    if not named:
        yield FieldError(path, "Required value", f"give one of {', '.join(_TARGETS)}")
    elif len(named) > 1:
        yield FieldError(path, "Invalid value", f"only one of {', '.join(_TARGETS)} may be", named)
    node = step.get("nodeName")
    if node and node not in nodes:
        known = ", ".join(sorted(nodes))
        yield FieldError(f"{path}.nodeName", "Not found", f"the nodes are: {known}", node)
    url = step.get("serviceUrl")
    if url and not re.match(r"^https?://[^/]", str(url)):
        yield FieldError(f"{path}.serviceUrl", "Invalid value", "must be http:// or https://", url)
    if step.get("data") not in (None, "", "$request", "$response"):
        yield FieldError(
            f"{path}.data", "Unsupported value", "supported: $request, $response", step["data"]
        )


def _validate_condition(path: str, step: Obj, router: str) -> Iterator[FieldError]:
    condition = str(step.get("condition") or "")
    if router == "Switch" and not condition:
        yield FieldError(f"{path}.condition", "Required value", "a switch chooses by it")
    try:
        check(condition)
    except ConditionError as error:
        yield FieldError(f"{path}.condition", "Invalid value", str(error), condition)


def _validate_weights(path: str, steps: list[Obj]) -> Iterator[FieldError]:
    total = 0
    for index, step in enumerate(steps):
        weight = step.get("weight")
        if not isinstance(weight, int):
            yield FieldError(f"{path}[{index}].weight", "Required value", "a splitter goes by it")
        elif weight < 0:
            yield FieldError(f"{path}[{index}].weight", "Invalid value", "is below 0", weight)
        else:
            total += weight
    if total != 100 and all(isinstance(step.get("weight"), int) for step in steps):
        yield FieldError(path, "Invalid value", "the weights must be 100 together", total)


def _cycle(nodes: Mapping[str, object]) -> str:
    """A circle of nodes, as ``a -> b -> a``, or nothing."""
    done: set[str] = set()

    def walk(title: str, path: tuple[str, ...]) -> str:
        if title in path:
            return " -> ".join([*path[path.index(title) :], title])
        if title in done or title not in nodes:
            return ""
        for step in mappings(mapping(nodes[title]).get("steps")):
            if found := walk(str(step.get("nodeName") or ""), (*path, title)):
                return found
        done.add(title)
        return ""

    return next((found for title in nodes if (found := walk(title, ()))), "")
