"""The official ``kubernetes`` client: typed, dynamic, watch, informer, leader election."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.informer import ADDED, DELETED, MODIFIED, SharedInformer
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

MANIFESTS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: made, labels: {by: yaml}}
data: {a: b}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: made}
spec:
  replicas: 0
  selector: {matchLabels: {app: made}}
  template:
    metadata: {labels: {app: made}}
    spec:
      containers: [{name: main, image: busybox}]
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Secret
  metadata: {name: made}
  stringData: {token: t}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: Role
  metadata: {name: made}
  rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
"""

WIDGETS: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.official.example.com"},
    "spec": {
        "group": "official.example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"size": {"type": "integer", "minimum": 1}},
                            },
                            "status": {
                                "type": "object",
                                "properties": {"ready": {"type": "boolean"}},
                            },
                        },
                    }
                },
            }
        ],
    },
}


@pytest.fixture(scope="module", autouse=True)
def api() -> client.CoreV1Api:
    config.load_kube_config()
    return client.CoreV1Api()


@pytest.fixture(scope="module")
def namespace(api: client.CoreV1Api) -> Iterator[str]:
    body = client.V1Namespace(metadata=client.V1ObjectMeta(generate_name="official-"))
    name: str = api.create_namespace(body).metadata.name
    yield name
    api.delete_namespace(name)


def config_map(name: str, labels: dict[str, str] | None = None, **data: str) -> Any:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels=labels), data=data)


def test_objects_are_created_read_changed_and_deleted(
    api: client.CoreV1Api, namespace: str
) -> None:
    made = api.create_namespaced_config_map(namespace, config_map("crud", a="1"))
    assert made.metadata.uid
    with pytest.raises(ApiException) as again:
        api.create_namespaced_config_map(namespace, config_map("crud"))
    assert (again.value.status, again.value.reason) == (409, "Conflict")
    patched = api.patch_namespaced_config_map("crud", namespace, {"data": {"b": "2"}})
    assert patched.data == {"a": "1", "b": "2"}
    operations = [{"op": "remove", "path": "/data/a"}]
    assert api.patch_namespaced_config_map("crud", namespace, operations).data == {"b": "2"}
    with pytest.raises(ApiException) as stale:
        api.replace_namespaced_config_map("crud", namespace, made)
    assert stale.value.status == 409
    assert '"reason":"Conflict"' in stale.value.body
    api.delete_namespaced_config_map("crud", namespace)
    with pytest.raises(ApiException) as missing:
        api.read_namespaced_config_map("crud", namespace)
    assert missing.value.status == 404


def test_lists_come_in_pages_and_by_selector(api: client.CoreV1Api, namespace: str) -> None:
    for i in range(5):
        labels = {"half": "first" if i < 3 else "second"}
        api.create_namespaced_config_map(namespace, config_map(f"page-{i}", labels))
    first = api.list_namespaced_config_map(namespace, label_selector="half", limit=3)
    assert (len(first.items), first.metadata._continue is not None) == (3, True)
    rest = api.list_namespaced_config_map(
        namespace, label_selector="half", _continue=first.metadata._continue
    )
    assert [found.metadata.name for found in rest.items] == ["page-3", "page-4"]
    picked = api.list_namespaced_config_map(namespace, label_selector="half in (second)")
    assert len(picked.items) == 2
    named = api.list_namespaced_config_map(namespace, field_selector="metadata.name=page-0")
    assert [found.metadata.name for found in named.items] == ["page-0"]
    with pytest.raises(ApiException) as unknown:
        api.list_namespaced_config_map(namespace, field_selector="data.a=1")
    assert unknown.value.status == 400
    api.delete_collection_namespaced_config_map(namespace, label_selector="half")
    assert not api.list_namespaced_config_map(namespace, label_selector="half").items


def test_a_watch_resumes_where_it_stopped(api: client.CoreV1Api, namespace: str) -> None:
    start = api.list_namespaced_config_map(namespace).metadata.resource_version
    api.create_namespaced_config_map(namespace, config_map("seen", {"watch": "me"}))
    watching = watch.Watch()
    stream = watching.stream(
        api.list_namespaced_config_map,
        namespace,
        resource_version=start,
        label_selector="watch=me",
        timeout_seconds=10,
    )
    added = next(stream)
    assert (added["type"], added["object"].metadata.name) == ("ADDED", "seen")
    watching.stop()
    api.patch_namespaced_config_map("seen", namespace, {"data": {"k": "v"}})
    api.patch_namespaced_config_map("seen", namespace, {"metadata": {"labels": {"watch": "not"}}})
    seen = []
    resumed = watch.Watch()
    for event in resumed.stream(
        api.list_namespaced_config_map,
        namespace,
        resource_version=added["object"].metadata.resource_version,
        label_selector="watch=me",
        timeout_seconds=10,
    ):
        seen.append(event["type"])
        if len(seen) == 2:
            resumed.stop()
    assert seen == ["MODIFIED", "DELETED"]


def test_a_watch_from_a_forgotten_version_is_told_so(api: client.CoreV1Api, namespace: str) -> None:
    stream = watch.Watch().stream(
        api.list_namespaced_config_map, namespace, resource_version="1", timeout_seconds=5
    )
    with pytest.raises(ApiException) as expired:
        next(stream)
    assert expired.value.status == 410
    assert "too old resource version: 1" in expired.value.reason


def test_an_informer_keeps_a_cache(api: client.CoreV1Api, namespace: str) -> None:
    seen: list[tuple[str, str]] = []
    changed = threading.Condition()

    def note(kind: str) -> Any:
        def handler(obj: Any) -> None:
            with changed:
                seen.append((kind, obj.metadata.name))
                changed.notify_all()

        return handler

    def until(kind: str) -> None:
        with changed:
            assert changed.wait_for(lambda: (kind, "informed") in seen, 10), seen

    informer = SharedInformer(api.list_namespaced_config_map, namespace, label_selector="informer")
    for kind in (ADDED, MODIFIED, DELETED):
        informer.add_event_handler(kind, note(kind))
    informer.start()
    try:
        api.create_namespaced_config_map(namespace, config_map("informed", {"informer": "1"}))
        until(ADDED)
        assert [found.metadata.name for found in informer.cache.list()] == ["informed"]
        api.patch_namespaced_config_map("informed", namespace, {"data": {"a": "b"}})
        until(MODIFIED)
        api.delete_namespaced_config_map("informed", namespace)
        until(DELETED)
        assert informer.cache.list() == []
    finally:
        informer.stop()


def test_manifests_are_created_from_yaml(namespace: str, tmp_path: Path) -> None:
    file = tmp_path / "manifests.yaml"
    file.write_text(MANIFESTS)
    connection = client.ApiClient()
    utils.create_from_yaml(connection, str(file), namespace=namespace)
    assert client.AppsV1Api().read_namespaced_deployment("made", namespace).spec.replicas == 0
    secret = client.CoreV1Api().read_namespaced_secret("made", namespace)
    assert secret.data == {"token": "dA=="}
    with pytest.raises(utils.FailToCreateError) as failed:
        utils.create_from_yaml(connection, str(file), namespace=namespace)
    assert {error.status for error in failed.value.api_exceptions} == {409}


def test_manifests_are_applied_by_the_dynamic_client(namespace: str) -> None:
    connection = dynamic.DynamicClient(client.ApiClient())
    manifest, *_ = yaml.safe_load_all(MANIFESTS)
    manifest["metadata"]["name"] = "applied"
    resource = connection.resources.get(api_version="v1", kind="ConfigMap")

    def apply(manager: str, **options: Any) -> Any:
        return connection.server_side_apply(
            resource, body=manifest, namespace=namespace, field_manager=manager, **options
        )

    applied = apply("one")
    (entry,) = applied.metadata.managedFields
    assert (entry.manager, entry.operation) == ("one", "Apply")
    manifest["data"] = {"a": "other"}
    with pytest.raises(dynamic.exceptions.ConflictError) as conflict:
        apply("two")
    message = json.loads(conflict.value.body)["message"]
    assert message == 'Apply failed with 1 conflict: conflict with "one": .data.a'
    assert apply("two", force_conflicts=True).data.a == "other"
    manifest["data"] = {}
    assert not apply("two").to_dict().get("data")


def test_the_dynamic_client_finds_kinds_as_they_come(namespace: str) -> None:
    connection = dynamic.DynamicClient(client.ApiClient())
    definitions = connection.resources.get(
        api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition"
    )
    definitions.create(body=WIDGETS)
    try:
        connection.resources.invalidate_cache()
        widgets = connection.resources.get(api_version="official.example.com/v1", kind="Widget")
        body = {
            "apiVersion": "official.example.com/v1",
            "kind": "Widget",
            "metadata": {"name": "w"},
            "spec": {"size": 1},
        }
        made = widgets.create(body=body, namespace=namespace)
        assert made.metadata.generation == 1
        patch = {"status": {"ready": True}}
        media = "application/merge-patch+json"
        changed = widgets.status.patch(
            name="w", namespace=namespace, body=patch, content_type=media
        )
        assert (changed.status.ready, changed.metadata.generation) == (True, 1)
        with pytest.raises(dynamic.exceptions.UnprocessibleEntityError) as refused:
            widgets.patch(
                name="w", namespace=namespace, body={"spec": {"size": 0}}, content_type=media
            )
        assert "spec.size in body should be greater than or equal to 1" in refused.value.body
        events = widgets.watch(namespace=namespace, timeout=10)
        assert next(events)["object"].metadata.name == "w"
        widgets.delete(name="w", namespace=namespace)
    finally:
        definitions.delete(name="widgets.official.example.com")


def test_one_candidate_leads_and_another_takes_over(namespace: str) -> None:
    leaders = multiprocessing.get_context("spawn").Queue()
    first = multiprocessing.get_context("spawn").Process(
        target=lead, args=("first", namespace, leaders), daemon=True
    )
    first.start()
    assert leaders.get(timeout=20) == "first"
    second = multiprocessing.get_context("spawn").Process(
        target=lead, args=("second", namespace, leaders), daemon=True
    )
    second.start()
    leases = client.CoordinationV1Api()
    assert leases.read_namespaced_lease("lock", namespace).spec.holder_identity == "first"
    first.kill()
    assert leaders.get(timeout=20) == "second"
    lease = leases.read_namespaced_lease("lock", namespace)
    assert lease.spec.holder_identity == "second"
    second.kill()


def lead(candidate: str, namespace: str, leaders: Any) -> None:
    """Stands for election until it leads, and then for good."""
    config.load_kube_config(os.environ["KUBECONFIG"])
    settings = electionconfig.Config(
        LeaseLock("lock", namespace, candidate),
        lease_duration=3,
        renew_deadline=2,
        retry_period=1,
        onstarted_leading=lambda: leaders.put(candidate),
        onstopped_leading=lambda: None,
    )
    leaderelection.LeaderElection(settings).run()


def test_a_pod_runs_and_its_log_is_read(api: client.CoreV1Api, namespace: str) -> None:
    container = client.V1Container(
        name="main", image="busybox", command=["sh", "-c", "echo one; echo two"]
    )
    api.create_namespaced_pod(
        namespace,
        client.V1Pod(
            metadata=client.V1ObjectMeta(name="talks"),
            spec=client.V1PodSpec(containers=[container], restart_policy="Never"),
        ),
    )
    for event in watch.Watch().stream(
        api.list_namespaced_pod,
        namespace,
        field_selector="metadata.name=talks",
        timeout_seconds=30,
    ):
        if event["object"].status.phase == "Succeeded":
            break
    assert api.read_namespaced_pod_log("talks", namespace) == "one\ntwo\n"
    assert api.read_namespaced_pod_log("talks", namespace, tail_lines=1) == "two\n"
    lines = list(watch.Watch().stream(api.read_namespaced_pod_log, "talks", namespace))
    assert lines == ["one", "two"]


def test_access_is_asked_about(namespace: str) -> None:
    ask = client.V1SelfSubjectAccessReview(
        spec=client.V1SelfSubjectAccessReviewSpec(
            resource_attributes=client.V1ResourceAttributes(
                namespace=namespace, verb="create", resource="pods"
            )
        )
    )
    answer = client.AuthorizationV1Api().create_self_subject_access_review(ask)
    assert answer.status.allowed is True
    assert client.VersionApi().get_code().major == "1"
    assert client.AppsV1Api().get_api_resources().group_version == "apps/v1"
