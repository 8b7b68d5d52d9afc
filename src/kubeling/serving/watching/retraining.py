"""Starts the run that a service names for when its requests drift."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Final
from urllib.parse import quote

from kubeling.artifacts import web
from kubeling.artifacts.errors import ArtifactError
from kubeling.component import Context
from kubeling.kube import objects
from kubeling.kube.errors import AlreadyExists, ApiError
from kubeling.kube.objects import Obj, name, namespace, uid
from kubeling.serving.names import RETRAIN, RETRAINED
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.watching.triggers import SOURCES, run_name, run_of

__all__ = ["Retraining"]

_AGAIN_SECONDS: Final = 60.0
_PIPELINES: Final = "/apis/v2beta1/pipelines/names"


class Retraining:
    """One run for each episode of drift."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._gateway = context.settings.gateway_url
        self._clock = context.clock
        self._recorder = context.recorder("model-monitor")
        self._again: dict[str, float] = {}
        """By service, when to try again what failed."""

    async def start(self, isvc: Obj, episode: str) -> None:
        """Starts the run of an episode, unless that was done; what is wrong becomes an Event."""
        found = objects.annotations(isvc)
        wanted = found.get(RETRAIN, "")
        if not wanted or found.get(RETRAINED, "").startswith(f"{episode} "):
            return
        if self._clock.monotonic() < self._again.get(uid(isvc), 0.0):
            return
        kind, _, title = wanted.partition("/")
        kind = "RecurringRun" if kind == "ScheduledWorkflow" else kind
        try:
            source = await self._source(kind, title, namespace(isvc))
            resource, run = run_of(isvc, run_name(isvc, episode), kind, source)
            with contextlib.suppress(AlreadyExists):
                await self._client.create(resource, run)
        except (ApiError, ArtifactError, web.HttpStatus) as error:
            message = f"{wanted} cannot be started: {error}"
            await self._recorder.warning(isvc, "RetrainingFailed", message)
            self._again[uid(isvc)] = self._clock.monotonic() + _AGAIN_SECONDS
            return
        self._again.pop(uid(isvc), None)
        started = f"{episode} {resource.kind}/{name(run)}"
        patch = {"metadata": {"annotations": {RETRAINED: started}}}
        await self._client.patch(INFERENCE_SERVICES, name(isvc), patch, namespace(isvc))
        message = f"requests drifted: started {resource.kind} {name(run)} from {wanted}"
        await self._recorder.normal(isvc, "RetrainingStarted", message)

    async def _source(self, kind: str, title: str, where: str) -> Obj | str:
        if kind != "Pipeline":
            resource = SOURCES[kind]
            return await self._client.get(resource, title, where if resource.namespaced else "")
        query = f"?namespace={quote(where)}"
        for scope in (query, ""):
            url = f"{self._gateway}{_PIPELINES}/{quote(title)}{scope}"
            try:
                answer = await asyncio.to_thread(web.get, url)
            except web.HttpStatus as error:
                if error.status == 404 and scope:
                    continue
                raise
            return str(json.loads(answer.body)["pipeline_id"])
        raise AssertionError("unreachable")
