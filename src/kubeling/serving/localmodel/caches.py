"""Spreads caches over nodes: entries of LocalModelNodes, volumes and claims, and what came of them.

Upstream: ``localmodelcache_reconciler.go``, and the same for a namespace's own caches. A deleted
cache goes when its files are gone from the nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from kubeling.component import Context
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import AlreadyExists, NotFound
from kubeling.kube.nodeselectors import selects_node
from kubeling.kube.objects import (
    Key,
    Obj,
    deletion_requested,
    key_of,
    labels,
    name,
    namespace,
    new_object,
)
from kubeling.kube.resources import (
    JOBS,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    Resource,
)
from kubeling.serving.localmodel import copies, plan
from kubeling.serving.localmodel.copies import MODEL, MODEL_NAMESPACE
from kubeling.serving.localmodel.failures import failed_nodes, failure_of
from kubeling.serving.localmodel.resources import (
    LOCAL_MODEL_CACHES,
    LOCAL_MODEL_NODE_GROUPS,
    LOCAL_MODEL_NODES,
)
from kubeling.serving.resources import INFERENCE_SERVICES

__all__ = ["LocalModelController"]

_FINALIZERS: Final = {
    True: "localmodel.kserve.io/finalizer",
    False: "localmodelnamespacecache.kserve.io/finalizer",
}


class LocalModelController:
    """Reconciles the caches of one kind."""

    def __init__(self, context: Context, resource: Resource) -> None:
        self._client = context.client
        self._informers = context.informers
        self._resource = resource
        self._finalizer = _FINALIZERS[resource is LOCAL_MODEL_CACHES]
        self._recorder = context.recorder("localmodel-controller")

    def controller(self) -> Controller:
        """The controller, with what wakes it."""
        return Controller(
            self._resource.singular,
            self._resource,
            self.reconcile,
            owns=(PERSISTENT_VOLUMES, PERSISTENT_VOLUME_CLAIMS),
            watches={
                NODES: self._all,
                LOCAL_MODEL_NODE_GROUPS: self._all,
                LOCAL_MODEL_NODES: self._of_node,
                JOBS: self._of_job,
                INFERENCE_SERVICES: self._of_service,
            },
        )

    async def reconcile(self, key: Key) -> Result | None:
        """Brings one cache closer to its spec."""
        cache = self._informers.of(self._resource).get(*key)
        if cache is None:
            return None
        groups = {
            title: group
            for title in cache["spec"]["nodeGroups"]
            if (group := self._informers.of(LOCAL_MODEL_NODE_GROUPS).get("", title)) is not None
        }
        if deletion_requested(cache):
            await self._end(cache, groups)
            return None
        for title in cache["spec"]["nodeGroups"]:
            if title not in groups:
                message = f"spec.nodeGroups: there is no LocalModelNodeGroup {title}; create it"
                await self._recorder.warning(cache, "NodeGroupNotFound", message)
        if not await self._hold(cache):
            return None
        await self._ensure(NAMESPACES, new_object(NAMESPACES, plan.JOB_NAMESPACE))
        users = self._users(cache)
        owner = cache if self._resource is LOCAL_MODEL_CACHES else None
        for title, group in groups.items():
            info = plan.model_info(cache, title)
            volume, claim = plan.download_names(info)
            await self._provide(volume, claim, plan.JOB_NAMESPACE, group, owner, owner)
            for where in sorted({namespace(user) for user in users}):
                volume, claim = plan.serving_names(cache, title, where)
                await self._provide(volume, claim, where, group, owner, cache)
        await self._list_on_nodes(cache, groups)
        await self._write_status(cache, groups, users)
        return None

    async def _provide(
        self,
        volume: str,
        claim: str,
        where: str,
        group: Obj,
        volume_owner: Obj | None,
        claim_owner: Obj | None,
    ) -> None:
        await self._ensure(PERSISTENT_VOLUMES, plan.volume(volume, group, volume_owner))
        made = plan.claim(claim, where, volume, group, claim_owner)
        await self._ensure(PERSISTENT_VOLUME_CLAIMS, made)

    async def _ensure(self, resource: Resource, wanted: Obj) -> None:
        if self._informers.of(resource).get(namespace(wanted), name(wanted)) is None:
            try:
                await self._client.create(resource, wanted, namespace(wanted))
            except AlreadyExists:
                return

    async def _hold(self, cache: Obj) -> bool:
        """Sees to the finalizer; whether it was there already."""
        found = list(cache["metadata"].get("finalizers") or ())
        if self._finalizer in found:
            return True
        patch = {
            "metadata": {
                "finalizers": [*found, self._finalizer],
                "resourceVersion": cache["metadata"]["resourceVersion"],
            }
        }
        await self._client.patch(self._resource, name(cache), patch, namespace(cache))
        return False

    async def _list_on_nodes(self, cache: Obj, groups: Mapping[str, Obj]) -> None:
        """A node has one entry of a cache: of two groups that it is in, the first's."""
        listed: set[str] = set()
        for title, group in groups.items():
            info = plan.model_info(cache, title)
            for node in self._nodes(group):
                if plan.is_node_ready(node) and name(node) not in listed:
                    listed.add(name(node))
                    await self._set_entry(name(node), plan.info_key(info), info)

    async def _set_entry(self, node: str, key: str, wanted: Obj | None) -> None:
        """Writes, or with ``None`` removes, a cache's entry of a LocalModelNode."""
        found = self._informers.of(LOCAL_MODEL_NODES).get("", node)
        if found is None:
            if wanted is not None:
                spec = {"localModels": [wanted]}
                await self._ensure(
                    LOCAL_MODEL_NODES, new_object(LOCAL_MODEL_NODES, node, spec=spec)
                )
            return
        before = list(found["spec"].get("localModels") or ())
        after = [entry for entry in before if plan.info_key(entry) != key]
        if wanted is not None:
            place = next((i for i, e in enumerate(before) if plan.info_key(e) == key), len(after))
            after.insert(place, wanted)
        if after != before:
            changed = {**found, "spec": {**found["spec"], "localModels": after}}
            await self._client.replace(LOCAL_MODEL_NODES, changed)

    async def _write_status(
        self, cache: Obj, groups: Mapping[str, Obj], users: Iterable[Obj]
    ) -> None:
        before = cache.get("status") or {}
        nodes: dict[str, str] = {}
        title = copies.status_key(name(cache), namespace(cache))
        for group in groups.values():
            for node in self._nodes(group):
                listed = self._informers.of(LOCAL_MODEL_NODES).get("", name(node)) or {}
                models = (listed.get("status") or {}).get("modelStatus") or {}
                known = (before.get("nodeStatus") or {}).get(name(node))
                ready = plan.is_node_ready(node)
                nodes[name(node)] = (
                    plan.node_status(models.get(title, "")) if ready else known or "NodeNotReady"
                )
        used = [{"name": name(user), "namespace": namespace(user)} for user in users]
        status = {**before, "nodeStatus": nodes, "copies": plan.copies_of(nodes)}
        status["inferenceServices"] = used
        if status == before:
            return
        changed = {**cache, "status": status}
        await self._tell(changed, set(failed_nodes(changed)) - set(failed_nodes(cache)))
        try:
            await self._client.replace_status(self._resource, changed)
        except NotFound:
            return

    async def _tell(self, cache: Obj, failed: set[str]) -> None:
        """Says why the model could not be brought to nodes, while their pods are there."""
        if not failed:
            return
        chosen = f"{plan.MODEL_LABEL}={name(cache)}"
        pods = (await self._client.list(PODS, plan.JOB_NAMESPACE, labels=chosen)).items
        for node in sorted(failed):
            message = f"node {node}: {failure_of(cache, node, pods)}"
            await self._recorder.warning(cache, "ModelDownloadError", message)

    async def _end(self, cache: Obj, groups: Mapping[str, Obj]) -> None:
        """Deletes a cache's files, then what led to them, then the cache."""
        finalizers = list(cache["metadata"].get("finalizers") or ())
        if self._finalizer not in finalizers:
            return
        if not await self._files_are_gone(cache, groups):
            return
        # Its groups may be gone, and with them the word on which nodes it was.
        entry = copies.status_key(name(cache), namespace(cache))
        for node in self._informers.of(LOCAL_MODEL_NODES).list():
            await self._set_entry(name(node), entry, None)
        for job in self._jobs(cache):
            await self._delete(JOBS, namespace(job), name(job))
        if namespace(cache):
            # Volumes belong to no namespace, so a namespace's cache cannot own them.
            for title in cache["spec"]["nodeGroups"]:
                volume, claim = plan.download_names(plan.model_info(cache, title))
                await self._delete(PERSISTENT_VOLUME_CLAIMS, plan.JOB_NAMESPACE, claim)
                await self._delete(PERSISTENT_VOLUMES, "", volume)
                volume, _ = plan.serving_names(cache, title, namespace(cache))
                await self._delete(PERSISTENT_VOLUMES, "", volume)
        patch = {
            "metadata": {
                "finalizers": [f for f in finalizers if f != self._finalizer],
                "resourceVersion": cache["metadata"]["resourceVersion"],
            }
        }
        try:
            await self._client.patch(self._resource, name(cache), patch, namespace(cache))
        except NotFound:
            return

    async def _files_are_gone(self, cache: Obj, groups: Mapping[str, Obj]) -> bool:
        """Whether no node that is up has files that only this cache asked for."""
        gone = True
        for title, group in groups.items():
            info = plan.model_info(cache, title)
            for node in self._nodes(group):
                listed = self._informers.of(LOCAL_MODEL_NODES).get("", name(node))
                if listed is None or not plan.is_node_ready(node) or _is_shared(listed, info):
                    continue
                wanted = plan.removal_job(listed, info, plan.JOB_NAMESPACE)
                found = self._informers.of(JOBS).get(plan.JOB_NAMESPACE, name(wanted))
                if found is None:
                    await self._ensure(JOBS, wanted)
                gone = gone and found is not None and plan.is_finished(found)
        return gone

    async def _delete(self, resource: Resource, where: str, title: str) -> None:
        await self._client.delete(resource, title, where, missing_ok=True)

    def _nodes(self, group: Obj) -> list[Obj]:
        affinity = (group["spec"]["persistentVolumeSpec"].get("nodeAffinity") or {}).get("required")
        nodes = self._informers.of(NODES).list()
        return [node for node in nodes if affinity is None or selects_node(affinity, node)]

    def _users(self, cache: Obj) -> list[Obj]:
        return [
            isvc
            for isvc in self._informers.of(INFERENCE_SERVICES).list(namespace(cache))
            if self._of_service(isvc) == [key_of(cache)]
        ]

    def _jobs(self, cache: Obj) -> list[Obj]:
        jobs = self._informers.of(JOBS).list(plan.JOB_NAMESPACE)
        return [job for job in jobs if self._of_job(job) == [key_of(cache)]]

    def _all(self, _: Obj) -> Iterable[Key]:
        return [key_of(cache) for cache in self._informers.of(self._resource).list()]

    def _of_node(self, node: Obj) -> list[Key]:
        entries = node["spec"].get("localModels") or ()
        return self._own((e.get("namespace") or "", e["modelName"]) for e in entries)

    def _of_job(self, job: Obj) -> list[Key]:
        model, where = plan.MODEL_LABEL, plan.MODEL_NAMESPACE_LABEL
        return self._named(job, model, where) if namespace(job) == plan.JOB_NAMESPACE else []

    def _of_service(self, isvc: Obj) -> list[Key]:
        return self._named(isvc, MODEL, MODEL_NAMESPACE)

    def _named(self, obj: Obj, model: str, where: str) -> list[Key]:
        title = labels(obj).get(model)
        return self._own([(labels(obj).get(where, ""), title)]) if title else []

    def _own(self, found: Iterable[tuple[str, str]]) -> list[Key]:
        """Those that are of this kind: a namespace's own cache has a namespace."""
        clusterwide = self._resource is LOCAL_MODEL_CACHES
        return [Key(where, title) for where, title in found if bool(where) != clusterwide]


def _is_shared(node: Obj, info: Mapping[str, Any]) -> bool:
    """Whether another cache keeps the same files on the node."""
    return any(
        _place(entry) == _place(info) and plan.info_key(entry) != plan.info_key(info)
        for entry in node["spec"].get("localModels") or ()
    )


def _place(info: Mapping[str, Any]) -> tuple[str, str]:
    return info.get("nodeGroup") or "", copies.storage_key(info["sourceModelUri"])
