"""What becomes of an InferenceService, from ``kubectl apply`` to its status."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.serving.platform import NAMESPACE, Serving, is_ready, running_serving, traffic

from kubeling.kube import yaml
from kubeling.kube.errors import BadRequest, Invalid
from kubeling.kube.objects import Obj, condition
from kubeling.kube.resources import (
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    NAMESPACES,
    SERVICES,
)
from kubeling.serving.resources import (
    INFERENCE_SERVICES,
    LEGACY_INFERENCE_SERVICES,
    V1ALPHA2_INFERENCE_SERVICES,
)

SKLEARN = {"sklearn": {"storageUri": "gs://bucket/v1"}}


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    async with running_serving(tmp_path) as found:
        if await found.client.find(NAMESPACES, NAMESPACE) is None:
            await found.client.create(
                NAMESPACES,
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            )
        yield found


async def first_revision(serving: Serving, title: str = "iris", **fields: Any) -> Obj:
    await serving.service(title, predictor={**SKLEARN, **fields})
    await serving.start(f"{title}-predictor-00001")
    return await serving.until(INFERENCE_SERVICES, title, is_ready)


def _copies(isvc: Obj) -> tuple[int, int]:
    copies = isvc["status"]["modelStatus"]["copies"]
    return copies["totalCopies"], copies["failedCopies"]


async def second_revision(serving: Serving, **fields: Any) -> None:
    content = {"sklearn": {"storageUri": "gs://bucket/v2"}, **fields}
    await serving.service("iris", predictor=content)
    await serving.start("iris-predictor-00002")


async def test_a_model_is_served_and_its_status_is_what_the_sdk_reads(serving: Serving) -> None:
    isvc = await first_revision(serving)
    status = isvc["status"]
    predictor = status["components"]["predictor"]
    assert status["url"] == "http://iris-default.example.com"
    assert status["address"]["url"] == "http://iris.default.svc.cluster.local"
    assert status["clusterServingRuntimeName"] == "kserve-sklearnserver"
    assert status["modelStatus"]["transitionStatus"] == "UpToDate"
    assert status["modelStatus"]["states"] == {
        "activeModelState": "Loaded",
        "targetModelState": "Loaded",
    }
    assert predictor["latestReadyRevision"] == "iris-predictor-00001"
    assert predictor["latestRolledoutRevision"] == "iris-predictor-00001"
    assert predictor["traffic"] == [
        {"revisionName": "iris-predictor-00001", "latestRevision": True, "percent": 100}
    ]
    assert {c["type"] for c in status["conditions"]} == {"PredictorReady", "IngressReady", "Ready"}
    for title in ("iris", "iris-predictor", "iris-predictor-00001"):
        found = await serving.exists(SERVICES, title)
        assert found["spec"]["selector"]["serving.kubeling.io/revision"] == "00001"


async def test_the_choice_of_a_runtime_is_told(serving: Serving) -> None:
    await first_revision(serving)
    await serving.event(
        "ClusterServingRuntime kserve-sklearnserver serves it over v1: no other runtime there fits"
    )


async def test_a_canary_is_promoted_and_rolled_back(serving: Serving) -> None:
    await first_revision(serving)
    await second_revision(serving, canaryTrafficPercent=10)
    isvc = await serving.until(INFERENCE_SERVICES, "iris", lambda o: len(traffic(o)) == 2)
    assert traffic(isvc) == {"iris-predictor-00002": 10, "iris-predictor-00001": 90}

    content = {"sklearn": {"storageUri": "gs://bucket/v2"}, "canaryTrafficPercent": 0}
    await serving.service("iris", predictor=content)
    rolled_back = {"iris-predictor-00002": 0, "iris-predictor-00001": 100}
    await serving.until(INFERENCE_SERVICES, "iris", lambda o: traffic(o) == rolled_back)

    await serving.service("iris", predictor={**content, "canaryTrafficPercent": 100})
    isvc = await serving.until(
        INFERENCE_SERVICES, "iris", lambda o: traffic(o) == {"iris-predictor-00002": 100}
    )
    predictor = isvc["status"]["components"]["predictor"]
    assert predictor["previousRolledoutRevision"] == "iris-predictor-00001"
    assert predictor["latestRolledoutRevision"] == "iris-predictor-00002"
    await serving.until(DEPLOYMENTS, "iris-predictor-00001", lambda o: o["spec"]["replicas"] == 0)


async def test_a_pod_that_crashed_takes_no_requests_from_the_others(serving: Serving) -> None:
    await first_revision(serving, minReplicas=2)
    await serving.lack("iris-predictor-00001", "cannot allocate")
    isvc = await serving.until(INFERENCE_SERVICES, "iris", lambda o: _copies(o) == (1, 1))
    assert traffic(isvc) == {"iris-predictor-00001": 100}
    assert is_ready(isvc)
    assert isvc["status"]["modelStatus"]["transitionStatus"] == "UpToDate"
    ready = condition(isvc, "PredictorReady")
    assert ready is not None
    assert "some pods of iris-predictor-00001 do not answer" in ready.message
    assert "cannot allocate" in ready.message

    await second_revision(serving, minReplicas=2, canaryTrafficPercent=10)
    isvc = await serving.until(INFERENCE_SERVICES, "iris", lambda o: len(traffic(o)) == 2)
    assert traffic(isvc) == {"iris-predictor-00002": 10, "iris-predictor-00001": 90}


async def test_rolling_back_after_promotion_starts_the_old_pods_first(serving: Serving) -> None:
    await first_revision(serving)
    await second_revision(serving)
    await serving.until(DEPLOYMENTS, "iris-predictor-00001", lambda o: o["spec"]["replicas"] == 0)
    await serving.stop("iris-predictor-00001")
    content = {"sklearn": {"storageUri": "gs://bucket/v2"}, "canaryTrafficPercent": 0}
    await serving.service("iris", predictor=content)
    await serving.start("iris-predictor-00001")
    await serving.until(
        INFERENCE_SERVICES,
        "iris",
        lambda o: traffic(o) == {"iris-predictor-00002": 0, "iris-predictor-00001": 100},
    )


async def test_a_model_that_cannot_be_fetched_says_why_and_the_old_one_goes_on(
    serving: Serving,
) -> None:
    await first_revision(serving)
    await serving.service("iris", predictor={"sklearn": {"storageUri": "gs://nowhere/v2"}})
    message = 'cannot fetch gs://nowhere/v2: there is no bucket "nowhere"'
    await serving.fail("iris-predictor-00002", "storage-initializer", message, init=True)
    isvc = await serving.until(INFERENCE_SERVICES, "iris", _has_failed)
    info = isvc["status"]["modelStatus"]["lastFailureInfo"]
    assert info["message"] == message
    assert info["reason"] == "ModelLoadFailed"
    assert info["exitCode"] == 1
    ready = condition(isvc, "Ready")
    assert ready is not None
    assert ready.status == "False"
    assert message in ready.message
    assert traffic(isvc) == {"iris-predictor-00001": 100}
    event = await serving.event(message)
    assert (event["type"], event["reason"]) == ("Warning", "ModelLoadFailed")


def _has_failed(isvc: Obj) -> bool:
    status = isvc.get("status") or {}
    return (status.get("modelStatus") or {}).get("transitionStatus") == "BlockedByFailedLoad"


async def test_an_unknown_format_is_refused_with_what_there_is(serving: Serving) -> None:
    model = {"modelFormat": {"name": "fortran"}, "storageUri": "gs://b/m"}
    await serving.service("odd", predictor={"model": model})
    isvc = await serving.until(INFERENCE_SERVICES, "odd", lambda o: "status" in o)
    assert isvc["status"]["modelStatus"]["transitionStatus"] == "InvalidSpec"
    assert isvc["status"]["modelStatus"]["states"] == {"targetModelState": "FailedToLoad"}
    ready = condition(isvc, "Ready")
    assert ready is not None
    assert ready.reason == "NoSupportingRuntime"
    assert 'no runtime serves model format "fortran"' in ready.message


async def test_what_the_api_refuses_of_a_service_is_said_in_its_status(serving: Serving) -> None:
    own = {
        "modelFormat": {"name": "sklearn"},
        "storageUri": "gs://b/m",
        "volumeMounts": [{"name": "mine", "mountPath": "/mnt/models"}],
    }
    volumes = [{"name": "mine", "emptyDir": {}}]
    await serving.service("two", predictor={"model": own, "volumes": volumes})
    isvc = await serving.until(INFERENCE_SERVICES, "two", lambda o: "status" in o)
    ready = condition(isvc, "Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "Refused")
    assert "mountPath" in ready.message
    assert (await serving.event(ready.message))["type"] == "Warning"
    await serving.service("two", predictor={"model": {**own, "volumeMounts": []}})
    await serving.exists(DEPLOYMENTS, "two-predictor-00001")


async def test_a_model_that_is_not_registered_is_said_in_the_status(serving: Serving) -> None:
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": "model-registry://nope/v1"}
    await serving.service("m", predictor={"model": model})
    isvc = await serving.until(INFERENCE_SERVICES, "m", lambda o: "status" in o)
    ready = condition(isvc, "Ready")
    assert ready is not None
    assert ready.reason == "ModelNotRegistered"
    assert "model-registry://nope/v1" in ready.message


async def test_a_wrong_manifest_is_refused_at_apply(serving: Serving) -> None:
    with pytest.raises(Invalid, match=r"spec\.predictor\.canaryTrafficPercent"):
        await serving.service("bad", predictor={**SKLEARN, "canaryTrafficPercent": 200})


async def test_fields_of_pods_are_known_to_their_ends(serving: Serving) -> None:
    wrong = {**SKLEARN["sklearn"], "readinessProbe": {"periodSeconds": "soon"}}
    with pytest.raises(Invalid, match=r"spec\.predictor\.model\.readinessProbe\.periodSeconds"):
        await serving.service("iris", predictor={"sklearn": wrong})
    misspelt = {**SKLEARN, "tolerations": [{"kee": "gpu", "operator": "Exists"}]}
    with pytest.raises(BadRequest, match=r"tolerations\[0\]\.kee: field not declared in schema"):
        await serving.service("iris", predictor=misspelt)


async def test_replicas_follow_the_scale_subresource(serving: Serving) -> None:
    await first_revision(serving)
    scale = await serving.client.get_scale(INFERENCE_SERVICES, "iris", NAMESPACE)
    assert scale["spec"]["replicas"] == 1
    assert scale["status"]["replicas"] == 1
    expected = "serving.kserve.io/inferenceservice=iris,component=predictor"
    assert scale["status"]["selector"] == expected
    await serving.client.set_scale(INFERENCE_SERVICES, "iris", NAMESPACE, 4)
    await serving.until(DEPLOYMENTS, "iris-predictor-00001", lambda o: o["spec"]["replicas"] == 4)


async def test_room_to_grow_makes_an_autoscaler(serving: Serving) -> None:
    await serving.service("iris", predictor={**SKLEARN, "minReplicas": 2, "maxReplicas": 5})
    found = await serving.exists(HORIZONTAL_POD_AUTOSCALERS, "iris-predictor-00001")
    assert (found["spec"]["minReplicas"], found["spec"]["maxReplicas"]) == (2, 5)


async def test_deployments_are_found_by_the_labels_of_their_service(serving: Serving) -> None:
    await serving.service("iris", predictor=SKLEARN)
    named = {"metadata": {"labels": {"team": "vision"}}}
    await serving.client.patch(INFERENCE_SERVICES, "iris", named, NAMESPACE)
    found = await serving.exists(DEPLOYMENTS, "iris-predictor-00002")
    assert found["metadata"]["labels"]["team"] == "vision"


async def test_who_says_by_what_to_grow_has_an_autoscaler_to_read(serving: Serving) -> None:
    await serving.service("iris", predictor={**SKLEARN, "scaleMetric": "cpu", "scaleTarget": 50})
    found = await serving.exists(HORIZONTAL_POD_AUTOSCALERS, "iris-predictor-00001")
    assert (found["spec"]["minReplicas"], found["spec"]["maxReplicas"]) == (1, 1)
    target = found["spec"]["metrics"][0]["resource"]["target"]
    assert target == {"type": "Utilization", "averageUtilization": 50}


async def test_stopping_takes_the_pods_and_starting_brings_them_back(serving: Serving) -> None:
    await first_revision(serving)
    stop = {"metadata": {"annotations": {"serving.kserve.io/stop": "true"}}}
    await serving.client.patch(INFERENCE_SERVICES, "iris", stop, NAMESPACE)
    await serving.until(DEPLOYMENTS, "iris-predictor-00001", lambda o: o["spec"]["replicas"] == 0)
    isvc = await serving.until(
        INFERENCE_SERVICES, "iris", lambda o: condition(o, "Stopped") is not None
    )
    assert not is_ready(isvc)
    go = {"metadata": {"annotations": {"serving.kserve.io/stop": None}}}
    await serving.client.patch(INFERENCE_SERVICES, "iris", go, NAMESPACE)
    await serving.until(DEPLOYMENTS, "iris-predictor-00001", lambda o: o["spec"]["replicas"] == 1)


async def test_a_transformer_belongs_to_its_revision(serving: Serving) -> None:
    transformer = {"containers": [{"image": "model-monitor:latest"}]}
    await serving.service("iris", predictor=SKLEARN, transformer=transformer)
    await serving.start("iris-predictor-00001")
    await serving.start("iris-transformer-00001")
    isvc = await serving.until(INFERENCE_SERVICES, "iris", is_ready)
    assert condition(isvc, "TransformerReady") is not None
    assert isvc["status"]["components"]["transformer"]["latestReadyRevision"] == (
        "iris-transformer-00001"
    )
    entry = await serving.exists(SERVICES, "iris")
    assert entry["spec"]["selector"]["component"] == "transformer"


async def test_an_explainer_belongs_to_its_revision_too(serving: Serving) -> None:
    explainer = {"containers": [{"image": "mine"}]}
    await serving.service("iris", predictor=SKLEARN, explainer=explainer)
    deployment = await serving.exists(DEPLOYMENTS, "iris-explainer-00001")
    args = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[args.index("--predictor_host") + 1] == "iris-predictor-00001.default"
    await serving.start("iris-predictor-00001")
    await serving.start("iris-explainer-00001")
    isvc = await serving.until(INFERENCE_SERVICES, "iris", is_ready)
    assert condition(isvc, "ExplainerReady") is not None
    entry = await serving.exists(SERVICES, "iris")
    assert entry["spec"]["selector"]["component"] == "predictor"


async def test_a_transformer_that_is_taken_away_leaves_nothing_running(serving: Serving) -> None:
    transformer = {"containers": [{"image": "model-monitor:latest"}]}
    await serving.service("iris", predictor=SKLEARN, transformer=transformer)
    await serving.start("iris-predictor-00001")
    await serving.start("iris-transformer-00001")
    await serving.until(INFERENCE_SERVICES, "iris", is_ready)
    await serving.service("iris", predictor=SKLEARN)
    await serving.start("iris-predictor-00002")
    await serving.until(
        SERVICES, "iris", lambda o: o["spec"]["selector"]["component"] == "predictor"
    )
    await serving.gone(SERVICES, "iris-transformer")
    await serving.until(DEPLOYMENTS, "iris-transformer-00001", lambda o: o["spec"]["replicas"] == 0)


async def test_deleting_a_service_leaves_nothing_that_is_not_its_own(serving: Serving) -> None:
    await first_revision(serving)
    deployment = await serving.exists(DEPLOYMENTS, "iris-predictor-00001")
    service = await serving.exists(SERVICES, "iris")
    for owned in (deployment, service):
        assert owned["metadata"]["ownerReferences"][0]["name"] == "iris"


LEGACY = """
apiVersion: serving.kubeflow.org/v1beta1
kind: InferenceService
metadata: {name: old, namespace: default}
spec:
  predictor:
    tensorflow: {storageUri: gs://bucket/model}
  transformer:
    custom: {container: {image: "model-monitor:latest"}}
"""


async def test_the_old_group_is_mirrored_and_its_status_comes_back(serving: Serving) -> None:
    await serving.apply(LEGACY_INFERENCE_SERVICES, yaml.load(LEGACY))
    mirror = await serving.exists(INFERENCE_SERVICES, "old")
    assert mirror["spec"]["predictor"]["model"]["modelFormat"] == {"name": "tensorflow"}
    assert mirror["spec"]["transformer"]["containers"][0]["image"] == "model-monitor:latest"
    await serving.start("old-predictor-00001")
    await serving.start("old-transformer-00001")
    legacy = await serving.until(LEGACY_INFERENCE_SERVICES, "old", is_ready)
    assert legacy["status"]["replicas"] == 1
    await serving.client.set_scale(LEGACY_INFERENCE_SERVICES, "old", NAMESPACE, 3)
    await serving.until(DEPLOYMENTS, "old-predictor-00001", lambda o: o["spec"]["replicas"] == 3)


async def test_the_old_group_does_not_take_over_a_namesake(serving: Serving) -> None:
    await first_revision(serving, "old")
    await serving.apply(LEGACY_INFERENCE_SERVICES, yaml.load(LEGACY))
    legacy = await serving.until(LEGACY_INFERENCE_SERVICES, "old", lambda o: "status" in o)
    ready = condition(legacy, "Ready")
    assert ready is not None
    assert ready.reason == "NameTaken"


async def v1alpha2(serving: Serving, **spec: Any) -> None:
    obj = {
        "apiVersion": V1ALPHA2_INFERENCE_SERVICES.api_version,
        "kind": V1ALPHA2_INFERENCE_SERVICES.kind,
        "metadata": {"name": "old", "namespace": NAMESPACE},
        "spec": spec,
    }
    await serving.apply(V1ALPHA2_INFERENCE_SERVICES, obj)


def endpoint(uri: str, **fields: Any) -> Obj:
    return {"predictor": {"sklearn": {"storageUri": uri}, **fields}}


async def test_the_oldest_form_of_a_canary_becomes_a_share_of_the_requests(
    serving: Serving,
) -> None:
    one, two = endpoint("gs://bucket/v1", parallelism=4), endpoint("gs://bucket/v2")
    await v1alpha2(serving, default=one, canary=two, canaryTrafficPercent=10)
    mirror = await serving.exists(INFERENCE_SERVICES, "old")
    assert mirror["spec"]["predictor"]["model"]["storageUri"] == "gs://bucket/v1"
    assert mirror["spec"]["predictor"]["containerConcurrency"] == 4
    await serving.start("old-predictor-00001")
    await serving.start("old-predictor-00002")
    split = {"old-predictor-00002": 10, "old-predictor-00001": 90}
    await serving.until(INFERENCE_SERVICES, "old", lambda o: traffic(o) == split)

    await v1alpha2(serving, default=two)
    await serving.until(
        INFERENCE_SERVICES, "old", lambda o: traffic(o) == {"old-predictor-00002": 100}
    )


async def test_the_oldest_form_of_a_canary_is_taken_back_by_leaving_it_out(
    serving: Serving,
) -> None:
    one, two = endpoint("gs://bucket/v1"), endpoint("gs://bucket/v2")
    await v1alpha2(serving, default=one, canary=two, canaryTrafficPercent=10)
    await serving.start("old-predictor-00001")
    await serving.start("old-predictor-00002")
    await serving.until(INFERENCE_SERVICES, "old", lambda o: len(traffic(o)) == 2)
    await v1alpha2(serving, default=one)
    await serving.until(
        INFERENCE_SERVICES, "old", lambda o: traffic(o) == {"old-predictor-00001": 100}
    )


async def test_what_is_wrong_in_the_oldest_form_is_named_as_written(serving: Serving) -> None:
    with pytest.raises(Invalid, match=r"spec\.canary\.predictor\.sklearn\.storageUri: Invalid"):
        await v1alpha2(serving, default=endpoint("gs://b/m"), canary=endpoint("models/m"))
    with pytest.raises(Invalid, match=r"spec\.default: Required value"):
        await v1alpha2(serving, canary=endpoint("gs://b/m"))
    with pytest.raises(Invalid, match=r"spec\.canaryTrafficPercent: Forbidden"):
        await v1alpha2(serving, default=endpoint("gs://b/m"), canaryTrafficPercent=10)


async def test_in_knatives_mode_the_newest_revision_has_conditions_of_its_own(
    serving: Serving,
) -> None:
    annotations = {"serving.kserve.io/deploymentMode": "Knative"}
    obj = {
        "apiVersion": INFERENCE_SERVICES.api_version,
        "kind": INFERENCE_SERVICES.kind,
        "metadata": {"name": "iris", "namespace": NAMESPACE, "annotations": annotations},
        "spec": {"predictor": SKLEARN},
    }
    await serving.apply(INFERENCE_SERVICES, obj)
    await serving.start("iris-predictor-00001")
    isvc = await serving.until(INFERENCE_SERVICES, "iris", is_ready)
    assert {c["type"]: c["status"] for c in isvc["status"]["conditions"]} == {
        "PredictorReady": "True",
        "PredictorRouteReady": "True",
        "PredictorConfigurationReady": "True",
        "RoutesReady": "True",
        "LatestDeploymentReady": "True",
        "IngressReady": "True",
        "Ready": "True",
    }

    obj["spec"] = {"predictor": {"sklearn": {"storageUri": "gs://bucket/v2"}}}
    await serving.apply(INFERENCE_SERVICES, obj)
    await serving.fail("iris-predictor-00002", "kserve-container", "no such model")
    isvc = await serving.until(INFERENCE_SERVICES, "iris", _has_failed)
    latest, routes = condition(isvc, "LatestDeploymentReady"), condition(isvc, "RoutesReady")
    assert latest is not None
    assert routes is not None
    assert (latest.status, latest.reason) == ("False", "PredictorConfigurationReady not ready")
    assert "no such model" in latest.message
    assert routes.status == "True"
