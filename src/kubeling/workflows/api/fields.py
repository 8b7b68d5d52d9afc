"""``fields=``: which parts of an answer to keep, or with a ``-`` in front, to leave out.

Upstream: ``util/fields/cleaner.go``. Names are paths with dots; entries of lists have the list's
path, and watches name the object as ``result.object.…``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from kubeling.kube.objects import Obj

__all__ = ["Fields"]

_EVENT: Final = "result.object."


@dataclass(frozen=True, slots=True)
class Fields:
    """A selection; an empty one keeps everything."""

    paths: frozenset[str] = frozenset()
    exclude: bool = False

    @classmethod
    def parse(cls, text: str) -> Fields:
        exclude = text.startswith("-")
        paths = (path.removeprefix(_EVENT) for path in text.removeprefix("-").split(","))
        return cls(frozenset(filter(None, paths)), exclude)

    def keeps(self, path: str) -> bool:
        """Whether something at or below the path is kept."""
        if not self.paths:
            return True
        touched = any(path.startswith(p) or p.startswith(path) for p in self.paths)
        return touched is not self.exclude

    def workflow(self, workflow: Obj) -> Obj:
        """A Workflow with only what is kept; shares its parts with the original.

        Its ``metadata`` and ``spec`` are there in any case, as parts that upstream always writes.
        """
        return self._workflow(workflow, "")

    def listed(self, listed: Obj) -> Obj:
        """A list of Workflows with only what is kept."""
        if not self.paths:
            return listed
        kept: Obj = self._select({**listed, "items": []}, "")
        items = [self._workflow(workflow, "items") for workflow in listed["items"]]
        return {"metadata": {}, **kept, "items": items if self.keeps("items") else []}

    def _workflow(self, workflow: Obj, path: str) -> Obj:
        if not self.paths:
            return workflow
        return {"metadata": {}, "spec": {}, **self._select(workflow, path)}

    def _select(self, value: Any, path: str) -> Any:
        if isinstance(value, list):
            return [self._select(entry, path) for entry in value]
        if not isinstance(value, dict):
            return value
        kept = {}
        for key, entry in value.items():
            below = f"{path}.{key}" if path else key
            named = below in self.paths
            if self.exclude:
                if not named:
                    kept[key] = self._select(entry, below)
            elif named:
                kept[key] = entry
            elif any(p.startswith(below) for p in self.paths):
                kept[key] = self._select(entry, below)
        return kept
