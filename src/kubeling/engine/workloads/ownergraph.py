"""Who owns whom, by uid: what the garbage collector decides on. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kubeling.kube.objects import Key, Obj, deletion_requested, key_of, uid
from kubeling.kube.resources import Resource

__all__ = ["FOREGROUND", "ORPHAN", "Node", "OwnerGraph"]

FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"


@dataclass(frozen=True, slots=True)
class Node:
    """What matters of one object."""

    resource: Resource
    key: Key
    uid: str
    owners: tuple[Obj, ...]
    finalizers: tuple[str, ...]
    going: bool

    @classmethod
    def of(cls, resource: Resource, obj: Obj) -> Node:
        metadata = obj["metadata"]
        return cls(
            resource,
            key_of(obj),
            uid(obj),
            tuple(metadata.get("ownerReferences") or ()),
            tuple(metadata.get("finalizers") or ()),
            deletion_requested(obj),
        )

    @property
    def waits_for_dependents(self) -> bool:
        return self.going and FOREGROUND in self.finalizers

    @property
    def orphans_dependents(self) -> bool:
        return self.going and ORPHAN in self.finalizers

    def blocks(self, owner_uid: str) -> bool:
        """Whether the owner's foreground deletion waits for this object."""
        return any(
            owner["uid"] == owner_uid and owner.get("blockOwnerDeletion") for owner in self.owners
        )


class OwnerGraph:
    """All objects that are known, and for each owner what depends on it."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._dependents: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, node_uid: str) -> Node | None:
        return self._nodes.get(node_uid)

    def put(self, node: Node) -> None:
        """Adds or replaces a node."""
        self.remove(node.uid)
        self._nodes[node.uid] = node
        for owner in node.owners:
            self._dependents.setdefault(owner["uid"], set()).add(node.uid)

    def remove(self, node_uid: str) -> None:
        node = self._nodes.pop(node_uid, None)
        for owner in node.owners if node else ():
            below = self._dependents.get(owner["uid"])
            if below is not None:
                below.discard(node_uid)
                if not below:
                    del self._dependents[owner["uid"]]

    def dependents(self, owner_uid: str) -> Iterator[Node]:
        """What names the uid among its owners, whether or not the owner exists."""
        for node_uid in tuple(self._dependents.get(owner_uid, ())):
            yield self._nodes[node_uid]

    def blocking(self, owner_uid: str) -> list[Node]:
        """The dependents that a foreground deletion of the owner waits for."""
        return [node for node in self.dependents(owner_uid) if node.blocks(owner_uid)]
