"""Makes the Deployments of a service's canaries what their entries ask for.

A canary is a revision whose Deployment is called after it and stays for the canary's life: another
model under the same name is rolled out in place, as upstream does it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubeling.component import Context
from kubeling.kube import objects
from kubeling.kube.objects import Obj, generation, labels, name, namespace
from kubeling.kube.resources import DEPLOYMENTS
from kubeling.serving import canaries, names, workloads
from kubeling.serving.canaries import Canary, Problem
from kubeling.serving.dependents import Dependents
from kubeling.serving.observation import ObservedRevision
from kubeling.serving.registered import ModelNotRegistered
from kubeling.serving.runtimes import RuntimeNotFound
from kubeling.serving.storage.uris import StorageNotFound
from kubeling.serving.wanted import Wanted

__all__ = ["CanaryDeployments"]


class CanaryDeployments:
    """Reads and writes the canaries of services."""

    def __init__(self, context: Context, dependents: Dependents, wanted: Wanted) -> None:
        self._client = context.client
        self._informers = context.informers
        self._dependents = dependents
        self._wanted = wanted

    async def read(
        self, isvc: Obj, revisions: Mapping[int, ObservedRevision], latest: int
    ) -> list[Canary]:
        """A service's canaries, in the order of its spec.

        Numbers grow with the service's generation, so that a canary is not taken for one of the
        same name that was there before.
        """
        found: list[Canary] = []
        last = max([latest, generation(isvc) - 1, *revisions])
        for entry in canaries.entries(isvc):
            title = entry["predictor"]["name"]
            observed = canaries.found_revision(isvc, title, revisions)
            if observed is None:
                last += 1
            service = canaries.as_service(isvc, entry)
            desired, problem = None, self._name_is_taken(isvc, title)
            if problem is None:
                try:
                    desired = await self._wanted.of(service)
                except ModelNotRegistered as error:
                    problem = Problem("ModelNotRegistered", str(error))
                except RuntimeNotFound as error:
                    problem = Problem(error.reason, str(error))
                except StorageNotFound as error:
                    problem = Problem("InvalidStorage", str(error))
            found.append(
                Canary(
                    title,
                    int(entry.get("trafficPercent") or 0),
                    service,
                    last if observed is None else observed.number,
                    desired,
                    observed,
                    problem,
                )
            )
        return found

    async def note(self, stable: ObservedRevision | None, found: Sequence[Canary]) -> None:
        """Keeps the highest number that canaries had for as long as a new revision could have it.

        Requests are counted by it, and a revision must not be judged by what another one answered.
        """
        highest = max((canary.number for canary in found), default=0)
        deployment = (stable.deployments if stable else {}).get("predictor")
        if deployment is not None and canaries.tried(deployment) < highest:
            patch = {"metadata": {"annotations": {names.TRIED: str(highest)}}}
            await self._client.patch(DEPLOYMENTS, name(deployment), patch, namespace(deployment))

    async def apply(self, isvc: Obj, found: Sequence[Canary]) -> None:
        """Creates what is missing, rolls out what is new, and keeps the number of pods."""
        for canary in found:
            if canary.desired is None:
                continue
            there = canary.observed.deployments if canary.observed else {}
            for component, template in canary.desired.templates.items():
                title = names.variant_name(name(isvc), component, canary.name)
                wanted = workloads.deployment(
                    canary.service,
                    component,
                    canary.number,
                    template,
                    canary.desired.digest,
                    canary.replicas(component),
                    title,
                )
                if component in there:
                    await self._update(there[component], wanted)
                else:
                    await self._dependents.create(DEPLOYMENTS, wanted)
            for outdated in there.keys() - set(canary.desired.templates):
                await self._dependents.delete(DEPLOYMENTS, there[outdated])

    async def stop(self, isvc: Obj) -> None:
        """Deletes the canaries' Deployments, as upstream does for ``stop``."""
        known = canaries.canary_names(isvc)
        for deployment in self._informers.of(DEPLOYMENTS).owned_by(objects.uid(isvc)):
            if labels(deployment).get(names.VARIANT) in known:
                await self._dependents.delete(DEPLOYMENTS, deployment)

    async def _update(self, found: Obj, wanted: Obj) -> None:
        """Another model is a new try: what an earlier one was rejected for is forgotten."""
        digest = wanted["metadata"]["annotations"][names.DIGEST]
        if objects.annotations(found).get(names.DIGEST) != digest:
            kept = {k: v for k, v in objects.annotations(found).items() if k != names.REJECTED}
            metadata = {**found["metadata"], "annotations": {**kept, names.DIGEST: digest}}
            spec = {**found["spec"], **wanted["spec"], "selector": found["spec"]["selector"]}
            await self._client.replace(DEPLOYMENTS, {**found, "metadata": metadata, "spec": spec})
        elif found["spec"].get("replicas", 1) != wanted["spec"]["replicas"]:
            patch = {"spec": {"replicas": wanted["spec"]["replicas"]}}
            await self._client.patch(DEPLOYMENTS, name(found), patch, namespace(found))

    def _name_is_taken(self, isvc: Obj, canary: str) -> Problem | None:
        title = names.variant_name(name(isvc), "predictor", canary)
        found = self._informers.of(DEPLOYMENTS).get(namespace(isvc), title)
        if found is None or objects.is_owned_by(found, isvc):
            return None
        message = f"Deployment {title} exists and is not this service's; name the canary otherwise"
        return Problem("NameTaken", message)
