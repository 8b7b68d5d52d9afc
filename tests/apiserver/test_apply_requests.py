"""Server-side apply as clients ask for it: what is refused, and in which words."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.support.apiserver import running_server

from kubeling.kube.client import Client
from kubeling.kube.errors import BadRequest, Conflict
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import CONFIG_MAPS, DEPLOYMENTS, SERVICES


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with running_server() as running:
        yield running.client


def deployment(*containers: Obj) -> Obj:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": list(containers)}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    return new_object(DEPLOYMENTS, "d", "default", spec=spec)


def owned(obj: Obj, manager: str) -> Obj:
    """What a manager owns, as ``managedFields`` spells it."""
    entries = obj["metadata"]["managedFields"]
    [fields] = [entry["fieldsV1"] for entry in entries if entry["manager"] == manager]
    assert isinstance(fields, dict)
    return fields


async def test_a_field_that_no_schema_declares_cannot_be_owned(client: Client) -> None:
    obj = new_object(CONFIG_MAPS, "c", "default", dat={"a": "b"})
    with pytest.raises(BadRequest) as caught:
        await client.apply(CONFIG_MAPS, obj)
    assert caught.value.message == (
        "failed to create typed patch object (default/c; v1, Kind=ConfigMap): .dat: field not "
        "declared in schema"
    )
    obj = deployment({"name": "c", "image": "busybox", "imagePull": "Always"})
    with pytest.raises(BadRequest, match=r'containers\[name="c"\].imagePull: field not declared'):
        await client.apply(DEPLOYMENTS, obj)


async def test_items_with_the_same_keys_cannot_be_told_apart(client: Client) -> None:
    container = {"name": "c", "image": "busybox"}
    with pytest.raises(BadRequest) as caught:
        await client.apply(DEPLOYMENTS, deployment(container, {**container, "image": "nginx"}))
    path = ".spec.template.spec.containers"
    assert f'{path}: duplicate entries for key [name="c"]' in caught.value.message
    with pytest.raises(BadRequest) as caught:
        await client.apply(DEPLOYMENTS, deployment({"image": "busybox"}))
    assert f"{path}: element 0: associative list with keys has an element that omits key field" in (
        caught.value.message
    )
    ports = [{"port": 53, "name": "a"}, {"port": 53, "protocol": "UDP", "name": "b"}]
    service = new_object(SERVICES, "s", "default", spec={"ports": ports})
    assert len((await client.apply(SERVICES, service))["spec"]["ports"]) == 2


async def test_a_manifest_for_another_object_finds_none(client: Client) -> None:
    obj = new_object(CONFIG_MAPS, "c", "default")
    obj["metadata"]["uid"] = "u"
    with pytest.raises(Conflict, match="uid mismatch: the provided object specified uid u"):
        await client.apply(CONFIG_MAPS, obj)


async def test_selectors_and_references_have_one_owner(client: Client) -> None:
    reference = {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}
    env = [{"name": "A", "valueFrom": reference}]
    obj = deployment({"name": "c", "image": "busybox", "env": env})
    fields = owned(await client.apply(DEPLOYMENTS, obj, field_manager="one"), "one")["f:spec"]
    assert fields["f:selector"] == {}
    container = fields["f:template"]["f:spec"]["f:containers"]['k:{"name":"c"}']
    variable = container["f:env"]['k:{"name":"A"}']
    assert variable["f:valueFrom"] == {"f:secretKeyRef": {}}
    del reference["secretKeyRef"]["optional"]
    made = await client.apply(DEPLOYMENTS, obj, field_manager="two", force=True)
    found = made["spec"]["template"]["spec"]["containers"][0]["env"][0]["valueFrom"]
    assert found == {"secretKeyRef": {"name": "s", "key": "k"}}, "replaced, not merged"
    left = owned(made, "one")["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert "f:valueFrom" not in left['k:{"name":"c"}']["f:env"]['k:{"name":"A"}']
