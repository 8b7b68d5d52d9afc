"""``resource`` templates: an object got, created, changed or deleted, and waited for.

Upstream runs kubectl in a pod of the Workflow's service account (``executor/resource.go``). Here
the controller does it in that account's name, so by its rights and no others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from kubeling.kube import yaml
from kubeling.kube.client import Client
from kubeling.kube.discovery import Discovery, UnknownKind
from kubeling.kube.errors import NotFound
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource
from kubeling.workflows.errandinputs import ErrandInputs
from kubeling.workflows.errandlog import ErrandLog
from kubeling.workflows.errands import Errand, ErrandFailed
from kubeling.workflows.kubectlflags import UnknownFlag, parse_flags
from kubeling.workflows.resourceactions import ResourceActions, look
from kubeling.workflows.resourceconditions import Term, parse_condition, verdict
from kubeling.workflows.resourceoutputs import resource_outputs
from kubeling.workflows.resources import Outputs

__all__ = ["ResourceErrand"]

_FIRST_LOOK: Final = 0.2
_LOOKS_AT_MOST_EVERY: Final = 5.0


class ResourceErrand:
    """One ``resource`` node's work; ``client`` acts for the Workflow's service account."""

    def __init__(
        self,
        client: Client,
        discovery: Discovery,
        workflow: Obj,
        errand: Errand,
        inputs: ErrandInputs,
        log: ErrandLog,
    ) -> None:
        self._client = client
        self._actions = ResourceActions(client, discovery, workflow, errand, log)
        self._raw = errand.raw
        self._wanted: Obj = errand.raw["resource"]
        self._inputs = inputs
        self._log = log

    async def run(self, gate: asyncio.Semaphore) -> Outputs | None:
        """Does what the template says; raises :class:`~.errands.ErrandFailed` and API errors."""
        try:
            success = parse_condition(self._wanted.get("successCondition") or "")
            failure = parse_condition(self._wanted.get("failureCondition") or "")
            flags = parse_flags(self._wanted.get("flags") or ())
            async with gate:
                found = await self._actions.act(await self._manifest(), flags)
        except (ValueError, UnknownFlag, UnknownKind) as problem:
            raise ErrandFailed(str(problem)) from None
        if found is None:
            return await resource_outputs(self._raw.get("outputs"), None)
        resource, obj = found
        if success or failure:
            obj = await self._await(resource, obj, success, failure, gate)
        elif any(_source(p) for p in (self._raw.get("outputs") or {}).get("parameters", ())):
            obj = await look(self._client, resource, obj)
        return await resource_outputs(self._raw.get("outputs"), obj)

    async def _await(
        self,
        resource: Resource,
        obj: Obj,
        success: Sequence[Term],
        failure: Sequence[Term],
        gate: asyncio.Semaphore,
    ) -> Obj:
        pause, judged = _FIRST_LOOK, ""
        while True:
            async with gate:
                try:
                    obj = await look(self._client, resource, obj)
                except NotFound as error:
                    raise ErrandFailed(
                        "The resource has been deleted while its status was still being checked. "
                        f"Will not be retried: {error}"
                    ) from None
                except ConnectionError as error:
                    self._log.say(f"cannot look at it: {error}")
                    pause = _LOOKS_AT_MOST_EVERY
            found = verdict(obj, success, failure)
            version = str(obj["metadata"].get("resourceVersion"))
            if version != judged:
                judged = version
                self._tell(obj, success, failure)
            if isinstance(found, str):
                raise ErrandFailed(found)
            if found:
                return obj
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LOOKS_AT_MOST_EVERY)

    def _tell(self, obj: Obj, success: Sequence[Term], failure: Sequence[Term]) -> None:
        """What came of the conditions, for an object that has changed."""
        for kind, terms in (("failure", failure), ("success", success)):
            for term in terms:
                told = str(term.holds(obj)).lower()
                self._log.say(f"{kind} condition '{term.text}' evaluated {told}")
        self._log.publish()

    async def _manifest(self) -> Any:
        source = self._wanted.get("manifestFrom")
        if source is None:
            text = self._wanted.get("manifest") or ""
        else:
            text = await self._inputs.read(str((source.get("artifact") or {}).get("name")))
        documents = yaml.load_all(text)
        if len(documents) > 1:
            raise ErrandFailed("a resource template handles one object; write a step for each")
        return documents[0] if documents else None


def _source(parameter: Obj) -> bool:
    source = parameter.get("valueFrom") or {}
    return bool(source.get("jsonPath") or source.get("jqFilter"))
