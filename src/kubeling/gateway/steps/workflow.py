"""The steps of a Workflow, from the nodes of its status.

Argo's nodes are a graph in which nesting, loops and retries are only implied: a template's nodes
name it their boundary, a loop is a TaskGroup or several steps of one name with an index, and what
follows a group hangs on the last nodes inside it. Here each edge is lifted to where its two ends
are siblings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from kubeling.gateway.steps.model import BAD, BUSY, Kind, Step
from kubeling.kube.objects import Obj, parse_time

__all__ = ["attempts_of", "seconds", "steps_of_workflow"]

_ITEM: Final = re.compile(r"^(?P<base>.*)\(\d+(?::.*)?\)$", re.DOTALL)
_NUMBERS: Final = re.compile(r"(\d+)")
_GROUPS: Final = frozenset({"Steps", "DAG", "TaskGroup"})


def steps_of_workflow(name: str, nodes: Mapping[str, Obj]) -> list[Step]:
    """The steps, in the order in which they began."""
    return list(_Reader(name, nodes).steps())


def attempts_of(node_id: str, nodes: Mapping[str, Obj]) -> list[Obj]:
    """The nodes of a step that has been tried several times, the first try first."""
    node = nodes[node_id]
    if node.get("type") != "Retry":
        return [node]
    return [nodes[c] for c in node.get("children") or () if c in nodes and _inside(c, node, nodes)]


def _inside(child: str, group: Obj, nodes: Mapping[str, Obj]) -> bool:
    """Whether a child is one of a group's own, not what follows it."""
    return str(nodes[child].get("name", "")).startswith(f"{group.get('name', '')}(")


class _Reader:
    def __init__(self, name: str, nodes: Mapping[str, Obj]) -> None:
        self.nodes = nodes
        self.root = nodes.get(name)
        self.filled = {n["boundaryID"] for n in nodes.values() if n.get("boundaryID")}
        self.attempts: dict[str, str] = {}
        self.tasks: dict[str, str] = {}
        for node in nodes.values():
            if node.get("type") not in ("TaskGroup", "Retry"):
                continue
            into = self.tasks if node["type"] == "TaskGroup" else self.attempts
            for child in node.get("children") or ():
                if child in nodes and _inside(child, node, nodes):
                    into[child] = node["id"]
        self.loops: dict[str, list[Obj]] = {}
        self.parents: dict[str, str] = {}
        self.chains: dict[str, tuple[str, ...]] = {}

    def steps(self) -> Iterator[Step]:
        shown = sorted(filter(self._is_shown, self.nodes.values()), key=_order)
        for node in shown:
            self.parents[node["id"]] = self._parent(node)
        after = self._after()
        loops = set[str]()
        for node in shown:
            parent = self.parents[node["id"]]
            if parent in self.loops and parent not in loops:
                loops.add(parent)
                yield self._loop(parent, after)
            yield self._step(node, after)

    def _is_shown(self, node: Obj) -> bool:
        if node.get("type") == "StepGroup":
            return False
        if node is self.root:
            return node.get("type") not in _GROUPS or node["id"] not in self.filled
        retry = self.attempts.get(node["id"])
        return retry is None or self._is_nested(self.nodes[retry])

    def _is_nested(self, retry: Obj) -> bool:
        """Whether the attempts are more than single pods, and are shown one by one."""
        return any(c in self.filled for c in retry.get("children") or () if c in self.attempts)

    def _parent(self, node: Obj) -> str:
        key = str(node["id"])
        if around := self.attempts.get(key) or self.tasks.get(key):
            return around
        boundary = str(node.get("boundaryID") or "")
        if self.root is not None and boundary == self.root["id"]:
            boundary = ""
        if found := _ITEM.match(str(node.get("name", ""))):
            loop = f"{boundary}/{found['base']}"
            self.loops.setdefault(loop, []).append(node)
            self.parents[loop] = boundary
            return loop
        return boundary

    def _chain(self, key: str) -> tuple[str, ...]:
        """A node and what it lies in, from the outermost; an attempt stands for its step."""
        found = self.chains.get(key)
        if found is None:
            if key not in self.parents and key in self.attempts:
                found = self._chain(self.attempts[key])
            elif self.root is not None and key == self.root["id"] and key not in self.parents:
                found = ()
            else:
                around = self.parents.get(key, "")
                found = (*(self._chain(around) if around else ()), key)
            self.chains[key] = found
        return found

    def _after(self) -> dict[str, dict[str, None]]:
        """Who waits for whom, at the level where both are siblings."""
        after: dict[str, dict[str, None]] = {}
        into: dict[str, dict[tuple[str, ...], None]] = {}
        for node in self.nodes.values():
            if node.get("type") == "StepGroup":
                continue
            before = self._chain(node["id"])
            for child in node.get("children") or ():
                if child not in self.nodes:
                    continue
                if self.nodes[child].get("type") == "StepGroup":
                    level = len(self._chain(str(self.nodes[child].get("boundaryID") or "")))
                    into.setdefault(child, {})[before[: level + 1]] = None
                else:
                    _join(before, self._chain(child), after)
        for group, befores in into.items():
            for then in self._firsts(group, set()):
                for before in befores:
                    _join(before, then, after)
        return after

    def _firsts(self, group: str, seen: set[str]) -> Iterable[tuple[str, ...]]:
        """The steps that begin with a group of steps, loops counted once."""
        seen.add(group)
        node = self.nodes[group]
        level = len(self._chain(str(node.get("boundaryID") or "")))
        found: dict[tuple[str, ...], None] = {}
        for child in node.get("children") or ():
            if child not in self.nodes or child in seen:
                continue
            if self.nodes[child].get("type") == "StepGroup":
                found.update(dict.fromkeys(self._firsts(child, seen)))
            else:
                found[self._chain(child)[: level + 1]] = None
        return found

    def _step(self, node: Obj, after: Mapping[str, Iterable[str]]) -> Step:
        key = str(node["id"])
        kind: Kind = "step"
        attempts = 1
        match node.get("type"):
            case "TaskGroup":
                kind = "loop"
            case "Steps" | "DAG":
                kind = "iteration" if self.parents[key] in self.loops else "dag"
            case "Retry":
                attempts = len(attempts_of(key, self.nodes))
                kind = "retry" if self._is_nested(node) else "step"
        return Step(
            key,
            str(node.get("displayName") or node.get("name", "")),
            _state(node),
            kind,
            self.parents[key],
            tuple(after.get(key, ())),
            None,
            seconds(node.get("startedAt")),
            seconds(node.get("finishedAt")),
            attempts,
        )

    def _loop(self, key: str, after: Mapping[str, Iterable[str]]) -> Step:
        items = self.loops[key]
        base = _ITEM.match(str(items[0].get("displayName") or items[0]["name"]))
        states = {_state(item) for item in items}
        ends = [seconds(item.get("finishedAt")) for item in items]
        begins = [b for item in items if (b := seconds(item.get("startedAt"))) is not None]
        known = [end for end in ends if end is not None]
        return Step(
            key,
            base["base"] if base else key,
            _state_of_all(states),
            "loop",
            self.parents[key],
            tuple(after.get(key, ())),
            None,
            min(begins, default=None),
            max(known, default=None) if len(known) == len(ends) else None,
        )


def _order(node: Obj) -> tuple[Any, ...]:
    """By when they began; steps of one moment by name, numbers in it as numbers."""
    parts = _NUMBERS.split(str(node.get("name", "")))
    natural = [(part.zfill(9) if part.isdecimal() else part) for part in parts]
    return (str(node.get("startedAt") or "~"), natural)


def _join(
    before: tuple[str, ...], then: tuple[str, ...], after: dict[str, dict[str, None]]
) -> None:
    for earlier, later in zip(before, then, strict=False):
        if earlier != later:
            after.setdefault(later, {})[earlier] = None
            return


def _state(node: Mapping[str, Any]) -> str:
    phase = str(node.get("phase") or "waiting").lower()
    if node.get("type") == "Suspend" and phase == "running":
        return "suspended"
    return phase


def _state_of_all(states: set[str]) -> str:
    for kind in (BUSY, {"waiting"}, BAD):
        if found := sorted(states & kind):
            return "running" if kind is BUSY else found[0]
    return "succeeded"


def seconds(moment: str | None) -> float | None:
    """A time as seconds since 1970."""
    return parse_time(moment).timestamp() if moment else None
