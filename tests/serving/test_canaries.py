"""``spec.canary``: models on trial beside the stable one."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from tests.serving.platform import NAMESPACE, Serving, is_ready, running_serving, traffic
from tests.serving.services import errors, service

from kubeling.gateway.app import create_app
from kubeling.kube.objects import Obj, annotations, condition, uid
from kubeling.kube.resources import DEPLOYMENTS, NAMESPACES, PODS, SERVICES
from kubeling.serving.canaries import as_service, overlaid
from kubeling.serving.component import COMPONENT
from kubeling.serving.resources import INFERENCE_SERVICES

STABLE = {"minReplicas": 4, "sklearn": {"storageUri": "gs://bucket/v1"}}


def canary(title: str, percent: int, **predictor: Any) -> Obj:
    content = {"sklearn": {"storageUri": f"gs://bucket/{title}"}, **predictor}
    return {"trafficPercent": percent, "predictor": {"name": title, **content}}


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    async with running_serving(tmp_path) as found:
        if await found.client.find(NAMESPACES, NAMESPACE) is None:
            content = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
            await found.client.create(NAMESPACES, content)
        yield found


def replicas(count: int) -> Callable[[Obj], bool]:
    return lambda deployment: deployment["spec"]["replicas"] == count


def splits(**percents: int) -> Callable[[Obj], bool]:
    """Whether requests are split so, by revision number (``r1=80``)."""
    wanted = {f"iris-predictor-{key[1:]:0>5}": percent for key, percent in percents.items()}
    return lambda isvc: traffic(isvc) == wanted


async def begin(serving: Serving, *canaries: Obj, **spec: Any) -> None:
    """A stable predictor that runs, and canaries beside it that do not yet."""
    await serving.service("iris", predictor=STABLE, canary=list(canaries), **spec)
    await serving.start("iris-predictor-00001")
    await serving.until(INFERENCE_SERVICES, "iris", is_ready)


async def test_a_canary_gets_its_share_once_it_is_ready(serving: Serving) -> None:
    await begin(serving, canary("v2", 25))
    isvc = await serving.until(INFERENCE_SERVICES, "iris", splits(r1=100))
    assert isvc["status"]["canaryStatuses"][0]["ready"] is False
    ready = condition(isvc, "CanaryPredictorReady")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "CanariesNotReady")
    await serving.until(DEPLOYMENTS, "iris-v2-predictor", replicas(1))
    await serving.until(DEPLOYMENTS, "iris-predictor-00001", replicas(4))

    await serving.start("iris-v2-predictor")
    isvc = await serving.until(INFERENCE_SERVICES, "iris", splits(r1=75, r2=25))
    found = isvc["status"]["canaryStatuses"]
    assert found[0]["name"] == "v2"
    assert found[0]["ready"] is True
    assert found[0]["trafficPercent"] == 25
    assert found[0]["modelStatus"]["transitionStatus"] == "UpToDate"
    ready = condition(isvc, "CanaryPredictorReady")
    assert ready is not None
    assert (ready.status, ready.reason) == ("True", "AllCanariesReady")
    await serving.until(DEPLOYMENTS, "iris-predictor-00001", replicas(3))
    for title, revision in (("iris-v2-predictor", "00002"), ("iris-predictor", "00001")):
        led = await serving.exists(SERVICES, title)
        assert led["spec"]["selector"]["serving.kubeling.io/revision"] == revision


async def test_more_requests_are_more_pods_taken_from_the_stable_predictor(
    serving: Serving,
) -> None:
    await begin(serving, canary("v2", 25), canary("v3", 25, minReplicas=2))
    await serving.start("iris-v2-predictor")
    await serving.start("iris-v3-predictor")
    await serving.until(INFERENCE_SERVICES, "iris", splits(r1=50, r2=25, r3=25))
    await serving.until(DEPLOYMENTS, "iris-v3-predictor", replicas(2))
    await serving.until(DEPLOYMENTS, "iris-predictor-00001", replicas(1))
    more = [canary("v2", 50), canary("v3", 0)]
    await serving.service("iris", predictor=STABLE, canary=more)
    await serving.until(DEPLOYMENTS, "iris-v2-predictor", replicas(2))
    await serving.until(DEPLOYMENTS, "iris-v3-predictor", replicas(1))
    await serving.until(INFERENCE_SERVICES, "iris", splits(r1=50, r2=50, r3=0))
    # What answers half of the requests keeps half of the pods, whoever watches beside it.
    await serving.until(DEPLOYMENTS, "iris-predictor-00001", replicas(2))


async def test_naming_the_predictor_like_its_canary_promotes_it_and_restarts_nothing(
    serving: Serving,
) -> None:
    await begin(serving, canary("v2", 25))
    await serving.start("iris-v2-predictor")
    await serving.until(INFERENCE_SERVICES, "iris", splits(r1=75, r2=25))
    before = await serving.exists(DEPLOYMENTS, "iris-v2-predictor")
    pod = await serving.exists(PODS, "iris-v2-predictor-pod")

    promoted = {"name": "v2", "minReplicas": 4, "sklearn": {"storageUri": "gs://bucket/v2"}}
    await serving.service("iris", predictor=promoted, canary=[])
    isvc = await serving.until(INFERENCE_SERVICES, "iris", splits(r2=100))
    assert condition(isvc, "CanaryPredictorReady") is None
    assert "canaryStatuses" not in isvc["status"]
    await serving.gone(DEPLOYMENTS, "iris-predictor-00001")
    after = await serving.until(DEPLOYMENTS, "iris-v2-predictor", replicas(4))
    assert after["spec"]["template"] == before["spec"]["template"]
    assert uid(await serving.exists(PODS, "iris-v2-predictor-pod")) == uid(pod)
    for title in ("iris", "iris-predictor", "iris-v2-predictor"):
        led = await serving.exists(SERVICES, title)
        assert led["spec"]["selector"]["serving.kubeling.io/revision"] == "00002"
    status = isvc["status"]["components"]["predictor"]
    assert status["latestRolledoutRevision"] == "iris-predictor-00002"
    assert "previousRolledoutRevision" not in status


async def test_no_pods_are_taken_before_the_stable_predictor_answers(serving: Serving) -> None:
    await serving.service("iris", predictor=STABLE, canary=[canary("v2", 25)])
    await serving.start("iris-v2-predictor")

    def tells_of_it(isvc: Obj) -> bool:
        return bool(isvc.get("status")) and isvc["status"]["canaryStatuses"][0]["ready"]

    isvc = await serving.until(INFERENCE_SERVICES, "iris", tells_of_it)
    assert traffic(isvc) == {}
    assert (await serving.exists(DEPLOYMENTS, "iris-predictor-00001"))["spec"]["replicas"] == 4


async def test_leaving_a_canary_out_takes_it_back(serving: Serving) -> None:
    await begin(serving, canary("v2", 25))
    await serving.start("iris-v2-predictor")
    await serving.until(INFERENCE_SERVICES, "iris", splits(r1=75, r2=25))
    await serving.service("iris", predictor=STABLE)
    isvc = await serving.until(INFERENCE_SERVICES, "iris", splits(r1=100))
    assert condition(isvc, "CanaryPredictorReady") is None
    await serving.gone(DEPLOYMENTS, "iris-v2-predictor")
    await serving.gone(SERVICES, "iris-v2-predictor")
    await serving.until(DEPLOYMENTS, "iris-predictor-00001", replicas(4))
    # Another try is counted, and judged, by itself.
    await serving.service("iris", predictor=STABLE, canary=[canary("v2", 25)])
    again = await serving.exists(DEPLOYMENTS, "iris-v2-predictor")
    assert again["metadata"]["labels"]["serving.kubeling.io/revision"] == "00003"


async def test_the_number_of_a_canary_that_is_gone_is_not_given_to_another(
    serving: Serving,
) -> None:
    await begin(serving, canary("v2", 25))
    await serving.start("iris-v2-predictor")
    await serving.until(INFERENCE_SERVICES, "iris", splits(r1=75, r2=25))
    await serving.service("iris", predictor=STABLE)
    await serving.gone(DEPLOYMENTS, "iris-v2-predictor")
    newer = {**STABLE, "sklearn": {"storageUri": "gs://bucket/newer"}}
    await serving.service("iris", predictor=newer)
    await serving.start("iris-predictor-00003")
    await serving.until(INFERENCE_SERVICES, "iris", splits(r3=100))


async def test_another_model_for_a_canary_is_rolled_out_in_its_place(serving: Serving) -> None:
    await begin(serving, canary("v2", 25))
    before = await serving.exists(DEPLOYMENTS, "iris-v2-predictor")
    other = canary("v2", 25, sklearn={"storageUri": "gs://bucket/v2b"})
    await serving.service("iris", predictor=STABLE, canary=[other])

    def is_new(deployment: Obj) -> bool:
        return "gs://bucket/v2b" in str(deployment["spec"]["template"])

    after = await serving.until(DEPLOYMENTS, "iris-v2-predictor", is_new)
    assert uid(after) == uid(before)


async def test_a_canary_that_cannot_be_run_does_not_touch_the_stable_predictor(
    serving: Serving,
) -> None:
    model = {"runtime": "nowhere", "modelFormat": {"name": "sklearn"}}
    await begin(serving, {"trafficPercent": 25, "predictor": {"name": "v2", "model": model}})
    isvc = await serving.until(INFERENCE_SERVICES, "iris", splits(r1=100))
    found = isvc["status"]["canaryStatuses"][0]["modelStatus"]
    assert found["transitionStatus"] == "InvalidSpec"
    assert "nowhere" in found["lastFailureInfo"]["message"]
    ready = condition(isvc, "CanaryPredictorReady")
    assert ready is not None
    assert "v2: " in ready.message


async def test_stopping_a_service_deletes_its_canaries(serving: Serving) -> None:
    await begin(serving, canary("v2", 25))
    await serving.exists(DEPLOYMENTS, "iris-v2-predictor")
    stop = {"metadata": {"annotations": {"serving.kserve.io/stop": "true"}}}
    await serving.client.patch(INFERENCE_SERVICES, "iris", stop, NAMESPACE)
    await serving.gone(DEPLOYMENTS, "iris-v2-predictor")

    def is_stopped(isvc: Obj) -> bool:
        found = condition(isvc, "CanaryPredictorReady")
        return found is not None and found.reason == "Stopped"

    await serving.until(INFERENCE_SERVICES, "iris", is_stopped)


async def test_a_canary_has_a_transformer_of_its_own(serving: Serving) -> None:
    transformer = {"containers": [{"image": "mine"}]}
    await serving.service(
        "iris", predictor=STABLE, transformer=transformer, canary=[canary("v2", 25)]
    )
    found = await serving.exists(DEPLOYMENTS, "iris-v2-transformer")
    args = found["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "iris-predictor-00002.default" in args


async def test_both_ways_at_once_share_what_canaries_leave(serving: Serving) -> None:
    await begin(serving, canary("v3", 20))
    await serving.start("iris-v3-predictor")
    newer = {**STABLE, "sklearn": {"storageUri": "gs://bucket/v2"}, "canaryTrafficPercent": 25}
    await serving.service("iris", predictor=newer, canary=[canary("v3", 20)])
    await serving.start("iris-predictor-00003")
    await serving.until(INFERENCE_SERVICES, "iris", splits(r1=60, r2=20, r3=20))


@pytest.mark.parametrize("mode", ["Standard", "Knative"])
async def test_requests_are_split_and_a_failing_canary_gets_no_more(
    serving: Serving, mode: str
) -> None:
    async def good(_: web.Request) -> web.Response:
        return web.json_response({})

    async def bad(_: web.Request) -> web.Response:
        return web.json_response({}, status=500)

    def container(server: TestServer, version: str) -> Obj:
        port = {"containerPort": server.port}
        env = [{"name": "VERSION", "value": version}]
        return {"image": "mine", "ports": [port], "env": env}

    async with (
        TestClient(TestServer(create_app(serving.context, [COMPONENT]))) as gateway,
        TestServer(_answering(good)) as one,
        TestServer(_answering(bad)) as other,
    ):
        on_trial = {"name": "next", "containers": [container(other, "2")]}
        entry = {"trafficPercent": 20, "predictor": on_trial}
        isvc = {
            "apiVersion": INFERENCE_SERVICES.api_version,
            "kind": INFERENCE_SERVICES.kind,
            "metadata": {
                "name": "iris",
                "namespace": NAMESPACE,
                "annotations": {"serving.kserve.io/deploymentMode": mode},
            },
            "spec": {"predictor": {"containers": [container(one, "1")]}, "canary": [entry]},
        }
        await serving.apply(INFERENCE_SERVICES, isvc)
        await serving.start("iris-predictor" if mode == "Standard" else "iris-predictor-00001")
        await serving.start("iris-next-predictor")
        await serving.until(INFERENCE_SERVICES, "iris", splits(r1=80, r2=20))
        answers: Counter[int] = Counter()
        for _ in range(100):
            answers[(await gateway.get("/serving/default/iris/")).status] += 1
        assert answers == {200: 80, 500: 20}

        limit = {"metadata": {"annotations": {"serving.kubeling.io/rollback-error-rate": "5%"}}}
        await serving.client.patch(INFERENCE_SERVICES, "iris", limit, NAMESPACE)
        await serving.until(INFERENCE_SERVICES, "iris", splits(r1=100, r2=0))
        rejected = await serving.exists(DEPLOYMENTS, "iris-next-predictor")
        assert "20 of 20 requests failed" in str(annotations(rejected))


def _answering(handler: Callable[[web.Request], Any]) -> web.Application:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    return app


def test_a_canary_is_the_stable_predictor_but_for_what_it_sets() -> None:
    stable = {
        "nodeSelector": {"disk": "ssd"},
        "maxReplicas": 9,
        "scaleMetric": "rps",
        "model": {
            "modelFormat": {"name": "sklearn"},
            "storageUri": "gs://bucket/v1",
            "args": ["--a"],
            "resources": {"limits": {"cpu": "1", "memory": "2Gi"}},
        },
    }
    limits = {"limits": {"cpu": "2"}}
    model = {"storageUri": "gs://bucket/v2", "resources": limits, "args": []}
    own = {"name": "v2", "model": model}
    isvc = service(predictor={**stable, "minReplicas": 4})
    found = as_service(isvc, {"trafficPercent": 30, "predictor": own})["spec"]["predictor"]
    assert found["model"]["storageUri"] == "gs://bucket/v2"
    assert found["model"]["args"] == ["--a"]
    assert found["model"]["resources"]["limits"] == {"cpu": "2", "memory": "2Gi"}
    assert found["nodeSelector"] == {"disk": "ssd"}
    assert found["minReplicas"] == 2
    assert not {"maxReplicas", "scaleMetric"} & found.keys()


def test_a_canary_whose_model_lies_elsewhere_forgets_where_the_stable_one_lies() -> None:
    model = {"modelFormat": {"name": "sklearn"}, "storage": {"key": "k", "path": "v1"}}
    own = {"name": "v2", "model": {"storageUri": "gs://bucket/v2"}}
    isvc = service(predictor={"model": model})
    found = as_service(isvc, {"trafficPercent": 10, "predictor": own})["spec"]["predictor"]
    assert "storage" not in found["model"]
    assert found["model"]["storageUri"] == "gs://bucket/v2"


def test_a_canary_of_another_kind_replaces_the_stable_predictors_kind() -> None:
    isvc = service(predictor=dict(STABLE))
    own = {"name": "v2", "containers": [{"image": "mine"}]}
    found = as_service(isvc, {"trafficPercent": 10, "predictor": own})["spec"]["predictor"]
    assert "model" not in found
    assert found["containers"] == [{"image": "mine"}]


def test_empty_values_hide_nothing() -> None:
    assert overlaid({"a": 1, "b": "x", "c": [1]}, {"a": 0, "b": "", "c": [], "d": False}) == {
        "a": 1,
        "b": "x",
        "c": [1],
        "d": False,
    }


@pytest.mark.parametrize(
    ("canaries", "message"),
    [
        ([canary("", 10)], "spec.canary[0].predictor.name: Required value: its Deployment"),
        (
            [canary("v2", 10), canary("v2", 20)],
            'spec.canary[1].predictor.name: Duplicate value: "v2"',
        ),
        ([canary("main", 10)], 'spec.canary[0].predictor.name: Duplicate value: "main": conflicts'),
        ([canary("V2", 10)], 'spec.canary[0].predictor.name: Invalid value: "V2"'),
        ([canary("v2\n", 10)], "spec.canary[0].predictor.name: Invalid value"),
        ([canary("v" * 60, 10)], "spec.canary[0].predictor.name: Too long"),
        ([canary("v2", 101)], "spec.canary[0].trafficPercent: Invalid value: 101"),
        ([canary("v2", 60), canary("v3", 50)], "spec.canary: Invalid value: 110: the sum of all"),
        ([canary("v2", 10, maxReplicas=5)], "spec.canary[0].predictor.maxReplicas: Forbidden"),
        ([canary("v2", 10, scaleTarget=5)], "spec.canary[0].predictor.scaleTarget: Forbidden"),
        (
            [canary("v2", 10, minReplicas=5)],
            "may not exceed the stable predictor's minReplicas (4)",
        ),
        ([canary("v2", 10, workerSpec={})], "spec.canary[0].predictor.workerSpec: Forbidden"),
        (
            [canary("v2", 10, xgboost={"storageUri": "gs://b/m"})],
            "spec.canary[0].predictor: Invalid value",
        ),
        (
            [{"trafficPercent": 10, "predictor": {"name": "v2"}}],
            "spec.canary[0].predictor: Required value",
        ),
    ],
)
def test_what_is_refused_in_a_canary(canaries: list[Obj], message: str) -> None:
    predictor = {**STABLE, "name": "main"}
    found = "\n".join(errors(service(predictor=predictor, canary=canaries)))
    assert message in found


async def test_a_predictor_is_renamed_only_with_its_model(serving: Serving) -> None:
    await serving.service("iris", predictor=STABLE)
    patch = {"spec": {"predictor": {"name": "v2"}}}
    with pytest.raises(Exception, match=r"spec\.predictor\.name: Forbidden: may only change"):
        await serving.client.patch(INFERENCE_SERVICES, "iris", patch, NAMESPACE)


def test_what_a_service_says_besides_its_components_is_its_canaries_too() -> None:
    isvc = service()
    isvc["spec"]["tracing"] = {"exporter": "otlp"}
    spec = as_service(isvc, canary("two", 10))["spec"]
    assert spec["tracing"] == {"exporter": "otlp"}
