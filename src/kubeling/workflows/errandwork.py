"""Does the errands of Workflows: which template type means what work, and in whose name."""

from __future__ import annotations

import asyncio

from kubeling.kube.client import Client
from kubeling.kube.discovery import Discovery
from kubeling.kube.objects import Obj, namespace
from kubeling.workflows.errandinputs import ErrandInputs
from kubeling.workflows.errandlog import ErrandLog
from kubeling.workflows.errands import Errand
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
        self, workflow: Obj, errand: Errand, gate: asyncio.Semaphore, log: ErrandLog
    ) -> Outputs | None:
        where = namespace(workflow)
        client = self._client.acting_as(errand.account)
        if "http" in errand.raw:
            from kubeling.workflows.httptemplate import do_http
            from kubeling.workflows.outbound import ServiceNames

            names = ServiceNames(self._client, where)
            return await do_http(client, where, names, errand, gate, log)
        inputs = ErrandInputs(self._client, self._store, where, errand)
        if "resource" in errand.raw:
            from kubeling.workflows.resourcetemplate import ResourceErrand

            resource = ResourceErrand(client, self._discovery, workflow, errand, inputs, log)
            return await resource.run(gate)
        from kubeling.workflows.datatemplate import do_data

        return await do_data(inputs, errand, gate, log)
