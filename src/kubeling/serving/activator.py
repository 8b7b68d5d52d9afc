"""Wakes revisions that are at rest, and lets requests wait for them.

A revision at rest is a Deployment without pods that says so in an annotation. The first request
takes both back and waits; so do those that come after it. A pod is asked itself whether it is
ready (:mod:`.readiness`), because a readiness probe is sent once a second and its result takes
a way through the API: the same short cut that Knative's activator takes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

from kubeling.kube.client import Client
from kubeling.kube.errors import NotFound
from kubeling.kube.informer import Informers
from kubeling.kube.objects import (
    Key,
    Obj,
    deletion_requested,
    key_of,
    labels,
    name,
    namespace,
    uid,
)
from kubeling.kube.resources import DEPLOYMENTS, PODS
from kubeling.serving import names
from kubeling.serving.observation import is_at_rest, is_pod_ready, revision_of
from kubeling.serving.readiness import until_ready
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.scaling import policy_of
from kubeling.serving.workloads import entry_component

__all__ = ["Activator"]


class Activator:
    """The revisions that are woken, and who waits for them."""

    def __init__(self, client: Client, informers: Informers) -> None:
        self._client = client
        self._informers = informers
        self._going: set[tuple[Key, int]] = set()
        """Revisions about to rest: the Deployment's pods are as good as gone."""
        self._waking: set[tuple[Key, int]] = set()
        """Revisions whose pods are being asked back, and the cache does not show it yet."""
        self._answering: set[str] = set()
        """Pods that have answered before the API says that they are ready, by uid."""
        self._probing: dict[str, asyncio.Task[None]] = {}
        self._changed: dict[Key, asyncio.Event] = {}
        self._listeners: list[Callable[[Key], None]] = []
        self._informers.of(PODS).add_handler(self._on_pod)
        self._informers.of(INFERENCE_SERVICES).add_handler(self._on_service)

    def on_change(self, listener: Callable[[Key], None]) -> None:
        """Tells of services whose revisions rest, wake or answer otherwise than a moment ago."""
        self._listeners.append(listener)

    def resting(self, isvc: Obj, revisions: Sequence[int]) -> list[int]:
        """Those of the revisions that have a component at rest."""
        return [number for number in revisions if self._is_resting(isvc, number)]

    def _is_resting(self, isvc: Obj, number: int) -> bool:
        shown = any(is_at_rest(one) for one in self._deployments(isvc, number))
        if not shown:
            self._waking.discard((key_of(isvc), number))
        elif (key_of(isvc), number) in self._waking:
            return False
        return shown or (key_of(isvc), number) in self._going

    async def wake(self, isvc: Obj, number: int) -> None:
        """Gives a revision at rest its pods back."""
        self._going.discard((key_of(isvc), number))
        self._waking.add((key_of(isvc), number))
        self._tell(key_of(isvc))
        try:
            await self._wake(isvc, number)
        except BaseException:
            self._waking.discard((key_of(isvc), number))
            raise

    async def _wake(self, isvc: Obj, number: int) -> None:
        for deployment in self._deployments(isvc, number):
            if not is_at_rest(deployment):
                continue
            found = labels(deployment).get(names.COMPONENT)
            part = next((c for c in names.COMPONENTS if c == found and c in isvc["spec"]), None)
            wanted = policy_of(isvc, part).awake if part else 1
            await self._scale(deployment, wanted, "waking")

    async def rest(self, isvc: Obj, deployment: Obj) -> None:
        """Takes the pods of a component nobody asks."""
        number = revision_of(deployment)
        self._going.add((key_of(isvc), number))
        self._waking.discard((key_of(isvc), number))
        self._tell(key_of(isvc))
        await self._scale(deployment, 0, "true")

    def is_starting(self, isvc: Obj, number: int) -> bool:
        """Whether a revision has a component none of whose pods answers yet.

        Pods that requests enter by are asked themselves; the others are found through a Service,
        which knows only those that the API calls ready.
        """
        pods = [p for p in self._pods(isvc) if revision_of(p) == number]
        running = [d for d in self._deployments(isvc, number) if d["spec"].get("replicas", 1)]
        components = {labels(deployment).get(names.COMPONENT, "") for deployment in running}
        entry = entry_component(components)
        for component in components:
            own = [p for p in pods if labels(p).get(names.COMPONENT) == component]
            if component == entry:
                self._ask(own)
            if not any(
                is_pod_ready(p) or (component == entry and self.has_answered(p)) for p in own
            ):
                return True
        return not components

    def has_answered(self, pod: Obj) -> bool:
        """Whether a pod was found ready before the API says so."""
        return uid(pod) in self._answering

    def _ask(self, pods: Sequence[Obj]) -> None:
        for pod in pods:
            address = (pod.get("status") or {}).get("podIP")
            known = uid(pod) in self._probing or is_pod_ready(pod) or self.has_answered(pod)
            if address and not known and not deletion_requested(pod):
                task = asyncio.create_task(self._probe(pod, address), name=f"probe {name(pod)}")
                self._probing[uid(pod)] = task

    async def change(self, key: Key, seconds: float) -> None:
        """Waits until something about the service's pods or status is new."""
        event = self._changed.setdefault(key, asyncio.Event())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    def notify(self, key: Key) -> None:
        """Wakes those who wait for a change."""
        if event := self._changed.pop(key, None):
            event.set()

    def _tell(self, key: Key) -> None:
        for listener in self._listeners:
            listener(key)

    def _deployments(self, isvc: Obj, number: int) -> list[Obj]:
        owned = self._informers.of(DEPLOYMENTS).owned_by(uid(isvc))
        return [one for one in owned if revision_of(one) == number]

    def _pods(self, isvc: Obj) -> list[Obj]:
        of = f"{namespace(isvc)}/{name(isvc)}"
        return [
            p for p in self._informers.of(PODS).by_index("service", of) if not deletion_requested(p)
        ]

    async def _scale(
        self, deployment: Obj, replicas: int, state: Literal["true", "waking"]
    ) -> None:
        patch: dict[str, Any] = {
            "metadata": {"annotations": names.at_rest_annotations(state)},
            "spec": {"replicas": replicas},
        }
        with contextlib.suppress(NotFound):
            await self._client.patch(DEPLOYMENTS, name(deployment), patch, namespace(deployment))

    async def _probe(self, pod: Obj, address: str) -> None:
        """Asks a pod until it answers, is ready by the API's word, or is gone."""
        try:
            await until_ready(pod, address)
            self._answering.add(uid(pod))
            key = Key(namespace(pod), labels(pod)[names.SERVICE])
            self._tell(key)
            self.notify(key)
        finally:
            self._probing.pop(uid(pod), None)

    def _on_pod(self, old: Obj | None, new: Obj | None) -> None:
        pod = new or old
        if pod is None or not (isvc := labels(pod).get(names.SERVICE)):
            return
        if new is None or is_pod_ready(new) or deletion_requested(new):
            self._answering.discard(uid(pod))
            if task := self._probing.pop(uid(pod), None):
                task.cancel()
        self.notify(Key(namespace(pod), isvc))

    def _on_service(self, old: Obj | None, new: Obj | None) -> None:
        if isvc := new or old:
            self.notify(key_of(isvc))
            if new is None:
                self._going = {one for one in self._going if one[0] != key_of(isvc)}
                self._waking = {one for one in self._waking if one[0] != key_of(isvc)}
