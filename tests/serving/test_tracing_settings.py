"""Where traces of a service go: what is filled in, refused, and told to its containers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.serving.platform import Serving, running_serving
from tests.serving.services import errors, service

from kubeling.component import Settings
from kubeling.kube.objects import Obj
from kubeling.kube.resources import DEPLOYMENTS
from kubeling.serving import templates
from kubeling.serving.credentials import Access
from kubeling.serving.names import DIGEST
from kubeling.serving.tracing import gateway_variables

MINE = {"containers": [{"image": "mine"}]}


def env(container: Obj) -> dict[str, Any]:
    return {v["name"]: v.get("value", v.get("valueFrom")) for v in container.get("env") or ()}


def test_a_service_that_is_to_be_traced_gets_upstreams_defaults() -> None:
    assert "tracing" not in service()["spec"]
    assert service(predictor=MINE, tracing={})["spec"]["tracing"] == {
        "exporterEndpoint": "http://otel-collector:4317",
        "exporter": "otlp",
        "sampler": "parentbased_traceidratio",
        "samplerArg": "0.05",
    }
    said = service(predictor=MINE, tracing={"samplerArg": "1"})["spec"]["tracing"]
    assert (said["samplerArg"], said["exporter"]) == ("1", "otlp")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sampler", "sometimes"),
        ("exporter", "carrier-pigeon"),
        ("exporterEndpoint", "collector:4318"),
        ("exporterEndpoint", "ftp://collector"),
        ("exporterEndpoint", "http://[nonsense"),
    ],
)
def test_what_nobody_could_follow_is_refused(field: str, value: str) -> None:
    found = errors(service(predictor=MINE, tracing={field: value}))
    assert f"spec.tracing.{field}" in str(found)


def test_the_containers_of_a_service_are_told_whose_spans_they_make() -> None:
    named = {"image": "mine", "env": [{"name": "OTEL_SERVICE_NAME", "value": "x"}]}
    tracing = {"exporterEndpoint": "http://jaeger:4318"}
    isvc = service(predictor={"containers": [named]}, transformer=MINE, tracing=tracing)
    main = env(templates.transformer(isvc)["spec"]["containers"][0])
    assert main["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://jaeger:4318"
    assert main["OTEL_TRACES_SAMPLER_ARG"] == "0.05"
    assert main["OTEL_SERVICE_NAME"] == "iris-transformer"
    assert main["OTEL_RESOURCE_ATTRIBUTES"].startswith("k8s.namespace.name=default,")
    assert main["OTEL_RESOURCE_ATTRIBUTES"].endswith(",isvc.name=iris")
    own = env(templates.predictor(isvc, None, Access())["spec"]["containers"][0])
    assert own["OTEL_SERVICE_NAME"] == "x", "what a container says itself counts"


def test_the_gateways_own_variables_come_before_the_settings(tmp_path: Path) -> None:
    room = {"tracing": {"exporter_endpoint": "http://there:4318", "sampler_arg": "0.5"}}
    settings = Settings(data_dir=tmp_path, workspace=tmp_path, rooms={"serving": room})
    found = gateway_variables(settings, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://here:4318"})
    assert found["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://here:4318"
    assert found["OTEL_TRACES_SAMPLER_ARG"] == "0.5"


async def test_services_that_do_not_say_go_by_the_platforms_settings(tmp_path: Path) -> None:
    async def made(serving: Serving, **spec: Any) -> tuple[dict[str, Any], str]:
        await serving.service("iris", predictor=MINE, **spec)
        found = await serving.exists(DEPLOYMENTS, "iris-predictor-00001")
        digest = found["metadata"]["annotations"][DIGEST]
        return env(found["spec"]["template"]["spec"]["containers"][0]), digest

    traced = {"exporter_endpoint": "http://localhost:4318", "sampler_arg": "0.5"}
    async with running_serving(tmp_path / "a", tracing=traced) as serving:
        found, digest = await made(serving)
    assert found["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://$(OTEL_EXPORTER_HOST_IP):4318"
    assert found["OTEL_EXPORTER_HOST_IP"]["fieldRef"]["fieldPath"] == "status.hostIP"
    assert found["OTEL_SERVICE_NAME"] == "iris-predictor"
    async with running_serving(tmp_path / "b") as serving:
        found, without = await made(serving)
    assert not [name for name in found if name.startswith("OTEL")]
    assert digest == without, "it makes no revision of its own"
    async with running_serving(tmp_path / "c", tracing=traced) as serving:
        found, _ = await made(serving, tracing={"exporterEndpoint": "http://mine:4318"})
    assert found["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://mine:4318"
