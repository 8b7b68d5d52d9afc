"""``resource`` templates: an object got, created, changed or deleted, and waited for.

Upstream runs kubectl in a pod of the Workflow's service account (``executor/resource.go``). Here
the controller does it in that account's name, so by its rights and no others. A created object
gets a name that follows from the node, so that beginning again after a crash finds it instead of
making another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from kubeling.kube import yaml
from kubeling.kube.client import Client, PatchType
from kubeling.kube.discovery import Discovery, UnknownKind
from kubeling.kube.errors import AlreadyExists, NotFound
from kubeling.kube.objects import Obj, owner_reference
from kubeling.kube.resources import Resource
from kubeling.workflows.errands import Errand, ErrandFailed
from kubeling.workflows.kubectlflags import Flags, UnknownFlag, parse_flags
from kubeling.workflows.nodes import fnv32a
from kubeling.workflows.resourceconditions import parse_condition, verdict
from kubeling.workflows.resourceoutputs import resource_outputs
from kubeling.workflows.resources import Outputs

__all__ = ["ResourceErrand"]

_NODE: Final = "kubeling.io/node"
_FIRST_LOOK: Final = 0.2
_LOOKS_AT_MOST_EVERY: Final = 5.0
_MERGES: Final[dict[str, PatchType]] = {"strategic": "strategic", "merge": "merge", "json": "json"}


class ResourceErrand:
    """One ``resource`` node's work; ``client`` acts for the Workflow's service account."""

    def __init__(
        self, client: Client, discovery: Discovery, workflow: Obj, errand: Errand, folder: Path
    ) -> None:
        self._client = client
        self._discovery = discovery
        self._workflow = workflow
        self._errand = errand
        self._folder = folder
        self._wanted: Obj = errand.raw["resource"]
        self._namespace: str = workflow["metadata"]["namespace"]

    async def run(self, gate: asyncio.Semaphore) -> Outputs | None:
        """Does what the template says; raises :class:`~.errands.ErrandFailed` and API errors."""
        try:
            success = parse_condition(self._wanted.get("successCondition") or "")
            failure = parse_condition(self._wanted.get("failureCondition") or "")
            flags = parse_flags(self._wanted.get("flags") or ())
            async with gate:
                found = await self._act(flags)
        except (ValueError, UnknownFlag, UnknownKind) as problem:
            raise ErrandFailed(str(problem)) from None
        if found is None:
            return await resource_outputs(self._errand.raw.get("outputs"), None)
        resource, obj = found
        if success or failure:
            obj = await self._await(resource, obj, lambda o: verdict(o, success, failure), gate)
        elif any(_source(p) for p in (self._errand.raw.get("outputs") or {}).get("parameters", ())):
            obj = await self._look(resource, obj)
        return await resource_outputs(self._errand.raw.get("outputs"), obj)

    # -- actions -----------------------------------------------------------------------------

    async def _act(self, flags: Flags) -> tuple[Resource, Obj] | None:
        manifest = await self._manifest()
        action = self._wanted["action"]
        if action == "patch":
            return await self._patch(manifest, flags)
        if action == "delete":
            await self._delete(manifest, flags)
            return None
        if action == "get":
            return await self._get(manifest, flags)
        if not isinstance(manifest, dict):
            raise ErrandFailed(f"{action} needs a manifest of one object")
        resource = await self._discovery.of_object(manifest)
        obj = self._placed(resource, manifest, flags)
        match action:
            case "create":
                return resource, await self._create(resource, obj, flags)
            case "apply":
                manager = flags.get("field-manager")
                return resource, await self._client.apply(resource, obj, field_manager=manager)
            case "replace":
                return resource, await self._replace(resource, obj)
        raise ErrandFailed(f'there is no action "{action}"')

    async def _create(self, resource: Resource, obj: Obj, flags: Flags) -> Obj:
        metadata = obj["metadata"]
        mark = f"{self._workflow['metadata']['uid']}/{self._errand.node_id}"
        metadata["annotations"] = {**(metadata.get("annotations") or {}), _NODE: mark}
        if not metadata.get("name"):
            # Named after the node: begun again, it is found again.
            start = metadata.pop("generateName", "")
            if not start:
                raise ErrandFailed("the manifest needs metadata.name or metadata.generateName")
            metadata["name"] = f"{start}{fnv32a(mark):08x}"
        try:
            path = resource.path(metadata.get("namespace", ""))
            return await self._client.raw("POST", path, query=_writing(flags), body=obj)
        except AlreadyExists:
            found = await self._look(resource, obj)
            if (found["metadata"].get("annotations") or {}).get(_NODE) != mark:
                raise
            return found

    async def _replace(self, resource: Resource, obj: Obj) -> Obj:
        if not obj["metadata"].get("resourceVersion"):
            now = await self._look(resource, obj)
            obj["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"]
        return await self._client.replace(resource, obj)

    async def _patch(self, manifest: Any, flags: Flags) -> tuple[Resource, Obj]:
        merge = _MERGES[self._wanted.get("mergeStrategy") or "strategic"]
        if flags.words and (merge == "json" or not (manifest or {}).get("kind")):
            resource, name = await self._named(flags)
            where = self._where(resource, {}, flags)
        elif isinstance(manifest, dict):
            resource = await self._discovery.of_object(manifest)
            name = (manifest.get("metadata") or {}).get("name", "")
            where = self._where(resource, manifest, flags)
        else:
            raise ErrandFailed("say in flags what to patch: its type and its name")
        patched = await self._client.patch(resource, name, manifest, where, type=merge)
        return resource, patched

    async def _get(self, manifest: Any, flags: Flags) -> tuple[Resource, Obj] | None:
        if isinstance(manifest, dict):
            resource = await self._discovery.of_object(manifest)
            name = (manifest.get("metadata") or {}).get("name", "")
        else:
            resource, name = await self._named(flags)
        where = self._where(resource, manifest if isinstance(manifest, dict) else {}, flags)
        try:
            return resource, await self._client.get(resource, name, where)
        except NotFound:
            if flags.is_set("ignore-not-found"):
                return None
            raise

    async def _delete(self, manifest: Any, flags: Flags) -> None:
        if isinstance(manifest, dict):
            resource = await self._discovery.of_object(manifest)
            names = [(manifest.get("metadata") or {}).get("name", "")]
            where = self._where(resource, manifest, flags)
        else:
            resource, names, where = await self._chosen(flags)
        for name in names:
            await self._client.delete(
                resource,
                name,
                where,
                propagation=_propagation(flags),
                grace_period_seconds=_grace(flags),
                missing_ok=True,
            )

    async def _chosen(self, flags: Flags) -> tuple[Resource, list[str], str]:
        """What the flags of a deletion choose: one name, or all that a selector matches."""
        if not flags.words:
            raise ErrandFailed("say in flags or in a manifest what to delete")
        resource = await self._discovery.resolve(flags.words[0])
        where = self._where(resource, {}, flags)
        if len(flags.words) > 1:
            return resource, flags.words[1:], where
        selector, fields = flags.get("selector"), flags.get("field-selector")
        if not (selector or fields or flags.is_set("all")):
            raise ErrandFailed("say in flags which to delete: a name, --selector or --all")
        listed = await self._client.list(resource, where, labels=selector, fields=fields)
        return resource, [item["metadata"]["name"] for item in listed.items], where

    # -- looking -----------------------------------------------------------------------------

    async def _await(
        self,
        resource: Resource,
        obj: Obj,
        judge: Callable[[Obj], bool | str],
        gate: asyncio.Semaphore,
    ) -> Obj:
        pause = _FIRST_LOOK
        while True:
            async with gate:
                try:
                    obj = await self._look(resource, obj)
                except NotFound as error:
                    raise ErrandFailed(
                        "The resource has been deleted while its status was still being checked. "
                        f"Will not be retried: {error}"
                    ) from None
                except ConnectionError:
                    pause = _LOOKS_AT_MOST_EVERY
            found = judge(obj)
            if isinstance(found, str):
                raise ErrandFailed(found)
            if found:
                return obj
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LOOKS_AT_MOST_EVERY)

    async def _look(self, resource: Resource, obj: Obj) -> Obj:
        metadata = obj["metadata"]
        return await self._client.get(resource, metadata["name"], metadata.get("namespace", ""))

    # -- what is meant -----------------------------------------------------------------------

    async def _manifest(self) -> Any:
        source = self._wanted.get("manifestFrom")
        if source is None:
            text = self._wanted.get("manifest") or ""
        else:
            name = str((source.get("artifact") or {}).get("name"))
            text = await asyncio.to_thread(self._read, name)
        documents = yaml.load_all(text)
        if len(documents) > 1:
            raise ErrandFailed("a resource template handles one object; write a step for each")
        return documents[0] if documents else None

    def _read(self, name: str) -> str:
        inputs = self._errand.inputs
        for artifact in inputs.artifacts if inputs is not None else ():
            if artifact.name != name:
                continue
            if artifact.raw is not None:
                return str(artifact.raw.get("data", ""))
            try:
                return (self._folder / str((artifact.s3 or {}).get("key", ""))).read_text()
            except OSError as error:
                raise ErrandFailed(f'cannot read artifact "{name}": {error.strerror}') from None
        raise ErrandFailed(f'manifestFrom: there is no input artifact "{name}"')

    async def _named(self, flags: Flags) -> tuple[Resource, str]:
        if len(flags.words) < 2:
            raise ErrandFailed("say in flags which object: its type and its name")
        return await self._discovery.resolve(flags.words[0]), flags.words[1]

    def _where(self, resource: Resource, manifest: Obj, flags: Flags) -> str:
        if not resource.namespaced:
            return ""
        stated = (manifest.get("metadata") or {}).get("namespace")
        return str(stated or flags.get("namespace") or self._namespace)

    def _placed(self, resource: Resource, manifest: Obj, flags: Flags) -> Obj:
        metadata = dict(manifest.get("metadata") or {})
        if resource.namespaced:
            metadata["namespace"] = self._where(resource, manifest, flags)
        if self._wanted.get("setOwnerReference"):
            owner = owner_reference(self._workflow)
            metadata["ownerReferences"] = [*(metadata.get("ownerReferences") or ()), owner]
        return {**manifest, "metadata": metadata}


def _source(parameter: Obj) -> bool:
    source = parameter.get("valueFrom") or {}
    return bool(source.get("jsonPath") or source.get("jqFilter"))


def _writing(flags: Flags) -> dict[str, str]:
    """How kubectl asks for a manifest to be checked: strictly, unless told otherwise."""
    checks = {"true": "Strict", "false": "Ignore"}
    validate = flags.get("validate", "true")
    query = {"fieldValidation": checks.get(validate, validate.capitalize())}
    if manager := flags.get("field-manager"):
        query["fieldManager"] = manager
    return query


def _grace(flags: Flags) -> int | None:
    if flags.is_set("force"):
        return 0
    period = flags.get("grace-period", "-1")
    if not period.lstrip("-").isdigit():
        raise ErrandFailed(f'flag "--grace-period": "{period}" is not a number of seconds')
    return int(period) if int(period) >= 0 else None


def _propagation(flags: Flags) -> Any:
    cascade = flags.get("cascade", "background")
    known = {"background": "Background", "foreground": "Foreground", "orphan": "Orphan"}
    known |= {"true": "Background", "false": "Orphan"}
    if cascade not in known:
        raise ErrandFailed(f'flag "--cascade": "{cascade}" is none of {", ".join(known)}')
    return known[cascade]
