"""Who has to go so that a more important pod fits. Pure.

As upstream's ``defaultpreemption``: all pods of lower priority are taken away in thought; if the
pod fits then, they are put back one after the other, the most important first and those that a
disruption budget protects before the others. Who cannot be put back has to go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Final, NamedTuple

from kubeling.engine.podspec import priority, spec
from kubeling.engine.scheduler import Ledger
from kubeling.kube import selectors
from kubeling.kube.objects import Obj, labels, namespace, uid

__all__ = ["WAITS", "Preemption", "preempt"]

_NEVER: Final = "not eligible due to preemptionPolicy=Never."
WAITS: Final = "not eligible due to a terminating pod on the nominated node."
_NONE: Final = "0/1 nodes are available: 1 No preemption victims found for incoming pod."
_REASON: Final = "PreemptionByScheduler"


class Preemption(NamedTuple):
    """The victims, or why there are none."""

    victims: tuple[Obj, ...] = ()
    why_not: str = ""


def preempt(
    pod: Obj, trial: Ledger, budgets: Iterable[Obj], refusal: Callable[[Ledger], str]
) -> Preemption:
    """Decides whom the pod takes the place of, among the pods of its node.

    ``trial`` is a copy of the node's ledger, which is used up; ``refusal`` says why the pod does
    not fit into one, or nothing.
    """
    if spec(pod).get("preemptionPolicy") == "Never":
        return Preemption(why_not=_NEVER)
    if not trial.holds_below(priority(pod)):
        return Preemption(why_not=_NONE)
    lower = [other for other in trial.pods if priority(other) < priority(pod)]
    if any(map(_is_going, lower)) and _is_nominated(pod):
        return Preemption(why_not=WAITS)
    for other in lower:
        trial.release(uid(other))
    if why := refusal(trial):
        return Preemption(why_not=f"0/1 nodes are available: 1 {why}.")
    victims = []
    for other in chain(*_by_budget(sorted(lower, key=_importance), budgets)):
        trial.hold(other)
        if refusal(trial):
            trial.release(uid(other))
            victims.append(other)
    return Preemption(tuple(sorted(victims, key=_importance)))


def _is_nominated(pod: Obj) -> bool:
    return bool((pod.get("status") or {}).get("nominatedNodeName"))


def _importance(pod: Obj) -> tuple[int, str]:
    status = pod.get("status") or {}
    began = status.get("startTime") or pod["metadata"].get("creationTimestamp", "")
    return -priority(pod), began


def _is_going(pod: Obj) -> bool:
    """Whether the pod ends because it was preempted before."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return "deletionTimestamp" in pod["metadata"] and any(
        entry["type"] == "DisruptionTarget" and entry.get("reason") == _REASON
        for entry in conditions
    )


def _by_budget(pods: Iterable[Obj], budgets: Iterable[Obj]) -> tuple[list[Obj], list[Obj]]:
    """The pods whose loss would break a budget, and the others; in order."""
    left = [
        (
            namespace(budget),
            selectors.from_object(budget["spec"].get("selector")),
            set((budget.get("status") or {}).get("disruptedPods") or ()),
            [int((budget.get("status") or {}).get("disruptionsAllowed") or 0)],
        )
        for budget in budgets
    ]
    protected: list[Obj] = []
    free: list[Obj] = []
    for pod in pods:
        breaks = False
        for where, selector, disrupted, allowed in left:
            if where != namespace(pod) or not selector.matches(labels(pod)):
                continue
            if pod["metadata"]["name"] in disrupted or not labels(pod):
                continue
            allowed[0] -= 1
            breaks = breaks or allowed[0] < 0
        (protected if breaks else free).append(pod)
    return protected, free
