"""What ``resource`` templates do to objects, as kubectl does it with their flags.

A created object gets a name that follows from the node, so that beginning again after a crash finds
it instead of making another.
"""

from __future__ import annotations

from typing import Any, Final

from kubeling.kube.client import Client, PatchType
from kubeling.kube.discovery import Discovery
from kubeling.kube.errors import AlreadyExists, NotFound
from kubeling.kube.objects import Obj, owner_reference
from kubeling.kube.resources import Resource
from kubeling.workflows.errandlog import ErrandLog
from kubeling.workflows.errands import Errand, ErrandFailed
from kubeling.workflows.kubectlflags import Flags
from kubeling.workflows.nodes import fnv32a

__all__ = ["ResourceActions", "look"]

_NODE: Final = "kubeling.io/node"
_MERGES: Final[dict[str, PatchType]] = {"strategic": "strategic", "merge": "merge", "json": "json"}
_DONE: Final = {
    "create": "created",
    "apply": "serverside-applied",
    "replace": "replaced",
    "patch": "patched",
    "get": "found",
}


class ResourceActions:
    """One ``resource`` node's action; ``client`` acts for the Workflow's service account."""

    def __init__(
        self, client: Client, discovery: Discovery, workflow: Obj, errand: Errand, log: ErrandLog
    ) -> None:
        self._client = client
        self._discovery = discovery
        self._workflow = workflow
        self._errand = errand
        self._wanted: Obj = errand.raw["resource"]
        self._namespace: str = workflow["metadata"]["namespace"]
        self._log = log

    async def act(self, manifest: Any, flags: Flags) -> tuple[Resource, Obj] | None:
        """Does what the template says, and returns the object if there is one afterwards."""
        found = await self._act(manifest, flags)
        if found is not None:
            resource, obj = found
            shown = _shown(resource, obj["metadata"]["name"])
            self._log.say(f"{shown} {_DONE[self._wanted['action']]}")
        return found

    async def _act(self, manifest: Any, flags: Flags) -> tuple[Resource, Obj] | None:
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
            found = await look(self._client, resource, obj)
            if (found["metadata"].get("annotations") or {}).get(_NODE) != mark:
                raise
            return found

    async def _replace(self, resource: Resource, obj: Obj) -> Obj:
        if not obj["metadata"].get("resourceVersion"):
            now = await look(self._client, resource, obj)
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
                self._log.say(f"{_shown(resource, name)} not found")
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
            self._log.say(f'{_shown(resource, "").rstrip("/")} "{name}" deleted')

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

    # -- what is meant -----------------------------------------------------------------------

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


async def look(client: Client, resource: Resource, obj: Obj) -> Obj:
    """The object as it is now."""
    metadata = obj["metadata"]
    return await client.get(resource, metadata["name"], metadata.get("namespace", ""))


def _shown(resource: Resource, name: str) -> str:
    """How kubectl names an object: ``job.batch/x``."""
    kind = resource.kind.lower()
    return f"{kind}.{resource.group}/{name}" if resource.group else f"{kind}/{name}"


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
