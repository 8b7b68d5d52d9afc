"""The asynchronous official clients: ``kubernetes_asyncio``, and ``kubernetes.aio`` after it.

Both have one interface; ``CLIENT`` names the module to use.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

NAME = os.environ["CLIENT"]
client: Any = importlib.import_module(f"{NAME}.client")
config: Any = importlib.import_module(f"{NAME}.config")
dynamic: Any = importlib.import_module(f"{NAME}.dynamic")
utils: Any = importlib.import_module(f"{NAME}.utils")
watch: Any = importlib.import_module(f"{NAME}.watch")

MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {name: made}
spec: {selector: {app: made}, ports: [{port: 80}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: made}
spec:
  schedule: "@yearly"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: main, image: busybox}]
"""


@pytest.fixture
async def connection() -> AsyncIterator[Any]:
    await config.load_kube_config()
    async with client.ApiClient() as connection:
        yield connection


@pytest.fixture
async def namespace(connection: Any) -> AsyncIterator[str]:
    api = client.CoreV1Api(connection)
    made = await api.create_namespace({"metadata": {"generateName": "asynchronous-"}})
    yield made.metadata.name
    await api.delete_namespace(made.metadata.name)


async def test_objects_are_created_read_changed_and_deleted(
    connection: Any, namespace: str
) -> None:
    api = client.CoreV1Api(connection)
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="crud"), data={"a": "1"})
    made = await api.create_namespaced_config_map(namespace, body)
    with pytest.raises(client.ApiException) as again:
        await api.create_namespaced_config_map(namespace, body)
    assert again.value.status == 409
    patched = await api.patch_namespaced_config_map("crud", namespace, {"data": {"b": "2"}})
    assert patched.data == {"a": "1", "b": "2"}
    with pytest.raises(client.ApiException) as stale:
        await api.replace_namespaced_config_map("crud", namespace, made)
    assert stale.value.status == 409
    await api.delete_namespaced_config_map("crud", namespace)
    with pytest.raises(client.ApiException) as missing:
        await api.read_namespaced_config_map("crud", namespace)
    assert missing.value.status == 404


async def test_a_hundred_requests_at_once(connection: Any, namespace: str) -> None:
    api = client.CoreV1Api(connection)
    await asyncio.gather(
        *(
            api.create_namespaced_config_map(namespace, {"metadata": {"generateName": "many-"}})
            for _ in range(100)
        )
    )
    listed = await api.list_namespaced_config_map(namespace)
    assert sum(found.metadata.name.startswith("many-") for found in listed.items) == 100


async def test_a_watch_resumes_where_it_stopped(connection: Any, namespace: str) -> None:
    api = client.CoreV1Api(connection)
    await api.create_namespaced_secret(namespace, {"metadata": {"name": "watched"}})
    async with watch.Watch().stream(
        api.list_namespaced_secret, namespace, timeout_seconds=10
    ) as events:
        event = await anext(events)
    assert (event["type"], event["object"].metadata.name) == ("ADDED", "watched")
    version = event["object"].metadata.resource_version
    await api.patch_namespaced_secret("watched", namespace, {"stringData": {"a": "b"}})
    await api.delete_namespaced_secret("watched", namespace)
    seen = []
    async with watch.Watch().stream(
        api.list_namespaced_secret, namespace, resource_version=version, timeout_seconds=1
    ) as events:
        async for event in events:
            seen.append(event["type"])
            if event["type"] == "DELETED":
                break
    assert seen == ["MODIFIED", "DELETED"]


async def test_manifests_are_created_from_yaml(
    connection: Any, namespace: str, tmp_path: Path
) -> None:
    file = tmp_path / "manifests.yaml"
    file.write_text(MANIFESTS)
    await utils.create_from_yaml(connection, str(file), namespace=namespace)
    service = await client.CoreV1Api(connection).read_namespaced_service("made", namespace)
    assert service.spec.cluster_ip
    job = await client.BatchV1Api(connection).read_namespaced_cron_job("made", namespace)
    assert job.spec.concurrency_policy == "Allow"


async def test_the_dynamic_client_applies(connection: Any, namespace: str) -> None:
    finder = await dynamic.DynamicClient(connection)
    deployments = await finder.resources.get(api_version="apps/v1", kind="Deployment")
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "applied"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "applied"}},
            "template": {
                "metadata": {"labels": {"app": "applied"}},
                "spec": {"containers": [{"name": "main", "image": "busybox"}]},
            },
        },
    }
    applied = await deployments.server_side_apply(
        body=manifest, name="applied", namespace=namespace, field_manager="asynchronous"
    )
    assert applied.spec.strategy.type == "RollingUpdate"
    assert [entry.manager for entry in applied.metadata.managedFields] == ["asynchronous"]


async def test_a_deployment_becomes_available_and_scales(connection: Any, namespace: str) -> None:
    apps = client.AppsV1Api(connection)
    container = {"name": "main", "image": "busybox", "command": ["sleep", "600"]}
    body = {
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
            },
        },
    }
    await apps.create_namespaced_deployment(namespace, body)
    await until_available(apps, namespace, 1)
    await apps.patch_namespaced_deployment_scale("web", namespace, {"spec": {"replicas": 2}})
    await until_available(apps, namespace, 2)
    scale = await apps.read_namespaced_deployment_scale("web", namespace)
    assert (scale.spec.replicas, scale.status.selector) == (2, "app=web")


async def until_available(apps: Any, namespace: str, replicas: int) -> None:
    async with watch.Watch().stream(
        apps.list_namespaced_deployment, namespace, timeout_seconds=30
    ) as events:
        async for event in events:
            if event["object"].status.available_replicas == replicas:
                return
    raise AssertionError(f"never had {replicas} replicas")
