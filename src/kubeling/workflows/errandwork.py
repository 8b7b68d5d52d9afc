"""Does the errands of Workflows: which template type means what work, and in whose name."""

from __future__ import annotations

import asyncio
from pathlib import Path

from kubeling.kube.client import Client
from kubeling.kube.discovery import Discovery
from kubeling.kube.objects import Obj, namespace
from kubeling.workflows.errands import Errand, ErrandFailed
from kubeling.workflows.handover import Store
from kubeling.workflows.resources import Outputs

__all__ = ["ErrandWork"]


class ErrandWork:
    """Called with a Workflow and an errand; each acts as the Workflow's service account."""

    def __init__(self, client: Client, store: Store) -> None:
        self._client = client
        self._store = store
        self._discovery = Discovery(client)

    async def __call__(
        self, workflow: Obj, errand: Errand, gate: asyncio.Semaphore
    ) -> Outputs | None:
        where = namespace(workflow)
        client = self._client.acting_as(errand.account)
        if "http" in errand.raw:
            from kubeling.workflows.httptemplate import do_http

            return await do_http(client, where, errand, gate)
        if "resource" in errand.raw:
            from kubeling.workflows.resourcetemplate import ResourceErrand

            folder = Path(self._store.folder) / where
            return await ResourceErrand(client, self._discovery, workflow, errand, folder).run(gate)
        from kubeling.workflows.datatemplate import do_data

        if not self._store.folder:
            raise ErrandFailed(
                "a data template lists an artifact store that is a folder; set the artifact root "
                "to a file:// address"
            )
        return await do_data(Path(self._store.folder) / where, errand, gate)
