"""Lists each service's TrainedModels for its pods' agents, and says what became of them.

By service, as the list and the memory are its own. A model becomes its service's, so that it goes
when the service goes; upstream deletes models whose service is not there, also when it is only
applied a moment later.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Final

import aiohttp

from kubeling.component import Context
from kubeling.kube import objects
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import ApiError, NotFound
from kubeling.kube.objects import (
    Key,
    Obj,
    deletion_requested,
    is_condition_true,
    labels,
    name,
    namespace,
    new_object,
    owner_reference,
)
from kubeling.kube.resources import CONFIG_MAPS, DEPLOYMENTS, PODS
from kubeling.serving import names
from kubeling.serving.multimodel.listing import failure_in
from kubeling.serving.multimodel.predictors import AGENT, config_name, has_agent
from kubeling.serving.multimodel.resources import TRAINED_MODELS
from kubeling.serving.multimodel.status import (
    Loading,
    accepted,
    digest_of,
    model_config,
    model_status,
)
from kubeling.serving.observation import is_pod_ready
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.workloads import serving_port

__all__ = ["TrainedModelController"]

_LOOK_AGAIN_SECONDS: Final = 2.0
_ASK_SECONDS: Final = 2.0
_ASK_AGAIN_SECONDS: Final = 10.0
_TAIL: Final = 200


class TrainedModelController:
    """Reconciles the TrainedModels of each InferenceService."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._informers = context.informers
        self._clock = context.clock

    def controller(self) -> Controller:
        """The controller, with what wakes it."""
        return Controller(
            "trainedmodel",
            INFERENCE_SERVICES,
            self.reconcile,
            owns=(CONFIG_MAPS, DEPLOYMENTS),
            watches={TRAINED_MODELS: _service_of_model, PODS: _service_of_pod},
        )

    async def reconcile(self, key: Key) -> Result | None:
        """Brings the list and the statuses of one service's models up to date."""
        isvc = self._informers.of(INFERENCE_SERVICES).get(*key)
        if isvc is not None and deletion_requested(isvc):
            return None
        models = [
            model
            for model in self._informers.of(TRAINED_MODELS).list(key.namespace)
            if model["spec"]["inferenceService"] == key.name and not deletion_requested(model)
        ]
        if isvc is None:
            for model in models:
                await self._write(model, None, None, {})
            return None
        multi = any(map(has_agent, self._informers.of(DEPLOYMENTS).owned_by(objects.uid(isvc))))
        taken = accepted(isvc, models) if multi else None
        if taken is not None:
            await self._list(isvc, taken)
        loading, heard = await self._loading(isvc, taken) if taken else ({}, True)
        for model in models:
            await self._adopt(model, isvc)
            await self._write(model, isvc, taken, loading)
        if any(value == "False" for value, _ in loading.values()):
            return Result(_LOOK_AGAIN_SECONDS)
        return None if heard else Result(_ASK_AGAIN_SECONDS)

    async def _list(self, isvc: Obj, taken: list[Obj]) -> None:
        text = json.dumps(model_config(taken))
        wanted = new_object(
            CONFIG_MAPS,
            config_name(name(isvc)),
            namespace(isvc),
            labels={names.SERVICE: name(isvc)},
            owner=isvc,
            data={"models.json": text},
        )
        found = self._informers.of(CONFIG_MAPS).get(namespace(isvc), name(wanted))
        if found is None or found.get("data") != wanted["data"]:
            await self._client.apply(CONFIG_MAPS, wanted)

    async def _adopt(self, model: Obj, isvc: Obj) -> None:
        if objects.is_owned_by(model, isvc):
            return
        others = [
            owner
            for owner in model["metadata"].get("ownerReferences") or ()
            if owner["kind"] != INFERENCE_SERVICES.kind
        ]
        patch = {
            "metadata": {
                "labels": {names.SERVICE: name(isvc)},
                "ownerReferences": [*others, owner_reference(isvc, controller=False)],
            }
        }
        try:
            await self._client.patch(TRAINED_MODELS, name(model), patch, namespace(model))
        except NotFound:
            return

    async def _loading(self, isvc: Obj, taken: list[Obj]) -> tuple[Loading, bool]:
        """What the service's ready pods say of each model, and whether all of them did."""
        if not is_condition_true(isvc, "Ready"):
            return {}, True
        pods = [
            pod
            for pod in self._informers.of(PODS).list(namespace(isvc))
            if labels(pod).get(names.SERVICE) == name(isvc)
            and labels(pod).get(names.COMPONENT) == "predictor"
            and is_pod_ready(pod)
            and not deletion_requested(pod)
        ]
        timeout = aiohttp.ClientTimeout(total=_ASK_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            found = await asyncio.gather(*(_index(session, pod) for pod in pods))
        indexes = {
            name(pod): index for pod, index in zip(pods, found, strict=True) if index is not None
        }
        wanted = {name(model): digest_of(model) for model in taken}
        logs = {
            pod: await self._log_of_agent(pod, namespace(isvc))
            for pod, index in indexes.items()
            if wanted.keys() - {e.get("name") for e in index if not _is_former(e, wanted)}
        }
        loading = {model: _loaded(model, wanted, indexes, logs) for model in wanted}
        return loading, len(indexes) == len(pods)

    async def _log_of_agent(self, pod: str, where: str) -> str:
        """The end of a log that nobody else would look for."""
        written = bytearray()
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                async for chunk in self._client.logs(pod, where, container=AGENT, tail_lines=_TAIL):
                    written += chunk
        except (ApiError, ConnectionError, TimeoutError):
            return ""
        return written.decode(errors="replace")

    async def _write(
        self, model: Obj, isvc: Obj | None, taken: list[Obj] | None, loading: Loading
    ) -> None:
        status = model_status(model, isvc, taken, loading, self._clock.now())
        if status == (model.get("status") or {}):
            return
        try:
            await self._client.patch_status(TRAINED_MODELS, name(model), status, namespace(model))
        except NotFound:
            return


async def _index(session: aiohttp.ClientSession, pod: Obj) -> list[Obj] | None:
    """The models that a pod's server has; ``None`` if it cannot be asked."""
    address = (pod.get("status") or {}).get("podIP")
    url = f"http://{address}:{serving_port(pod)}/v2/repository/index"
    try:
        async with session.post(url, json={}) as answer:
            found: list[Obj] = await answer.json() if answer.status == 200 else []
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None
    return found


def _service_of_pod(pod: Obj) -> Iterable[Key]:
    title = labels(pod).get(names.SERVICE)
    if title and has_agent({"spec": {"template": pod}}):
        yield Key(namespace(pod), title)


def _service_of_model(model: Obj) -> Iterable[Key]:
    yield Key(namespace(model), str(model["spec"]["inferenceService"]))


def _is_former(entry: Obj, wanted: Mapping[str, str]) -> bool:
    """Whether a server still has the model that another one of its name is to follow."""
    return entry.get("source", "") not in ("", wanted.get(str(entry.get("name"))))


def _loaded(
    model: str,
    wanted: Mapping[str, str],
    indexes: Mapping[str, list[Obj]],
    logs: Mapping[str, str],
) -> tuple[str, str]:
    """The condition's value and message, from the pods' indexes and what their agents said."""
    if not indexes:
        return "Unknown", "no pod could be asked"
    for pod, index in indexes.items():
        entry = next((e for e in index if e.get("name") == model), None)
        if entry is None:
            said = failure_in(logs[pod], model)
            return "False", f"pod {pod}: {said}" if said else f"pod {pod} does not have it yet"
        if _is_former(entry, wanted):
            said = failure_in(logs[pod], model)
            return "False", f"pod {pod} still answers by the former files{said and f': {said}'}"
        if entry.get("state") != "READY":
            why = entry.get("reason") or entry.get("state")
            return "False", f"pod {pod} cannot load it: {why}"
    return "True", ""
