"""What an administrator says for all services, where KServe's tools read it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.serving.platform import NAMESPACE, Serving, running_serving

from kubeling.kube.errors import Invalid
from kubeling.kube.objects import Obj, annotations, new_object
from kubeling.kube.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
)
from kubeling.serving.configuration import config_objects, credential_conventions
from kubeling.serving.credentials import Conventions, from_secrets
from kubeling.serving.llm.resources import LLM_SERVICES
from kubeling.serving.localmodel.plan import JOB_NAMESPACE
from kubeling.serving.localmodel.resources import LOCAL_MODEL_NODES
from kubeling.serving.resources import INFERENCE_SERVICES

MODE = "serving.kserve.io/deploymentMode"
SKLEARN = {"sklearn": {"storageUri": "gs://bucket/iris"}}


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    async with running_serving(tmp_path) as found:
        for title in (NAMESPACE, "kserve"):
            if await found.client.find(NAMESPACES, title) is None:
                await found.client.create(NAMESPACES, new_object(NAMESPACES, title))
        shipped = config_objects()[1]
        if await found.client.find(CONFIG_MAPS, "inferenceservice-config", "kserve") is None:
            await found.client.create(CONFIG_MAPS, shipped)
        yield found


async def configure(serving: Serving, **sections: Any) -> Obj:
    data = {key: json.dumps(value) for key, value in sections.items()}
    patch = {"data": data}
    return await serving.client.patch(CONFIG_MAPS, "inferenceservice-config", patch, "kserve")


async def test_as_shipped_it_changes_nothing(serving: Serving) -> None:
    isvc = await serving.service("iris", predictor=SKLEARN)
    assert MODE not in annotations(isvc)
    assert "resources" not in isvc["spec"]["predictor"]["model"]
    assert "automountServiceAccountToken" not in isvc["spec"]["predictor"]


async def test_services_that_name_none_get_the_mode_and_the_resources(serving: Serving) -> None:
    resource = {"cpuRequest": "100m", "memoryRequest": "1Gi", "memoryLimit": "2Gi"}
    await configure(
        serving,
        deploy={"defaultDeploymentMode": "RawDeployment"},
        inferenceService={"resource": resource},
        security={"autoMountServiceAccountToken": False},
    )
    own = {"resources": {"requests": {"memory": "3Gi"}}, **SKLEARN["sklearn"]}
    isvc = await serving.service("iris", predictor={"sklearn": own})
    assert annotations(isvc)[MODE] == "Standard"
    assert isvc["spec"]["predictor"]["model"]["resources"] == {
        "requests": {"cpu": "100m", "memory": "3Gi"},
        "limits": {"memory": "2Gi"},
    }
    assert isvc["spec"]["predictor"]["automountServiceAccountToken"] is False


async def test_what_cannot_be_read_is_refused(serving: Serving) -> None:
    patch = {"data": {"deploy": "Standard"}}
    with pytest.raises(Invalid, match=r"data\[deploy\]: Invalid value: .*must be JSON"):
        await serving.client.patch(CONFIG_MAPS, "inferenceservice-config", patch, "kserve")
    with pytest.raises(Invalid, match="supported: Standard, RawDeployment, Knative, Serverless"):
        await configure(serving, deploy={"defaultDeploymentMode": "Mesh"})


async def test_services_are_headless_where_that_is_asked_for(serving: Serving) -> None:
    """Then nothing maps their port, and the address has that of the pods."""

    def addressed(url: str) -> Callable[[Obj], bool]:
        return lambda isvc: isvc["status"].get("address") == {"url": url}

    await serving.client.create(INFERENCE_SERVICES, standard("iris"))
    await serving.start("iris-predictor")
    host = "http://iris.default.svc.cluster.local"
    await serving.until(INFERENCE_SERVICES, "iris", addressed(host))
    await configure(serving, service={"serviceClusterIPNone": True})
    isvc = await serving.until(INFERENCE_SERVICES, "iris", addressed(f"{host}:8080"))
    component = isvc["status"]["components"]["predictor"]["address"]
    assert component == {"url": "http://iris-predictor.default.svc.cluster.local:8080"}
    service = await serving.exists(SERVICES, "iris")
    assert service["spec"]["clusterIP"] == "None"
    await configure(serving, service={})
    await serving.until(INFERENCE_SERVICES, "iris", addressed(host))


def standard(title: str) -> Obj:
    metadata = {"name": title, "namespace": NAMESPACE, "annotations": {MODE: "Standard"}}
    kind = {"apiVersion": INFERENCE_SERVICES.api_version, "kind": INFERENCE_SERVICES.kind}
    return {**kind, "metadata": metadata, "spec": {"predictor": SKLEARN}}


def test_secrets_are_known_by_the_names_and_settings_of_the_installation() -> None:
    s3 = {"s3AccessKeyIDName": "id", "s3SecretAccessKeyName": "key"}
    store = {"s3Endpoint": "store:9000", "s3UseHttps": "0", "s3Region": "eu"}
    switched: dict[str, Any] = {"s3VerifySSL": False}
    said = {"s3": s3 | store | switched, "gcs": {"gcsCredentialFileName": "g.json"}}
    config = {"data": {"credentials": json.dumps(said)}}
    conventions = credential_conventions(lambda *_: config)
    secret = {"metadata": {"name": "store"}, "data": {"id": "eA==", "key": "eQ==", "g.json": ""}}
    env = from_secrets([secret], conventions=conventions).env
    told = {v["name"]: v.get("value") or v["valueFrom"]["secretKeyRef"] for v in env}
    assert told["AWS_ACCESS_KEY_ID"] == {"name": "store", "key": "id"}
    assert told["AWS_SECRET_ACCESS_KEY"] == {"name": "store", "key": "key"}
    assert (told["AWS_ENDPOINT_URL"], told["AWS_DEFAULT_REGION"]) == ("http://store:9000", "eu")
    assert told["S3_VERIFY_SSL"] == "false"
    assert told["GOOGLE_APPLICATION_CREDENTIALS"] == "/var/secrets/g.json"


def test_the_secret_of_stores_and_its_annotation_may_be_called_otherwise() -> None:
    said = {"storageSpecSecretName": "stores", "storageSecretNameAnnotation": "x/secret"}
    found = credential_conventions(lambda *_: {"data": {"credentials": json.dumps(said)}})
    assert (found.secret, found.annotation) == ("stores", "x/secret")
    assert credential_conventions(lambda *_: None) == Conventions()


async def test_language_models_and_models_on_nodes_are_fetched_by_them_too(
    serving: Serving,
) -> None:
    await configure(serving, credentials={"s3": {"s3AccessKeyIDName": "id"}})
    client, uri = serving.client, "s3://bucket/tiny"
    await client.create(NAMESPACES, new_object(NAMESPACES, JOB_NAMESPACE))
    for where in (NAMESPACE, JOB_NAMESPACE):
        secret = new_object(SECRETS, "store", where)
        await client.create(SECRETS, {**secret, "stringData": {"id": "x"}}, where)
        account = new_object(SERVICE_ACCOUNTS, "fetcher", where)
        await client.create(SERVICE_ACCOUNTS, {**account, "secrets": [{"name": "store"}]}, where)
    spec: Obj = {"model": {"uri": uri}, "template": {"serviceAccountName": "fetcher"}}
    await client.create(LLM_SERVICES, new_object(LLM_SERVICES, "tiny", NAMESPACE, spec=spec))
    made = await serving.exists(DEPLOYMENTS, "tiny-kserve")
    kept = {"sourceModelUri": uri, "modelName": "tiny", "serviceAccountName": "fetcher"}
    spec = {"localModels": [{**kept, "nodeGroup": "ssd"}]}
    await client.create(LOCAL_MODEL_NODES, new_object(LOCAL_MODEL_NODES, "node", spec=spec))
    async for event in client.watch(JOBS, JOB_NAMESPACE):
        pod = event.object["spec"]["template"]["spec"]
        break
    for container in (
        made["spec"]["template"]["spec"]["initContainers"][0],
        pod["containers"][0],
    ):
        env = {variable["name"]: variable for variable in container["env"]}
        source = env["AWS_ACCESS_KEY_ID"]["valueFrom"]["secretKeyRef"]
        assert source == {"name": "store", "key": "id"}
