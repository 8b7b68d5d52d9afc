"""The rooms' admission, asked for over HTTPS by an API server that knows nothing of the rooms."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from tests.support.apiserver import running_server

from kubeling.cli.webhooks import served_webhooks
from kubeling.component import Component, load_components
from kubeling.kube.admission import Admission, AdmissionRequest
from kubeling.kube.crd import crd
from kubeling.kube.errors import ApiError, FieldError
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import Resource
from kubeling.kube.webhooks import MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS

WIDGETS = Resource("example.org", "v1", "Widget", "widgets")


def fill_in(obj: Obj, request: AdmissionRequest) -> None:
    obj["spec"].setdefault("owner", request.user)
    obj["metadata"].setdefault("labels", {})["example.org/name"] = obj["metadata"]["name"][:3]


def check(new: Obj, old: Obj | None, request: AdmissionRequest) -> Iterable[FieldError]:
    if old is not None and new["spec"]["size"] < old["spec"]["size"]:
        yield FieldError("spec.size", "Invalid value", "may not shrink", new["spec"]["size"])


def room() -> Component:
    return Component("widgets", admission=lambda: {WIDGETS: Admission(fill_in, check)})


async def test_defaults_and_checks_hold_on_another_server(tmp_path: Path) -> None:
    async with running_server(crds=[crd(WIDGETS, dict[str, Any])]) as running:
        client = running.client
        async with served_webhooks(client, [room()], "127.0.0.1", 0, tmp_path):
            widget = new_object(WIDGETS, "", "default", spec={"size": 2})
            widget["metadata"] = {"generateName": "w12-"}
            made = await client.create(WIDGETS, widget, "default")
            assert made["spec"] == {"size": 2, "owner": "system:admin"}
            assert made["metadata"]["labels"] == {"example.org/name": "w12"}
            made["spec"]["size"] = 1
            with pytest.raises(ApiError) as caught:
                await client.replace(WIDGETS, made)
            assert caught.value.status_code == 422
            assert caught.value.message.startswith(
                'admission webhook "validate.kubeling.io" denied the request: '
            )
            assert "spec.size: Invalid value: 1: may not shrink" in caught.value.message
        for resource in (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS):
            assert await client.find(resource, "kubeling") is None
        assert await client.replace(WIDGETS, made)


async def test_the_rooms_there_are_can_be_asked(tmp_path: Path) -> None:
    components = load_components()
    definitions = [definition for part in components for definition in part.crds()]
    jobs = Resource("kubeflow.org", "v1", "PyTorchJob", "pytorchjobs")
    async with running_server(crds=definitions) as running:
        containers = [{"name": "pytorch", "image": "torch"}]
        replicas = {"Boss": {"template": {"spec": {"containers": containers}}}}
        job = new_object(jobs, "j", "default", spec={"pytorchReplicaSpecs": replicas})
        async with served_webhooks(running.client, components, "127.0.0.1", 0, tmp_path):
            with pytest.raises(ApiError, match=r"denied the request: PyTorchJob\.kubeflow\.org"):
                await running.client.create(jobs, job)


async def test_who_stops_late_leaves_the_next_leaders_webhooks(tmp_path: Path) -> None:
    async with running_server(crds=[crd(WIDGETS, dict[str, Any])]) as running:
        client = running.client
        async with served_webhooks(client, [room()], "127.0.0.1", 0, tmp_path):
            found = await client.get(MUTATING_WEBHOOKS, "kubeling")
            found["webhooks"][0]["clientConfig"]["url"] = "https://next.example.org/default"
            await client.replace(MUTATING_WEBHOOKS, found)
        assert await client.find(MUTATING_WEBHOOKS, "kubeling") is not None
        assert await client.find(VALIDATING_WEBHOOKS, "kubeling") is None
