"""Runs InferenceServices: reads what is wanted and what is there, and moves one to the other.

What to do is decided by pure functions (:mod:`.templates`, :mod:`.revisions`, :mod:`.workloads`,
:mod:`.status`); this module reads, calls them, and writes the difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from kubeling.component import Context
from kubeling.kube import objects
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import Forbidden, Invalid, NotFound
from kubeling.kube.objects import Key, Obj, deletion_requested, labels, name, namespace
from kubeling.kube.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    PODS,
    SERVICES,
    Resource,
)
from kubeling.serving import canaries, names, planning, scaling, status, workloads
from kubeling.serving.announcements import announcements
from kubeling.serving.canary_deployments import CanaryDeployments
from kubeling.serving.configuration import is_config, services_are_headless
from kubeling.serving.dependents import Dependents
from kubeling.serving.names import ComponentName
from kubeling.serving.observation import (
    ObservedRevision,
    is_at_rest,
    is_waking,
    observe,
    revision_of,
)
from kubeling.serving.registered import ModelNotRegistered
from kubeling.serving.resources import (
    CLUSTER_SERVING_RUNTIMES,
    INFERENCE_SERVICES,
    SERVING_RUNTIMES,
)
from kubeling.serving.revisions import Rollout
from kubeling.serving.runtimes import Runtime, RuntimeNotFound
from kubeling.serving.storage.uris import StorageNotFound
from kubeling.serving.storage_containers import CLUSTER_STORAGE_CONTAINERS
from kubeling.serving.wanted import Wanted

__all__ = ["InferenceServiceController"]

_LOOK_AGAIN_SECONDS: Final = 5.0
_OF_OLDER_SPEC: Final = scaling.ScalingPolicy(1, 0, "cpu", 80.0, "others")
"""A component that the spec has no more keeps its number while its revision runs."""


class InferenceServiceController:
    """Reconciles InferenceServices."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._informers = context.informers
        self._settings = context.settings
        self._clock = context.clock
        self._recorder = context.recorder("inferenceservice-controller")
        self._dependents = Dependents(context.client, context.informers, self._recorder)
        self._desired = Wanted(context)
        self._canaries = CanaryDeployments(context, self._dependents, self._desired)
        self._informers.of(INFERENCE_SERVICES).add_handler(self._on_change)

    def controller(self) -> Controller:
        """The controller, with what wakes it."""
        return Controller(
            "inferenceservice",
            INFERENCE_SERVICES,
            self.reconcile,
            owns=(DEPLOYMENTS, SERVICES, HORIZONTAL_POD_AUTOSCALERS),
            watches={
                PODS: _service_of,
                SERVING_RUNTIMES: self._all_services,
                CLUSTER_SERVING_RUNTIMES: self._all_services,
                CLUSTER_STORAGE_CONTAINERS: self._all_services,
                SERVICES: self._when_gateway_changes,
                CONFIG_MAPS: self._when_configured,
            },
        )

    async def reconcile(self, key: Key) -> Result | None:
        """Brings one service closer to its spec."""
        isvc = self._informers.of(INFERENCE_SERVICES).get(*key)
        if isvc is None or deletion_requested(isvc):
            return None
        if objects.annotations(isvc).get(names.STOP) == "true":
            await self._stop(isvc)
            return None
        try:
            desired = await self._desired.of(isvc)
        except ModelNotRegistered as error:
            await self._write_invalid(isvc, "ModelNotRegistered", str(error))
            return Result(_LOOK_AGAIN_SECONDS)
        except RuntimeNotFound as error:
            await self._write_invalid(isvc, error.reason, str(error))
            return None
        except StorageNotFound as error:
            await self._write_invalid(isvc, "InvalidStorage", str(error))
            return Result(_LOOK_AGAIN_SECONDS)
        try:
            return await self._converge(isvc, desired)
        except (Invalid, Forbidden) as error:
            # What the service is made of cannot be: mounts that clash, or a quota that is used up.
            await self._write_invalid(isvc, "Refused", str(error))
            return Result(_LOOK_AGAIN_SECONDS)

    async def _converge(self, isvc: Obj, desired: planning.Desired) -> Result | None:
        variant = planning.variant_of(isvc)
        observed = observe(self._owned(isvc, DEPLOYMENTS), self._pods(isvc))
        latest = planning.number_of(canaries.stable_revisions(isvc, observed), desired, variant)
        if latest is None or canaries.are_missing(isvc, observed):
            latest, observed = await self._listed(isvc, desired)
        revisions = canaries.stable_revisions(isvc, observed)
        trials = await self._canaries.read(isvc, observed, latest)
        await self._canaries.note(revisions.get(latest), trials)
        await self._canaries.apply(isvc, trials)
        stable = planning.plan(isvc, desired, latest, revisions)
        rollout = canaries.shared_out(stable, trials)
        # Before it answers itself it has no pods to spare.
        helped = trials if stable.shares else ()
        policies = {
            part: canaries.stable_policy(self._policy(isvc, part), part, helped)
            for part in desired.components
        }
        wanted = planning.replicas_of(isvc, policies, latest, revisions, rollout)
        await self._create_missing(isvc, desired, latest, revisions, wanted, policies)
        await self._scale(isvc, revisions, wanted, policies, grow=True)
        through = any(policy.needs_gateway for policy in policies.values())
        await self._apply_services(isvc, latest, observed, rollout, trials, through=through)
        facts = status.Facts(
            isvc,
            desired.components,
            latest,
            observed,
            rollout,
            desired.runtime,
            self._addresses(isvc),
            trials,
        )
        written = status.running_status(facts, self._clock.now())
        await self._write_status(isvc, written, desired.runtime)
        # Only when the status has taken requests away from a revision are its pods.
        await self._scale(isvc, revisions, wanted, policies, grow=False)
        await self._remove_old(observed, rollout)
        waiting = any(trial.problem is not None for trial in trials)
        return Result(_LOOK_AGAIN_SECONDS) if waiting else None

    async def _listed(
        self, isvc: Obj, desired: planning.Desired
    ) -> tuple[int, dict[int, ObservedRevision]]:
        """The revision asked for, and all there are, from the API, as the cache may be behind."""
        selector = f"{names.SERVICE}={name(isvc)}"
        listed = await self._client.list(DEPLOYMENTS, namespace(isvc), labels=selector)
        owned = [d for d in listed.items if objects.is_owned_by(d, isvc)]
        observed = observe(owned, self._pods(isvc))
        stable = canaries.stable_revisions(isvc, observed)
        latest = planning.number_of(stable, desired, planning.variant_of(isvc))
        if latest is None:
            components = (isvc.get("status") or {}).get("components") or {}
            created = (components.get("predictor") or {}).get("latestCreatedRevision", "")
            tried = map(canaries.tried, owned)
            latest = max([0, planning.number_in(created), *observed, *tried]) + 1
        return latest, observed

    async def _create_missing(
        self,
        isvc: Obj,
        desired: planning.Desired,
        latest: int,
        revisions: Mapping[int, ObservedRevision],
        wanted: planning.Replicas,
        policies: planning.Policies,
    ) -> None:
        observed = revisions.get(latest)
        for component, template in desired.templates.items():
            replicas = wanted[component, latest]
            title = planning.deployment_title(isvc, component, latest, revisions)
            if observed is None or component not in observed.deployments:
                made = workloads.deployment(
                    isvc, component, latest, template, desired.digest, replicas, title
                )
                await self._dependents.create(DEPLOYMENTS, made)
            scaler = workloads.autoscaler(
                isvc, component, latest, replicas, policies[component], title
            )
            await self._apply_autoscaler(isvc, component, scaler)

    async def _scale(
        self,
        isvc: Obj,
        revisions: Mapping[int, ObservedRevision],
        wanted: planning.Replicas,
        policies: planning.Policies,
        *,
        grow: bool,
    ) -> None:
        for (component, number), replicas in wanted.items():
            revision = revisions.get(number)
            if revision is None or component not in revision.deployments:
                continue
            deployment = revision.deployments[component]
            await self._note_that_awake(deployment)
            now = int(deployment["spec"].get("replicas", 1))
            if now == replicas or (now < replicas) != grow:
                continue
            policy = policies.get(component, _OF_OLDER_SPEC)
            if self._is_scaled_by_others(deployment, replicas, policy):
                continue
            patch = {
                "metadata": {"annotations": names.at_rest_annotations(None)},
                "spec": {"replicas": replicas},
            }
            await self._client.patch(DEPLOYMENTS, name(deployment), patch, namespace(isvc))

    async def _note_that_awake(self, deployment: Obj) -> None:
        if is_waking(deployment) and (deployment.get("status") or {}).get("readyReplicas"):
            patch = {"metadata": {"annotations": names.at_rest_annotations(None)}}
            await self._client.patch(DEPLOYMENTS, name(deployment), patch, namespace(deployment))

    def _is_scaled_by_others(
        self, deployment: Obj, replicas: int, policy: scaling.ScalingPolicy
    ) -> bool:
        """Whether an autoscaler set the number that is there, and may."""
        if replicas == 0:
            return False
        now = int(deployment["spec"].get("replicas", 1))
        if policy.rests and is_at_rest(deployment):
            return True
        if policy.by == "others":
            return now > 0
        scalers = self._informers.of(HORIZONTAL_POD_AUTOSCALERS)
        found = scalers.get(namespace(deployment), name(deployment))
        return now >= replicas and (policy.by == "gateway" or found is not None)

    async def _apply_autoscaler(
        self,
        isvc: Obj,
        component: ComponentName,
        wanted: Obj | None,
    ) -> None:
        for scaler in self._owned(isvc, HORIZONTAL_POD_AUTOSCALERS):
            if labels(scaler).get(names.COMPONENT) == component and (
                wanted is None or name(scaler) != name(wanted)
            ):
                await self._dependents.delete(HORIZONTAL_POD_AUTOSCALERS, scaler)
        if wanted is not None:
            await self._dependents.ensure(HORIZONTAL_POD_AUTOSCALERS, isvc, wanted)

    async def _remove_old(
        self, revisions: Mapping[int, ObservedRevision], rollout: Rollout
    ) -> None:
        kept = {planning.number_in(title) for title in rollout.kept | rollout.running}
        for number in revisions.keys() - kept:
            for deployment in revisions[number].deployments.values():
                await self._dependents.delete(DEPLOYMENTS, deployment)

    async def _apply_services(
        self,
        isvc: Obj,
        latest: int,
        revisions: Mapping[int, ObservedRevision],
        rollout: Rollout,
        trials: Sequence[canaries.Canary],
        *,
        through: bool,
    ) -> None:
        kept = {planning.number_in(title) for title in rollout.kept | rollout.running}
        ports = {
            (component, number): workloads.ports_of(
                revision.deployments[component]["spec"]["template"]
            )
            for number, revision in sorted(revisions.items())
            if number in kept
            for component in names.COMPONENTS
            if component in revision.deployments
        }
        where, title = names.GATEWAY
        gateway = f"{title}.{where}.svc.{self._settings.cluster_domain}" if through else ""
        primary = planning.number_in(rollout.primary)
        variants = {canary.name: canary.number for canary in trials}
        if variant := planning.variant_of(isvc):
            variants[variant] = primary
        headless = not names.is_knative(objects.annotations(isvc)) and services_are_headless(
            self._informers.of(CONFIG_MAPS).get
        )
        made = workloads.services(isvc, ports, primary, gateway, variants, headless=headless)
        wanted = {name(service): service for service in made}
        for service in wanted.values():
            await self._dependents.ensure(SERVICES, isvc, service)
        for service in self._owned(isvc, SERVICES):
            # Those of the newest revision may be there before the cache shows its Deployment.
            if name(service) not in wanted and _selected(service) != latest:
                await self._dependents.delete(SERVICES, service)

    async def _stop(self, isvc: Obj) -> None:
        for scaler in self._owned(isvc, HORIZONTAL_POD_AUTOSCALERS):
            await self._dependents.delete(HORIZONTAL_POD_AUTOSCALERS, scaler)
        for deployment in self._owned(isvc, DEPLOYMENTS):
            if deployment["spec"].get("replicas", 1):
                await self._client.set_scale(
                    DEPLOYMENTS, name(deployment), namespace(deployment), 0
                )
        await self._canaries.stop(isvc)
        await self._write_status(isvc, status.stopped_status(isvc, self._clock.now()))

    async def _write_invalid(self, isvc: Obj, reason: str, message: str) -> None:
        now = self._clock.now()
        await self._write_status(isvc, status.invalid_status(isvc, reason, message, now))

    async def _write_status(self, isvc: Obj, wanted: Obj, runtime: Runtime | None = None) -> None:
        before = isvc.get("status") or {}
        if wanted == before:
            return
        try:
            await self._client.replace_status(INFERENCE_SERVICES, {**isvc, "status": wanted})
        except NotFound:
            return
        for announcement in announcements(isvc, before, wanted, runtime):
            await self._recorder.event(
                isvc, announcement.type, announcement.reason, announcement.message
            )

    def _owned(self, isvc: Obj, resource: Resource) -> list[Obj]:
        return self._informers.of(resource).owned_by(objects.uid(isvc))

    def _pods(self, isvc: Obj) -> list[Obj]:
        return [
            pod
            for pod in self._informers.of(PODS).list(namespace(isvc))
            if labels(pod).get(names.SERVICE) == name(isvc)
        ]

    def _addresses(self, isvc: Obj) -> status.Addresses:
        host = names.host_names(isvc, self._settings)[0]
        services = self._owned(isvc, SERVICES)
        ports = {name(s): port for s in services if (port := workloads.headless_port(s))}
        domain = f"{namespace(isvc)}.svc.{self._settings.cluster_domain}"
        return status.Addresses(f"http://{host}", domain, ports)

    def _policy(self, isvc: Obj, component: ComponentName) -> scaling.ScalingPolicy:
        policy = scaling.policy_of(isvc, component)
        gateway = self._informers.of(SERVICES).get(*names.GATEWAY)
        return policy if gateway is not None else policy.without_gateway()

    def _when_gateway_changes(self, service: Obj) -> Iterable[Key]:
        is_gateway = (namespace(service), name(service)) == names.GATEWAY
        return self._all_services(service) if is_gateway else ()

    def _when_configured(self, config: Obj) -> Iterable[Key]:
        return self._all_services(config) if is_config(config) else ()

    def _on_change(self, old: Obj | None, new: Obj | None) -> None:
        if new is None and old is not None:
            self._desired.forget(old)

    def _all_services(self, _: Obj) -> Iterable[Key]:
        return [objects.key_of(obj) for obj in self._informers.of(INFERENCE_SERVICES).list()]


def _selected(service: Obj) -> int:
    """The revision whose pods a Service leads to."""
    return revision_of({"metadata": {"labels": service["spec"].get("selector") or {}}})


def _service_of(pod: Obj) -> Iterable[Key]:
    isvc = labels(pod).get(names.SERVICE)
    return [Key(namespace(pod), isvc)] if isvc else []
