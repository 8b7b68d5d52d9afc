"""A real API server with the workload controllers on it, and a node that only pretends to run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.engine.workloads.cluster import Cluster, PretendNode
from tests.support.apiserver import running_server

from kubeling.component import Context, Settings
from kubeling.engine.workloads.all import controllers, ensure_storage_class
from kubeling.kube.controller import run_controllers
from kubeling.kube.informer import Informers


@pytest.fixture
async def cluster(tmp_path) -> AsyncIterator[Cluster]:
    async with (
        running_server(data_dir=tmp_path) as running,
        Informers(running.client) as informers,
    ):
        settings = Settings(data_dir=tmp_path, workspace=tmp_path)
        context = Context(running.client, informers, settings)
        await ensure_storage_class(context)
        node = PretendNode(running.client)
        await node.register()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(run_controllers(controllers(context), informers)),
                group.create_task(node.run(informers)),
            ]
            yield Cluster(running.client, informers, node)
            for task in tasks:
                task.cancel()
