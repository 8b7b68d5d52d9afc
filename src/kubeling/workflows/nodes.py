"""The nodes of a running Workflow: their names, ids and phases, spelled as upstream spells them.

Everything is derived from names: the id of a node from its name, the name of its pod from both. So
after a crash the same step is the same node with the same pod, and nothing runs twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kubeling.workflows.resources import Node

__all__ = [
    "fnv32a",
    "is_failed",
    "is_fulfilled",
    "join_progress",
    "node_id",
    "parse_progress",
    "pod_name",
    "short_of",
]

_FULFILLED: Final = frozenset({"Succeeded", "Skipped", "Failed", "Error", "Omitted"})
_FAILED: Final = frozenset({"Failed", "Error"})
_MAX_PREFIX: Final = 253 - 11


def is_fulfilled(node: Node) -> bool:
    """Whether the node has come to its end."""
    return node.phase in _FULFILLED


def is_failed(node: Node) -> bool:
    """Whether the node came to a bad end."""
    return node.phase in _FAILED


def fnv32a(text: str) -> int:
    """The 32-bit FNV-1a hash."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def node_id(workflow: str, node: str) -> str:
    """The id of the node of that name; the root's is the workflow's name."""
    return workflow if node == workflow else f"{workflow}-{fnv32a(node)}"


def pod_name(workflow: str, node: str, template: str) -> str:
    """The name of the pod of that node (upstream's naming, version 2)."""
    if node == workflow:
        return workflow
    prefix = f"{workflow}-{template}" if template else workflow
    return f"{prefix[:_MAX_PREFIX]}-{fnv32a(node)}"


def join_progress(parts: Iterable[tuple[int, int]]) -> str:
    """Several ``done/total`` as one."""
    done = total = 0
    for part in parts:
        done += part[0]
        total += part[1]
    return f"{done}/{total}"


def parse_progress(text: str) -> tuple[int, int] | None:
    """``done/total`` as a pair, if it is one that makes sense."""
    done, slash, total = text.strip().partition("/")
    if not (slash and done.isdecimal() and total.isdecimal()):
        return None
    found = (int(done), int(total))
    return found if 0 < found[1] >= found[0] else None


def short_of(node: Node) -> str:
    """How messages name a node."""
    return node.display_name or node.name
