"""Runs LLMInferenceServices: one Deployment of single-pod servers, a Service, and the status."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec

from kubeling.component import Context
from kubeling.kube import objects
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import Invalid, NotFound
from kubeling.kube.objects import (
    Key,
    Obj,
    condition,
    deletion_requested,
    key_of,
    labels,
    mapping,
    name,
    namespace,
)
from kubeling.kube.resources import CONFIG_MAPS, DEPLOYMENTS, PODS, SERVICES
from kubeling.serving import credentials, names
from kubeling.serving.accounts import account_access
from kubeling.serving.configuration import credential_conventions, is_config
from kubeling.serving.dependents import Dependents
from kubeling.serving.llm import workload
from kubeling.serving.llm.combining import Combined, NotCombined, combined
from kubeling.serving.llm.obstacles import obstacles
from kubeling.serving.llm.presets import SYSTEM_NAMESPACE
from kubeling.serving.llm.resources import LLM_CONFIGS, LLM_SERVICES
from kubeling.serving.llm.status import Facts, Problem, status_of
from kubeling.serving.storage.uris import StorageNotFound
from kubeling.serving.storage_containers import CLUSTER_STORAGE_CONTAINERS, StorageContainers

__all__ = ["LLMInferenceServiceController"]

_LOOK_AGAIN_SECONDS: Final = 5.0
_DIGEST: Final = names.DIGEST


class LLMInferenceServiceController:
    """Reconciles LLMInferenceServices."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._informers = context.informers
        self._settings = context.settings
        self._clock = context.clock
        self._recorder = context.recorder("llmisvc-controller")
        self._dependents = Dependents(context.client, context.informers, self._recorder)

    def controller(self) -> Controller:
        """The controller, with what wakes it."""
        return Controller(
            "llminferenceservice",
            LLM_SERVICES,
            self.reconcile,
            owns=(DEPLOYMENTS, SERVICES),
            watches={
                PODS: _service_of,
                DEPLOYMENTS: self._services_named,
                LLM_CONFIGS: self._services_near,
                CLUSTER_STORAGE_CONTAINERS: self._all_services,
                SERVICES: self._when_gateway_changes,
                CONFIG_MAPS: self._when_configured,
            },
        )

    async def reconcile(self, key: Key) -> Result | None:
        """Brings one service closer to its spec."""
        llm = self._informers.of(LLM_SERVICES).get(*key)
        if llm is None or deletion_requested(llm):
            return None
        stopped = objects.annotations(llm).get(names.STOP) == "true"
        try:
            found = combined(llm, self._informers.of(LLM_CONFIGS).get)
        except NotCombined as error:
            if stopped:
                await self._remove(llm)
            spec = llm["spec"] if stopped else None
            await self._write(llm, Facts(llm, spec, presets=error.problem, stopped=stopped))
            return None
        if stopped:
            await self._remove(llm)
            await self._write(llm, Facts(llm, found.spec, found.applied, stopped=True))
            return None
        problem = await self._run(llm, found)
        await self._write(llm, self._facts(llm, found, problem))
        return Result(_LOOK_AGAIN_SECONDS) if problem is not None else None

    async def _run(self, llm: Obj, found: Combined) -> Problem | None:
        """Makes the workload, unless something stands in its way; says what."""
        if any(obstacle.stops for obstacle in obstacles(found.spec)):
            return None
        containers = StorageContainers(self._informers.of(CLUSTER_STORAGE_CONTAINERS).list())
        access = await self._access(namespace(llm), found.spec)
        try:
            wanted = workload.deployment(llm, found.spec, access, containers)
        except StorageNotFound as error:
            return Problem("InvalidStorage", f"spec.model.uri: {error}")
        try:
            await self._apply(llm, wanted)
        except Invalid as error:
            return Problem("ReconcileSingleNodeWorkloadError", str(error))
        await self._dependents.ensure(SERVICES, llm, workload.service(llm, found.spec))
        return None

    async def _apply(self, llm: Obj, wanted: Obj) -> None:
        """A Deployment whose template is replaced as a whole: what the spec dropped is dropped."""
        spec = wanted["spec"]
        text = msgspec.json.encode([spec["template"], spec.get("strategy")], order="deterministic")
        annotations = objects.annotations(wanted)
        annotations[_DIGEST] = hashlib.sha256(text).hexdigest()[:16]
        wanted["metadata"]["annotations"] = annotations
        found = self._informers.of(DEPLOYMENTS).get(namespace(wanted), name(wanted))
        if found is None:
            await self._dependents.create(DEPLOYMENTS, wanted)
        elif not objects.is_owned_by(found, llm):
            await self._recorder.warning(
                llm, "NameTaken", f"Deployment {name(wanted)} exists and is not this service's"
            )
        elif objects.annotations(found).get(_DIGEST) != annotations[_DIGEST]:
            replicas = spec.get("replicas", found["spec"].get("replicas", 1))
            metadata = {
                **found["metadata"],
                "annotations": {**objects.annotations(found), **annotations},
            }
            replaced = {**found, "metadata": metadata, "spec": {**spec, "replicas": replicas}}
            await self._client.replace(DEPLOYMENTS, replaced)
        elif spec.get("replicas") not in (None, found["spec"].get("replicas", 1)):
            await self._client.set_scale(
                DEPLOYMENTS, name(found), namespace(found), spec["replicas"]
            )

    async def _access(self, where: str, spec: Obj) -> credentials.Access:
        """The way to the model's store, from the secrets of the pods' account."""
        title = mapping(spec.get("template")).get("serviceAccountName") or "default"
        said = credential_conventions(self._informers.of(CONFIG_MAPS).get)
        return await account_access(self._client, where, title, conventions=said)

    def _facts(self, llm: Obj, found: Combined, problem: Problem | None) -> Facts:
        deployments = self._informers.of(DEPLOYMENTS)
        deployment = deployments.get(namespace(llm), workload.deployment_name(llm))
        if deployment is not None and not objects.is_owned_by(deployment, llm):
            text = f"Deployment {name(deployment)} is another's; give the service another name"
            deployment, problem = None, Problem("NameTaken", text)
        path = f"{namespace(llm)}/{name(llm)}"
        where, title = names.GATEWAY
        domain = self._settings.cluster_domain
        return Facts(
            llm,
            found.spec,
            found.applied,
            workload=problem,
            obstacles=tuple(obstacles(found.spec)),
            deployment=deployment,
            pods=[
                pod
                for pod in self._informers.of(PODS).list(namespace(llm))
                if workload.selector(llm).items() <= labels(pod).items()
            ],
            gateway=self._informers.of(SERVICES).get(*names.GATEWAY) is not None,
            url=f"{self._settings.gateway_url.rstrip('/')}/{path}",
            cluster_url=f"http://{title}.{where}.svc.{domain}/{path}",
            cluster_domain=domain,
        )

    async def _remove(self, llm: Obj) -> None:
        for resource in (DEPLOYMENTS, SERVICES):
            for obj in self._informers.of(resource).owned_by(objects.uid(llm)):
                await self._dependents.delete(resource, obj)

    async def _write(self, llm: Obj, facts: Facts) -> None:
        status = status_of(facts, self._clock.now())
        if status == llm.get("status"):
            return
        try:
            await self._client.replace_status(LLM_SERVICES, {**llm, "status": status})
        except NotFound:
            return
        before, now = condition(llm, "Ready"), condition({"status": status}, "Ready")
        if now is None or (before is not None and before.status == now.status):
            return
        if now.status == "True":
            text = f"LLMInferenceService [{name(llm)}] is Ready"
            await self._recorder.event(llm, "Normal", "LLMInferenceServiceReady", text)
        elif before is not None and before.status == "True":
            text = f"LLMInferenceService [{name(llm)}] is no longer Ready: {now.message}"
            await self._recorder.event(llm, "Warning", "LLMInferenceServiceNotReady", text)

    def _services_named(self, deployment: Obj) -> Iterable[Key]:
        """Those that want a Deployment of this name, which may be another's."""
        for llm in self._informers.of(LLM_SERVICES).list(namespace(deployment)):
            if workload.deployment_name(llm) == name(deployment):
                yield key_of(llm)

    def _when_gateway_changes(self, service: Obj) -> Iterable[Key]:
        is_gateway = (namespace(service), name(service)) == names.GATEWAY
        return self._all_services(service) if is_gateway else ()

    def _when_configured(self, config: Obj) -> Iterable[Key]:
        return self._all_services(config) if is_config(config) else ()

    def _services_near(self, config: Obj) -> Iterable[Key]:
        for llm in self._informers.of(LLM_SERVICES).list():
            if namespace(config) in (namespace(llm), SYSTEM_NAMESPACE):
                yield key_of(llm)

    def _all_services(self, _: Obj) -> Iterable[Key]:
        return [key_of(llm) for llm in self._informers.of(LLM_SERVICES).list()]


def _service_of(pod: Obj) -> Iterable[Key]:
    if not workload.is_workload(pod):
        return []
    return [Key(namespace(pod), labels(pod).get(workload.NAME_LABEL, ""))]
