"""YAML as Kubernetes reads it: go-yaml's booleans, JSON's types, no timestamps.

Upstream converts YAML to JSON before decoding (sigs.k8s.io/yaml), so ``2024-01-01`` stays text and
``yes`` is a boolean. libyaml does the work where PyYAML was built with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from kubeling.kube.objects import Obj

__all__ = ["dump", "dump_all", "duplicates", "load", "load_all"]

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Loader(_Base):  # type: ignore[misc]
    pass


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}


def load(text: str | bytes) -> Any:
    """The first document; raises :class:`ValueError` naming line and column."""
    documents = load_all(text)
    return documents[0] if documents else None


def load_all(text: str | bytes) -> list[Any]:
    """All documents that are not empty; raises :class:`ValueError` naming line and column."""
    try:
        return [doc for doc in yaml.load_all(text, Loader=_Loader) if doc is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ValueError(f"not valid YAML: {where}{problem}") from None


def duplicates(text: str | bytes) -> list[str]:
    """What go-yaml says of keys stated twice in the first document, which :func:`load` read."""
    root = next(iter(yaml.compose_all(text, Loader=_Loader)), None)
    return [] if root is None else list(_duplicates(root, set()))


def _duplicates(node: Any, seen: set[int]) -> Iterator[str]:
    if id(node) in seen or isinstance(node, yaml.ScalarNode):
        return
    seen.add(id(node))
    keys: set[str] = set()
    for entry in node.value:
        key, inner = entry if isinstance(node, yaml.MappingNode) else (None, entry)
        if isinstance(key, yaml.ScalarNode):
            if key.value in keys:
                yield f'line {key.start_mark.line + 1}: key "{key.value}" already set in map'
            keys.add(key.value)
        yield from _duplicates(inner, seen)


def dump(value: Any) -> str:
    """YAML in insertion order, as ``kubectl -o yaml`` prints it."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=False))


def dump_all(documents: list[Obj]) -> str:
    """Several documents, separated by ``---``."""
    return "---\n".join(dump(document) for document in documents)
