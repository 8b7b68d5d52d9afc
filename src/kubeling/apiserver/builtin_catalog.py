"""The built-in resources as the catalogue offers them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from kubeling.apiserver.builtin.resources import BUILTIN_RESOURCES, BuiltinResource
from kubeling.apiserver.conversions import (
    autoscaler_from_v2,
    autoscaler_to_v2,
    event_from_core,
    event_to_core,
)
from kubeling.apiserver.kinds import strategies
from kubeling.apiserver.served import ALL_VERBS, Scale, Served
from kubeling.apiserver.shapes import BuiltinShape
from kubeling.apiserver.strategy import Strategy
from kubeling.kube.objects import Obj
from kubeling.kube.resources import EVENTS, HORIZONTAL_POD_AUTOSCALERS, Resource

__all__ = ["builtin_resources"]

Convert = Callable[[Obj], Obj]

_SCALE: Final = Scale(label_selector=".spec.selector")
_PLAIN: Final = Strategy()
_CONVERTED: Final[Mapping[str, tuple[Resource, Convert, Convert]]] = {
    "events.k8s.io/v1": (EVENTS, event_to_core, event_from_core),
    "autoscaling/v1": (HORIZONTAL_POD_AUTOSCALERS, autoscaler_to_v2, autoscaler_from_v2),
}
"""Group versions whose objects are stored in another, and the way there and back."""
_VERBS: Final = {
    "/namespaces": tuple(verb for verb in ALL_VERBS if verb != "deletecollection"),
}
"""What can be done with kinds with which not everything can."""
_NOT_SERVED: Final = {
    "/nodes": frozenset({"proxy"}),
}
"""What the embedded node has no use for, so that discovery promises only what works."""


def builtin_resources(authority: str) -> Iterator[Served]:
    """Every built-in resource; ``authority`` is the CA certificate that pods are told about."""
    special = strategies(authority)
    for builtin in BUILTIN_RESOURCES:
        address = f"{builtin.resource.group}/{builtin.resource.plural}"
        yield _served(builtin, address, special.get(address, _PLAIN))


def _served(builtin: BuiltinResource, address: str, strategy: Strategy) -> Served:
    resource = builtin.resource
    stored, to_stored, from_stored = _CONVERTED.get(resource.api_version, (resource, None, None))
    return Served(
        resource=resource,
        stored=stored,
        strategy=strategy,
        shape=BuiltinShape(builtin.definition),
        subresources=frozenset(builtin.subresources) - _NOT_SERVED.get(address, frozenset()),
        verbs=("create",) if builtin.create_only else _VERBS.get(address, ALL_VERBS),
        scale=_SCALE if "scale" in builtin.subresources else None,
        to_stored=to_stored,
        from_stored=from_stored,
    )
