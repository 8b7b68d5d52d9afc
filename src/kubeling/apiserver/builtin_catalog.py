"""The built-in resources as the catalogue offers them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kubeling.apiserver.builtin.resources import BUILTIN_RESOURCES, BuiltinResource
from kubeling.apiserver.conversions import event_from_core, event_to_core
from kubeling.apiserver.kinds import strategies
from kubeling.apiserver.served import ALL_VERBS, Scale, Served
from kubeling.apiserver.shapes import BuiltinShape
from kubeling.apiserver.strategy import Strategy
from kubeling.kube.resources import EVENTS

__all__ = ["builtin_resources"]

_SCALE: Final = Scale(label_selector=".spec.selector")
_PLAIN: Final = Strategy()


def builtin_resources(authority: str) -> Iterator[Served]:
    """Every built-in resource; ``authority`` is the CA certificate that pods are told about."""
    special = strategies(authority)
    for builtin in BUILTIN_RESOURCES:
        yield _served(builtin, special.get(_address(builtin), _PLAIN))


def _served(builtin: BuiltinResource, strategy: Strategy) -> Served:
    resource = builtin.resource
    events = resource.group == "events.k8s.io"
    return Served(
        resource=resource,
        stored=EVENTS if events else resource,
        strategy=strategy,
        shape=BuiltinShape(builtin.definition),
        subresources=frozenset(builtin.subresources),
        verbs=("create",) if builtin.create_only else ALL_VERBS,
        scale=_SCALE if "scale" in builtin.subresources else None,
        to_stored=event_to_core if events else None,
        from_stored=event_from_core if events else None,
    )


def _address(builtin: BuiltinResource) -> str:
    return f"{builtin.resource.group}/{builtin.resource.plural}"
