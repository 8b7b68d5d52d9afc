"""Says where policies are not held: an Event on each policy and pod it is about, and an annotation.

A NetworkPolicy has no status, and ``kubectl describe networkpolicy`` shows no Events; what it shows
are annotations.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from kubeling.engine.netpolicy.compiling import policy_selects
from kubeling.engine.podspec import spec
from kubeling.kube import objects
from kubeling.kube.client import Client
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj, key_of, labels, name, namespace, uid
from kubeling.kube.resources import NETWORK_POLICIES

if TYPE_CHECKING:
    from kubeling.engine.services import PodEvents

__all__ = ["NOT_ENFORCED", "Report"]

log = logging.getLogger(__name__)

NOT_ENFORCED: Final = "networking.kubeling.io/not-enforced"
_REASON: Final = "NetworkPolicyNotEnforced"
_HOST_NETWORK: Final = "the pod is on the machine's network (hostNetwork)"
_NO_NETWORK: Final = "its containers run on the machine's network"


class Report:
    """``why_not`` says why no pod has a network of its own here; empty if they have."""

    def __init__(self, client: Client, events: PodEvents, why_not: str) -> None:
        self._client = client
        self._events = events
        self._why_not = why_not
        self._open: dict[str, tuple[Obj, str]] = {}
        self._told: set[tuple[str, str]] = set()

    def without_network(self, pod: Obj) -> None:
        """A pod that shares the machine's network."""
        why = _HOST_NETWORK if spec(pod).get("hostNetwork") else self._why_not or _NO_NETWORK
        self._open[uid(pod)] = (pod, why)

    def refused(self, pod: Obj, error: str) -> None:
        """The kernel did not take what a pod's network should hold."""
        self._open[uid(pod)] = (pod, f"the kernel refused its rules: {error}")

    def accepted(self, pod: Obj) -> None:
        self.forget(uid(pod))

    def forget(self, pod_uid: str) -> None:
        """The pod has gone, or is held to its policies now."""
        self._open.pop(pod_uid, None)

    async def bring_up_to_date(self, policies: Sequence[Obj]) -> None:
        """Tells each policy and each pod what it has not been told yet."""
        self._told &= {(uid(p), about) for p in policies for about in ("", *self._open)}
        for policy in policies:
            await self._annotate(policy)
            if self._why_not:
                self._tell(policy, policy, f"the policy is not enforced: {self._why_not}")
            for pod, why in self._open.values():
                if policy_selects(policy, namespace(pod), labels(pod)):
                    text = f"NetworkPolicy {name(policy)} is not enforced for this pod: {why}"
                    self._tell(policy, pod, text)

    def _tell(self, policy: Obj, about: Obj, text: str) -> None:
        once = (uid(policy), "" if about is policy else uid(about))
        if once not in self._told:
            self._told.add(once)
            self._events.warning(about, _REASON, text)

    async def _annotate(self, policy: Obj) -> None:
        if objects.annotations(policy).get(NOT_ENFORCED, "") == self._why_not:
            return
        patch = {"metadata": {"annotations": {NOT_ENFORCED: self._why_not or None}}}
        try:
            await self._client.patch(NETWORK_POLICIES, name(policy), patch, namespace(policy))
        except (ApiError, ConnectionError) as error:
            log.info("network policy %s: %s", key_of(policy), error)
