"""Fetches the models that LocalModelNodes list, one Job each, and says how far they are.

Upstream has an agent on every node for this (``localmodelnode/controller.go``); a Job that is sent
to the node does as well, and knows by its end whether the files are there. A failed Job is not
tried again beyond its own retries: delete it to try again, as upstream says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kubeling.component import Context
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import AlreadyExists, NotFound
from kubeling.kube.objects import Key, Obj, deletion_requested, name
from kubeling.kube.resources import CONFIG_MAPS, JOBS, SECRETS
from kubeling.serving import credentials
from kubeling.serving.accounts import account_access
from kubeling.serving.configuration import credential_conventions, is_config
from kubeling.serving.localmodel import plan
from kubeling.serving.localmodel.copies import storage_key
from kubeling.serving.localmodel.resources import LOCAL_MODEL_NODES
from kubeling.serving.storage.uris import StorageNotFound
from kubeling.serving.storage_containers import (
    CLUSTER_STORAGE_CONTAINERS,
    FOR_DOWNLOADS,
    StorageContainers,
)

__all__ = ["LocalModelNodeController"]


class LocalModelNodeController:
    """Reconciles LocalModelNodes."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._informers = context.informers
        self._recorder = context.recorder("localmodelnode-agent")

    def controller(self) -> Controller:
        """The controller, with what wakes it."""
        return Controller(
            "localmodelnode",
            LOCAL_MODEL_NODES,
            self.reconcile,
            owns=(JOBS,),
            watches={
                CLUSTER_STORAGE_CONTAINERS: self._all,
                CONFIG_MAPS: self._when_configured,
            },
        )

    async def reconcile(self, key: Key) -> Result | None:
        """Brings what a node keeps closer to what it is to keep."""
        node = self._informers.of(LOCAL_MODEL_NODES).get(*key)
        if node is None or deletion_requested(node):
            return None
        before = (node.get("status") or {}).get("modelStatus") or {}
        found: dict[str, str] = {}
        shared: dict[tuple[str, str], str] = {}
        for info in node["spec"].get("localModels") or ():
            title = plan.info_key(info)
            place = (info.get("nodeGroup") or "", storage_key(info["sourceModelUri"]))
            if place not in shared:
                shared[place] = await self._fetched(node, info, before.get(title, ""))
            found[title] = shared[place]
        if found != before:
            changed = {**node, "status": {**(node.get("status") or {}), "modelStatus": found}}
            try:
                await self._client.replace_status(LOCAL_MODEL_NODES, changed)
            except NotFound:
                return None
        return None

    async def _fetched(self, node: Obj, info: Mapping[str, Any], before: str) -> str:
        """How far a model is; begins to fetch it."""
        if before == "ModelDownloaded":
            # Its Job goes an hour after its end.
            return before
        try:
            wanted = await self._job(node, info)
        except StorageNotFound as error:
            await self._recorder.warning(node, "ModelDownloadError", str(error))
            return "ModelDownloadError"
        found = self._informers.of(JOBS).get(plan.JOB_NAMESPACE, name(wanted))
        if found is None:
            try:
                found = await self._client.create(JOBS, wanted, plan.JOB_NAMESPACE)
            except AlreadyExists:
                return before or "ModelDownloadPending"
        return plan.model_status(found)

    async def _job(self, node: Obj, info: Mapping[str, Any]) -> Obj:
        uri = info["sourceModelUri"]
        containers = StorageContainers(
            self._informers.of(CLUSTER_STORAGE_CONTAINERS).list(), purpose=FOR_DOWNLOADS
        )
        access, where = credentials.Access(), plan.JOB_NAMESPACE
        said = credential_conventions(self._informers.of(CONFIG_MAPS).get)
        if storage := info.get("storage"):
            secret = await self._client.find(SECRETS, said.secret, where)
            access = credentials.from_storage_config(
                secret, storage.get("key") or "", storage.get("parameters") or {}, title=said.secret
            )
        elif account := info.get("serviceAccountName"):
            access = await account_access(self._client, where, account, conventions=said)
        return plan.download_job(node, info, containers.of(uri), access, where)

    def _when_configured(self, config: Obj) -> Iterable[Key]:
        return self._all(config) if is_config(config) else ()

    def _all(self, _: Obj) -> Iterable[Key]:
        return [Key("", name(node)) for node in self._informers.of(LOCAL_MODEL_NODES).list()]
