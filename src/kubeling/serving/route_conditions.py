"""The conditions that upstream's Knative mode adds: of each component's revision and of its route.

``RoutesReady`` and ``LatestDeploymentReady`` sum them up over the components, as
``PropagateCrossComponentStatus`` does. They inform and do not count for ``Ready``; scripts that
wait for a canary read ``LatestDeploymentReady``, as a service stays ready by its older revision.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Final

from kubeling.kube.objects import Obj, set_condition
from kubeling.serving.names import ComponentName

__all__ = ["set_route_conditions"]

State = tuple[str, str, str]
"""A condition's value, reason and message."""

_ROUTES: Final[Mapping[ComponentName, str]] = {
    "predictor": "PredictorRouteReady",
    "transformer": "TransformerRouteReady",
    "explainer": "ExplainerRoutesReady",
}
_CONFIGURATIONS: Final[Mapping[ComponentName, str]] = {
    "predictor": "PredictorConfigurationReady",
    "transformer": "TransformerConfigurationReady",
    "explainer": "ExplainerConfigurationReady",
}
_ALL: Final = frozenset(
    {*_ROUTES.values(), *_CONFIGURATIONS.values(), "RoutesReady", "LatestDeploymentReady"}
)
_NO_ROUTE: Final = ("Unknown", "RevisionMissing", "no revision is ready to take requests")


def set_route_conditions(
    status: Obj,
    newest: Mapping[ComponentName, State],
    *,
    routed: bool,
    knative: bool,
    now: dt.datetime,
) -> None:
    """Sets them from the state of each component's newest revision, or takes them away."""
    kept = {_ROUTES[component] for component in newest}
    kept |= {_CONFIGURATIONS[component] for component in newest}
    kept |= {"RoutesReady", "LatestDeploymentReady"}
    gone = _ALL - kept if knative else _ALL
    status["conditions"] = [c for c in status.get("conditions") or () if c["type"] not in gone]
    if not knative:
        return
    route = ("True", "", "") if routed else _NO_ROUTE
    routes = {_ROUTES[component]: route for component in newest}
    configurations = {_CONFIGURATIONS[part]: state for part, state in newest.items()}
    for total, parts in (("RoutesReady", routes), ("LatestDeploymentReady", configurations)):
        for kind, (value, reason, message) in {**parts, total: _summed_up(parts)}.items():
            set_condition(status, kind, value, reason=reason, message=message, now=now)


def _summed_up(parts: Mapping[str, State]) -> State:
    """The last component that is not ready decides, as upstream has it."""
    found = ("True", "", "")
    for kind, (value, _, message) in parts.items():
        if value != "True":
            found = (value, f"{kind} not ready", message)
    return found
