"""A profile is a namespace with its owner's rights and a quota."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.engine.workloads.cluster import Cluster, PretendNode
from tests.support.apiserver import running_server

from kubeling.component import Context, Settings
from kubeling.engine.workloads import garbage, namespaces, quotas
from kubeling.kube import objects
from kubeling.kube.controller import run_controllers
from kubeling.kube.errors import Forbidden
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj, condition, is_condition_true, new_object
from kubeling.kube.resources import (
    CONFIG_MAPS,
    NAMESPACES,
    RESOURCE_QUOTAS,
    ROLE_BINDINGS,
    SERVICE_ACCOUNTS,
    SUBJECT_ACCESS_REVIEWS,
)
from kubeling.tenancy.component import COMPONENT
from kubeling.tenancy.resources import PROFILES


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with (
        running_server(COMPONENT, data_dir=tmp_path) as running,
        Informers(running.client) as informers,
    ):
        context = Context(running.client, informers, Settings(tmp_path, tmp_path))
        controllers = [
            *COMPONENT.controllers(context),
            *(room.controller(context) for room in (garbage, namespaces, quotas)),
        ]
        async with asyncio.TaskGroup() as group:
            task = group.create_task(run_controllers(controllers, informers))
            yield Cluster(running.client, informers, PretendNode(running.client))
            task.cancel()


def profile(owner: str = "ada@example.com", **spec: Any) -> Obj:
    content = {"owner": {"kind": "User", "name": owner}, **spec}
    return new_object(PROFILES, "team", spec=content)


def ready(obj: Obj) -> bool:
    return is_condition_true(obj, "Ready")


async def allowed(cluster: Cluster, user: str, verb: str, group: str, resource: str) -> bool:
    attributes = {"namespace": "team", "verb": verb, "group": group, "resource": resource}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "metadata": {},
        "spec": {"user": user, "resourceAttributes": attributes},
    }
    answer = await cluster.client.raw("POST", SUBJECT_ACCESS_REVIEWS.path(), body=review)
    return bool(answer["status"]["allowed"])


async def test_a_profile_makes_a_namespace_its_owner_can_use(cluster: Cluster) -> None:
    await cluster.client.create(PROFILES, profile())
    await cluster.until(PROFILES, "team", ready)
    namespace = await cluster.client.get(NAMESPACES, "team")
    assert objects.annotations(namespace)["owner"] == "ada@example.com"
    for account in ("default-editor", "default-viewer"):
        assert await cluster.exists(SERVICE_ACCOUNTS, account, "team")
    admin = await cluster.client.get(ROLE_BINDINGS, "namespaceAdmin", "team")
    assert objects.annotations(admin) == {"user": "ada@example.com", "role": "admin"}
    assert await allowed(cluster, "ada@example.com", "create", "kubeflow.org", "notebooks")
    assert not await allowed(cluster, "bob@example.com", "get", "kubeflow.org", "notebooks")
    editor = "system:serviceaccount:team:default-editor"
    viewer = "system:serviceaccount:team:default-viewer"
    assert await allowed(cluster, editor, "create", "", "pods")
    assert await allowed(cluster, viewer, "list", "", "pods")
    assert not await allowed(cluster, viewer, "create", "", "pods")


async def test_the_quota_holds_and_goes_when_it_is_taken_away(cluster: Cluster) -> None:
    hard = {"count/configmaps": "2"}
    await cluster.client.create(PROFILES, profile(resourceQuotaSpec={"hard": hard}))
    await cluster.until(
        RESOURCE_QUOTAS,
        "kf-resource-quota",
        lambda q: (q.get("status") or {}).get("used") == {"count/configmaps": "1"},
        "team",
    )
    await cluster.client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, "one", "team"))
    with pytest.raises(Forbidden, match="exceeded quota: kf-resource-quota"):
        await cluster.client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, "two", "team"))
    patch = {"spec": {"resourceQuotaSpec": {"hard": None}}}
    await cluster.client.patch(PROFILES, "team", patch)
    await cluster.until_gone(RESOURCE_QUOTAS, "kf-resource-quota", "team")


async def test_a_namespace_of_someone_else_is_left_alone(cluster: Cluster) -> None:
    taken = new_object(NAMESPACES, "team", annotations={"owner": "bob@example.com"})
    await cluster.client.create(NAMESPACES, taken)
    await cluster.client.create(PROFILES, profile())
    found = await cluster.until(PROFILES, "team", lambda p: is_condition_true(p, "Failed"))
    failed = condition(found, "Failed")
    assert failed is not None
    assert "belongs to bob@example.com" in failed.message
    assert not await cluster.exists(SERVICE_ACCOUNTS, "default-editor", "team")


async def test_deleting_a_profile_deletes_its_namespace(cluster: Cluster) -> None:
    await cluster.client.create(PROFILES, profile())
    await cluster.until(PROFILES, "team", ready)
    await cluster.client.delete(PROFILES, "team")
    await cluster.until_gone(NAMESPACES, "team")
