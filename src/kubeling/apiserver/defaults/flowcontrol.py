"""Defaults of flow schemas and priority levels (``pkg/apis/flowcontrol/v1/defaults.go``)."""

from __future__ import annotations

from typing import Final

from kubeling.apiserver.defaults.rules import Rule, Rules
from kubeling.kube.objects import Obj

__all__ = ["FLOW_CONTROL_DEFAULTS"]

_VERSION: Final = "flowcontrol.apiserver.k8s.io/v1"
_QUEUING: Final = {"queues": 64, "handSize": 8, "queueLengthLimit": 50}


def _schema(spec: Obj) -> None:
    if not spec.get("matchingPrecedence"):
        spec["matchingPrecedence"] = 1000


def _queuing(queuing: Obj) -> None:
    for field, value in _QUEUING.items():
        if not queuing.get(field):
            queuing[field] = value


FLOW_CONTROL_DEFAULTS: Final[Rules] = {
    (_VERSION, "FlowSchema"): (Rule("spec", _schema),),
    (_VERSION, "PriorityLevelConfiguration"): (
        Rule("spec.limited", {"nominalConcurrencyShares": 30, "lendablePercent": 0}),
        Rule("spec.exempt", {"nominalConcurrencyShares": 0, "lendablePercent": 0}),
        Rule("spec.limited.limitResponse.queuing", _queuing),
    ),
}
