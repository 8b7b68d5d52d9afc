"""``lightkube``: typed and generic resources, patches of every kind, apply, watch, wait, logs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from lightkube import ApiError, AsyncClient, Client, KubeConfig, codecs, sort_objects
from lightkube.generic_resource import create_namespaced_resource, load_in_cluster_generic_resources
from lightkube.models.core_v1 import Container, PodSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Namespace, Pod
from lightkube.types import CascadeType, PatchType

MANIFESTS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.light.example.com}
spec:
  group: light.example.com
  scope: Namespaced
  names: {plural: gadgets, kind: Gadget}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {size: {type: integer}}}
          status: {type: object, properties: {size: {type: integer}}}
---
apiVersion: light.example.com/v1
kind: Gadget
metadata: {name: g}
spec: {size: 1}
"""


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    client = Client(field_manager="light")
    made = client.create(Namespace(metadata=ObjectMeta(generateName="light-")))
    assert made.metadata
    assert made.metadata.name
    yield made.metadata.name
    client.delete(Namespace, made.metadata.name)


@pytest.fixture
def client(namespace: str) -> Client:
    return Client(namespace=namespace, field_manager="light")


@pytest.fixture
async def asynchronous(namespace: str) -> AsyncIterator[AsyncClient]:
    client = AsyncClient(KubeConfig.from_env(), namespace=namespace, field_manager="light")
    yield client
    await client.close()


def config_map(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, labels={"part": "of"}), data=data)


def deployment(name: str, replicas: int) -> Deployment:
    return Deployment.from_dict(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {
                        "terminationGracePeriodSeconds": 0,
                        "containers": [
                            {"name": "main", "image": "busybox", "command": ["sleep", "600"]}
                        ],
                    },
                },
            },
        }
    )


def test_objects_are_created_replaced_and_deleted(client: Client) -> None:
    made = client.create(config_map("crud", a="1"))
    with pytest.raises(ApiError) as again:
        client.create(config_map("crud"))
    assert (again.value.status.code, again.value.status.reason) == (409, "AlreadyExists")
    made.data = {"b": "2"}
    assert client.replace(made).data == {"b": "2"}
    with pytest.raises(ApiError) as stale:
        client.replace(made)
    assert stale.value.status.reason == "Conflict"
    assert [found.metadata.name for found in client.list(ConfigMap, labels={"part": "of"})] == [
        "crud"
    ]
    client.delete(ConfigMap, "crud", grace_period=0)
    with pytest.raises(ApiError) as missing:
        client.get(ConfigMap, "crud")
    assert missing.value.status.message == 'configmaps "crud" not found'


def test_a_patch_of_every_kind(client: Client) -> None:
    client.create(deployment("patched", 0))
    add = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "busybox"}]}}}}
    patched = client.patch(Deployment, "patched", add)
    assert [c.name for c in patched.spec.template.spec.containers] == ["side", "main"]
    merged = client.patch(
        Deployment, "patched", {"spec": {"paused": True}}, patch_type=PatchType.MERGE
    )
    assert merged.spec.paused is True
    operations = [
        {"op": "test", "path": "/spec/replicas", "value": 0},
        {"op": "remove", "path": "/spec/template/spec/containers/0"},
    ]
    shrunk = client.patch(Deployment, "patched", operations, patch_type=PatchType.JSON)
    assert [c.name for c in shrunk.spec.template.spec.containers] == ["main"]
    client.delete(Deployment, "patched", cascade=CascadeType.FOREGROUND)


def test_apply_owns_fields(client: Client) -> None:
    client.apply(config_map("owned", a="1", b="2"))
    with pytest.raises(ApiError) as conflict:
        client.apply(config_map("owned", a="2"), field_manager="other")
    assert 'conflict with "light": .data.a' in conflict.value.status.message
    taken = client.apply(config_map("owned", a="2"), field_manager="other", force=True)
    assert taken.data == {"a": "2", "b": "2"}
    assert client.apply(config_map("owned")).data == {"a": "2"}


def test_kinds_are_loaded_from_the_server(client: Client, namespace: str) -> None:
    loaded = codecs.load_all_yaml(MANIFESTS, create_resources_for_crds=True)
    definition, gadget = sort_objects(reversed(loaded))
    client.create(definition)
    try:
        client.wait(type(definition), definition.metadata.name, for_conditions=["Established"])
        load_in_cluster_generic_resources(client)
        gadgets: Any = create_namespaced_resource("light.example.com", "v1", "Gadget", "gadgets")
        client.create(gadget)
        scaled = client.patch(
            gadgets.Scale, "g", {"spec": {"replicas": 3}}, patch_type=PatchType.MERGE
        )
        assert scaled.spec.replicas == 3
        status = client.patch(
            gadgets.Status, "g", {"status": {"size": 3}}, patch_type=PatchType.MERGE
        )
        assert (status["spec"]["size"], status["status"]["size"]) == (3, 3)
        assert [found.metadata.namespace for found in client.list(gadgets, namespace="*")] == [
            namespace
        ]
        client.delete(gadgets, "g")
    finally:
        client.delete(type(definition), definition.metadata.name)


def test_pages_are_followed(client: Client) -> None:
    for i in range(7):
        client.create(config_map(f"page-{i}"))
    found = client.list(
        ConfigMap, chunk_size=2, labels={"part": "of"}, fields={"metadata.name!": "x"}
    )
    names = [one.metadata.name for one in found if one.metadata.name.startswith("page-")]
    assert names == [f"page-{i}" for i in range(7)]
    assert int(found.resourceVersion) > 0
    client.deletecollection(ConfigMap)


async def test_deployments_become_available_and_are_watched(asynchronous: AsyncClient) -> None:
    await asynchronous.create(deployment("web", 1))
    ready = await asynchronous.wait(Deployment, "web", for_conditions=["Available"])
    assert ready.status.availableReplicas == 1
    version = ready.metadata.resourceVersion
    scale = await asynchronous.get(Deployment.Scale, "web")
    scale.spec.replicas = 0
    await asynchronous.replace(scale, "web")
    async for event, found in asynchronous.watch(Deployment, resource_version=version):
        assert event == "MODIFIED"
        if not found.status.replicas and found.spec.replicas == 0:
            break
    await asynchronous.delete(Deployment, "web")


async def test_the_log_of_a_pod_is_followed(asynchronous: AsyncClient) -> None:
    container = Container("main", image="busybox", command=["sh", "-c", "echo one; echo two"])
    pod = Pod(
        metadata=ObjectMeta(name="talks"),
        spec=PodSpec(containers=[container], restartPolicy="Never"),
    )
    await asynchronous.create(pod)
    async for _, found in asynchronous.watch(Pod, fields={"metadata.name": "talks"}):
        if found.status.phase == "Succeeded":
            break
    lines = [line async for line in asynchronous.log("talks", follow=True)]
    assert lines == ["one\n", "two\n"]
