"""What becomes of an LLMInferenceService, from ``kubectl apply`` to its status."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from tests.serving.platform import NAMESPACE, Serving, front_door, is_ready, running_serving
from yarl import URL

from kubeling.kube import yaml
from kubeling.kube.errors import Invalid
from kubeling.kube.objects import Obj, condition, new_object
from kubeling.kube.resources import (
    DEPLOYMENTS,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    SERVICES,
)
from kubeling.serving.llm.resources import (
    LLM_CONFIGS,
    LLM_SERVICES,
    V1ALPHA1_SERVICES,
)
from kubeling.serving.llm.routing import routes

EXAMPLES = Path(__file__).parents[2] / "examples" / "serving"
MODEL = {"uri": "hf://acme/tiny", "name": "acme/tiny"}
ROUTE = {"route": {}, "gateway": {}, "scheduler": {}}


def llm(title: str = "tiny", **spec: Any) -> Obj:
    return {
        "apiVersion": LLM_SERVICES.api_version,
        "kind": LLM_SERVICES.kind,
        "metadata": {"name": title, "namespace": NAMESPACE},
        "spec": {"model": {**MODEL, "uri": "file:///models/tiny"}, **spec},
    }


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    async with running_serving(tmp_path) as found:
        await found.gateway()
        yield found


async def told(serving: Serving, type_: str, reason: str, title: str = "tiny") -> str:
    """What a condition says once it is false for this reason."""

    def holds(obj: Obj) -> bool:
        found = condition(obj, type_)
        return found is not None and (found.status, found.reason) == ("False", reason)

    found = condition(await serving.until(LLM_SERVICES, title, holds), type_)
    assert found is not None
    return found.message


def conditions(obj: Obj) -> dict[str, str]:
    return {entry["type"]: entry["status"] for entry in obj["status"]["conditions"]}


async def reader_of_models(serving: Serving) -> str:
    """The token of an account that may get LLM services."""
    client, title = serving.client, "reader"
    rule = {"apiGroups": [LLM_SERVICES.group], "resources": [LLM_SERVICES.plural], "verbs": ["get"]}
    await client.create(SERVICE_ACCOUNTS, new_object(SERVICE_ACCOUNTS, title, NAMESPACE))
    await client.create(ROLES, {**new_object(ROLES, title, NAMESPACE), "rules": [rule]})
    binding = {
        "roleRef": {"apiGroup": ROLES.group, "kind": "Role", "name": title},
        "subjects": [{"kind": "ServiceAccount", "name": title, "namespace": NAMESPACE}],
    }
    await client.create(ROLE_BINDINGS, {**new_object(ROLE_BINDINGS, title, NAMESPACE), **binding})
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = await client.create_subresource(SERVICE_ACCOUNTS, title, NAMESPACE, "token", request)
    return str(answer["status"]["token"])


async def test_a_model_is_served_at_upstreams_path(serving: Serving) -> None:
    await serving.apply(LLM_SERVICES, llm(replicas=2, router=ROUTE))
    deployment = await serving.exists(DEPLOYMENTS, "tiny-kserve")
    assert deployment["spec"]["replicas"] == 2
    pod = deployment["spec"]["template"]["spec"]
    assert pod["initContainers"][0]["args"] == ["file:///models/tiny", "/mnt/models"]
    service = await serving.exists(SERVICES, "tiny-kserve-workload-svc")
    assert service["spec"]["ports"][0]["port"] == 8000
    assert await told(serving, "Ready", "MinimumReplicasUnavailable") == "0 of 2 pods are ready"

    await serving.start("tiny-kserve")
    found = await serving.until(LLM_SERVICES, "tiny", is_ready)
    url = f"{serving.context.settings.gateway_url}/{NAMESPACE}/tiny"
    assert found["status"]["url"] == url
    internal = f"http://kubeling.kubeflow.svc.cluster.local/{NAMESPACE}/tiny"
    assert [address["url"] for address in found["status"]["addresses"]] == [url, internal]
    assert found["status"]["workloads"]["primary"] == {
        "apiGroup": "apps",
        "kind": "Deployment",
        "name": "tiny-kserve",
        "readyReplicas": 2,
    }
    expected = (
        *("PresetsCombined", "MainWorkloadReady", "WorkloadsReady", "GatewaysReady"),
        *("HTTPRoutesReady", "SchedulerWorkloadReady", "RouterReady", "Ready"),
    )
    assert conditions(found) == dict.fromkeys(expected, "True")
    await serving.event("LLMInferenceService [tiny] is Ready")


async def test_without_a_route_it_is_reached_in_the_cluster_only(serving: Serving) -> None:
    await serving.apply(LLM_SERVICES, llm())
    await serving.start("tiny-kserve")
    found = await serving.until(LLM_SERVICES, "tiny", is_ready)
    assert "url" not in found["status"]
    [address] = found["status"]["addresses"]
    assert address["url"] == "http://tiny-kserve-workload-svc.default.svc.cluster.local:8000"
    assert "HTTPRoutesReady" not in conditions(found)


async def test_pods_follow_the_spec_and_are_left_to_who_scales_them(serving: Serving) -> None:
    await serving.apply(LLM_SERVICES, llm(replicas=1, labels={"a": "1"}))
    await serving.start("tiny-kserve")
    await serving.apply(LLM_SERVICES, llm(replicas=3))
    found = await serving.until(
        DEPLOYMENTS,
        "tiny-kserve",
        lambda d: (
            d["spec"]["replicas"] == 3 and "a" not in d["spec"]["template"]["metadata"]["labels"]
        ),
    )
    without = llm()
    await serving.client.replace(
        LLM_SERVICES, {**without, "metadata": (await _present(serving))["metadata"]}
    )
    await serving.client.set_scale(DEPLOYMENTS, "tiny-kserve", NAMESPACE, 5)
    edited = llm(template={"containers": [{"name": "main", "args": ["--max-num-seqs=2"]}]})
    await serving.client.replace(
        LLM_SERVICES, {**edited, "metadata": (await _present(serving))["metadata"]}
    )
    found = await serving.until(
        DEPLOYMENTS,
        "tiny-kserve",
        lambda d: "--max-num-seqs=2" in d["spec"]["template"]["spec"]["containers"][0]["args"],
    )
    assert found["spec"]["replicas"] == 5


async def _present(serving: Serving) -> Obj:
    return await serving.client.get(LLM_SERVICES, "tiny", NAMESPACE)


async def test_it_stops_and_starts_by_the_annotation(serving: Serving) -> None:
    await serving.apply(LLM_SERVICES, llm(router=ROUTE))
    await serving.start("tiny-kserve")
    await serving.until(LLM_SERVICES, "tiny", is_ready)
    stop = {"metadata": {"annotations": {"serving.kserve.io/stop": "true"}}}
    await serving.client.patch(LLM_SERVICES, "tiny", stop, NAMESPACE)
    await serving.gone(DEPLOYMENTS, "tiny-kserve")
    await serving.gone(SERVICES, "tiny-kserve-workload-svc")
    assert "remove it to start again" in await told(serving, "Ready", "Stopped")
    found = await _present(serving)
    assert "url" not in found["status"]
    assert conditions(found)["PresetsCombined"] == "True"
    start = {"metadata": {"annotations": {"serving.kserve.io/stop": None}}}
    await serving.client.patch(LLM_SERVICES, "tiny", start, NAMESPACE)
    await serving.exists(DEPLOYMENTS, "tiny-kserve")


async def test_what_needs_gpus_is_accepted_and_says_why_it_does_not_run(serving: Serving) -> None:
    await serving.apply(LLM_SERVICES, llm(prefill={}, router=ROUTE))
    message = await told(serving, "PrefillWorkloadReady", "NotSupported")
    assert message.startswith("spec.prefill: needs vLLM on nodes with GPUs")
    assert await told(serving, "Ready", "NotSupported") == message
    assert await serving.client.find(DEPLOYMENTS, "tiny-kserve", NAMESPACE) is None

    scaling = {"maxReplicas": 3, "minReplicas": 2, "wva": {"hpa": {}}}
    await serving.apply(LLM_SERVICES, llm("scaled", scaling=scaling))
    assert "set spec.replicas" in await told(serving, "ScalingReady", "NotSupported", "scaled")
    deployment = await serving.exists(DEPLOYMENTS, "scaled-kserve")
    assert deployment["spec"]["replicas"] == 2


async def test_configurations_are_merged_and_know_their_users(serving: Serving) -> None:
    await serving.apply(LLM_SERVICES, llm(baseRefs=[{"name": "two-pods"}]))
    message = await told(serving, "Ready", "ConfigNotFound")
    assert (
        message == 'spec.baseRefs: no LLMInferenceServiceConfig "two-pods" in "default" or "kserve"'
    )
    config = {
        "apiVersion": LLM_CONFIGS.api_version,
        "kind": LLM_CONFIGS.kind,
        "metadata": {"name": "two-pods", "namespace": NAMESPACE},
        "spec": {"replicas": 2},
    }
    await serving.apply(LLM_CONFIGS, config)
    deployment = await serving.exists(DEPLOYMENTS, "tiny-kserve")
    assert deployment["spec"]["replicas"] == 2
    await serving.start("tiny-kserve")
    found = await serving.until(LLM_SERVICES, "tiny", is_ready)
    assert found["status"]["appliedConfigs"] == [
        {"name": "two-pods", "namespace": NAMESPACE, "source": "UserRef"}
    ]
    used = await serving.until(
        LLM_CONFIGS, "two-pods", lambda c: bool((c.get("status") or {}).get("referencedBy"))
    )
    assert used["status"]["referencedBy"] == [{"name": "tiny", "namespace": NAMESPACE}]
    await serving.client.patch(LLM_CONFIGS, "two-pods", {"spec": {"replicas": 3}}, NAMESPACE)
    await serving.until(DEPLOYMENTS, "tiny-kserve", lambda d: d["spec"]["replicas"] == 3)


async def test_the_container_that_fetches_the_model_may_be_changed(serving: Serving) -> None:
    changed = {
        "name": "storage-initializer",
        "args": ["other"],
        "env": [{"name": "TOKIO_WORKER_THREADS", "value": "1"}],
        "resources": {"limits": {"memory": "1Gi"}},
    }
    own = {"name": "own", "image": "busybox"}
    template = {"initContainers": [changed, own]}
    model = {**MODEL, "uri": "hf://acme/tiny"}
    await serving.apply(LLM_SERVICES, llm(model=model, template=template))
    deployment = await serving.exists(DEPLOYMENTS, "tiny-kserve")
    fetching, other = deployment["spec"]["template"]["spec"]["initContainers"]
    assert fetching["image"] == "kubeling/storage-initializer"
    assert fetching["args"] == ["hf://acme/tiny", "/mnt/models"]
    assert {"name": "TOKIO_WORKER_THREADS", "value": "1"} in fetching["env"]
    assert fetching["resources"] == changed["resources"]
    assert (other["name"], other["image"]) == ("own", "busybox")


async def test_a_configuration_that_is_used_stays_until_it_is_not(serving: Serving) -> None:
    def config(title: str) -> Obj:
        metadata = {"name": title, "namespace": NAMESPACE}
        return {
            "apiVersion": LLM_CONFIGS.api_version,
            "kind": LLM_CONFIGS.kind,
            "metadata": metadata,
            "spec": {"replicas": 1},
        }

    def held(obj: Obj) -> bool:
        finalizers = obj["metadata"].get("finalizers") or ()
        return "serving.kserve.io/llmisvcconfig-finalizer" in finalizers

    def used(obj: Obj) -> bool:
        return bool((obj.get("status") or {}).get("referencedBy"))

    def blocked(obj: Obj) -> bool:
        used = condition(obj, "ConfigInUse")
        return used is not None and used.reason == "DeletionBlocked"

    built_in = "kserve-config-llm-template"
    for title in ("mine", built_in, "free"):
        await serving.apply(LLM_CONFIGS, config(title))
        await serving.until(LLM_CONFIGS, title, held)
    await serving.apply(LLM_SERVICES, llm(baseRefs=[{"name": "mine"}]))
    for title in ("mine", built_in):
        await serving.until(LLM_CONFIGS, title, used)
    for title in ("mine", built_in, "free"):
        await serving.client.delete(LLM_CONFIGS, title, NAMESPACE)
    await serving.gone(LLM_CONFIGS, "free")
    for title in ("mine", built_in):
        found = await serving.until(LLM_CONFIGS, title, blocked)
        assert found["status"]["referencedBy"] == [{"name": "tiny", "namespace": NAMESPACE}]
    await serving.client.delete(LLM_SERVICES, "tiny", NAMESPACE)
    for title in ("mine", built_in):
        await serving.gone(LLM_CONFIGS, title)


async def test_a_failed_load_is_told_in_the_status(serving: Serving) -> None:
    await serving.apply(LLM_SERVICES, llm())
    await serving.fail("tiny-kserve", "main", "cannot load model: no config.json")
    message = await told(serving, "MainWorkloadReady", "ModelLoadFailed")
    assert "no config.json" in message

    await serving.apply(LLM_SERVICES, llm("strange", model={"uri": "abc://x"}))
    message = await told(serving, "MainWorkloadReady", "InvalidStorage", "strange")
    assert "no ClusterStorageContainer fetches abc://" in message


async def test_a_template_that_the_api_refuses_is_told(serving: Serving) -> None:
    await serving.apply(LLM_SERVICES, llm(template={"containers": [{"name": "side"}]}))
    reason = "ReconcileSingleNodeWorkloadError"
    message = await told(serving, "MainWorkloadReady", reason)
    assert "spec.template.spec.containers[1].image: Required value" in message


async def test_a_name_that_is_taken_is_told_and_used_once_it_is_free(serving: Serving) -> None:
    await serving.apply(LLM_SERVICES, llm("first"))
    theirs = await serving.exists(DEPLOYMENTS, "first-kserve")
    theirs["metadata"] = {"name": "tiny-kserve", "namespace": NAMESPACE}
    await serving.client.create(DEPLOYMENTS, theirs)
    await serving.apply(LLM_SERVICES, llm())
    assert "is another's" in await told(serving, "MainWorkloadReady", "NameTaken")
    # By now the controller has seen what it wrote, and waits.
    await serving.apply(LLM_SERVICES, llm("last"))
    await told(serving, "MainWorkloadReady", "MinimumReplicasUnavailable", "last")
    await serving.client.delete(DEPLOYMENTS, "tiny-kserve", NAMESPACE)
    await told(serving, "MainWorkloadReady", "MinimumReplicasUnavailable")


async def test_both_versions_are_served(serving: Serving) -> None:
    old = {**llm(), "apiVersion": V1ALPHA1_SERVICES.api_version}
    old["spec"]["model"]["criticality"] = "Critical"
    await serving.client.create(V1ALPHA1_SERVICES, old, NAMESPACE)
    found = await serving.client.get(LLM_SERVICES, "tiny", NAMESPACE)
    assert found["apiVersion"] == "serving.kserve.io/v1alpha2"
    assert found["spec"]["model"]["name"] == "acme/tiny"
    old = await serving.client.get(V1ALPHA1_SERVICES, "tiny", NAMESPACE)
    assert old["spec"]["model"]["criticality"] == "Critical"
    wrong = {**llm("wrong", worker={}), "apiVersion": V1ALPHA1_SERVICES.api_version}
    with pytest.raises(Invalid, match="parallelism must be configured"):
        await serving.client.create(V1ALPHA1_SERVICES, wrong, NAMESPACE)


async def test_an_example_is_accepted(serving: Serving) -> None:
    obj = yaml.load((EXAMPLES / "llm.yaml").read_text())
    obj["metadata"]["namespace"] = NAMESPACE
    await serving.apply(LLM_SERVICES, obj)
    await serving.exists(DEPLOYMENTS, f"{obj['metadata']['name']}-kserve")


async def test_requests_go_to_its_pods_by_path(serving: Serving) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(f"data: {request.raw_path}\n\n".encode())
        return response

    model = web.Application()
    model.router.add_route("*", "/{tail:.*}", answer)
    application = web.Application()
    application.add_routes(routes(serving.context))
    async with TestServer(model) as pod, TestClient(TestServer(application)) as client:
        assert (await client.get(f"/{NAMESPACE}/tiny/v1/models")).status == 404
        main = {"name": "main", "ports": [{"containerPort": pod.port}]}
        await serving.apply(LLM_SERVICES, llm(router=ROUTE, template={"containers": [main]}))
        await serving.until(LLM_SERVICES, "tiny", lambda o: "url" in (o.get("status") or {}))
        waiting = await client.get(f"/{NAMESPACE}/tiny/v1/models")
        assert waiting.status == 503
        assert "tiny is not ready" in (await waiting.json())["error"]
        await serving.start("tiny-kserve")
        await serving.until(LLM_SERVICES, "tiny", is_ready)
        for path in (
            f"/{NAMESPACE}/tiny/v1/chat/completions?a=%26",
            f"/publishers/{NAMESPACE}/models/acme/tiny/v1/chat/completions?a=%26",
        ):
            found = await client.post(URL(path, encoded=True), data=b"{}")
            assert await found.text() == "data: /v1/chat/completions?a=%26\n\n"
            assert found.headers["x-kubeling-revision"] == "tiny-kserve-pod"
        quoted = "/v1/models/a%20HTTP%2F1.1%0Db%3Fc%23d?e=/v1/"
        for prefix in (f"/{NAMESPACE}/tiny", f"/publishers/{NAMESPACE}/models/acme/tiny"):
            found = await client.get(URL(f"{prefix}{quoted}", encoded=True))
            assert await found.text() == f"data: {quoted}\n\n"
        assert (await client.get(f"/{NAMESPACE}/tiny/admin")).status == 404
        reader, writer = await asyncio.open_connection(client.host, client.port)
        address = f"http://models.example/{NAMESPACE}/tiny/v1/models"
        writer.write(f"GET {address} HTTP/1.0\r\n\r\n".encode())
        assert (await reader.read()).endswith(b"data: /v1/models\n\n")
        writer.close()


async def test_a_pod_is_left_when_its_client_is(serving: Serving) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        left.set()
        writer.close()

    pod = await asyncio.start_server(hang, "127.0.0.1", 0)
    main = {"name": "main", "ports": [{"containerPort": pod.sockets[0].getsockname()[1]}]}
    await serving.apply(LLM_SERVICES, llm(router=ROUTE, template={"containers": [main]}))
    await serving.start("tiny-kserve")
    await serving.until(LLM_SERVICES, "tiny", is_ready)
    async with (
        pod,
        front_door(serving.context) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
        asyncio.timeout(30),
    ):
        asking = asyncio.create_task(client.get(f"/{NAMESPACE}/tiny/v1/models"))
        await asked.wait()
        asking.cancel()
        await left.wait()


async def test_who_may_ask_is_found_out_where_that_is_wanted(tmp_path: Path) -> None:
    application = web.Application()
    async with running_serving(tmp_path, authentication=True) as serving:
        await serving.gateway()
        application.add_routes(routes(serving.context))
        await serving.apply(LLM_SERVICES, llm(router=ROUTE))
        await serving.until(LLM_SERVICES, "tiny", lambda o: "url" in (o.get("status") or {}))
        token = await reader_of_models(serving)
        async with TestClient(TestServer(application)) as client:
            for path in (
                f"/{NAMESPACE}/tiny/v1/models",
                f"/publishers/{NAMESPACE}/models/acme/tiny/v1/models",
            ):
                assert (await client.get(path)).status == 403
                for given, status in (("nobody's", 401), (token, 503)):
                    headers = {"Authorization": f"Bearer {given}"}
                    assert (await client.get(path, headers=headers)).status == status
